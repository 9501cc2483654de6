/**
 * How good a model is on a split, measured on all workers: the slices' sums are merged in their order, as at the end of a
 * training. Batches are as large as they were there, and slices as many where the split is not larger than they can
 * bear: the same model on the same split gets the same measures, to the last bit.
 */
import type { BatchResult, FinishInput } from '../../machines/batch.ts'
import type { EvaluateSpec } from '../../machines/batch-spec.ts'
import { batchSizesOf } from '../../machines/train-spec.ts'
import { chunksOf } from './plan.ts'
import type { BatchPlanServices, Planned } from './plan.ts'
import { score } from '../score.ts'
import { findModelUse } from './model-use.ts'

/** Rows of a slice, where the replicas of the training would make fewer slices than that. */
const SLICE_ROWS = 8_192

export async function planEvaluation(
  services: BatchPlanServices,
  spec: EvaluateSpec,
  signal: AbortSignal,
): Promise<Planned> {
  const found = await findModelUse(services, spec, signal)
  if ('problems' in found) return found
  const { model, manifest, dataset, rows } = found.use
  const { train } = model.spec
  const { topology, pipeline, weights } = model
  const batchSizes = batchSizesOf(train)
  const chunks = spec.chunkRows === undefined ? Math.max(batchSizes.length, chunksOf(rows, SLICE_ROWS)) : chunksOf(rows, spec.chunkRows) // prettier-ignore
  const recipe = { topology: topology.sha256, pipeline: pipeline.sha256, manifest, dataset, batchSizes, loss: train.loss } // prettier-ignore
  const work = { kind: 'evaluate', recipe, split: spec.split, weights: weights.sha256 } as const
  const named = `${model.name}@${model.version}`
  return { plan: { rows, chunks: Math.min(rows, chunks), data: manifest, dataset, model: named, work } }
}

export async function finishEvaluation(
  services: BatchPlanServices,
  { chunks }: FinishInput,
  signal: AbortSignal,
): Promise<BatchResult> {
  return { evaluation: await score(services, chunks, signal) }
}
