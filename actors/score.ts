/**
 * The slices of an evaluation become measures: their sums are merged in the order of the slices, and the whole is stored
 * as a report. What a job carries in its record is small; confusion and measures by class stand there only for as few
 * classes as a person can look at.
 */
import type * as Kernels from '../kernels/mod.ts'
import type { Evaluation } from '../machines/training.ts'
import type { Blobs } from '../stores/mod.ts'

export interface ScoreServices {
  readonly blobs: Pick<Blobs, 'put' | 'bytes'>
  readonly kernels: Pick<typeof Kernels, 'mergeEvaluations' | 'summarize'>
}

const CLASSES_SHOWN_MAX = 32

/** `slices`: sha256 of each slice's sums, in order. */
export async function score(
  services: ScoreServices,
  slices: readonly string[],
  signal: AbortSignal,
): Promise<Evaluation> {
  const { blobs, kernels } = services
  const parts = await Promise.all(
    slices.map(async (sha256) => JSON.parse(new TextDecoder().decode(await blobs.bytes(sha256))) as Kernels.Evaluation), // written by run-task.ts
  )
  signal.throwIfAborted()
  const summary = kernels.summarize(kernels.mergeEvaluations(parts))
  const { sha256, sizeBytes } = await blobs.put(new TextEncoder().encode(JSON.stringify(summary)), { signal })
  const { byClass, confusion, ...measures } = summary
  const isShown = confusion !== undefined && confusion.length <= CLASSES_SHOWN_MAX
  return {
    ...measures,
    ...(isShown && byClass !== undefined && { byClass, confusion }),
    report: { sha256, sizeBytes },
  }
}
