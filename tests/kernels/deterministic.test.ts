/**
 * The gradients that a GPU gets in place of TensorFlow's own, on the processor beside those of the cpu back end: whoever has a
 * GPU runs the numerical suite on it.
 */
import type { NamedAttrMap, Tensor, Tensor4D } from '@tensorflow/tfjs-core'
import { describe, expect, it } from 'vitest'
import { depthwiseFilterGradient, repeatGradient } from '../../kernels/backends/tensorflow/deterministic.ts'
import { startBackend } from '../../kernels/mod.ts'
import { seededValues } from './models.ts'
import { difference } from './numerics.ts'

const { tf } = await startBackend('cpu')

const seeded = (seed: number, shape: number[]): Tensor =>
  tf.tensor(seededValues(shape.reduce((a, b) => a * b), seed, -1, 1), shape) // prettier-ignore

describe('the ordered gradient', () => {
  it.each([
    { strides: [1, 1], pad: 'valid', filterShape: [3, 3, 3, 2] },
    { strides: [1, 1], pad: 'same', filterShape: [3, 2, 3, 1] },
    { strides: [2, 2], pad: 'same', filterShape: [3, 3, 3, 2] },
    { strides: [2, 3], pad: 'valid', filterShape: [2, 4, 3, 1] },
    { strides: [3, 3], pad: 'same', filterShape: [1, 1, 3, 2] },
  ])('of a depthwise filter is the right one: $strides $pad $filterShape', ({ strides, pad, filterShape }) => {
    const attrs = { strides, pad, filterShape, dilations: [1, 1] } as unknown as NamedAttrMap // tfjs types no lists of it
    const x = seeded(1, [2, 9, 7, 3])
    const forward = tf.depthwiseConv2d(
      x as Tensor4D,
      seeded(2, filterShape) as Tensor4D,
      strides as [number, number],
      pad as 'same',
    ) // as they are
    const dy = seeded(3, forward.shape)
    const usual = tf.engine().runKernel('DepthwiseConv2dNativeBackpropFilter', { x, dy }, attrs) as Tensor // it has one output
    const ours = depthwiseFilterGradient(tf, x, dy, attrs)
    expect(ours.shape).toEqual(usual.shape)
    expect(difference('filter', ours.dataSync(), usual.dataSync())).toEqual([])
  })

  it('of repeated pixels is the right one, and that of others is left to TensorFlow', () => {
    const images = seeded(1, [2, 3, 4, 2])
    const dy = seeded(2, [2, 6, 12, 2])
    const usual = tf.engine().runKernel('ResizeNearestNeighborGrad', { images, dy }, { alignCorners: false }) as Tensor // as above
    expect(difference('images', repeatGradient(tf, images, dy)!.dataSync(), usual.dataSync())).toEqual([])
    expect(repeatGradient(tf, images, seeded(2, [2, 5, 12, 2]))).toBeNull()
  })
})
