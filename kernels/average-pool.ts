/**
 * The gradient of average pooling over padded images, which tfjs has wrong on all back ends but TensorFlow's (4.22): its
 * forward kernels divide by the pixels that a window really covers, its gradients by the window's size, so that at the
 * rim they come out too small. Scaling dy by the one over the other mends all of them alike.
 */
import type { Tensor } from '@tensorflow/tfjs-core'
import type { Tf } from './tfjs.ts'

export function mendAveragePool(tf: Tf): void {
  const wrong = tf.getGradient('AvgPool')
  tf.unregisterGradient('AvgPool')
  tf.registerGradient({
    ...wrong,
    gradFunc: (dy, saved, attrs) => {
      const [x] = saved
      if (tf.getBackend() === 'tensorflow' || Array.isArray(dy) || x?.shape.length !== 4) {
        return wrong.gradFunc(dy, saved, attrs)
      }
      const info = tf.backend_util.computePool2DInfo(
        x.shape as [number, number, number, number], attrs['filterSize'] as number, attrs['strides'] as number, 1,
        attrs['pad'] as 'same', attrs['dimRoundingMode'] as 'floor',
      ) // prettier-ignore
      const rows = covered(info.outHeight, info.strideHeight, info.filterHeight, info.padInfo.top, info.inHeight)
      const columns = covered(info.outWidth, info.strideWidth, info.filterWidth, info.padInfo.left, info.inWidth)
      const size = info.filterHeight * info.filterWidth
      const factors = Float32Array.from(rows.flatMap((height) => columns.map((width) => size / (height * width))))
      if (factors.every((factor) => factor === 1)) return wrong.gradFunc(dy, saved, attrs)
      const scaled: Tensor = tf.mul(dy, tf.tensor4d(factors, [1, info.outHeight, info.outWidth, 1]))
      return wrong.gradFunc(scaled, saved, attrs)
    },
  })
}

/** Along one dimension: how much of the image each window covers. */
function covered(windows: number, stride: number, size: number, before: number, length: number): number[] {
  return Array.from({ length: windows }, (_, i) => {
    const start = i * stride - before
    return Math.max(1, Math.min(start + size, length) - Math.max(start, 0))
  })
}
