/**
 * A job: a deterministic computation over content-addressed blobs, from a spec to a registered model. It prepares what
 * its tasks need, runs rounds of one task per replica, makes one set of weights of their results, and keeps a
 * checkpoint of every round; whatever dies, it goes on from there with the same numbers.
 *
 *   submitted → validating → preparing → queued
 *     → training (initialising → (dispatching → collecting → reducing → checkpointing)*)
 *     → evaluating → registering → completed
 *   any of them → cancelling → cancelled | failed
 *
 * Invariants:
 * 1. The weights after round r follow from spec, seed and data alone: results are kept and reduced in replica order,
 *    never in order of arrival, and a replica's optimiser goes on from its own state of the round before.
 * 2. `pending` names exactly the tasks that have not told how they ended; a word of any other task is not heard.
 * 3. Every state that waits has a limit, and `cancel` leads out of every state within `JOB_LIMITS.cancelMs`.
 * 4. A job ends in completed, failed or cancelled, and its scheduler hears `job.ended` once.
 *
 * Pausing will stand between checkpointing and dispatching: what a job needs to go on is in its last checkpoint.
 */
import { assign, setup } from 'xstate'
import { evaluateTaskId, initialiseTaskId, roundTaskId, schedulerAddress, taskAddress } from './address.ts'
import { effect } from './effect.ts'
import { faultOfEvent, timeoutFault } from './fault.ts'
import type { Fault } from './fault.ts'
import { JOB_LIMITS } from './limits.ts'
import type { SchedulerEvent } from './scheduler.ts'
import type { JobSpec } from './spec.ts'
import { runLimitMs } from './task.ts'
import type { TaskEvent, TaskInput } from './task.ts'
import { vocabulary } from './vocabulary.ts'
import type { Spawn, Tell } from './vocabulary.ts'
import type { Blob, OutputOf, Recipe, Work, WorkOutput } from './work.ts'

export interface JobInput {
  readonly id: string
  readonly owner: string
  readonly spec: JobSpec
}

/** What preparing finds out. */
export interface Plan {
  readonly recipe: Recipe
  readonly dataset: { readonly name: string; readonly version: number }
  readonly topology: Blob
  /** Steps of one replica over all epochs. */
  readonly steps: number
  readonly testExamples: number
}

export interface Checkpoint {
  /** How many rounds and steps are done. */
  readonly round: number
  readonly step: number
  readonly weights: Blob
  /** sha256 of the outer optimiser's state; null for an average. */
  readonly outerState: string | null
  /** sha256 of each replica's optimiser state, in replica order; empty before the first round. */
  readonly optimizerStates: readonly string[]
}

export interface ReduceInput {
  readonly job: string
  readonly round: number
  /** sha256 of the weights before the round, and of each replica's after it, in replica order. */
  readonly weights: string
  readonly replicas: readonly string[]
  readonly outer: JobSpec['train']['strategy']['outer']
  readonly outerState: string | null
}

export interface ReduceOutput {
  readonly weights: Blob
  readonly outerState: string | null
}

export interface Evaluation {
  readonly loss: number
  readonly accuracy?: number
  readonly examples: number
}

export interface RegisterInput extends JobInput {
  readonly plan: Plan
  readonly weights: Blob
  readonly evaluation: Evaluation | null
}

export interface ModelRef {
  readonly name: string
  readonly version: number
}

export interface JobContext extends JobInput {
  readonly plan: Plan | null
  readonly pending: readonly string[]
  /** Of the present round or evaluation, by replica or slice; null until it is there. */
  readonly results: readonly (OutputOf<'round'> | OutputOf<'evaluate'> | null)[]
  /** The newest last. */
  readonly checkpoints: readonly Checkpoint[]
  readonly reduced: ReduceOutput | null
  /** The slowest replica of the last round. */
  readonly slowestMs: number
  readonly metrics: { readonly loss: number; readonly accuracy?: number } | null
  readonly evaluation: Evaluation | null
  readonly model: ModelRef | null
  /** Worker → rounds that it has finished. */
  readonly workers: Readonly<Record<string, number>>
  readonly fault: Fault | null
}

