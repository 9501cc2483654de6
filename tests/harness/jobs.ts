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

/** What must not depend on what happened on the way. */
export function resultOf({ state, weights, progress, evaluation, error }: JobView): object {
  return { state, weights, progress, evaluation, error }
}
