/**
 * Pooling is linear, so its gradient is its transpose: ⟨dy, pool(x)⟩ = ⟨gradient(dy), x⟩ for every x and dy. tfjs's own
 * gradient breaks this law at a padded image's rim.
 */
import { beforeAll, expect, it } from 'vitest'
import { startBackend } from '../../kernels/mod.ts'
import type { Backend } from '../../kernels/mod.ts'
import { seededValues } from './models.ts'

let cpu: Backend
beforeAll(async () => {
  cpu = await startBackend('cpu')
})

it.each([
  { size: 3, strides: 2, pad: 'same' as const },
  { size: 3, strides: 1, pad: 'same' as const },
  { size: 2, strides: 2, pad: 'same' as const },
  { size: 3, strides: 2, pad: 'valid' as const },
])(
  'the gradient of average pooling ($size, strides $strides, $pad) is its transpose',
  async ({ size, strides, pad }) => {
    const { tf } = cpu
    const shape: [number, number, number, number] = [2, 9, 7, 3]
    const x = tf.tensor4d(seededValues(2 * 9 * 7 * 3, 1), shape)
    const pooled = tf.avgPool(x, size, strides, pad)
    const dy = tf.tensor4d(seededValues(pooled.size, 2), pooled.shape)
    const dx = tf.grad((image) => tf.avgPool(image as typeof x, size, strides, pad))(x, dy)
    const [left] = await tf.sum(tf.mul(dy, pooled)).data()
    const [right] = await tf.sum(tf.mul(dx, x)).data()
    expect(right).toBeCloseTo(left ?? Number.NaN, 4)
  },
)
