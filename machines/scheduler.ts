/**
 * The scheduler of one pool: it brings the tasks that wait and the slots that are free together. All its rules stand
 * in scheduling.ts; this chart turns events into them, and the orders that follow into words.
 *
 * A task hears where it goes and sends its work there itself, so that what waits here is names alone. The worker is
 * the truth about its slots: it says `worker.freed`, and refuses what is too much for it.
 */
import { setup } from 'xstate'
import { emptyBook, runOf } from './book.ts'
import type { Book, Entry, Order, PoolSettings, Submission, WorkerFacts } from './book.ts'
import type { PageEvent, PageInput } from './page.ts'
import { configure, drain, free, join, leave, observe, submit, suspect, takeTurn, withdraw } from './scheduling.ts'
import type { Scheduled } from './scheduling.ts'
import type { TaskEvent } from './task.ts'
import { vocabulary } from './vocabulary.ts'
import type { Spawn, Tell } from './vocabulary.ts'
import type { WorkerEvent } from './worker.ts'
import type { Gpu } from './views.ts'

export interface SchedulerInput {
  readonly pool: string
  readonly settings?: Partial<PoolSettings>
}

export interface SchedulerContext {
  readonly book: Book
}

export type SchedulerEvent =
  | ({ readonly type: 'worker.joined' } & WorkerFacts)
  | { readonly type: 'worker.draining'; readonly worker: string }
  | { readonly type: 'worker.gpus'; readonly worker: string; readonly gpus: readonly Gpu[] }
  | { readonly type: 'worker.gone'; readonly worker: string }
  | { readonly type: 'worker.freed'; readonly worker: string; readonly task: string; readonly attempt: number; readonly pace?: number } // prettier-ignore
  /** A run takes `pace` times what others need, and has not ended. */
  | { readonly type: 'worker.slow'; readonly worker: string; readonly pace: number }
  | ({ readonly type: 'task.submit' } & Submission)
  | ({ readonly type: 'task.withdraw'; readonly page?: string; readonly ack: boolean } & Submission)
  | { readonly type: 'page.turned'; readonly queue: string; readonly entries: readonly Entry[] }
  | { readonly type: 'pool.configure'; readonly settings: Partial<PoolSettings> }

const base = setup({
  types: { context: {} as SchedulerContext, events: {} as SchedulerEvent, input: {} as SchedulerInput },
  actions: { ...vocabulary },
})

export const schedulerMachine = base
  .extend({
    actions: {
      // Enqueued, so that the book and the words that follow from it are computed once.
      arrange: base.enqueueActions(({ context, event, enqueue }) => {
        const { book, orders } = schedule(context.book, event)
        enqueue.assign({ book })
        enqueue({ type: 'spawn', params: orders.flatMap((order) => pagesOf(order, book.pool)) })
        enqueue({ type: 'tell', params: [...answersOf(event), ...orders.flatMap((order) => wordsOf(order))] })
      }),
    },
  })
  .createMachine({
    id: 'scheduler',
    context: ({ input }) => ({ book: emptyBook(input.pool, input.settings) }),
    initial: 'open',
    states: {
      open: {
        on: {
          'worker.joined': { actions: 'arrange' },
          'worker.draining': { actions: 'arrange' },
          'worker.gpus': { actions: 'arrange' },
          'worker.gone': { actions: 'arrange' },
          'worker.freed': { actions: 'arrange' },
          'worker.slow': { actions: 'arrange' },
          'task.submit': { actions: 'arrange' },
          'task.withdraw': { actions: 'arrange' },
          'page.turned': { actions: 'arrange' },
          'pool.configure': { actions: 'arrange' },
        },
      },
    },
  })

export function schedule(book: Book, event: SchedulerEvent): Scheduled {
  const rule = RULES[event.type] as (book: Book, event: SchedulerEvent) => Scheduled // each rule gets its own event
  return rule(book, event)
}

const RULES: { readonly [Type in SchedulerEvent['type']]: (book: Book, event: EventOf<Type>) => Scheduled } = {
  'worker.joined': join,
  'worker.draining': (book, { worker }) => drain(book, worker),
  'worker.gpus': (book, { worker, gpus }) => observe(book, worker, gpus),
  'worker.gone': (book, { worker }) => leave(book, worker),
  'worker.freed': (book, { worker, pace, ...run }) => free(book, worker, runOf(run), pace),
  'worker.slow': (book, { worker, pace }) => suspect(book, worker, pace),
  'task.submit': submit,
  'task.withdraw': (book, { page, ...submission }) => withdraw(book, submission, page),
  'page.turned': (book, { queue, entries }) => takeTurn(book, queue, entries),
  'pool.configure': (book, { settings }) => configure(book, settings),
}

type EventOf<Type extends SchedulerEvent['type']> = Extract<SchedulerEvent, { type: Type }>

function answersOf(event: SchedulerEvent): readonly Tell[] {
  if (event.type === 'worker.joined') return [{ to: event.worker, event: { type: 'welcome' } satisfies WorkerEvent }]
  if (event.type === 'task.withdraw' && event.ack) return [toTask(event.task, { type: 'withdrawn' })]
  return []
}

function wordsOf(order: Order): readonly Tell[] {
  switch (order.do) {
    case 'assign': {
      const { task, attempt, worker, fingerprint } = order
      return [toTask(task, { type: 'assigned', worker, attempt, fingerprint })]
    }
    case 'preempt':
      return [toTask(order.task, { type: 'preempted', attempt: order.attempt })]
    // Told here and not by the page, so that it comes before an answer to a withdrawal.
    case 'park':
      return order.entries.flatMap(({ wants }) =>
        wants.map(({ task, attempt }) => toTask(task, { type: 'parked', attempt, page: order.page })),
      )
    case 'turn':
      return [toPage(order.page, { type: 'turn' })]
    case 'strike':
      return [toPage(order.page, { type: 'strike', run: order.run })]
  }
}

function toPage(page: string, event: PageEvent): Tell {
  return { to: page, event }
}

function toTask(task: string, event: TaskEvent): Tell {
  return { to: task, event }
}

function pagesOf(order: Order, pool: string): readonly Spawn[] {
  if (order.do !== 'park') return []
  const { page: self, queue, entries } = order
  return [{ to: self, input: { pool, queue, entries } satisfies PageInput }]
}
