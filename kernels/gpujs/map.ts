/**
 * One chunk of a kernel job: the job's function over some rows of the output, by gpu.js, on the GPU, in WebAssembly or in
 * plain JavaScript, whichever the back end of this process stands for. A pure function of its arguments; between two
 * strips of a chunk it gives a sign of life and heeds a cancellation.
 *
 * gpu.js may take another mode than it was asked for and only warn: the mode that computed is compared with the one that
 * was meant, and another one is an error.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { GPU, Input } from 'gpu.js'
import type { BackendName } from '../backend.ts'
import { KernelError } from '../errors.ts'
import { KERNEL_STRIP_ELEMENTS } from '../limits.ts'
import { elementCount } from '../safetensors.ts'
import { checkKernel, WHOLE_LENGTH, writtenConstants } from './grammar.ts'

export type GpuMode = 'webgpu' | 'webasm' | 'cpu'

/** TensorFlow knows nothing of gpu.js: its workers map in WebAssembly. */
export const GPU_MODES: Readonly<Record<BackendName, GpuMode>> = {
  'tensorflow-gpu': 'webasm',
  tensorflow: 'webasm',
  webgpu: 'webgpu',
  wasm: 'webasm',
  cpu: 'cpu',
  'webgpu-software': 'webgpu',
}

export interface MapSettings {
  source: string
  constants: Readonly<Record<string, number>>
  /** Lengths x, y, z of the whole output, as gpu.js has them: the last one is what chunks are cut along. */
  output: readonly number[]
  /** The rows of this chunk: where they start along the last dimension, and how many. */
  start: number
  rows: number
}

export interface MapInput {
  name: string
  /** Row-major, slowest dimension first, 1 to 3 dimensions; of a mapped input: of all of its rows. */
  shape: readonly number[]
  /** Cut along with the output: `read` is asked for the rows of a strip. Otherwise it is asked once, for all. */
  mapped: boolean
  read: (start: number, rows: number) => Float32Array
}

export interface MapProgress {
  /** Rows of the chunk that are done. */
  done: number
  rows: number
}

/** Elements of the chunk's rows, row-major. */
export async function mapChunk(
  mode: GpuMode,
  settings: MapSettings,
  inputs: readonly MapInput[],
  { signal, onStrip }: { signal?: AbortSignal; onStrip?: (progress: MapProgress) => void } = {},
): Promise<Float32Array> {
  const { output, rows, start, constants } = settings
  const source = sourceOf(settings, inputs)
  const rowElements = elementCount(output.slice(0, -1))
  const values = new Float32Array(rows * rowElements)
  const stripRows = Math.min(rows, Math.max(1, Math.floor(KERNEL_STRIP_ELEMENTS / rowElements)))
  // Not at the head: gpu.js takes a while to load, and only kernel jobs need it.
  const { GPU, Input } = await import('gpu.js')
  const whole = new Map(
    inputs.filter(({ mapped }) => !mapped).map((each) => [each.name, each.read(0, each.shape[0] ?? 0)]),
  )
  await using gpu = closing(openGpu(GPU, mode))
  const kernels = new Map<number, Run>()
  for (let done = 0; done < rows;) {
    signal?.throwIfAborted()
    const count = Math.min(stripRows, rows - done)
    const kernel = kernels.get(count) ?? compile(gpu.gpu, source, [...output.slice(0, -1), count], constants, output.at(-1) ?? 0) // prettier-ignore
    kernels.set(count, kernel)
    const given = inputs.map(({ name, shape, mapped, read }) => {
      const [length = 1, ...row] = shape
      const data = mapped ? read(start + done, count) : (whole.get(name) ?? new Float32Array(0))
      const size = [mapped ? count : length, ...row].toReversed()
      // Its types know arrays of numbers only, it takes any; and of 1 to 3 dimensions.
      return new Input(data as unknown as number[], size as [number])
    })
    const result = await runStrip(kernel, given, start + done, mode)
    flatten(result, values, done * rowElements)
    done += count
    onStrip?.({ done, rows })
    await nextTurn()
  }
  return values
}

function sourceOf({ source, constants, output }: MapSettings, inputs: readonly MapInput[]): string {
  const facts = inputs.map(({ name, shape, mapped }) => ({ name, rank: shape.length, mapped }))
  const checked = checkKernel({ source, constants: Object.keys(constants), inputs: facts, rank: output.length })
  if (checked.source !== undefined) return checked.source
  throw new KernelError('request.invalid', checked.problems.map(({ message }) => message).join('; '), {
    problems: checked.problems,
  })
}

/** What gpu.js makes of a function; its types promise less than it gives. */
interface Run {
  (...args: unknown[]): unknown
  kernel?: { constructor: { mode?: string } }
  fallbackReason?: string | null
}

function compile(
  gpu: GPU,
  source: string,
  output: readonly number[],
  constants: MapSettings['constants'],
  wholeLength: number,
): Run {
  const options = {
    output: [...output] as [number], // 1 to 3 of them
    constants: { ...writtenConstants(constants), [WHOLE_LENGTH]: wholeLength },
    loopMaxIterations: 2 ** 31 - 1,
    precision: 'single' as const,
  }
  return gpu.createKernel(source, options) as unknown as Run // see `Run`
}

async function runStrip(kernel: Run, given: readonly Input[], start: number, mode: GpuMode): Promise<unknown> {
  let result: unknown
  try {
    result = await kernel(...given, start)
  } catch (error) {
    const reason = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)
    throw new KernelError(
      'request.invalid',
      `gpu.js cannot compute this function (${mode}): ${reason}`,
      { mode },
      error,
    )
  }
  const took = kernel.kernel?.constructor.mode
  if (took === mode && !kernel.fallbackReason) return result
  const why = kernel.fallbackReason ? `: ${kernel.fallbackReason}` : ''
  throw new KernelError('gpu.fell-back', `gpu.js took ${took} instead of ${mode}${why}`, { mode, took })
}

/** gpu.js gives a typed array for one dimension, arrays of them for more. */
function flatten(result: unknown, into: Float32Array, at: number): number {
  if (result instanceof Float32Array) {
    into.set(result, at)
    return at + result.length
  }
  if (!Array.isArray(result)) throw new KernelError('kernel.failed', 'gpu.js gave something that is no array')
  return result.reduce<number>((next, part) => flatten(part, into, next), at)
}

function openGpu(make: typeof GPU, mode: GpuMode): GPU {
  try {
    return new make({ mode })
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new KernelError('gpu.fell-back', `gpu.js has no mode ${mode} here: ${reason}`, { mode }, error)
  }
}

function closing(gpu: GPU): AsyncDisposable & { gpu: GPU } {
  return { gpu, [Symbol.asyncDispose]: async () => await gpu.destroy() }
}
