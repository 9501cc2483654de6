/**
 * The reference: tfjs's own plain JavaScript back end. Complete and slow (9 images a second where `wasm` does
 * thousands); every other back end is checked against it.
 */
import type { BackendDriver } from '../backend.ts'

export const cpuBackend: BackendDriver = {
  name: 'cpu',
  async start(tf) {
    await import('@tensorflow/tfjs-backend-cpu')
    await tf.setBackend('cpu')
    return { kernelVersion: 1, simd: false, threads: 1 }
  },
}
