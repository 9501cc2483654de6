/**
 * A task is one piece of work on its way through the fleet: it waits in the scheduler's queue, is given to a worker,
 * runs, and tells its job how that ended. It lives in its job's shard.
 *
 *   queued → assigned → running → succeeded | failed
 *      ↑________|__________|  (lost worker or preempted: at once; an error worth retrying: through backoff)
 *   out of the queue by way of withdrawing: cancelled, or because an earlier attempt brought the result
 *   cancelled by way of stopping, where a worker had it
 *
 * Invariants:
 * 1. `attempt` grows by one each time the task is queued. Words about an earlier attempt are not heard, except a
 *    result: every attempt computes the same, so the first result wins.
 * 2. An error that the user must mend ends the task at once. One worth retrying counts as a failure, a lost worker as
 *    a loss; both are bounded.
 * 3. The job hears exactly one of `task.done`, `task.failed`, `task.cancelled`.
 * 4. A task ends only when the scheduler has no submission of it any more, or has been asked in vain: what waits there
 *    and ended would be given a slot.
 */
import { assign, setup } from 'xstate'
import { jobAddress, schedulerAddress, taskAddress } from './address.ts'
import { isWorthRetrying, timeoutFault } from './fault.ts'
import type { Fault } from './fault.ts'
import type { JobEvent } from './job-parts.ts'
import { SCHEDULER_LIMITS, TASK_LIMITS } from './limits.ts'
import type { Submission } from './book.ts'
import type { SchedulerEvent } from './scheduler.ts'
import type { TaskInput } from './task-input.ts'
import { vocabulary } from './vocabulary.ts'
import type { Tell } from './vocabulary.ts'
import type { WorkerEvent } from './worker.ts'
import type { WorkOutput } from './work.ts'

export interface TaskContext extends TaskInput {
  readonly attempt: number
  readonly failures: number
  readonly losses: number
  /** The address of the worker that has it, or had it last. */
  readonly worker: string | null
  /** Whether it has run enough of the job before for its time to say how fast it is. */
  readonly isWarm: boolean
  /** The numerics fingerprint of that worker. */
  readonly ranOn: string | null
  /** The worker that the next attempt should not go to. */
  readonly shun: string | null
  /** The page of the scheduler's queue where this attempt is parked. */
  readonly page: string | null
  /** It was preempted, and comes back to the front of its queue. */
  readonly isBack: boolean
  readonly output: WorkOutput | null
  /** The last one; a task that was tried again keeps it. */
  readonly fault: Fault | null
}

export type TaskEvent =
  | { readonly type: 'assigned'; readonly worker: string; readonly attempt: number; readonly fingerprint: string }
  | { readonly type: 'parked'; readonly attempt: number; readonly page: string }
  | { readonly type: 'preempted'; readonly attempt: number }
  | { readonly type: 'withdrawn' }
  | { readonly type: 'accepted'; readonly worker: string; readonly attempt: number; readonly isWarm: boolean }
  | { readonly type: 'rejected'; readonly worker: string; readonly attempt: number }
  | { readonly type: 'done'; readonly worker: string; readonly attempt: number; readonly output: WorkOutput }
  | { readonly type: 'failed'; readonly worker: string; readonly attempt: number; readonly fault: Fault }
  | { readonly type: 'stopped'; readonly worker: string; readonly attempt: number }
  | { readonly type: 'worker.lost'; readonly worker: string; readonly attempt: number }
  | { readonly type: 'cancel' }

type Args = { readonly context: TaskContext; readonly event: TaskEvent }

const QUEUE_TIMEOUT = timeoutFault('task.queue-timeout', 'Waiting for a worker', TASK_LIMITS.queueMs)

