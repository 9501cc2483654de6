/**
 * How a model is trained, as a user writes it: the part `train` of a job's specification. All of it is checked at the
 * edge (gateway/schemas/train-spec.ts), where the defaults are filled in; from there on it is trusted.
 */
export interface TrainSpec {
  /** Logical replicas: they fix the computation, and any number of workers carries it out. */
  readonly replicas: number
  readonly epochs: number
  /** Examples of a step, of every replica or of each. */
  readonly batchSize: number | readonly number[]
  readonly seed: number
  readonly loss: LossSpec
  readonly labelSmoothing: number
  /** By class: what an example's loss is multiplied by; `balanced`: so that all classes weigh the same in training. */
  readonly classWeights?: readonly number[] | 'balanced'
  readonly optimizer: OptimizerSpec
  readonly schedule: ScheduleSpec
  readonly clip?: ClipSpec
  readonly strategy: StrategySpec
  /** How the model does on the validation split, every so many rounds; never when left out. */
  readonly validation?: { readonly everyRounds: number }
  /** Ends the training when it gets no better, and takes the best checkpoint. */
  readonly earlyStopping?: EarlyStoppingSpec
  readonly checkpoints: CheckpointSpec
  /** Only workers with this back end: `webgpu` for a GPU. That of the first one that is free when left out. */
  readonly backend?: string
  readonly onDivergence: DivergenceSpec
}

export type MetricSpec =
  | 'loss' | 'accuracy' | 'top2' | 'top3' | 'top5' | 'top10' | 'precision' | 'recall' | 'f1' | 'auc' | 'mae' | 'rmse' | 'r2' // prettier-ignore

export interface EarlyStoppingSpec {
  readonly metric: MetricSpec
  /** Validations in a row without an improvement of at least `minDelta`. */
  readonly patience: number
  readonly minDelta: number
}

/** Which checkpoints stay, beside the newest and the best by validation. */
export interface CheckpointSpec {
  readonly everyRounds: number
  readonly keepLast: number
}

/** What follows when a loss is no number any more, or more than `lossFactor` times that of the first step. */
export interface DivergenceSpec {
  /** Goes on from the last good checkpoint, with the learning rate multiplied by `factor`; at most so many times. */
  readonly restart: boolean
  readonly factor: number
  readonly times: number
  readonly lossFactor: number
}

export type LossSpec =
  | 'sparseCategoricalCrossentropy'
  | 'categoricalCrossentropy'
  | 'binaryCrossentropy'
  | 'meanSquaredError'
  | 'meanAbsoluteError'
  | 'huber'

export type OptimizerSpec =
  | { readonly kind: 'sgd'; readonly learningRate: number; readonly momentum: number; readonly nesterov: boolean }
  | ({ readonly kind: 'adam' } & AdamSpec)
  | ({ readonly kind: 'adamw'; readonly weightDecay: number } & AdamSpec)

interface AdamSpec {
  readonly learningRate: number
  readonly beta1: number
  readonly beta2: number
  readonly epsilon: number
}

/** How the learning rate moves over the job's steps. */
export type ScheduleSpec = { readonly warmupSteps: number } & (
  | { readonly kind: 'constant' }
  /** `steps` are those of the whole job when left out. */
  | { readonly kind: 'cosine'; readonly steps?: number; readonly finalFactor: number }
  | { readonly kind: 'step' | 'exponential'; readonly everySteps: number; readonly factor: number }
)

export interface ClipSpec {
  readonly kind: 'norm' | 'value'
  readonly max: number
}

export type StrategySpec =
  /** One replica. A round is `roundSteps` steps: what lies between two checkpoints. */
  | { readonly kind: 'local'; readonly roundSteps: number }
  /** The gradients of every step are averaged; a round is a window of `roundSteps` steps. */
  | { readonly kind: 'sync'; readonly roundSteps: number }
  /** Each replica takes `localSteps` steps on its own; then `outer` makes one set of weights of them (2311.08105). */
  | {
      readonly kind: 'diloco'
      readonly localSteps: number
      readonly outer: OuterSpec
      /** Of what replicas tell and are told: below float32 it is a difference, with error feedback. */
      readonly precision: 'float32' | 'float16' | 'int8'
    }

export type OuterSpec =
  | { readonly kind: 'average' }
  | { readonly kind: 'nesterov'; readonly learningRate: number; readonly momentum: number }

/** Of each replica. */
export function batchSizesOf({ batchSize, replicas }: Pick<TrainSpec, 'batchSize' | 'replicas'>): readonly number[] {
  return typeof batchSize === 'number' ? Array.from({ length: replicas }, () => batchSize) : batchSize
}

/** Steps of each replica in one round. */
export function roundStepsOf(strategy: StrategySpec): number {
  return strategy.kind === 'diloco' ? strategy.localSteps : strategy.roundSteps
}
