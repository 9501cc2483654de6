/** Charts for the tests of supervision, watches and schedules: a parent with children, who fail when they are told to. */
import { assign, fromPromise, setup } from 'xstate'
import { defineActor } from '../../runtime/actor.ts'
import type { Policy } from '../../runtime/actor.ts'
import { vocabulary } from '../../runtime/vocabulary.ts'
import type { Later } from '../../runtime/vocabulary.ts'

export type MemberEvent =
  | { type: 'bear'; child: string }
  | { type: 'fail'; why?: string }
  | { type: 'work' }
  | { type: 'finish' }
  | { type: 'watch' | 'unwatch'; to: string }
  | { type: 'later'; to?: string; say: Later }
  | { type: 'never'; to?: string; id: string; keep?: true }
  | { type: 'note'; text: string }
  | { type: 'child.failed'; actor: string; fault: { message: string } }
  | { type: 'actor.ended'; actor: string; status: string; output?: unknown; fault?: { message: string } }

export interface MemberContext {
  readonly heard: readonly string[]
}

/** What a member has heard; of one that is not there, nothing. */
export function contextOf(snapshot: { readonly context: unknown } | null): MemberContext {
  return (snapshot?.context ?? { heard: [] }) as MemberContext // the chart below wrote it
}

interface MemberInput {
  /** Hears of its children's failures. */
  readonly cares?: boolean
}

export const memberMachine = setup({
  types: {
    context: {} as MemberContext & { cares: boolean },
    events: {} as MemberEvent,
    input: {} as MemberInput,
    output: {} as readonly string[],
  },
  actors: { toil: fromPromise<null, null>(() => Promise.reject(new Error('the runtime runs the effect'))) },
  actions: {
    ...vocabulary,
    hear: assign({ heard: ({ context }, { text }: { text: string }) => [...context.heard, text] }),
    fail: assign((_, { why }: { why: string }) => {
      throw new Error(why)
    }),
  },
  delays: { boredom: 60_000 },
  guards: { cares: ({ context }) => context.cares },
}).createMachine({
  id: 'member',
  context: ({ input }) => ({ heard: [], cares: input.cares === true }),
  output: ({ context }) => context.heard,
  initial: 'idle',
  on: {
    bear: { actions: { type: 'spawn', params: ({ event }) => ({ to: event.child, input: {} }) } },
    fail: { actions: { type: 'fail', params: ({ event }) => ({ why: event.why ?? 'kaboom' }) } },
    watch: { actions: { type: 'watch', params: ({ event }) => ({ to: event.to }) } },
    unwatch: { actions: { type: 'unwatch', params: ({ event }) => ({ to: event.to }) } },
    later: {
      actions: {
        type: 'schedule',
        params: ({ event: { to, say } }) => ({ ...say, ...(to !== undefined && { to }) }),
      },
    },
    never: {
      actions: { type: 'unschedule', params: ({ event: { type: _, ...what } }) => what },
    },
    note: { actions: { type: 'hear', params: ({ event }) => event } },
    'child.failed': {
      guard: 'cares',
      actions: { type: 'hear', params: ({ event }) => ({ text: `${event.actor} failed: ${event.fault.message}` }) },
    },
    'actor.ended': {
      actions: {
        type: 'hear',
        params: ({ event: { actor, status, output, fault } }) => {
          const detail = fault?.message ?? (output === undefined ? '' : JSON.stringify(output))
          return { text: `${actor} ended: ${status} ${detail}`.trim() }
        },
      },
    },
  },
  states: {
    idle: { on: { work: 'working', finish: 'finished' } },
    working: { invoke: { id: 'toil', src: 'toil', input: null, onDone: 'idle' }, after: { boredom: 'idle' } },
    finished: { type: 'final' },
  },
})

/** `aborted` collects the effects that were told to end. */
export function member(kind: string, policy: Partial<Policy> = {}, aborted: string[] = [], pinned = false) {
  return defineActor({
    kind,
    version: 1,
    machine: memberMachine,
    effects: {
      toil: async (_, { signal, actor }) => {
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
        aborted.push(actor)
        return null
      },
    },
    pinned,
    policy,
  })
}
