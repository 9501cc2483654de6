/**
 * What a training job computes, as pure functions of what it knows: the work of its next tasks. What their results make
 * of it stands in results.ts. The chart (job.ts) says when each of them happens, and nothing here knows of states or of
 * how a job is controlled.
 *
 * Invariant: the weights after round r follow from spec, seed and data alone: results are kept and reduced in replica
 * order, never in order of arrival, and a replica's optimiser goes on from its own state of the round before.
 */
import { evaluateTaskId, initialiseTaskId, roundTaskId, validateTaskId } from './address.ts'
import { lossLimitOf } from './divergence.ts'
import { finalCheckpoint, stepsOf } from './judgement.ts'
import type { JobSpec } from './spec.ts'
import { taskInput } from './task-input.ts'
import type { TaskInput } from './task-input.ts'
import { batchSizesOf, roundStepsOf } from './train-spec.ts'
import type { MetricSpec, StrategySpec } from './train-spec.ts'
import type { TrialOf } from './trial.ts'
import type { Blob, OutputOf, Recipe, Traffic, TrainingWork } from './work.ts'

export interface JobInput {
  readonly id: string
  readonly owner: string
  readonly spec: JobSpec
  /** A checkpoint of another job, from which this one goes on as that one would have. */
  readonly resume?: ResumePoint
  /** Where it is a trial of a sweep. */
  readonly trial?: TrialOf
}

export interface ResumePoint {
  readonly job: string
  readonly checkpoint: Checkpoint
  readonly fingerprint: string | null
  readonly firstLoss: number | null
  readonly rateFactor: number
}

/** What preparing finds out. */
export interface Plan {
  readonly recipe: Recipe
  readonly dataset: { readonly name: string; readonly version: number }
  readonly topology: Blob
  readonly pipeline: Blob
  /** The version of a model whose weights are the initial ones. */
  readonly start?: ModelRef & { readonly weights: string }
  /** Steps of one replica over all epochs. */
  readonly steps: number
  readonly validationExamples: number
  readonly testExamples: number
}

export interface Checkpoint {
  /** How many rounds and steps are done. */
  readonly round: number
  readonly step: number
  readonly weights: Blob
  /** Where the weights follow from those of the checkpoint before by a short delta. */
  readonly follows: { readonly weights: string; readonly update: string } | null
  /** sha256 of the outer optimiser's state; null for an average. */
  readonly outerState: string | null
  /** sha256 of each replica's optimiser state, in replica order; empty before the first round. */
  readonly optimizerStates: readonly string[]
  /** Of the round that led here; null of the initial weights. */
  readonly metrics: RoundMeans | null
}

/** Means over replicas and steps of a round. */
export interface RoundMeans {
  readonly loss: number
  readonly accuracy?: number
}

export interface ReduceInput {
  readonly job: string
  readonly round: number
  /** sha256 of the weights before the round. */
  readonly weights: string
  /** What each replica came to, in replica order, and what it counts. */
  readonly replicas: readonly Blob[]
  readonly shares: readonly number[]
  readonly strategy: StrategySpec
  readonly outerState: string | null
}

export interface ReduceOutput {
  readonly weights: Blob
  /** sha256 of the delta from the weights before; null where they are told whole. */
  readonly update: string | null
  readonly outerState: string | null
}

/** The slices' sums, in the order of the slices, become measures. */
export interface ScoreInput {
  readonly job: string
  readonly split: 'validation' | 'test'
  /** sha256 of each slice's sums. */
  readonly slices: readonly string[]
}

type Measures = { readonly [Metric in Exclude<MetricSpec, 'loss'>]?: number }

/** How good the model is. Absent is what does not apply: accuracy of values, R² of classes. */
export type Evaluation = Measures & {
  readonly loss: number
  readonly examples: number
  /** By class, and how often each class was taken for each; of few classes, the whole stands in the report. */
  readonly byClass?: readonly ClassMeasures[]
  readonly confusion?: readonly (readonly number[])[]
  /** The whole as JSON: with the measures of all classes and their confusion. */
  readonly report: Blob
}

export interface ClassMeasures {
  /** What the data calls the class; its code is its place. */
  readonly name?: string
  readonly examples: number
  readonly precision: number
  readonly recall: number
  readonly f1: number
  readonly auc?: number
}

/** What a model is registered of. */
export interface FinishedTraining {
  readonly plan: Plan
  readonly weights: Blob
  /** Of the workers that computed it. */
  readonly fingerprint: string | null
  readonly evaluation: Evaluation | null
  /** Of the same weights, on the validation split. */
  readonly validation: Evaluation | null
}

export type RegisterInput = JobInput & FinishedTraining

export interface ModelRef {
  readonly name: string
  readonly version: number
}

