/**
 * A job's specification: what a user writes, in YAML or JSON. The gateway's schema validates it at the edge (and
 * publishes it in OpenAPI); from there on it is trusted. Here stand the types alone, since charts do no I/O.
 */
import type { TrainSpec } from './train-spec.ts'

export interface JobSpec {
  readonly name: string
  readonly dataset: DatasetRef
  /** Left out only beside a version to start from: then it is that version's, with the constants fitted there. */
  readonly preprocess?: readonly PreprocessStep[]
  readonly model: ModelSpec
  readonly train: TrainSpec
  /** Where the finished model goes; the job's name when left out. */
  readonly register?: { readonly name: string }
  readonly pool: string
  readonly priority: Priority
  /** How many slots each of its tasks takes; 1 when left out. */
  readonly slots?: number
  /** All replicas of a round start together, or none. */
  readonly gang?: boolean
  readonly limits?: JobLimits
  /** What must have ended before this one begins. */
  readonly after?: readonly Predecessor[]
}

export type ModelSpec =
  /** Keras-style JSON topology: what `model.toJSON()` and Keras write. */
  | { readonly class_name: string; readonly config: unknown }
  /** A version of a model, which the training goes on from: `name@version`; an alias stands there only until admission, or until it begins where it comes after others. */
  | { readonly from: string }

export interface JobLimits {
  /** Seconds from its first round to its end, without its pauses. */
  readonly time?: number
  /** Slot-seconds of all its runs that brought a result. */
  readonly cost?: number
}

export interface Predecessor {
  /** A job that trains, a batch job or a sweep. */
  readonly job: string
  /** What follows when it ends without having completed: this job fails as well, or begins all the same. */
  readonly otherwise: 'fail' | 'begin'
}

export type Priority = 'high' | 'normal' | 'low'

export interface DatasetRef {
  readonly name: string
  /** The newest when left out. */
  readonly version?: number
  /** The column to predict; the dataset's own when left out, null for the model's own input (an autoencoder). */
  readonly target?: string | null
  /** The columns to predict from; all others when left out. */
  readonly features?: readonly string[]
}

interface OnColumns {
  /** The columns that the step applies to; all that it suits when left out. */
  readonly columns?: readonly string[]
}

/** kernels/data/preprocess.ts says what each does. */
export type PreprocessStep =
  | ({ readonly op: 'scale'; readonly factor: number } & OnColumns)
  | ({ readonly op: 'shift'; readonly by: number } & OnColumns)
  | ({ readonly op: 'standardise' } & OnColumns)
  | ({ readonly op: 'minmax'; readonly min?: number; readonly max?: number } & OnColumns)
  | ({ readonly op: 'impute'; readonly with: 'mean' | 'mode' | number } & OnColumns)
  | ({ readonly op: 'onehot' } & OnColumns)
  | ({ readonly op: 'resize'; readonly height: number; readonly width: number } & OnColumns)
  | ({ readonly op: 'flatten' } & OnColumns)
  | ({
      readonly op: 'augment'
      readonly flip?: 'horizontal' | 'vertical' | 'both'
      readonly shift?: number
      readonly rotate?: number
      readonly crop?: number
      readonly brightness?: number
      readonly noise?: number
    } & OnColumns)
  | { readonly op: 'shuffle'; readonly rows: 'auto' | 'full' | 'windowed' | 'none' }
