/**
 * What a training job computes, as pure functions of what it knows: the work of its next tasks, and what their results
 * make of it. The chart (job.ts) says when each of them happens, and nothing here knows of states or of how a job is
 * controlled.
 *
 * Invariant: the weights after round r follow from spec, seed and data alone: results are kept and reduced in replica
 * order, never in order of arrival, and a replica's optimiser goes on from its own state of the round before.
 */
import { evaluateTaskId, initialiseTaskId, roundTaskId } from './address.ts'
import { JOB_LIMITS } from './limits.ts'
import type { JobSpec } from './spec.ts'
import { runLimitMs } from './task.ts'
import type { TaskInput } from './task.ts'
import { batchSizesOf, roundStepsOf } from './train-spec.ts'
import type { OuterSpec } from './train-spec.ts'
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
  readonly outer: OuterSpec
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

/** What a job knows of its training. */
export interface TrainingContext extends JobInput {
  readonly plan: Plan | null
  /** Of the present round or evaluation, by replica or slice; null until it is there. */
  readonly results: readonly (OutputOf<'round'> | OutputOf<'evaluate'> | null)[]
  /** The newest last. */
  readonly checkpoints: readonly Checkpoint[]
  readonly reduced: ReduceOutput | null
  /** The slowest replica of the last round. */
  readonly slowestMs: number
  readonly metrics: { readonly loss: number; readonly accuracy?: number } | null
  readonly evaluation: Evaluation | null
  /** Worker → rounds that it has finished. */
  readonly workers: Readonly<Record<string, number>>
}

/** Before anything is known. */
export const UNTRAINED: Omit<TrainingContext, keyof JobInput> = {
  plan: null,
  results: [],
  checkpoints: [],
  reduced: null,
  slowestMs: 0,
  metrics: null,
  evaluation: null,
  workers: {},
}

/** The last checkpoint of a job that has one: from its initial weights on, every job has. */
export function lastCheckpoint(context: TrainingContext): Checkpoint {
  const checkpoint = context.checkpoints.at(-1)
  if (checkpoint === undefined) throw new Error(`Job ${context.id} trains without a checkpoint`)
  return checkpoint
}

export function planOf(context: TrainingContext): Plan {
  if (context.plan === null) throw new Error(`Job ${context.id} trains without a plan`)
  return context.plan
}

/** What all work of a job has in common, from its spec and what preparing found. */
export function recipeOf(
  { train, preprocess }: JobSpec,
  { topology, manifest, steps }: { readonly topology: string; readonly manifest: string; readonly steps: number },
): Recipe {
  const { seed, loss, labelSmoothing, classWeights = null, optimizer, schedule, clip = null } = train
  return {
    topology,
    manifest,
    preprocess,
    seed,
    batchSizes: batchSizesOf(train),
    loss,
    labelSmoothing,
    classWeights,
    optimizer,
    schedule: { steps, ...schedule },
    clip,
  }
}

export function roundsOf(context: TrainingContext): number {
  return context.plan === null ? 0 : Math.ceil(context.plan.steps / roundStepsOf(context.spec.train.strategy))
}

export function initialInput(context: TrainingContext): TaskInput {
  const { recipe } = planOf(context)
  return taskInput(context, initialiseTaskId(context.id), 0, { kind: 'initialise', recipe })
}

export function roundInputs(context: TrainingContext): readonly TaskInput[] {
  const { recipe, steps: stepsTotal } = planOf(context)
  const { round, step, weights, optimizerStates } = lastCheckpoint(context)
  const steps = Math.min(roundStepsOf(context.spec.train.strategy), stepsTotal - step)
  return Array.from({ length: recipe.batchSizes.length }, (_, replica) =>
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

export function evaluateInputs(context: TrainingContext): readonly TaskInput[] {
  const { recipe, testExamples } = planOf(context)
  const weights = lastCheckpoint(context).weights.sha256
  const slices = Math.min(recipe.batchSizes.length, testExamples)
  return Array.from({ length: slices }, (_, slice) =>
    taskInput(context, evaluateTaskId(context.id, slice), slice, { kind: 'evaluate', recipe, slice, slices, weights }),
  )
}

function taskInput(context: TrainingContext, id: string, home: number, work: Work): TaskInput {
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

/** The initial weights are the checkpoint before the first round. */
export function withInitial(output: WorkOutput): Partial<TrainingContext> {
  if (output.kind !== 'initialise') return {}
  return { checkpoints: [{ round: 0, step: 0, weights: output.weights, outerState: null, optimizerStates: [] }] }
}

/** A result stands at its replica's or slice's place, whenever it comes. */
export function withResult(context: TrainingContext, worker: string, output: WorkOutput): Partial<TrainingContext> {
  if (output.kind === 'initialise') return {}
  const place = output.kind === 'round' ? output.replica : output.slice
  const results = context.results.with(place, output)
  if (output.kind === 'evaluate') return { results }
  return { results, workers: { ...context.workers, [worker]: (context.workers[worker] ?? 0) + 1 } }
}

function resultsOf<Kind extends 'round' | 'evaluate'>(
  results: TrainingContext['results'],
  kind: Kind,
): readonly OutputOf<Kind>[] {
  return results.filter((result): result is OutputOf<Kind> => result?.kind === kind)
}

export function reduction(context: TrainingContext): ReduceInput {
  const { strategy } = context.spec.train
  const { round, weights, outerState } = lastCheckpoint(context)
  return {
    job: context.id,
    round,
    weights: weights.sha256,
    replicas: resultsOf(context.results, 'round').map((result) => result.weights.sha256),
    outer: strategy.kind === 'diloco' ? strategy.outer : { kind: 'average' }, // of one replica: itself
    outerState,
  }
}

export function withCheckpoint(context: TrainingContext): Partial<TrainingContext> {
  const { reduced } = context
  if (reduced === null) throw new Error(`Job ${context.id} has no weights to keep`)
  const { round, step } = lastCheckpoint(context)
  const results = resultsOf(context.results, 'round')
  const checkpoint: Checkpoint = {
    round: round + 1,
    step: Math.min(planOf(context).steps, step + roundStepsOf(context.spec.train.strategy)),
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
export function evaluationOf(results: TrainingContext['results']): Evaluation {
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

export function registration(context: TrainingContext): RegisterInput {
  const { id, owner, spec, evaluation } = context
  return { id, owner, spec, plan: planOf(context), weights: lastCheckpoint(context).weights, evaluation }
}
