/**
 * Work is what a task carries to a worker: a pure function of content-addressed inputs, small enough to stand in a
 * message. Every tensor is named by its sha256; a worker that has the blobs needs nothing else.
 */
import type { ClipSpec, LossSpec, OptimizerSpec, ScheduleSpec, StrategySpec } from './train-spec.ts'

/** Bytes in the blob store. */
export interface Blob {
  readonly sha256: string
  readonly sizeBytes: number
}

/** Bytes between workers and the blob store: what replicas must exchange, and what is moved so that others could go on. */
export interface Traffic {
  readonly exchangeBytes: number
  readonly stateBytes: number
}

/** A schedule whose end is known. */
export type Schedule = ScheduleSpec & { readonly steps: number }

export type SplitName = 'train' | 'validation' | 'test'

/** A model over a dataset. */
export interface ModelRecipe {
  /** sha256 of the model's Keras-style JSON. */
  readonly topology: string
  /** sha256 of the dataset's manifest. */
  readonly manifest: string
  /** sha256 of the fitted pipeline: which columns the model takes, and its preprocessing with all constants. */
  readonly pipeline: string
  /** `name@version`, for messages. */
  readonly dataset: string
}

export interface EvaluateRecipe extends ModelRecipe {
  /** Rows of a step, of each replica: their number is the number of replicas. */
  readonly batchSizes: readonly number[]
  readonly loss: LossSpec
}

/** What all work of a training job has in common; fixed when the job is prepared. */
export interface Recipe extends EvaluateRecipe {
  readonly seed: number
  readonly labelSmoothing: number
  readonly classWeights: readonly number[] | null
  readonly optimizer: OptimizerSpec
  readonly schedule: Schedule
  readonly clip: ClipSpec | null
  readonly strategy: StrategySpec
}

export type Work =
  | {
      readonly kind: 'initialise'
      readonly recipe: Recipe
      /** sha256 of the weights to start from; by the seed when left out. */
      readonly from?: string
    }
  | {
      readonly kind: 'round'
      readonly recipe: Recipe
      readonly round: number
      readonly replica: number
      /** The job's step at which the round starts, counted from 0, and how many it takes. */
      readonly stepStart: number
      readonly steps: number
      /** All steps of the job, for progress. */
      readonly stepsTotal: number
      readonly weights: string
      /** Where these weights follow from others by a short delta: what a worker that has those need bring alone. */
      readonly follows: { readonly weights: string; readonly update: string } | null
      /** This replica's optimiser after the round before; null in the first. */
      readonly optimizerState: string | null
      /** What the learning rate is multiplied by: less than 1 after a training that diverged was restarted. */
      readonly rateFactor: number
      /** A loss above this has exploded; null before the first one is known. */
      readonly lossLimit: number | null
    }
  | {
      readonly kind: 'evaluate'
      readonly recipe: EvaluateRecipe
      readonly split: SplitName
      readonly slice: number
      readonly slices: number
      readonly weights: string
    }
  /** Some rows of a kernel job's output; the recipe is a blob, since a function may be long. */
  | {
      readonly kind: 'map'
      readonly recipe: string
      readonly chunk: number
      readonly start: number
      readonly rows: number
    }
  /** What a model says of some rows of a split. */
  | {
      readonly kind: 'predict'
      readonly recipe: ModelRecipe
      readonly split: SplitName
      readonly weights: string
      readonly format: PredictFormat
      readonly chunk: number
      readonly start: number
      readonly rows: number
    }

export type PredictFormat = 'npy' | 'csv' | 'jsonl'

/** Work of a training job. */
export type TrainingWork = Extract<Work, { kind: 'initialise' | 'round' | 'evaluate' }>

export type WorkOutput = (
  | { readonly kind: 'initialise'; readonly weights: Blob }
  | {
      readonly kind: 'round'
      readonly round: number
      readonly replica: number
      /** Whole, or a delta to those at the round's start. */
      readonly weights: Blob
      readonly optimizerState: Blob
      /** Time in which its steps were computed: what is left of `elapsedMs` is orchestration. */
      readonly kernelMs: number
      /** What was moved for it between worker and blob store. */
      readonly moved: Traffic
      /** Mean over the round; of its first step. */
      readonly loss: number
      readonly firstLoss: number
      readonly accuracy?: number
      readonly examples: number
    }
  | {
      readonly kind: 'evaluate'
      readonly slice: number
      /** The slice's sums (kernels/metrics.ts), as JSON. */
      readonly sums: Blob
    }
  | {
      readonly kind: 'map'
      readonly chunk: number
      readonly rows: number
      /** The elements, float32, row-major. */
      readonly blob: Blob
      /** What gpu.js ran on. */
      readonly mode: string
    }
  | {
      readonly kind: 'predict'
      readonly chunk: number
      /** Float32, row-major, or lines of text. */
      readonly blob: Blob
    }
) & { readonly elapsedMs: number }

export type OutputOf<Kind extends WorkOutput['kind']> = Extract<WorkOutput, { kind: Kind }>
