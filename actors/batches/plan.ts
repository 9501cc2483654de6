/** What all kinds of batch jobs plan with, and what they have in common in cutting and in putting together. */
import type * as Kernels from '../../kernels/mod.ts'
import type { Problem } from '../../kernels/mod.ts'
import type { BatchPlan } from '../../machines/batch-plan.ts'
import type { Blob } from '../../machines/work.ts'
import type { Blobs } from '../../stores/mod.ts'
import type { Datasets } from '../datasets.ts'
import type { PoolNames } from '../pools.ts'
import type { Registry } from '../registry.ts'

export interface BatchPlanServices {
  readonly blobs: Pick<Blobs, 'put' | 'bytes'>
  readonly datasets: Pick<Datasets, 'resolve'>
  readonly registry: Pick<Registry, 'find'>
  readonly kernels: Pick<
    typeof Kernels,
    | 'checkKernel'
    | 'checkPipelineFits'
    | 'describeModel'
    | 'KERNEL_INPUT_ELEMENTS_MAX'
    | 'KERNEL_NAME'
    | 'KERNEL_OUTPUT_ELEMENTS_MAX'
    | 'mergeEvaluations'
    | 'npyHeader'
    | 'predictionHead'
    | 'rawPipeline'
    | 'rowShape'
    | 'summarize'
  >
  /** The array that a batch job gave; null when there is none, or when it is not this owner's. */
  readonly outputOf: (job: string, owner: string) => Promise<{ sha256: string; shape: readonly number[] } | null>
  readonly pools: PoolNames
}

/** Everything that speaks against a job, each by its field; or its plan. */
export type Planned = { readonly problems: readonly Problem[] } | { readonly plan: BatchPlan }

const CHUNKS_MAX = 2_048

/** How many chunks these rows make, where so many in one would be good. */
export function chunksOf(rows: number, wanted: number): number {
  const least = Math.ceil(rows / CHUNKS_MAX)
  return Math.ceil(rows / Math.min(rows, Math.max(least, wanted)))
}

/** Chunk after chunk into one file, never more than one of them in memory. */
export async function assemble(
  { blobs }: Pick<BatchPlanServices, 'blobs'>,
  head: Uint8Array,
  chunks: readonly string[],
  signal: AbortSignal,
): Promise<Blob> {
  async function* bytes(): AsyncGenerator<Uint8Array> {
    if (head.length > 0) yield head
    for (const sha256 of chunks) {
      signal.throwIfAborted()
      yield await blobs.bytes(sha256)
    }
  }
  const { sha256, sizeBytes } = await blobs.put(bytes(), { signal })
  return { sha256, sizeBytes }
}
