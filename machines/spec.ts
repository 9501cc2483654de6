/**
 * A job's specification: what a user writes, in YAML or JSON. The gateway's schema validates it at the edge (and
 * publishes it in OpenAPI); from there on it is trusted. Here stand the types alone, since charts do no I/O.
 */
import type { TrainSpec } from './train-spec.ts'

export interface JobSpec {
  readonly name: string
  readonly dataset: DatasetRef
  readonly preprocess: readonly PreprocessStep[]
  /** Keras-style JSON topology: what `model.toJSON()` and Keras write. */
  readonly model: { readonly class_name: string; readonly config: unknown }
  readonly train: TrainSpec
  /** Where the finished model goes; the job's name when left out. */
  readonly register: { readonly name: string }
  readonly pool: string
  readonly priority: Priority
}

export type Priority = 'high' | 'normal' | 'low'

export interface DatasetRef {
  readonly name: string
  /** The newest when left out. */
  readonly version?: number
}

export interface PreprocessStep {
  readonly op: 'scale'
  readonly factor: number
}
