/**
 * Our WebAssembly module (`gradients.as`) over tfjs's own memory: tensors are reached by their byte offsets, nothing is
 * copied between the two. Also what the kernels need of tfjs's back end, which it does not type for outsiders.
 */
import { readFileSync } from 'node:fs'
import type { DataType, TensorInfo } from '@tensorflow/tfjs-core'
import { KernelError } from '../../errors.ts'

/** The part of tfjs's BackendWasm that its own kernels use. */
export interface WasmBackend {
  wasm: { asm: WebAssembly.Exports }
  dataIdMap: { get(dataId: object): { memoryOffset: number } }
  makeOutput(shape: number[], dtype: DataType): TensorInfo
  disposeData(dataId: object): boolean
  floatPrecision(): number
}

type Kernel = (...offsetsAndSizes: number[]) => void

/** What `gradients.as` exports; the order of arguments is documented there. */
export interface GradientModule {
  filterGradient: Kernel
  depthwiseFilterGradient: Kernel
  depthwiseInputGradient: Kernel
  maxPoolGradient: Kernel
  reluGradient: Kernel
  segmentSum: Kernel
  spread: Kernel
  crop: Kernel
  sumRows: Kernel
  transpose: Kernel
}

export const MODULE_PATH = new URL('./gradients.wasm', import.meta.url)

export function instantiateGradients(backend: WasmBackend): GradientModule {
  const { memory } = backend.wasm.asm
  if (!(memory instanceof WebAssembly.Memory)) {
    throw new KernelError(
      'backend.unavailable',
      "tfjs's WebAssembly back end does not show its memory: another version than 4.22?",
    )
  }
  const module = new WebAssembly.Module(readFileSync(MODULE_PATH))
  const { exports } = new WebAssembly.Instance(module, { env: { memory, abort: () => {} } })
  return exports as unknown as GradientModule // its exports are what gradients.as declares
}

export function offset(backend: WasmBackend, tensor: TensorInfo): number {
  return backend.dataIdMap.get(tensor.dataId).memoryOffset
}

/** Runs `use` with scratch memory of this many floats, and gives it back afterwards. */
export function withScratch<T>(backend: WasmBackend, shape: number[], use: (scratch: TensorInfo) => T): T {
  const scratch = backend.makeOutput(shape, 'float32')
  try {
    return use(scratch)
  } finally {
    backend.disposeData(scratch.dataId)
  }
}
