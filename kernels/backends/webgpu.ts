/**
 * A GPU by WebGPU: the npm package `webgpu` (Dawn, over Vulkan, Metal or D3D12) under tfjs's own back end, which has all
 * kernels that our layers need.
 *
 * `webgpu` takes a real GPU or fails. Software that pretends to be one (SwiftShader, llvmpipe) computes right and slower
 * than `cpu`, so it is a back end of its own, `webgpu-software`, for tests and for whoever asks for it by name.
 */
import type { create, globals } from 'webgpu'
import type { BackendDriver } from '../backend.ts'
import { KernelError } from '../errors.ts'
import type { Tf } from '../tfjs.ts'

let dawn: { create: typeof create; globals: typeof globals } | undefined

export const webgpuBackend: BackendDriver = { name: 'webgpu', tfName: 'webgpu', load, start: (tf) => start(tf, true) }
export const softwareGpuBackend: BackendDriver = {
  name: 'webgpu-software',
  tfName: 'webgpu',
  load,
  start: (tf) => start(tf, false),
}

async function load(): Promise<void> {
  try {
    dawn ??= await import('webgpu')
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new KernelError('backend.unavailable', `The package webgpu does not load here: ${reason}`, {}, error)
  }
}

async function start(tf: Tf, hardware: boolean): ReturnType<BackendDriver['start']> {
  const { info } = await openGpu(hardware)
  // tfjs's back end looks for these globals while it is imported.
  await import('@tensorflow/tfjs-backend-webgpu')
  if (!(await tf.setBackend('webgpu'))) throw new KernelError('backend.unavailable', 'tfjs cannot use this GPU')
  const name = [info.vendor, info.architecture, info.description || info.device].filter(Boolean).join(' ')
  return {
    kernelVersion: 2,
    simd: true,
    threads: 1,
    engine: `Dawn, ${name}`,
    device: { name: info.description || name, isHardware: !info.isFallbackAdapter },
  }
}

/** Puts WebGPU where browsers have it. Asking twice gives the same. */
export async function openGpu(hardware: boolean): Promise<GPUAdapter> {
  if (!dawn) throw new KernelError('backend.unavailable', 'WebGPU was started before it was loaded')
  if (globalThis.navigator?.gpu === undefined) {
    Object.assign(globalThis, dawn.globals)
    Object.defineProperty(globalThis, 'navigator', { value: { gpu: dawn.create([]) }, configurable: true })
  }
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: 'high-performance' })
  if (!adapter) {
    throw new KernelError('backend.unavailable', 'No GPU is reachable: WebGPU needs a Vulkan, Metal or D3D12 driver')
  }
  if (hardware && adapter.info.isFallbackAdapter) {
    const { description } = adapter.info
    throw new KernelError(
      'backend.unavailable',
      `The only GPU here is software (${description}): ask for webgpu-software to compute on it`,
    )
  }
  return adapter
}
