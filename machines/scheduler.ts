/**
 * The scheduler of one pool: it brings the tasks that wait and the slots that are free together. All its rules stand
 * in scheduling.ts; this chart turns events into them, and assignments into words to the tasks.
 *
 * A task hears where it goes and sends its work there itself, so that what waits here is names alone. The worker is
 * the truth about its slots: it says `worker.freed`, and refuses what is too much for it.
 */
import { setup } from 'xstate'
import { drain, EMPTY_BOOK, forget, free, join, leave, submit, withdraw } from './scheduling.ts'
import type { Assignment, Book, Scheduled, Submission, WorkerFacts } from './scheduling.ts'
import type { TaskEvent } from './task.ts'
import { vocabulary } from './vocabulary.ts'
import type { Tell } from './vocabulary.ts'
import type { WorkerEvent } from './worker.ts'

export interface SchedulerInput {
  readonly pool: string
}

export interface SchedulerContext {
  readonly pool: string
  readonly book: Book
}

export type SchedulerEvent =
  | ({ readonly type: 'worker.joined' } & WorkerFacts)
  | { readonly type: 'worker.draining'; readonly worker: string }
  | { readonly type: 'worker.gone'; readonly worker: string }
  | { readonly type: 'worker.freed'; readonly worker: string; readonly task: string; readonly attempt: number }
  | ({ readonly type: 'task.submit' } & Submission)
  | { readonly type: 'task.withdraw'; readonly task: string; readonly job: string; readonly ack: boolean }
  | { readonly type: 'job.ended'; readonly job: string }

const base = setup({
  types: { context: {} as SchedulerContext, events: {} as SchedulerEvent, input: {} as SchedulerInput },
  actions: { ...vocabulary },
})

export const schedulerMachine = base
  .extend({
    actions: {
      // Enqueued, so that the book and the words that follow from it are computed once.
      schedule: base.enqueueActions(({ context, event, enqueue }) => {
        const { book, assignments } = schedule(context.book, event)
        enqueue.assign({ book })
        enqueue({ type: 'tell', params: [...answersOf(event), ...assignments.map(wordOf)] })
      }),
    },
  })
  .createMachine({
    id: 'scheduler',
    context: ({ input }) => ({ pool: input.pool, book: EMPTY_BOOK }),
    initial: 'open',
    states: {
      open: {
        on: {
          'worker.joined': { actions: 'schedule' },
          'worker.draining': { actions: 'schedule' },
          'worker.gone': { actions: 'schedule' },
          'worker.freed': { actions: 'schedule' },
          'task.submit': { actions: 'schedule' },
          'task.withdraw': { actions: 'schedule' },
          'job.ended': { actions: 'schedule' },
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
  'worker.gone': (book, { worker }) => leave(book, worker),
  'worker.freed': (book, { worker, task, attempt }) => free(book, worker, task, attempt),
  'task.submit': submit,
  'task.withdraw': (book, { task, job }) => withdraw(book, task, job),
  'job.ended': (book, { job }) => forget(book, job),
}

type EventOf<Type extends SchedulerEvent['type']> = Extract<SchedulerEvent, { type: Type }>

function answersOf(event: SchedulerEvent): readonly Tell[] {
  if (event.type === 'worker.joined') {
    return [{ to: event.worker, event: { type: 'welcome' } satisfies WorkerEvent }]
  }
  if (event.type === 'task.withdraw' && event.ack) {
    return [{ to: event.task, event: { type: 'withdrawn' } satisfies TaskEvent }]
  }
  return []
}

function wordOf({ task, worker, attempt }: Assignment): Tell {
  const event: TaskEvent = { type: 'assigned', worker, attempt }
  return { to: task, event }
}