export type JobEvent =
  | { readonly type: 'cancel' }
  | { readonly type: 'task.started'; readonly task: string; readonly worker: string }
  | { readonly type: 'task.done'; readonly task: string; readonly worker: string; readonly output: WorkOutput }
  | { readonly type: 'task.failed'; readonly task: string; readonly fault: Fault }
  | { readonly type: 'task.cancelled'; readonly task: string }

type Args = { readonly context: JobContext; readonly event: JobEvent }

export const jobMachine = setup({
  types: { context: {} as JobContext, events: {} as JobEvent, input: {} as JobInput },
  actors: {
    validate: effect<JobInput, null>(),
    prepare: effect<JobInput, Plan>(),
    reduce: effect<ReduceInput, ReduceOutput>(),
    register: effect<RegisterInput, ModelRef>(),
  },
  actions: {
    ...vocabulary,
    takePlan: assign((_, plan: Plan) => ({ plan })),
    expectInitial: assign({ pending: ({ context }) => [taskAddress(initialiseTaskId(context.id))] }),
    expectRound: assign(({ context }) => expected(roundInputs(context))),
    expectEvaluation: assign(({ context }) => expected(evaluateInputs(context))),
    takeInitial: assign(({ event }) => withInitial(event)),
    takeResult: assign(({ context, event }) => withResult(context, event)),
    takeReduced: assign((_, reduced: ReduceOutput) => ({ reduced })),
    checkpoint: assign(({ context }) => withCheckpoint(context)),
    mergeEvaluation: assign({ evaluation: ({ context }) => evaluationOf(context.results) }),
    takeModel: assign((_, model: ModelRef) => ({ model })),
    settle: assign({ pending: ({ context, event }) => context.pending.filter((task) => task !== taskOf(event)) }),
    stopWaiting: assign({ pending: [] }),
    takeFault: assign({ fault: ({ context, event }) => (event.type === 'task.failed' ? event.fault : context.fault) }),
    fail: assign((_, fault: Fault) => ({ fault })),
  },
  guards: {
    isPending: ({ context, event }) => context.pending.includes(taskOf(event)),
    isLastPending: ({ context, event }) => context.pending.length === 1 && context.pending[0] === taskOf(event),
    isNothingPending: ({ context }) => context.pending.length === 0,
    hasFailed: ({ context }) => context.pending.length === 0 && context.fault !== null,
    hasMoreRounds: ({ context }) => lastCheckpoint(context).step < planOf(context).steps,
    hasTestExamples: ({ context }) => planOf(context).testExamples > 0,
  },
  delays: {
    validateLimit: JOB_LIMITS.validateMs,
    prepareLimit: JOB_LIMITS.prepareMs,
    queueLimit: JOB_LIMITS.queueMs,
    initialiseLimit: JOB_LIMITS.initialiseMs,
    collectLimit: JOB_LIMITS.collectMs,
    reduceLimit: JOB_LIMITS.reduceMs,
    evaluateLimit: JOB_LIMITS.evaluateMs,
    registerLimit: JOB_LIMITS.registerMs,
    cancelLimit: JOB_LIMITS.cancelMs,
  },
}).createMachine({
  id: 'job',
  context: ({ input }) => ({
    ...input,
    plan: null,
    pending: [],
    results: [],
    checkpoints: [],
    reduced: null,
    slowestMs: 0,
    metrics: null,
    evaluation: null,
    model: null,
    workers: {},
    fault: null,
  }),
  initial: 'submitted',
  on: {
    cancel: '.cancelling',
    'task.failed': { guard: 'isPending', target: '.cancelling', actions: ['settle', 'takeFault'] },
    // Only who was told to stop says so; a task that did without being asked cannot be waited for.
    'task.cancelled': {
      guard: 'isPending',
      target: '.cancelling',
      actions: ['settle', { type: 'fail', params: taskWasCancelled }],
    },
  },
  states: {
    submitted: { always: 'validating' },
    validating: {
      invoke: {
        id: 'validate',
        src: 'validate',
        input: inputOf,
        onDone: 'preparing',
        onError: { target: 'cancelling', actions: { type: 'fail', params: ({ event }) => faultOfEvent(event) } },
      },
      after: { validateLimit: { target: 'cancelling', actions: limitIsOver('validating', JOB_LIMITS.validateMs) } },
    },
    preparing: {
      invoke: {
        id: 'prepare',
        src: 'prepare',
        input: inputOf,
        onDone: { target: 'queued', actions: { type: 'takePlan', params: ({ event }) => event.output } },
        onError: { target: 'cancelling', actions: { type: 'fail', params: ({ event }) => faultOfEvent(event) } },
      },
      after: { prepareLimit: { target: 'cancelling', actions: limitIsOver('preparing', JOB_LIMITS.prepareMs) } },
    },
    queued: {
      entry: ['expectInitial', { type: 'spawn', params: initialTask }],
      on: {
        'task.started': { guard: 'isPending', target: 'training' },
        'task.done': { guard: 'isPending', target: 'training.dispatching', actions: ['takeInitial', 'settle'] },
      },
      after: { queueLimit: { target: 'cancelling', actions: limitIsOver('queued', JOB_LIMITS.queueMs) } },
    },
    training: {
      initial: 'initialising',
      states: {
        initialising: {
          on: { 'task.done': { guard: 'isPending', target: 'dispatching', actions: ['takeInitial', 'settle'] } },
          after: {
            initialiseLimit: {
              target: '#job.cancelling',
              actions: limitIsOver('initialising', JOB_LIMITS.initialiseMs),
            },
          },
        },
        dispatching: {
          entry: ['expectRound', { type: 'spawn', params: roundTasks }],
          always: 'collecting',
        },
        collecting: {
          on: {
            'task.done': [
              { guard: 'isLastPending', target: 'reducing', actions: ['takeResult', 'settle'] },
              { guard: 'isPending', actions: ['takeResult', 'settle'] },
            ],
          },
          after: {
            collectLimit: { target: '#job.cancelling', actions: limitIsOver('collecting', JOB_LIMITS.collectMs) },
          },
        },
        reducing: {
          invoke: {
            id: 'reduce',
            src: 'reduce',
            input: ({ context }) => reduction(context),
            onDone: { target: 'checkpointing', actions: { type: 'takeReduced', params: ({ event }) => event.output } },
            onError: {
              target: '#job.cancelling',
              actions: { type: 'fail', params: ({ event }) => faultOfEvent(event) },
            },
          },
          after: { reduceLimit: { target: '#job.cancelling', actions: limitIsOver('reducing', JOB_LIMITS.reduceMs) } },
        },
        checkpointing: {
          entry: 'checkpoint',
          always: [
            { guard: 'hasMoreRounds', target: 'dispatching' },
            { guard: 'hasTestExamples', target: '#job.evaluating' },
            { target: '#job.registering' },
          ],
        },
      },
    },
    evaluating: {
      entry: ['expectEvaluation', { type: 'spawn', params: evaluateTasks }],
      on: {
        'task.done': [
          { guard: 'isLastPending', target: 'registering', actions: ['takeResult', 'settle', 'mergeEvaluation'] },
          { guard: 'isPending', actions: ['takeResult', 'settle'] },
        ],
      },
      after: { evaluateLimit: { target: 'cancelling', actions: limitIsOver('evaluating', JOB_LIMITS.evaluateMs) } },
    },
    registering: {
      invoke: {
        id: 'register',
        src: 'register',
        input: ({ context }) => registration(context),
        onDone: { target: 'completed', actions: { type: 'takeModel', params: ({ event }) => event.output } },
        onError: { target: 'cancelling', actions: { type: 'fail', params: ({ event }) => faultOfEvent(event) } },
      },
      after: { registerLimit: { target: 'cancelling', actions: limitIsOver('registering', JOB_LIMITS.registerMs) } },
    },
    /** Also the way of a job that fails: nothing of it may still run when it has ended. */
    cancelling: {
      entry: { type: 'tell', params: cancellations },
      on: {
        cancel: {},
        'task.done': { guard: 'isPending', actions: 'settle' },
        'task.failed': { guard: 'isPending', actions: 'settle' },
        'task.cancelled': { guard: 'isPending', actions: 'settle' },
      },
      always: [
        { guard: 'hasFailed', target: 'failed' },
        { guard: 'isNothingPending', target: 'cancelled' },
      ],
      after: { cancelLimit: { actions: 'stopWaiting' } },
    },
    completed: { type: 'final', entry: { type: 'tell', params: ended } },
    failed: { type: 'final', entry: { type: 'tell', params: ended } },
    cancelled: { type: 'final', entry: { type: 'tell', params: ended } },
  },
})

