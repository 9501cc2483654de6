/** Values that stand in a kernel job's specification become a file before the job begins: what is large is a blob. */
import type { KernelSpec, NestedNumbers } from '../../machines/batch-spec.ts'
import type { BatchPlanServices } from './plan.ts'

type ArrayServices = Pick<BatchPlanServices, 'blobs'> & { readonly kernels: Pick<BatchPlanServices['kernels'], 'npyHeader'> } // prettier-ignore

/** The same specification has the same blobs. Values that make no array stay as they are: admission says so. */
export async function withStoredArrays(services: ArrayServices, spec: KernelSpec): Promise<KernelSpec> {
  const inputs: KernelSpec['inputs'][number][] = []
  for (const input of spec.inputs) {
    const array = 'values' in input ? arrayOf(input.values) : null
    if (array === null) inputs.push(input)
    else inputs.push({ name: input.name, map: input.map, array: await stored(services, array) })
  }
  return { ...spec, inputs }
}

interface Numbers {
  readonly shape: readonly number[]
  readonly values: Float32Array
}

async function stored({ blobs, kernels }: ArrayServices, { shape, values }: Numbers) {
  const header = kernels.npyHeader(shape)
  const bytes = new Uint8Array(header.length + values.byteLength)
  bytes.set(header)
  bytes.set(new Uint8Array(values.buffer), header.length)
  const { sha256 } = await blobs.put(bytes)
  return { sha256, shape }
}

/** Nested lists of numbers as an array, or null when they are ragged. */
function arrayOf(values: NestedNumbers): Numbers | null {
  const shape: number[] = []
  for (let level: unknown = values; Array.isArray(level); level = level[0]) shape.push(level.length)
  const flat: number[] = []
  const isWhole = (level: unknown, depth: number): boolean => {
    if (depth === shape.length) return typeof level === 'number' && flat.push(level) > 0
    return Array.isArray(level) && level.length === shape[depth] && level.every((each) => isWhole(each, depth + 1))
  }
  return isWhole(values, 0) ? { shape, values: Float32Array.from(flat) } : null
}
