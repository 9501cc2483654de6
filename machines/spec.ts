/**
 * A job's specification: what a user writes, in YAML or JSON. The gateway's schema validates it at the edge (and
 * publishes it in OpenAPI); from there on it is trusted. Here stand the types alone, since charts do no I/O.
 */
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

export interface TrainSpec {
  /** Logical replicas: they fix the computation, and any number of workers carries it out. */
  readonly replicas: number
  readonly epochs: number
  readonly batchSize: number
  readonly seed: number
  readonly loss: 'sparseCategoricalCrossentropy' | 'meanSquaredError'
  readonly optimizer: OptimizerSpec
  readonly strategy: StrategySpec
}

export type OptimizerSpec =
  | { readonly kind: 'sgd'; readonly learningRate: number; readonly momentum: number }
  | { readonly kind: 'adam'; readonly learningRate: number }
  | { readonly kind: 'adamw'; readonly learningRate: number; readonly weightDecay: number }

/** Each replica takes `localSteps` steps on its own; then `outer` makes one set of weights of them (DiLoCo, 2311.08105). */
export interface StrategySpec {
  readonly kind: 'diloco'
  readonly localSteps: number
  readonly outer:
    | { readonly kind: 'average' }
    | { readonly kind: 'nesterov'; readonly learningRate: number; readonly momentum: number }
}
