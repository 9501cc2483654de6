/**
 * The reference: tfjs's own plain JavaScript back end. Complete and slow (9 images a second where `wasm` does
 * thousands); every other back end is checked against it.
 *
 * One of its kernels is mended here: the gradient of nearest-neighbour upsampling reads dy at the input's offsets, which
 * is wrong for every row of a batch but the first (tfjs 4.22; the wasm back end's own kernel is right).
 */
import type { NamedAttrMap, TensorInfo } from '@tensorflow/tfjs-core'
import type { BackendDriver } from '../backend.ts'
import { KernelError } from '../errors.ts'

export const cpuBackend: BackendDriver = {
  name: 'cpu',
  tfName: 'cpu',
  async start(tf) {
    await import('@tensorflow/tfjs-backend-cpu')
    await tf.setBackend('cpu')
    tf.unregisterKernel('ResizeNearestNeighborGrad', 'cpu')
    tf.registerKernel({
      kernelName: 'ResizeNearestNeighborGrad',
      backendName: 'cpu',
      kernelFunc: ({ inputs, attrs, backend }) => repeatGradient(backend as CpuBackend, inputs, attrs),
    })
    return { kernelVersion: 3, simd: false, threads: 1 }
  },
}

/** The part of tfjs's MathBackendCPU that its own kernels use. */
interface CpuBackend {
  data: { get(dataId: object): { values: Float32Array } }
  makeTensorInfo(shape: number[], dtype: 'float32', values: Float32Array): TensorInfo
}

/** Each input pixel takes the sum of the block that repeats it. Whole factors only, as UpSampling2D has them. */
function repeatGradient(
  backend: CpuBackend,
  { images, dy }: { images?: TensorInfo; dy?: TensorInfo },
  attrs: NamedAttrMap | undefined,
): TensorInfo {
  const [batch = 0, height = 0, width = 0, channels = 0] = images?.shape ?? []
  const [, outHeight = 0, outWidth = 0] = dy?.shape ?? []
  if (!dy || attrs?.['alignCorners'] === true || outHeight % height !== 0 || outWidth % width !== 0) {
    throw new KernelError('model.invalid', 'The cpu back end has the gradient of upsampling by whole factors only')
  }
  const { values } = backend.data.get(dy.dataId)
  const dx = new Float32Array(batch * height * width * channels)
  let from = 0
  for (let row = 0; row < batch * outHeight; row++) {
    // Rows of all images in one count: outHeight is a multiple of height, so the division finds the image too.
    const toRow = Math.floor(row / (outHeight / height)) * width
    for (let column = 0; column < outWidth; column++) {
      const to = (toRow + Math.floor(column / (outWidth / width))) * channels
      for (let c = 0; c < channels; c++) dx[to + c] = (dx[to + c] ?? 0) + (values[from++] ?? 0)
    }
  }
  return backend.makeTensorInfo([batch, height, width, channels], 'float32', dx)
}
