/** What a model says of each row of a split: an array (NPY), or lines (CSV, JSON Lines) with classes by their names. */
import type { BatchResult, FinishInput } from '../../machines/batch.ts'
import type { PredictSpec } from '../../machines/batch-spec.ts'
import type { PredictFormat } from '../../machines/work.ts'
import { assemble, chunksOf } from './plan.ts'
import type { BatchPlanServices, Planned } from './plan.ts'
import { readPipeline } from '../registry.ts'
import { findModelUse } from './model-use.ts'

/** What a chunk should hold at least, so that what it costs to hand it out does not show. */
const CHUNK_ELEMENTS = 1_048_576

export async function planPrediction(
  services: BatchPlanServices,
  spec: PredictSpec,
  signal: AbortSignal,
): Promise<Planned> {
  const found = await findModelUse(services, spec, signal)
  if ('problems' in found) return found
  const { model, manifest, dataset, rows, topology } = found.use
  // Data to predict for need not have what is to be predicted.
  const pipeline = { ...found.use.pipeline, target: null }
  const { sha256 } = await services.blobs.put(new TextEncoder().encode(JSON.stringify(pipeline)), { signal })
  const outputShape = services.kernels.describeModel(topology, pipeline.input)?.outputShape ?? []
  const rowElements = Math.max(elements(pipeline.input.shape), elements(outputShape))
  const { split, format, chunkRows } = spec
  const recipe = { topology: model.topology.sha256, pipeline: sha256, manifest, dataset }
  return {
    plan: {
      rows,
      chunks: chunksOf(rows, chunkRows ?? Math.ceil(CHUNK_ELEMENTS / rowElements)),
      data: manifest,
      dataset,
      model: `${model.name}@${model.version}`,
      shape: [rows, ...outputShape],
      work: { kind: 'predict', recipe, split, weights: model.weights.sha256, format },
    },
  }
}

export async function finishPrediction(
  services: BatchPlanServices,
  { plan, chunks }: FinishInput,
  format: PredictFormat,
  signal: AbortSignal,
): Promise<BatchResult> {
  const { kernels } = services
  const { shape = [], work } = plan
  if (work.kind !== 'predict') throw new TypeError(`a prediction was planned as ${work.kind}`)
  if (format === 'npy') {
    return { output: { ...(await assemble(services, kernels.npyHeader(shape), chunks, signal)), format, shape } }
  }
  const { output } = await readPipeline(services.blobs, work.recipe.pipeline)
  const head = new TextEncoder().encode(kernels.predictionHead(format, output, elements(shape.slice(1))))
  return { output: { ...(await assemble(services, head, chunks, signal)), format } }
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1)
}
