/**
 * The read model: what the API, the command line and the page show of a job, a worker and a model.
 * Pure data derived from snapshots; the projector writes it, the gateway answers with it.
 */
import type { PoolSettings } from './book.ts'
import type { JobSpec } from './spec.ts'
import type { Evaluation, RoundMeans } from './training.ts'
import type { Traffic } from './work.ts'

export type JobState =
  | 'submitted'
  | 'validating'
  | 'preparing'
  | 'waiting'
  | 'queued'
  | 'training'
  | 'evaluating'
  | 'scoring'
  | 'registering'
  | 'completed'
  | 'failed'
  | 'pausing'
  | 'paused'
  | 'cancelling'
  | 'cancelled'
  /** Of a trial: its sweep did not let it go on. */
  | 'stopped'

export interface JobView {
  readonly id: string
  readonly name: string
  readonly state: JobState
  /** The state inside `training`: dispatching, collecting, reducing, checkpointing. */
  readonly phase?: string
  readonly owner: string
  readonly spec: JobSpec
  readonly createdAt: number
  readonly changedAt: number
  readonly endedAt?: number
  /** How many transitions the job has made: the ETag. */
  readonly seq: number
  readonly progress: { readonly round: number; readonly rounds: number; readonly step: number; readonly steps: number }
  /** Mean over the replicas of the last round. */
  readonly metrics?: { readonly loss: number; readonly accuracy?: number }
  readonly evaluation?: Evaluation
  /** The newest on the validation split. */
  readonly validation?: Evaluation
  /** Those that can be restored, the oldest first. */
  readonly checkpoints: readonly CheckpointView[]
  /** Restarts with a lower learning rate, after the loss diverged. */
  readonly restarts?: number
  /** Of another job, from which this one went on. */
  readonly resumed?: { readonly job: string; readonly round: number }
  /** The sweep that it is a trial of. */
  readonly sweep?: {
    readonly id: string
    readonly trial: number
    /** The rung at which the sweep stopped it, the lowest being 1. */
    readonly stoppedAt?: number
  }
  /** Time in which workers computed its steps, all together. */
  readonly kernelMs?: number
  /** Bytes that its rounds moved between workers and the blob store. */
  readonly traffic?: Traffic
  /** What its runs have taken so far. */
  readonly slotSeconds?: number
  /** sha256 of the newest checkpoint's weights; of the final weights once the job is completed. */
  readonly weights?: string
  readonly model?: { readonly name: string; readonly version: number }
  /** Workers that have finished at least one round of this job, with how many. */
  readonly workers: Readonly<Record<string, number>>
  readonly error?: { readonly code: string; readonly message: string; readonly remedy?: string }
}

export interface CheckpointView {
  readonly round: number
  readonly step: number
  readonly weights: { readonly sha256: string; readonly sizeBytes: number }
  /** Means of the round that led here; absent of the initial weights. */
  readonly metrics?: RoundMeans
  /** The best so far, on the validation split. */
  readonly isBest?: true
}

/** One line of `job:<id>:metrics`: what a replica reports while it trains. */
export interface MetricLine {
  readonly at: number
  readonly round: number
  readonly replica: number
  readonly step: number
  readonly steps: number
  readonly loss: number
  readonly accuracy?: number
  readonly examplesPerS: number
  readonly worker: string
}

/** One line of `job:<id>:logs`. */
export interface LogLine {
  readonly at: number
  readonly level: 'info' | 'warn' | 'error'
  readonly source: string
  readonly message: string
}

/** A pool, as its scheduler sees it. */
export interface PoolView {
  readonly pool: string
  readonly settings: PoolSettings
  readonly slots: { readonly total: number; readonly used: number }
  /** Tasks and gangs that wait, by class. */
  readonly waiting: { readonly high: number; readonly normal: number; readonly low: number }
}

export interface WorkerView {
  readonly id: string
  readonly pool: string
  readonly state: 'idle' | 'busy' | 'draining' | 'gone'
  readonly slots: number
  readonly busy: number
  readonly backend: string
  readonly fingerprint: string
  readonly host: string
  readonly pid: number
  readonly joinedAt: number
  readonly tasks: readonly string[]
  readonly gpus: readonly Gpu[]
}

/** A GPU of a worker; what is not known of it is left out. */
export interface Gpu {
  readonly name: string
  readonly memoryBytes?: number
  readonly usedBytes?: number
  /** 0 to 1. */
  readonly utilisation?: number
}

