/**
 * A small fixed computation whose gradients' bits tell two numerics apart: convolution, depthwise convolution, pooling,
 * products, exponentials, all over seeded numbers. It takes a few milliseconds and leaves nothing behind.
 */
import type { Tensor, Tensor4D } from '@tensorflow/tfjs-core'
import { deriveSeed, random } from './random.ts'
import type { Tf } from './tfjs.ts'

export async function probeGradients(tf: Tf): Promise<Float32Array[]> {
  const seeded = (name: string, shape: number[]): Tensor => {
    const generator = random(deriveSeed('probe', name))
    const size = shape.reduce((a, b) => a * b, 1)
    return tf.tensor(
      Float32Array.from({ length: size }, () => generator.nextUnit() - 0.5),
      shape,
    )
  }
  const gradients = tf.tidy(() => {
    const x = seeded('x', [5, 13, 11, 3])
    const inputs = [seeded('conv', [3, 3, 3, 7]), seeded('depthwise', [3, 3, 7, 2]), seeded('dense', [2 * 2 * 14, 9])]
    const { grads } = tf.valueAndGrads((conv: Tensor, depthwise: Tensor, dense: Tensor) => {
      const a = tf.relu(tf.conv2d(x as Tensor4D, conv as Tensor4D, 1, 'same'))
      const b = tf.maxPool(a, 2, 2, 'valid') as Tensor4D
      const c = tf.tanh(tf.depthwiseConv2d(b, depthwise as Tensor4D, 2, 'valid'))
      const logits = tf.matMul(tf.reshape(c, [5, -1]), dense)
      return tf.sum(tf.square(tf.softmax(tf.sigmoid(logits))))
    })(inputs)
    return grads
  })
  const values = await Promise.all(gradients.map(async (gradient) => Float32Array.from(await gradient.data())))
  tf.dispose(gradients)
  return values
}
