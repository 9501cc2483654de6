/**
 * A batch job: one piece of work over many rows, cut into chunks, a task each, and finished when all are there. What the
 * chunks compute (a gpu.js function, a model's evaluation, its predictions) stands in the plan (batch-plan.ts); the
 * chart says only when.
 *
 *   submitted → (waiting) → preparing → queued → running → finishing → completed
 *   waiting, preparing, queued, running → pausing → paused → resuming → where it was, with the chunks that are there
 *   any of them → cancelling → cancelled | failed
 *
 * `queued` lasts until the first chunk is there. It fixes the numerics fingerprint: the others go to workers that compute
 * alike, so that the result does not depend on who was free.
 *
 * Invariants: those of a training job (job.ts, 2 to 4), and
 * 1. A chunk's result stands at its place, whenever it comes and whichever of its copies brought it; what is finished are
 *    the chunks in order.
 * 2. A chunk that is there is not computed again: a pause costs those alone that were under way.
 */
import { assign, setup } from 'xstate'
import { originalOf, taskAddress } from './address.ts'
import { chunkInput, chunkOf, planOf } from './batch-plan.ts'
import type { BatchPlan } from './batch-plan.ts'
import type { BatchFile, BatchSpec } from './batch-spec.ts'
import { afterResult, cancellations, isLast, limitIsOver, mayHaveTwin, otherOf, SETTLING, settled, spawns, stopOfOther, taskOf, taskWasCancelled, twinOf, withTwin } from './control.ts' // prettier-ignore
import { effect } from './effect.ts'
import { faultOfEvent } from './fault.ts'
import type { Fault } from './fault.ts'
import type { JobEvent } from './job-parts.ts'
import { JOB_LIMITS } from './limits.ts'
import { hasPredecessors, predecessorsOf, waiting, withoutPredecessor } from './predecessors.ts'
import type { Outcome } from './predecessors.ts'
import type { TaskInput } from './task-input.ts'
import type { Evaluation } from './training.ts'
import { vocabulary } from './vocabulary.ts'
import type { Spawn, Tell } from './vocabulary.ts'

export interface BatchInput {
  readonly id: string
  readonly owner: string
  readonly spec: BatchSpec
}

export interface FinishInput extends BatchInput {
  readonly plan: BatchPlan
  /** sha256 of each chunk, in order. */
  readonly chunks: readonly string[]
}

/** What a batch job gave: a file, or measures. */
export interface BatchResult {
  readonly output?: BatchFile
  readonly evaluation?: Evaluation
}

export interface BatchContext extends BatchInput {
  readonly plan: BatchPlan | null
  /** Those before this one that have not ended. */
  readonly predecessors: readonly string[]
  /** The tasks that have not told how they ended. */
  readonly pending: readonly string[]
  /** How often the job has paused: what is computed after a pause has tasks of its own. */
  readonly take: number
  /** By chunk the sha256 of its result; null until it is there. */
  readonly results: readonly (string | null)[]
  readonly workers: Readonly<Record<string, number>>
  /** Of the worker that computed the first chunk: all others must have the same. */
  readonly fingerprint: string | null
  /** What gpu.js ran on, where it did. */
  readonly mode: string | null
  /** The slowest chunk so far. */
  readonly slowestMs: number
  readonly result: BatchResult | null
  readonly fault: Fault | null
}

type Args = { readonly context: BatchContext; readonly event: JobEvent }

