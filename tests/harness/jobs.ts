/** Jobs on the real MNIST that are short enough to be run often. */
import type { JobView } from '../../machines/views.ts'

export const ROUNDS = 15

/** Long enough to be disturbed in the middle. */
export const smallJob = {
  name: 'small',
  dataset: { name: 'mnist' },
  preprocess: [{ op: 'scale', factor: 1 / 255 }],
  model: {
    class_name: 'Sequential',
    config: {
      name: 'small',
      layers: [
        { class_name: 'Conv2D', config: { filters: 8, kernel_size: 3, activation: 'relu' } },
        { class_name: 'MaxPooling2D', config: { pool_size: 2 } },
        { class_name: 'Flatten', config: {} },
        { class_name: 'Dense', config: { units: 10, activation: 'softmax' } },
      ],
    },
  },
  train: {
    replicas: 2,
    epochs: 1,
    batchSize: 200,
    seed: 7,
    loss: 'sparseCategoricalCrossentropy',
    optimizer: { kind: 'adam', learningRate: 0.001 },
    strategy: { kind: 'diloco', localSteps: 10, outer: { kind: 'average' } },
  },
} as const

/** Over in a second or two. */
export const tinyJob = {
  ...smallJob,
  name: 'tiny',
  model: {
    class_name: 'Sequential',
    config: {
      name: 'tiny',
      layers: [
        { class_name: 'Flatten', config: {} },
        { class_name: 'Dense', config: { units: 10, activation: 'softmax' } },
      ],
    },
  },
  train: { ...smallJob.train, batchSize: 1_000 },
} as const

/** A network with everything in it that could make a round depend on what it should not: masks, statistics, clipping. */
const delicate = {
  ...smallJob,
  model: {
    class_name: 'Sequential',
    config: {
      name: 'delicate',
      layers: [
        { class_name: 'Conv2D', config: { filters: 4, kernel_size: 3, strides: 2, activation: 'relu' } },
        { class_name: 'BatchNormalization', config: {} },
        { class_name: 'Flatten', config: {} },
        { class_name: 'Dropout', config: { rate: 0.3 } },
        { class_name: 'Dense', config: { units: 10, activation: 'softmax' } },
      ],
    },
  },
} as const

const train = {
  ...smallJob.train,
  replicas: 3,
  batchSize: [100, 50, 100],
  optimizer: { kind: 'adamw', learningRate: 0.002 },
  schedule: { kind: 'cosine', warmupSteps: 10 },
  clip: { kind: 'norm', max: 1 },
} as const

/** Ten rounds or so each. */
export const strategyJobs = {
  sync: { ...delicate, name: 'sync', train: { ...train, strategy: { kind: 'sync', roundSteps: 25 } } },
  'diloco with int8 deltas': {
    ...delicate,
    name: 'diloco',
    train: { ...train, strategy: { kind: 'diloco', localSteps: 25, outer: { kind: 'nesterov' }, precision: 'int8' } },
  },
} as const

export const DISTURBED_ROUND = 4

/** What must not depend on what happened on the way. */
export function resultOf({ state, weights, progress, evaluation, error }: JobView): object {
  return { state, weights, progress, evaluation, error }
}