export const taskMachine = setup({
  types: { context: {} as TaskContext, events: {} as TaskEvent, input: {} as TaskInput },
  actions: {
    ...vocabulary,
    countAttempt: assign({ attempt: ({ context }) => context.attempt + 1, page: null }),
    takeAssignment: assign(({ event }) =>
      event.type === 'assigned' ? { worker: event.worker, ranOn: event.fingerprint } : {},
    ),
    takeWarmth: assign({ isWarm: ({ event }) => event.type === 'accepted' && event.isWarm }),
    takePage: assign({ page: ({ context, event }) => (event.type === 'parked' ? event.page : context.page) }),
    comeBack: assign({ isBack: true }),
    beBack: assign({ isBack: false }),
    takeWorker: assign({ worker: ({ context, event }) => ('worker' in event ? event.worker : context.worker) }),
    takeOutput: assign({ output: ({ event }) => (event.type === 'done' ? event.output : null) }),
    takeFault: assign({ fault: ({ event }) => (event.type === 'failed' ? event.fault : null) }),
    countFailure: assign({
      failures: ({ context }) => context.failures + weightOf(context.fault),
      shun: ({ context }) => (context.fault?.remedy === 'retry-elsewhere' ? context.worker : context.shun),
    }),
    countLoss: assign({ losses: ({ context }) => context.losses + 1, shun: ({ context }) => context.worker }),
    giveUp: assign((_, fault: Fault) => ({ fault })),
  },
  guards: {
    isCurrent: ({ context, event }) => 'attempt' in event && event.attempt === context.attempt,
    isStale: ({ context, event }) => 'attempt' in event && event.attempt !== context.attempt,
    isWarm: ({ context }) => context.isWarm,
    hasOutput: ({ context }) => context.output !== null,
    hasWaitedTooLong: ({ context }) => context.fault?.code === QUEUE_TIMEOUT.code,
    canRetry: ({ context }) =>
      context.fault !== null &&
      isWorthRetrying(context.fault) &&
      context.failures + weightOf(context.fault) < TASK_LIMITS.failuresMax,
    canLoseMore: ({ context }) => context.losses + 1 < TASK_LIMITS.lossesMax,
    isLostAgain: ({ context }) => context.losses + 1 < TASK_LIMITS.lossesMax && context.worker === context.shun,
  },
  delays: {
    queueLimit: TASK_LIMITS.queueMs,
    assignLimit: TASK_LIMITS.assignMs,
    runLimit: ({ context }) => context.runLimitMs,
    slowLimit: ({ context }) => slowMs(context, TASK_LIMITS.slowFactor),
    slowerLimit: ({ context }) => slowMs(context, SCHEDULER_LIMITS.paceSlow * 0.9),
    backoff: ({ context }) => backoffMs(context.failures),
    withdrawLimit: TASK_LIMITS.withdrawMs,
    stopLimit: TASK_LIMITS.stopMs,
  },
}).createMachine({
  id: 'task',
  context: ({ input }) => ({
    ...input,
    attempt: 0,
    failures: 0,
    losses: 0,
    worker: null,
    isWarm: false,
    ranOn: null,
    shun: input.avoid ?? null,
    page: null,
    isBack: false,
    output: null,
    fault: null,
  }),
  on: {
    accepted: { guard: 'isStale', actions: { type: 'tell', params: stopOfStale } },
  },
  initial: 'queued',
  states: {
    queued: {
      entry: ['countAttempt', { type: 'tell', params: submission }, 'beBack'],
      on: {
        assigned: { guard: 'isCurrent', target: 'assigned', actions: 'takeAssignment' },
        parked: { guard: 'isCurrent', actions: 'takePage' },
        done: { target: 'withdrawing', actions: ['takeWorker', 'takeOutput'] },
        cancel: 'withdrawing',
      },
      after: { queueLimit: { target: 'withdrawing', actions: { type: 'giveUp', params: QUEUE_TIMEOUT } } },
    },
    assigned: {
      entry: { type: 'tell', params: runOrder },
      on: {
        accepted: { guard: 'isCurrent', target: 'running', actions: 'takeWarmth' },
        rejected: { guard: 'isCurrent', target: 'backoff' },
        'worker.lost': { guard: 'isCurrent', target: 'lost' },
        done: { target: 'succeeded', actions: [{ type: 'tell', params: stopOfOther }, 'takeWorker', 'takeOutput'] },
        failed: { guard: 'isCurrent', target: 'erred', actions: 'takeFault' },
        preempted: {
          guard: 'isCurrent',
          target: 'queued',
          actions: [{ type: 'tell', params: quietStopOrder }, 'comeBack'],
        },
        cancel: 'stopping',
      },
      after: { assignLimit: { target: 'lost', actions: { type: 'tell', params: quietStopOrder } } },
    },
    running: {
      entry: { type: 'tell', params: started },
      on: {
        'worker.lost': { guard: 'isCurrent', target: 'lost' },
        done: { target: 'succeeded', actions: [{ type: 'tell', params: stopOfOther }, 'takeWorker', 'takeOutput'] },
        failed: { guard: 'isCurrent', target: 'erred', actions: 'takeFault' },
        preempted: {
          guard: 'isCurrent',
          target: 'queued',
          actions: [{ type: 'tell', params: quietStopOrder }, 'comeBack'],
        },
        cancel: 'stopping',
      },
      after: {
        slowLimit: { actions: { type: 'tell', params: slow } },
        slowerLimit: { guard: 'isWarm', actions: { type: 'tell', params: slowWorker } },
        runLimit: {
          target: 'erred',
          actions: [
            { type: 'tell', params: quietStopOrder },
            { type: 'giveUp', params: runTookTooLong },
          ],
        },
      },
    },
    /** Its worker vanished, or never said that it had it. */
    lost: {
      always: [
        // The scheduler has not heard yet that this worker is gone, and would give the task to it again and again.
        { guard: 'isLostAgain', target: 'backoff', actions: 'countLoss' },
        { guard: 'canLoseMore', target: 'queued', actions: 'countLoss' },
        { target: 'failed', actions: { type: 'giveUp', params: tooManyLosses } },
      ],
    },
    erred: {
      always: [{ guard: 'canRetry', target: 'backoff', actions: 'countFailure' }, { target: 'failed' }],
    },
    backoff: {
      on: {
        done: { target: 'withdrawing', actions: ['takeWorker', 'takeOutput'] },
        cancel: 'withdrawing',
      },
      after: { backoff: 'queued' },
    },
    withdrawing: {
      entry: { type: 'tell', params: withdrawal },
      on: {
        withdrawn: 'withdrawn',
        // It was parked while the withdrawal was on its way, which therefore missed it.
        parked: { guard: 'isCurrent', actions: ['takePage', { type: 'tell', params: quietWithdrawal }] },
        cancel: {},
      },
      after: { withdrawLimit: 'withdrawn' },
    },
    withdrawn: {
      always: [
        { guard: 'hasOutput', target: 'succeeded' },
        { guard: 'hasWaitedTooLong', target: 'failed' },
        { target: 'cancelled' },
      ],
    },
    stopping: {
      entry: { type: 'tell', params: stopOrder },
      on: {
        stopped: { guard: 'isCurrent', target: 'cancelled' },
        rejected: { guard: 'isCurrent', target: 'cancelled' },
        done: { guard: 'isCurrent', target: 'cancelled' },
        failed: { guard: 'isCurrent', target: 'cancelled' },
        'worker.lost': { guard: 'isCurrent', target: 'cancelled' },
        accepted: {}, // it crossed the order to stop, which the worker takes next
        cancel: {},
      },
      after: { stopLimit: 'cancelled' },
    },
    succeeded: { type: 'final', entry: { type: 'tell', params: done } },
    failed: { type: 'final', entry: { type: 'tell', params: failed } },
    cancelled: { type: 'final', entry: { type: 'tell', params: cancelled } },
  },
})

