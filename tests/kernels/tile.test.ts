import { beforeAll, expect, it } from 'vitest'
import { startBackend } from '../../kernels/mod.ts'
import type { Backend } from '../../kernels/mod.ts'
import { seededValues } from './models.ts'

let backend: Backend
beforeAll(async () => {
  backend = await startBackend('wasm')
})

it.each([
  [[3], [4]],
  [
    [2, 3],
    [1, 5],
  ],
  [
    [2, 1, 3],
    [3, 4, 2],
  ],
  [
    [1, 1, 2, 2],
    [2, 3, 1, 2],
  ],
])('the gradient of tiling %j by %j adds up all copies of a value', async (shape, repetitions) => {
  const { tf } = backend
  const tiled = shape.map((size, i) => size * repetitions[i]!)
  const weights = seededValues(
    tiled.reduce((a, b) => a * b),
    3,
  )
  const gradient = tf.grad((x) => tf.sum(tf.mul(tf.tile(x, repetitions), tf.tensor(weights, tiled))))(tf.ones(shape))
  // Each weight belongs to the value that its place in the tiled tensor is a copy of.
  const expected = new Float32Array(shape.reduce((a, b) => a * b))
  for (const [at, weight] of weights.entries()) {
    let rest = at
    let place = 0
    let step = 1
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      place += ((rest % tiled[axis]!) % shape[axis]!) * step
      rest = Math.floor(rest / tiled[axis]!)
      step *= shape[axis]!
    }
    expected[place]! += weight
  }
  for (const [i, value] of (await gradient.data()).entries()) expect(value).toBeCloseTo(expected[i]!, 4)
})