/** The last checkpoint of a job that has one: from its initial weights on, every job has. */
export function lastCheckpoint(context: JobContext): Checkpoint {
  const checkpoint = context.checkpoints.at(-1)
  if (checkpoint === undefined) throw new Error(`Job ${context.id} trains without a checkpoint`)
  return checkpoint
}

export function planOf(context: JobContext): Plan {
  if (context.plan === null) throw new Error(`Job ${context.id} trains without a plan`)
  return context.plan
}

export function roundsOf(context: JobContext): number {
  return context.plan === null ? 0 : Math.ceil(context.plan.steps / context.spec.train.strategy.localSteps)
}

function taskOf(event: JobEvent): string {
  return 'task' in event ? event.task : ''
}

function inputOf({ context }: { readonly context: JobContext }): JobInput {
  return { id: context.id, owner: context.owner, spec: context.spec }
}

function taskInput(context: JobContext, id: string, home: number, work: Work): TaskInput {
  return {
    id,
    job: context.id,
    owner: context.owner,
    pool: context.spec.pool,
    priority: context.spec.priority,
    home: String(home),
    work,
    runLimitMs: runLimitMs(context.slowestMs),
  }
}

function initialTask({ context }: Args): readonly Spawn[] {
  const { recipe } = planOf(context)
  return spawns([taskInput(context, initialiseTaskId(context.id), 0, { kind: 'initialise', recipe })])
}

