import { beforeAll, describe, expect, it } from 'vitest'
import { LOSSES, startBackend } from '../../kernels/mod.ts'
import type { Backend, LossName, Objective, TargetSpec } from '../../kernels/mod.ts'
import { expectedOutputs, lossSum, lossTensor, rowWeights } from '../../kernels/loss.ts'
import { seededValues } from './models.ts'

const CLASSES: TargetSpec = { kind: 'class', classes: 3 }
const targets = Float32Array.of(2, 0, 1, 1)

describe.each(['cpu', 'wasm'] as const)('losses on %s', (name) => {
  let backend: Backend
  beforeAll(async () => {
    backend = await startBackend(name)
  })

  const lossOf = (loss: LossName, outputs: Float32Array, expected: Float32Array, weights?: Float32Array): number => {
    const { tf } = backend
    return tf.tidy(() => {
      const tensor = (values: Float32Array, width: number) => tf.tensor(values, [values.length / width, width])
      const width = outputs.length / 4
      return lossTensor(tf, loss, tensor(outputs, width), tensor(expected, width), weights && tensor(weights, 1)).dataSync()[0] ?? 0 // prettier-ignore
    })
  }

  it.each(LOSSES)('%s as tensors is what it is in plain arithmetic', (loss) => {
    const outputs = seededValues(12, 3, 0.05, 0.95)
    // Differences on both sides of huber's bend.
    const expected = loss === 'huber' ? seededValues(12, 4, -3, 3) : seededValues(12, 4, 0, 1)
    expect(lossOf(loss, outputs, expected)).toBeCloseTo(lossSum(loss, outputs, expected, 4) / 4, 5)
  })

  it('of huber has the difference as its gradient, cut at 1', async () => {
    const { tf } = backend
    const gradient = tf.grad((x) => lossTensor(tf, 'huber', x, tf.zeros([4, 1])))(
      tf.tensor([[0.5], [-0.25], [3], [-9]]),
    )
    expect([...(await gradient.data())]).toEqual([0.125, -0.0625, 0.25, -0.25])
  })

  it('with class weights multiplies what an example adds', () => {
    const objective: Objective = { loss: 'sparseCategoricalCrossentropy', classWeights: [1, 0, 5] }
    const outputs = seededValues(12, 3, 0.05, 0.95)
    const expected = expectedOutputs(targets, 4, CLASSES, objective)
    const alone = (row: number): number =>
      lossSum(objective.loss, outputs.slice(row * 3, row * 3 + 3), expected.slice(row * 3, row * 3 + 3), 1)
    const weights = rowWeights(targets, objective)
    expect(lossOf(objective.loss, outputs, expected, weights)).toBeCloseTo((5 * alone(0) + alone(1)) / 4, 5)
  })
})

describe('what outputs are compared with', () => {
  it('is one-hot for classes, and softer with label smoothing', () => {
    const smooth = expectedOutputs(targets, 4, CLASSES, { loss: 'categoricalCrossentropy', labelSmoothing: 0.3 })
    expect([...smooth.subarray(0, 3)].map((x) => Number(x.toFixed(4)))).toEqual([0.1, 0.1, 0.8])
    const binary = expectedOutputs(Float32Array.of(0, 1), 2, { kind: 'class', classes: 2 }, { loss: 'binaryCrossentropy', labelSmoothing: 0.2 }) // prettier-ignore
    expect([...binary].map((x) => Number(x.toFixed(4)))).toEqual([0.1, 0.9])
  })
})