/** Exponential, without jitter: a chart knows no chance, and the fleet is not a crowd at one door. */
export function backoffMs(failures: number): number {
  return Math.min(TASK_LIMITS.backoffMaxMs, TASK_LIMITS.backoffBaseMs * 2 ** Math.max(0, failures - 1))
}

/** When a run is this many times slower than it should be; never, when that is not known. */
function slowMs({ expectedMs, runLimitMs: limit }: TaskContext, factor: number): number {
  return expectedMs === 0 ? 2 * limit : Math.max(TASK_LIMITS.slowMinMs, factor * expectedMs)
}

function slow({ context }: Args): Tell {
  return toJob(context, { type: 'task.slow', task: taskAddress(context.id), worker: context.worker ?? '' })
}

function slowWorker({ context }: Args): Tell {
  return toScheduler(context, {
    type: 'worker.slow',
    worker: context.worker ?? '',
    pace: SCHEDULER_LIMITS.paceSlow,
  })
}

function toScheduler(context: TaskContext, event: SchedulerEvent): Tell {
  return { to: schedulerAddress(context.pool), event }
}

function toJob(context: TaskContext, event: JobEvent): Tell {
  return { to: jobAddress(context.job), event }
}

function toWorker(worker: string | null, event: WorkerEvent): readonly Tell[] {
  return worker === null ? [] : [{ to: worker, event }]
}