function roundInputs(context: JobContext): readonly TaskInput[] {
  const { recipe, steps: stepsTotal } = planOf(context)
  const { round, step, weights, optimizerStates } = lastCheckpoint(context)
  const steps = Math.min(context.spec.train.strategy.localSteps, stepsTotal - step)
  return Array.from({ length: recipe.replicas }, (_, replica) =>
    taskInput(context, roundTaskId(context.id, round, replica), replica, {
      kind: 'round',
      recipe,
      round,
      replica,
      stepStart: step,
      steps,
      stepsTotal,
      weights: weights.sha256,
      optimizerState: optimizerStates[replica] ?? null,
    }),
  )
}

function evaluateInputs(context: JobContext): readonly TaskInput[] {
  const { recipe, testExamples } = planOf(context)
  const weights = lastCheckpoint(context).weights.sha256
  const slices = Math.min(recipe.replicas, testExamples)
  return Array.from({ length: slices }, (_, slice) =>
    taskInput(context, evaluateTaskId(context.id, slice), slice, { kind: 'evaluate', recipe, slice, slices, weights }),
  )
}

function roundTasks({ context }: Args): readonly Spawn[] {
  return spawns(roundInputs(context))
}

function evaluateTasks({ context }: Args): readonly Spawn[] {
  return spawns(evaluateInputs(context))
}

function spawns(inputs: readonly TaskInput[]): readonly Spawn[] {
  return inputs.map((input) => ({ to: taskAddress(input.id), input }))
}

function expected(inputs: readonly TaskInput[]): Pick<JobContext, 'pending' | 'results'> {
  return { pending: inputs.map(({ id }) => taskAddress(id)), results: inputs.map(() => null) }
}