export const batchMachine = setup({
  types: { context: {} as BatchContext, events: {} as JobEvent, input: {} as BatchInput, output: {} as Outcome },
  actors: { prepare: effect<BatchInput, BatchPlan>(), finish: effect<FinishInput, BatchResult>() },
  actions: {
    ...vocabulary,
    expectPredecessors: assign({ predecessors: ({ context }) => predecessorsOf(context) }),
    settlePredecessor: assign(({ context, event }) =>
      event.type === 'actor.ended' ? withoutPredecessor(context, event) : {},
    ),
    takePlan: assign(({ context }, plan: BatchPlan) => withPlan(context, plan)),
    expectFirst: assign(({ context }) => expected([firstInput(context)])),
    expectOthers: assign(({ context }) => expected(openInputs(context))),
    takeChunk: assign(({ context, event }) => withChunk(context, event)),
    takeResult: assign((_, result: BatchResult) => ({ result })),
    settle: assign(({ context, event }) => settled(context, taskOf(event))),
    /** One result stands for a task and its twin. */
    settleBoth: assign({ pending: ({ context, event }) => afterResult(context, taskOf(event)) }),
    expectTwin: assign(({ context, event }) => withTwin(context, taskOf(event))),
    nextTake: assign({ take: ({ context }) => context.take + 1, pending: [] }),
    stopWaiting: assign({ pending: [] }),
    takeFault: assign({ fault: ({ context, event }) => (event.type === 'task.failed' ? event.fault : context.fault) }),
    fail: assign((_, fault: Fault) => ({ fault })),
  },
  guards: {
    isPending: ({ context, event }) => context.pending.includes(taskOf(event)),
    isLastPending: ({ context, event }) => isLast(context, taskOf(event)),
    /** Its twin, or the task of which it is the twin, goes on. */
    hasOther: ({ context, event }) =>
      context.pending.includes(taskOf(event)) && otherOf(context, taskOf(event)) !== undefined,
    mayHaveTwin: ({ context, event }) => mayHaveTwin(context, taskOf(event)),
    hasPredecessors: ({ context }) => hasPredecessors(context),
    isReady: ({ context }) => context.predecessors.length === 0,
    isOutOfLuck: ({ context }) => context.fault !== null,
    isUnplanned: ({ context }) => context.plan === null,
    hasNoChunk: ({ context }) => context.results.every((sha256) => sha256 === null),
    isNothingPending: ({ context }) => context.pending.length === 0,
    hasFailed: ({ context }) => context.pending.length === 0 && context.fault !== null,
  },
  delays: {
    waitLimit: JOB_LIMITS.waitMs,
    prepareLimit: JOB_LIMITS.prepareMs,
    queueLimit: JOB_LIMITS.queueMs,
    runLimit: JOB_LIMITS.collectMs,
    finishLimit: JOB_LIMITS.reduceMs,
    cancelLimit: JOB_LIMITS.cancelMs,
    pauseLimit: JOB_LIMITS.cancelMs,
    pausedLimit: JOB_LIMITS.pausedMs,
  },
}).createMachine({
  id: 'batch',
  context: ({ input }) => ({
    ...input,
    predecessors: [],
    plan: null,
    pending: [],
    take: 0,
    results: [],
    workers: {},
    fingerprint: null,
    mode: null,
    slowestMs: 0,
    result: null,
    fault: null,
  }),
  output: ({ context }) => outcomeOf(context),
  initial: 'submitted',
  on: {
    cancel: '.cancelling',
    'task.failed': { guard: 'isPending', target: '.cancelling', actions: ['settle', 'takeFault'] },
    'task.cancelled': {
      guard: 'isPending',
      target: '.cancelling',
      actions: ['settle', { type: 'fail', params: taskWasCancelled }],
    },
  },
  states: {
    submitted: { always: [{ guard: 'hasPredecessors', target: 'waiting' }, { target: 'resuming' }] },
    waiting: waiting('resuming', limitIsOver('waiting', JOB_LIMITS.waitMs)),
    /** To where a job stands by what it has: a new one at its beginning, another at the chunks that are missing. */
    resuming: {
      always: [
        { guard: 'isUnplanned', target: 'preparing' },
        { guard: 'hasNoChunk', target: 'queued' },
        { target: 'running' },
      ],
    },
    preparing: {
      on: { pause: 'pausing' },
      invoke: {
        id: 'prepare',
        src: 'prepare',
        input: ({ context }) => inputOf(context),
        onDone: { target: 'queued', actions: { type: 'takePlan', params: ({ event }) => event.output } },
        onError: { target: 'cancelling', actions: { type: 'fail', params: ({ event }) => faultOfEvent(event) } },
      },
      after: { prepareLimit: { target: 'cancelling', actions: limitIsOver('preparing', JOB_LIMITS.prepareMs) } },
    },
    queued: {
      entry: ['expectFirst', { type: 'spawn', params: firstTask }],
      on: {
        'task.done': { guard: 'isPending', target: 'running', actions: ['takeChunk', 'settle'] },
        pause: 'pausing',
      },
      after: { queueLimit: { target: 'cancelling', actions: limitIsOver('queued', JOB_LIMITS.queueMs) } },
    },
    running: {
      entry: ['expectOthers', { type: 'spawn', params: otherTasks }],
      always: { guard: 'isNothingPending', target: 'finishing' },
      on: {
        'task.done': [
          {
            guard: 'isLastPending',
            target: 'finishing',
            actions: ['takeChunk', { type: 'tell', params: stopOfTwin }, 'settleBoth'],
          },
          { guard: 'isPending', actions: ['takeChunk', { type: 'tell', params: stopOfTwin }, 'settleBoth'] },
        ],
        'task.slow': { guard: 'mayHaveTwin', actions: [{ type: 'spawn', params: chunkTwin }, 'expectTwin'] },
        'task.failed': { guard: 'hasOther', actions: 'settle' },
        'task.cancelled': { guard: 'hasOther', actions: 'settle' },
        pause: 'pausing',
      },
      after: { runLimit: { target: 'cancelling', actions: limitIsOver('running', JOB_LIMITS.collectMs) } },
    },
    finishing: {
      invoke: {
        id: 'finish',
        src: 'finish',
        input: ({ context }) => finishing(context),
        onDone: { target: 'completed', actions: { type: 'takeResult', params: ({ event }) => event.output } },
        onError: { target: 'cancelling', actions: { type: 'fail', params: ({ event }) => faultOfEvent(event) } },
      },
      after: { finishLimit: { target: 'cancelling', actions: limitIsOver('finishing', JOB_LIMITS.reduceMs) } },
    },
    /** What was under way will be computed anew: nothing of it may still run when the job is paused. */
    pausing: {
      entry: { type: 'tell', params: ({ context }) => cancellations(context.pending) },
      on: {
        ...SETTLING,
        'task.done': { guard: 'isPending', actions: ['takeChunk', 'settle'] },
      },
      always: { guard: 'isNothingPending', target: 'paused' },
      after: { pauseLimit: 'paused' },
    },
    paused: {
      entry: 'nextTake',
      on: { resume: [{ guard: 'isUnplanned', target: 'submitted' }, { target: 'resuming' }] },
      after: { pausedLimit: { target: 'cancelling', actions: limitIsOver('paused', JOB_LIMITS.pausedMs) } },
    },
    cancelling: {
      entry: { type: 'tell', params: ({ context }) => cancellations(context.pending) },
      on: {
        ...SETTLING,
        cancel: {},
      },
      always: [
        { guard: 'hasFailed', target: 'failed' },
        { guard: 'isNothingPending', target: 'cancelled' },
      ],
      after: { cancelLimit: { actions: 'stopWaiting' } },
    },
    completed: { type: 'final' },
    failed: { type: 'final' },
    cancelled: { type: 'final' },
  },
})