/** How far a version has come on its way into use. */
export type Stage = 'none' | 'staging' | 'production' | 'archived'

export interface StageChange {
  readonly stage: Stage
  readonly at: number
  readonly by: string
  readonly note?: string
}

/** A name that points to one version of a model and can be moved, such as `champion`. */
export interface ModelAliasView {
  readonly name: string
  readonly alias: string
  /** Null once it was removed: its history stays. */
  readonly version: number | null
  /** Where it has pointed, oldest first. */
  readonly history: readonly { readonly version: number | null; readonly at: number; readonly by: string }[]
}

/** One named value of each row of a dataset. */
export interface ColumnView {
  readonly name: string
  readonly dtype: 'uint8' | 'int32' | 'float32'
  /** Of one row: [] for one number, [28, 28, 1] for a grey image. */
  readonly shape: readonly number[]
  /** Of a category: how many classes it has, and their names where the source had names. */
  readonly categories?: { readonly count: number; readonly names?: readonly string[] }
}

/** A column as predictions are asked with it. */
export interface FeatureView extends ColumnView {
  /** Null will do: preprocessing says what to make of a missing value. */
  readonly nullable?: true
}

export interface DatasetView {
  readonly name: string
  readonly version: number
  /** Whose it is: the first version's owner adds the others. */
  readonly owner: string
  /** The blob of its manifest. */
  readonly manifest: string
  /** Hash of its rows and columns: the same content is the same version. */
  readonly content: string
  readonly format: string
  readonly rows: number
  /** Of all its shards. */
  readonly sizeBytes: number
  readonly createdAt: number
}

export interface ColumnStatisticsView {
  readonly count: number
  readonly missing: number
  readonly min: readonly number[]
  readonly max: readonly number[]
  readonly mean: readonly number[]
  readonly std: readonly number[]
  readonly distinct?: number
  readonly classes?: readonly number[]
}

export interface SplitView {
  readonly count: number
  readonly shards: number
  /** Of each column, in the order of the columns. */
  readonly statistics: readonly ColumnStatisticsView[]
}

export interface DatasetDetailView extends DatasetView {
  readonly columns: readonly ColumnView[]
  readonly target: string | null
  readonly splits: { readonly train: SplitView; readonly validation?: SplitView; readonly test?: SplitView }
  /** How rows were dealt; null where the files had a split of their own. */
  readonly split: { readonly seed: number; readonly validation: number; readonly test: number } | null
  readonly skipped: number
  readonly files: readonly {
    readonly name: string
    readonly sizeBytes: number
    readonly sha256: string
    readonly split?: 'train' | 'validation' | 'test'
  }[]
}

export interface ModelVersionView {
  readonly name: string
  readonly version: number
  readonly stage: Stage
  /** Every change of the stage, oldest first. */
  readonly stages: readonly StageChange[]
  readonly createdAt: number
  readonly job: string
  /** The sweep whose best trial it is. */
  readonly sweep?: { readonly id: string; readonly trial: number }
  readonly owner: string
  /** The version of TensorFleet that trained it. */
  readonly code: string
  /** The numerics of the workers that computed it; it begins with their back end. */
  readonly fingerprint?: string
  /** The version that its training started from. */
  readonly parent?: { readonly name: string; readonly version: number }
  readonly dataset: { readonly name: string; readonly version: number }
  readonly weights: { readonly sha256: string; readonly sizeBytes: number }
  readonly topology: { readonly sha256: string; readonly sizeBytes: number }
  readonly preprocess: NonNullable<JobSpec['preprocess']>
  /** The columns that predictions are asked with, as the dataset has them, in this order. */
  readonly features: readonly FeatureView[]
  /** What preprocessing makes of them: the model's own input, and the target's column (null for an autoencoder). */
  readonly input: { readonly shape: readonly number[]; readonly dtype: string }
  readonly targetColumn: string | null
  readonly target:
    | { readonly kind: 'class'; readonly classes: number; readonly names?: readonly string[] }
    | {
        readonly kind: 'value'
        readonly shape: readonly number[]
        /** Where the target was scaled for training: the data's value is the model's × factor + offset. */
        readonly unscale?: { readonly factor: number; readonly offset: number }
      }
  /** The fitted preprocessing, as JSON. */
  readonly pipeline: { readonly sha256: string; readonly sizeBytes: number }
  /** On the test split. */
  readonly evaluation?: Evaluation
  readonly validation?: Evaluation
  readonly spec: JobSpec
}