/** The initial weights are the checkpoint before the first round. */
function withInitial(event: JobEvent): Partial<JobContext> {
  if (event.type !== 'task.done' || event.output.kind !== 'initialise') return {}
  const { weights } = event.output
  return { checkpoints: [{ round: 0, step: 0, weights, outerState: null, optimizerStates: [] }] }
}

function withResult(context: JobContext, event: JobEvent): Partial<JobContext> {
  if (event.type !== 'task.done' || event.output.kind === 'initialise') return {}
  const { output, worker } = event
  const place = output.kind === 'round' ? output.replica : output.slice
  const results = context.results.with(place, output)
  if (output.kind === 'evaluate') return { results }
  return { results, workers: { ...context.workers, [worker]: (context.workers[worker] ?? 0) + 1 } }
}

function resultsOf<Kind extends 'round' | 'evaluate'>(
  results: JobContext['results'],
  kind: Kind,
): readonly OutputOf<Kind>[] {
  return results.filter((result): result is OutputOf<Kind> => result?.kind === kind)
}

function reduction(context: JobContext): ReduceInput {
  const { round, weights, outerState } = lastCheckpoint(context)
  return {
    job: context.id,
    round,
    weights: weights.sha256,
    replicas: resultsOf(context.results, 'round').map((result) => result.weights.sha256),
    outer: context.spec.train.strategy.outer,
    outerState,
  }
}

function withCheckpoint(context: JobContext): Partial<JobContext> {
  const { reduced } = context
  if (reduced === null) throw new Error(`Job ${context.id} has no weights to keep`)
  const { round, step } = lastCheckpoint(context)
  const results = resultsOf(context.results, 'round')
  const checkpoint: Checkpoint = {
    round: round + 1,
    step: Math.min(planOf(context).steps, step + context.spec.train.strategy.localSteps),
    weights: reduced.weights,
    outerState: reduced.outerState,
    optimizerStates: results.map(({ optimizerState }) => optimizerState.sha256),
  }
  const accuracies = results.flatMap(({ accuracy }) => accuracy ?? [])
  return {
    checkpoints: [...context.checkpoints, checkpoint].slice(-JOB_LIMITS.checkpointsKept),
    reduced: null,
    results: [],
    slowestMs: Math.max(...results.map(({ elapsedMs }) => elapsedMs)),
    metrics: {
      loss: mean(results.map(({ loss }) => loss)),
      ...(accuracies.length > 0 && { accuracy: mean(accuracies) }),
    },
  }
}

/** The slices' sums, added in the order of the slices. */
function evaluationOf(results: JobContext['results']): Evaluation {
  const slices = resultsOf(results, 'evaluate')
  const examples = sum(slices.map((slice) => slice.examples))
  const hasAccuracy = slices.every(({ correct }) => correct !== undefined)
  return {
    loss: sum(slices.map(({ lossSum }) => lossSum)) / examples,
    examples,
    ...(hasAccuracy && { accuracy: sum(slices.map(({ correct }) => correct ?? 0)) / examples }),
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

function mean(values: readonly number[]): number {
  return sum(values) / values.length
}

function registration(context: JobContext): RegisterInput {
  const { id, owner, spec, evaluation } = context
  return { id, owner, spec, plan: planOf(context), weights: lastCheckpoint(context).weights, evaluation }
}

function cancellations({ context }: Args): readonly Tell[] {
  return context.pending.map((to) => ({ to, event: { type: 'cancel' } satisfies TaskEvent }))
}

function ended({ context }: Args): Tell {
  const event: SchedulerEvent = { type: 'job.ended', job: context.id }
  return { to: schedulerAddress(context.spec.pool), event }
}

function limitIsOver(state: string, limitMs: number): { readonly type: 'fail'; readonly params: Fault } {
  return { type: 'fail', params: timeoutFault(`job.${state}-timeout`, `The job's state "${state}"`, limitMs) }
}

function taskWasCancelled({ event }: Args): Fault {
  return {
    code: 'task.cancelled',
    message: `${taskOf(event)} was cancelled, though its job was not`,
    remedy: 'give-up',
  }
}