function outcomeOf({ fault, result }: BatchContext): Outcome {
  return { outcome: fault !== null ? 'failed' : result !== null ? 'completed' : 'cancelled' }
}

/** The version that an alias stood for when the job began is the job's from then on. */
function withPlan({ spec }: BatchContext, plan: BatchPlan): Partial<BatchContext> {
  const { model, chunks } = plan
  const exact = 'model' in spec && model !== undefined ? { ...spec, model } : spec
  return { plan, spec: exact, results: Array.from({ length: chunks }, () => null) }
}

function inputOf({ id, owner, spec }: BatchContext): BatchInput {
  return { id, owner, spec }
}

function finishing(context: BatchContext): FinishInput {
  return { ...inputOf(context), plan: planOf(context), chunks: context.results.filter((sha256) => sha256 !== null) }
}

function expected(inputs: readonly TaskInput[]): Pick<BatchContext, 'pending'> {
  return { pending: inputs.map(({ id }) => taskAddress(id)) }
}

function firstInput(context: BatchContext): TaskInput {
  return chunkInput(context, 0)
}

/** Of the chunks that are not there. */
function openInputs(context: BatchContext): readonly TaskInput[] {
  return context.results.flatMap((sha256, chunk) => (sha256 === null ? [chunkInput(context, chunk)] : []))
}

function firstTask({ context }: Args): readonly Spawn[] {
  return spawns([firstInput(context)])
}

function otherTasks({ context }: Args): readonly Spawn[] {
  return spawns(openInputs(context))
}

function chunkTwin({ context, event }: Args): readonly Spawn[] {
  return event.type === 'task.slow' ? twinOf(openInputs(context), originalOf(event.task), event.worker) : []
}

function stopOfTwin({ context, event }: Args): readonly Tell[] {
  return stopOfOther(context, taskOf(event))
}

function withChunk(context: BatchContext, event: JobEvent): Partial<BatchContext> {
  const result = event.type === 'task.done' ? chunkOf(event.output) : null
  if (event.type !== 'task.done' || result === null || context.results[result.chunk] !== null) return {}
  const { output, worker, fingerprint } = event
  return {
    results: context.results.with(result.chunk, result.sha256),
    workers: { ...context.workers, [worker]: (context.workers[worker] ?? 0) + 1 },
    fingerprint: context.fingerprint ?? fingerprint,
    mode: context.mode ?? (output.kind === 'map' ? output.mode : null),
    slowestMs: Math.max(context.slowestMs, output.elapsedMs),
  }
}
