/**
 * What a GPU computes the same way twice. TensorFlow is told to (`DETERMINISTIC`), and then refuses the two gradients below,
 * for which it has only kernels that add in the order of arrival. Here they are composed of operations that it has an order
 * for: slower, and right to the last bit on every run, which is what lets a task be done again elsewhere.
 */
import type { NamedAttrMap, Tensor, TensorInfo } from '@tensorflow/tfjs-core'
import type { Tf } from '../../tfjs.ts'

type Shape4 = [number, number, number, number]

/**
 * For the process's environment, before CUDA's libraries are loaded: one order of adding, the same algorithm each time instead
 * of the one that was fastest just now, and whole float32 where newer GPUs would round to TensorFloat-32 (a thousandth, ten
 * times the numerical suite's tolerance).
 */
export const DETERMINISTIC = { TF_DETERMINISTIC_OPS: '1', TF_CUDNN_USE_AUTOTUNE: '0', NVIDIA_TF32_OVERRIDE: '0' }

/** [filterHeight, filterWidth, channels, multiplier]: for each place of the filter, what it saw times what came of it. */
export function depthwiseFilterGradient(tf: Tf, x: TensorInfo, dy: TensorInfo, attrs: NamedAttrMap): Tensor {
  const filterShape = attrs['filterShape'] as Shape4
  const info = tf.backend_util.computeConv2DInfo(
    x.shape as Shape4, filterShape, attrs['strides'] as number, attrs['dilations'] as number, attrs['pad'] as 'same',
    attrs['dimRoundingMode'] as 'floor', true,
  ) // prettier-ignore
  const { batchSize, inChannels, outHeight, outWidth, strideHeight, strideWidth, padInfo } = info
  const [filterHeight, filterWidth, , multiplier] = filterShape
  const [height, width] = [(outHeight - 1) * strideHeight + 1, (outWidth - 1) * strideWidth + 1]
  return tf.tidy(() => {
    const missing = (reach: number, size: number, before: number): number => Math.max(0, reach - size - before)
    const image = tf.pad(x as Tensor, [
      [0, 0],
      [padInfo.top, missing(height + filterHeight - 1, info.inHeight, padInfo.top)],
      [padInfo.left, missing(width + filterWidth - 1, info.inWidth, padInfo.left)],
      [0, 0],
    ])
    const places = batchSize * outHeight * outWidth
    const came = tf.reshape(dy as Tensor, [places, inChannels, multiplier])
    const taps = Array.from({ length: filterHeight * filterWidth }, (_, tap) => {
      const [i, j] = [Math.floor(tap / filterWidth), tap % filterWidth]
      const saw = tf.stridedSlice(
        image,
        [0, i, j, 0],
        [batchSize, i + height, j + width, inChannels],
        [1, strideHeight, strideWidth, 1],
      )
      return tf.sum(tf.mul(tf.reshape(saw, [places, inChannels, 1]), came), 0)
    })
    return tf.reshape(tf.stack(taps), filterShape)
  })
}

/** [batch, height, width, channels] of an image that was repeated: the sum over what each pixel became. */
export function repeatGradient(tf: Tf, images: TensorInfo, dy: TensorInfo): Tensor | null {
  const [batch, height, width, channels] = images.shape as Shape4
  const [, tall, wide] = dy.shape as Shape4
  if (tall % height !== 0 || wide % width !== 0) return null
  return tf.tidy(() =>
    tf.sum(tf.reshape(dy as Tensor, [batch, height, tall / height, width, wide / width, channels]), [2, 4]),
  )
}
