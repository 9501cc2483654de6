/**
 * tfjs's WebAssembly back end: XNNPACK's forward kernels, in one thread (Node gives it no more), with the gradient
 * kernels that it lacks or has only slowly brought by the files in `wasm/`.
 */
import type { BackendDriver } from '../backend.ts'
import { registerGradientKernels } from './wasm/gradients.ts'

export const wasmBackend: BackendDriver = {
  name: 'wasm',
  tfName: 'wasm',
  async start(tf) {
    await import('@tensorflow/tfjs-backend-wasm')
    await tf.setBackend('wasm')
    registerGradientKernels(tf)
    const simd = await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT')
    return { kernelVersion: 3, simd: simd === true, threads: 1 }
  },
}
