/**
 * The gradient of tile, mended for all back ends: tfjs 4.22 adds up one slice per repetition, and layer normalisation
 * repeats its scale for every step of every row, so that a batch of 128 sequences of 28 steps took 3,584 slices. The same
 * sum is one reduction per repeated axis: dy seen as [before, repetitions, size, after], summed over the repetitions.
 */
import type { GradConfig, Tensor } from '@tensorflow/tfjs-core'
import type { Tf } from './tfjs.ts'

/** Replaces tfjs's gradient. Called again, it replaces its own. */
export function mendTile(tf: Tf): void {
  tf.unregisterGradient('Tile')
  const gradient: GradConfig = {
    kernelName: 'Tile',
    inputsToSave: ['x'],
    gradFunc: (dy, saved, attrs) => {
      const [x] = saved
      const repetitions = attrs['reps'] as unknown as readonly number[] // what tfjs's kernel of that name takes
      return { x: () => tileGradient(tf, dy as Tensor, x?.shape ?? [], repetitions) }
    },
  }
  tf.registerGradient(gradient)
}

function tileGradient(tf: Tf, dy: Tensor, shape: readonly number[], repetitions: readonly number[]): Tensor {
  let sum = dy
  for (const [axis, times] of repetitions.entries()) {
    if (times === 1) continue
    const before = product(shape.slice(0, axis))
    const after = product(sum.shape.slice(axis + 1))
    sum = tf.sum(tf.reshape(sum, [before, times, shape[axis] ?? 1, after]), 1)
    // The axes before this one have their own size again, those after it are still repeated.
    sum = tf.reshape(sum, [...shape.slice(0, axis + 1), ...dy.shape.slice(axis + 1)])
  }
  return tf.reshape(sum, [...shape])
}

function product(sizes: readonly number[]): number {
  return sizes.reduce((result, size) => result * size, 1)
}
