/**
 * Specifications of batch jobs, and how such a job is shown. A *kernel* job computes a function of gpu.js (checked
 * against its grammar) for every element of an output, over rows of datasets, arrays, and results of other jobs; an
 * *evaluate* job measures a model on a split of a dataset; a *predict* job writes down what a model says of its rows.
 */
import type { Predecessor, Priority } from './spec.ts'
import type { Evaluation } from './training.ts'
import type { Blob, PredictFormat, SplitName } from './work.ts'

export type BatchSpec = KernelSpec | EvaluateSpec | PredictSpec

export type BatchKind = BatchSpec['kind']

interface CommonSpec {
  readonly name: string
  /** Rows that one task takes; chosen when left out. */
  readonly chunkRows?: number
  /** Only workers with this back end: `webgpu` for a GPU. Any when left out, the same one for all chunks. */
  readonly backend?: string
  readonly pool: string
  readonly priority: Priority
  /** What must have ended before this one begins. */
  readonly after?: readonly Predecessor[]
}

export interface KernelSpec extends CommonSpec {
  readonly kind: 'kernel'
  readonly source: string
  readonly constants: Readonly<Record<string, number>>
  /** Lengths x, y, z, as gpu.js has them. The last may be `rows`: as many as the mapped inputs have. */
  readonly output: readonly (number | 'rows')[]
  /** In the order of the function's parameters. */
  readonly inputs: readonly KernelInputSpec[]
}

/** `map` cuts an input along with the output: a chunk has its own rows of it alone. */
export type KernelInputSpec = { readonly name: string; readonly map: boolean } & (
  | { readonly dataset: string; readonly version?: number; readonly split: SplitName; readonly column?: string } // prettier-ignore
  | { readonly values: NestedNumbers }
  /** Values that were sent, as the job keeps them: a file (NPY), by content. A job's record is written at each chunk. */
  | { readonly array: { readonly sha256: string; readonly shape: readonly number[] } }
  /** The output of another batch job, an array. */
  | { readonly job: string }
)

export type NestedNumbers =
  | readonly number[]
  | readonly (readonly number[])[]
  | readonly (readonly (readonly number[])[])[]

/** A model over a split of a dataset. */
interface ModelUseSpec extends CommonSpec {
  /** `name@version`; an alias stands there only until admission, or until it begins where it comes after others. */
  readonly model: string
  readonly dataset: { readonly name: string; readonly version?: number }
  readonly split: SplitName
}

export interface EvaluateSpec extends ModelUseSpec {
  readonly kind: 'evaluate'
}

export interface PredictSpec extends ModelUseSpec {
  readonly kind: 'predict'
  readonly format: PredictFormat
}

export type BatchState =
  | 'submitted'
  | 'waiting'
  | 'preparing'
  | 'queued'
  | 'running'
  | 'finishing'
  | 'pausing'
  | 'paused'
  | 'completed'
  | 'failed'
  | 'cancelling'
  | 'cancelled'

/** A file that a batch job gave. */
export interface BatchFile extends Blob {
  readonly format: PredictFormat
  /** Row-major, as NumPy has it; of an NPY file. */
  readonly shape?: readonly number[]
}

export interface BatchView {
  readonly id: string
  readonly kind: BatchKind
  readonly name: string
  readonly state: BatchState
  readonly owner: string
  readonly spec: BatchSpec
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
  /** `name@version` of the dataset that is read, where it is one. */
  readonly dataset?: string
  /** What gpu.js ran on: `webgpu`, `webasm` or `cpu`. */
  readonly mode?: string
  readonly output?: BatchFile
  readonly evaluation?: Evaluation
  /** Workers that have finished chunks, with how many. */
  readonly workers: Readonly<Record<string, number>>
  readonly error?: { readonly code: string; readonly message: string; readonly remedy?: string }
}