/** What a job knows of its training. */
export interface TrainingContext extends JobInput {
  readonly plan: Plan | null
  /** Of the present round or evaluation, by replica or slice; null until it is there. */
  readonly results: readonly (OutputOf<'round'> | OutputOf<'evaluate'> | null)[]
  /** How often the job has gone on after a pause: a round that is run again has new tasks. */
  readonly take: number
  /** Slot-milliseconds of all runs that brought a result. */
  readonly costMs: number
  /** The last round whose checkpoint was validated. */
  readonly validatedRound: number
  /** The newest last. */
  readonly checkpoints: readonly Checkpoint[]
  readonly reduced: ReduceOutput | null
  /** The slowest replica of the last round. */
  readonly slowestMs: number
  /** What a step took in the last round, on a worker like most. */
  readonly stepMs: number
  /** Of all rounds so far: time in kernels, and bytes that were moved. */
  readonly kernelMs: number
  readonly traffic: Traffic
  readonly metrics: RoundMeans | null
  /** Of the first step, mean over the replicas. */
  readonly firstLoss: number | null
  /** Restarts after a divergence, and what the learning rate is multiplied by since. */
  readonly generation: number
  readonly rateFactor: number
  /** The newest on the validation split, the best checkpoint by it, and how many have not been better since. */
  readonly validation: Evaluation | null
  readonly best: { readonly checkpoint: Checkpoint; readonly value: number; readonly validation: Evaluation } | null
  readonly stale: number
  readonly evaluation: Evaluation | null
  /** Worker → rounds that it has finished. */
  readonly workers: Readonly<Record<string, number>>
  /** The numerics fingerprint of the worker that made the initial weights: all others must have the same. */
  readonly fingerprint: string | null
  /** By replica: the worker that ran its last round, and has its optimiser state at hand. */
  readonly homes: Readonly<Record<string, string>>
}

/** Before anything is known. */
export const UNTRAINED: Omit<TrainingContext, keyof JobInput> = {
  plan: null,
  results: [],
  take: 0,
  costMs: 0,
  validatedRound: 0,
  checkpoints: [],
  reduced: null,
  slowestMs: 0,
  stepMs: 0,
  kernelMs: 0,
  traffic: { exchangeBytes: 0, stateBytes: 0 },
  metrics: null,
  firstLoss: null,
  generation: 0,
  rateFactor: 1,
  validation: null,
  best: null,
  stale: 0,
  evaluation: null,
  workers: {},
  fingerprint: null,
  homes: {},
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

type RecipeFindings = Pick<Recipe, 'topology' | 'manifest' | 'pipeline' | 'dataset'> & {
  readonly steps: number
  /** Class weights that balance the training split, where it has classes. */
  readonly balanced?: readonly number[] | null
}

/** What all work of a job has in common, from its spec and what preparing found. */
export function recipeOf({ train }: JobSpec, { steps, balanced = null, ...named }: RecipeFindings): Recipe {
  const { seed, loss, labelSmoothing, classWeights, optimizer, schedule, clip = null, strategy } = train
  return {
    ...named,
    seed,
    batchSizes: batchSizesOf(train),
    loss,
    labelSmoothing,
    classWeights: classWeights === 'balanced' ? balanced : (classWeights ?? null),
    optimizer,
    schedule: { steps, ...schedule },
    clip,
    strategy,
  }
}

export function roundsOf(context: TrainingContext): number {
  return Math.ceil(stepsOf(context) / roundStepsOf(context.spec.train.strategy))
}

export function initialInput(context: TrainingContext): TaskInput {
  const { recipe, start } = planOf(context)
  const from = start === undefined ? {} : { from: start.weights }
  return workInput(context, initialiseTaskId(context.id, context.take), { kind: 'initialise', recipe, ...from })
}

export function roundInputs(context: TrainingContext): readonly TaskInput[] {
  const { recipe, steps: stepsTotal } = planOf(context)
  const { round, step, weights, follows, optimizerStates } = lastCheckpoint(context)
  const steps = Math.min(roundStepsOf(context.spec.train.strategy), stepsTotal - step)
  return Array.from({ length: recipe.batchSizes.length }, (_, replica) =>
    workInput(context, roundTaskId(context.id, context.take, round, context.generation, replica), {
      kind: 'round',
      recipe,
      round,
      replica,
      stepStart: step,
      steps,
      stepsTotal,
      weights: weights.sha256,
      follows,
      optimizerState: optimizerStates[replica] ?? null,
      rateFactor: context.rateFactor,
      lossLimit: lossLimitOf(context),
    }),
  )
}

export function evaluateInputs(context: TrainingContext, split: 'validation' | 'test'): readonly TaskInput[] {
  const { recipe, testExamples, validationExamples } = planOf(context)
  const { round, weights } = split === 'test' ? finalCheckpoint(context) : lastCheckpoint(context)
  const slices = Math.min(recipe.batchSizes.length, split === 'test' ? testExamples : validationExamples)
  return Array.from({ length: slices }, (_, slice) => {
    const id =
      split === 'test'
        ? evaluateTaskId(context.id, context.take, slice)
        : validateTaskId(context.id, context.take, round, context.generation, slice)
    return workInput(context, id, { kind: 'evaluate', recipe, split, slice, slices, weights: weights.sha256 })
  })
}

function workInput(context: TrainingContext, id: string, work: TrainingWork): TaskInput {
  const { homes, spec } = context
  const home = work.kind === 'round' ? homes[work.replica] : work.kind === 'evaluate' ? homes[work.slice] : undefined
  return taskInput(context, {
    id,
    ...(spec.train.backend !== undefined && { backend: spec.train.backend }),
    ...(spec.gang === true && work.kind === 'round' && { gang: work.recipe.batchSizes.length }),
    data: work.recipe.manifest,
    ...(home !== undefined && { prefer: home }),
    work,
    expectedMs: work.kind === 'round' ? Math.round(context.stepMs * work.steps) : 0,
  })
}