function submissionOf({ context }: Args): Submission {
  const { id, attempt, job, owner, priority, fingerprint, backend, slots, prefer, shun, data, gang, isBack } = context
  return {
    task: taskAddress(id),
    attempt,
    job,
    owner,
    priority,
    fingerprint,
    ...(backend !== undefined && { backend }),
    ...(slots !== undefined && { slots }),
    ...(prefer !== undefined && { prefer }),
    ...(shun !== null && { avoid: shun }),
    ...(data !== undefined && { data }),
    // Who comes again joins those of its gang that run.
    ...(gang !== undefined && attempt === 1 && { gang }),
    ...(isBack && { isBack }),
  }
}

function submission(args: Args): Tell {
  return toScheduler(args.context, { type: 'task.submit', ...submissionOf(args) })
}

function withdrawal(args: Args): Tell {
  const { page } = args.context
  const where = page === null ? {} : { page }
  return toScheduler(args.context, { type: 'task.withdraw', ...submissionOf(args), ...where, ack: true })
}

/** One that was acknowledged already, or will be. */
function quietWithdrawal(args: Args): Tell {
  const { to, event } = withdrawal(args)
  return { to, event: { ...event, ack: false } as SchedulerEvent } // still a withdrawal
}

function runOrder({ context }: Args): readonly Tell[] {
  const { id, attempt, job, work, worker, expectedMs } = context
  return toWorker(worker, { type: 'run', task: taskAddress(id), attempt, job, work, expectedMs })
}

function stopOrder({ context }: Args): readonly Tell[] {
  return orderToStop(context, context.worker, context.attempt, true)
}

/** Nobody waits for the answer. */
function quietStopOrder({ context }: Args): readonly Tell[] {
  return orderToStop(context, context.worker, context.attempt, false)
}

// In the normal lane: in the control lane it could overtake the order to run.
function orderToStop(context: TaskContext, worker: string | null, attempt: number, ack: boolean): readonly Tell[] {
  return toWorker(worker, { type: 'cancel', task: taskAddress(context.id), attempt, ack })
}

/** A worker took an attempt that has been given up. */
function stopOfStale({ context, event }: Args): readonly Tell[] {
  if (event.type !== 'accepted') return []
  return orderToStop(context, event.worker, event.attempt, false)
}

/** An earlier attempt brought the result, and the present one is no longer needed. */
function stopOfOther({ context, event }: Args): readonly Tell[] {
  if (event.type !== 'done' || event.attempt === context.attempt) return []
  return quietStopOrder({ context, event })
}

function started({ context }: Args): Tell {
  return toJob(context, { type: 'task.started', task: taskAddress(context.id), worker: context.worker ?? '' })
}

function done({ context }: Args): readonly Tell[] {
  const { id, output, worker, ranOn } = context
  if (output === null) return []
  const event = { type: 'task.done', task: taskAddress(id), worker: worker ?? '', fingerprint: ranOn ?? '', output } as const // prettier-ignore
  return [toJob(context, event)]
}

function weightOf(fault: Fault | null): number {
  return fault?.code === 'kernel.hung' ? TASK_LIMITS.hangWeight : 1
}

function failed({ context }: Args): readonly Tell[] {
  const { id, fault } = context
  if (fault === null) return []
  return [toJob(context, { type: 'task.failed', task: taskAddress(id), fault })]
}

function cancelled({ context }: Args): Tell {
  return toJob(context, { type: 'task.cancelled', task: taskAddress(context.id) })
}

function tooManyLosses({ context }: Args): Fault {
  const losses = context.losses + 1
  return {
    code: 'task.workers-lost',
    message: `${losses} workers were lost while they had this task`,
    remedy: 'give-up',
    data: { losses, worker: context.worker },
  }
}

function runTookTooLong({ context }: Args): Fault {
  const fault = timeoutFault('task.run-timeout', `Running on ${context.worker ?? 'a worker'}`, context.runLimitMs)
  return { ...fault, remedy: 'retry-elsewhere' }
}
