/**
 * A kernel job's specification, and how such a job is shown: a function of gpu.js (checked against its grammar) that is
 * computed for every element of an output, over rows of datasets, arrays, and results of other kernel jobs.
 */
import type { Priority } from './spec.ts'
import type { Blob } from './work.ts'

export interface KernelSpec {
  readonly kind: 'kernel'
  readonly name: string
  readonly source: string
  readonly constants: Readonly<Record<string, number>>
  /** Lengths x, y, z, as gpu.js has them. The last may be `rows`: as many as the mapped inputs have. */
  readonly output: readonly (number | 'rows')[]
  /** In the order of the function's parameters. */
  readonly inputs: readonly KernelInputSpec[]
  /** Rows of the output's last dimension that one task computes; chosen when left out. */
  readonly chunkRows?: number
  /** Only workers with this back end: `webgpu` for a GPU. Any when left out, the same one for all chunks. */
  readonly backend?: string
  readonly pool: string
  readonly priority: Priority
}

/** `map` cuts an input along with the output: a chunk has its own rows of it alone. */
export type KernelInputSpec = { readonly name: string; readonly map: boolean } & (
  | { readonly dataset: string; readonly version?: number; readonly split: 'train' | 'validation' | 'test'; readonly column?: string } // prettier-ignore
  | { readonly values: NestedNumbers }
  /** The output of another kernel job. */
  | { readonly job: string }
)

export type NestedNumbers =
  | readonly number[]
  | readonly (readonly number[])[]
  | readonly (readonly (readonly number[])[])[]

export type KernelJobState =
  | 'submitted'
  | 'validating'
  | 'preparing'
  | 'queued'
  | 'running'
  | 'assembling'
  | 'completed'
  | 'failed'
  | 'cancelling'
  | 'cancelled'

/** What a kernel job gave: an NPY file. */
export interface KernelOutput extends Blob {
  /** Row-major, as NumPy has it: the reverse of the spec's lengths. */
  readonly shape: readonly number[]
}

export interface KernelJobView {
  readonly id: string
  readonly kind: 'kernel'
  readonly name: string
  readonly state: KernelJobState
  readonly owner: string
  readonly spec: KernelSpec
  readonly createdAt: number
  readonly changedAt: number
  readonly endedAt?: number
  readonly seq: number
  readonly progress: {
    readonly rows: number
    readonly rowsTotal: number
    readonly chunks: number
    readonly chunksTotal: number
  }
  /** What gpu.js ran on: `webgpu`, `webasm` or `cpu`. */
  readonly mode?: string
  readonly output?: KernelOutput
  /** Workers that have finished chunks, with how many. */
  readonly workers: Readonly<Record<string, number>>
  readonly error?: { readonly code: string; readonly message: string; readonly remedy?: string }
}
