/**
 * A page of a scheduler's queue: it holds entries whose turn is far off, so that the scheduler's own record stays small.
 * It lives in the scheduler's shard, and talks with nobody else: the tasks were told by the scheduler where they are.
 *
 * Invariant: the entries are given back once, without those that were struck before.
 */
import { assign, setup } from 'xstate'
import { schedulerAddress } from './address.ts'
import type { Entry } from './book.ts'
import { without } from './queue.ts'
import type { SchedulerEvent } from './scheduler.ts'
import { vocabulary } from './vocabulary.ts'
import type { Tell } from './vocabulary.ts'

export interface PageInput {
  readonly pool: string
  /** The queue's name. */
  readonly queue: string
  readonly entries: readonly Entry[]
}

export type PageEvent = { readonly type: 'turn' } | { readonly type: 'strike'; readonly run: string }

export const pageMachine = setup({
  types: { context: {} as PageInput, events: {} as PageEvent, input: {} as PageInput },
  actions: {
    ...vocabulary,
    strike: assign({
      entries: ({ context, event }) =>
        event.type === 'strike' ? without(context.entries, event.run) : context.entries,
    }),
  },
}).createMachine({
  id: 'page',
  context: ({ input }) => input,
  initial: 'holding',
  states: {
    holding: {
      on: { strike: { actions: 'strike' }, turn: 'turned' },
    },
    turned: { type: 'final', entry: { type: 'tell', params: returned } },
  },
})

function returned({ context }: { readonly context: PageInput }): Tell {
  const event: SchedulerEvent = { type: 'page.turned', queue: context.queue, entries: context.entries }
  return { to: schedulerAddress(context.pool), event }
}
