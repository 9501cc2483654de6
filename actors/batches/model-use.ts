/**
 * A version of a model over a split of a dataset: what evaluating and predicting have in common. The dataset need not be
 * the one that the model was trained on; it must have the columns that the model reads.
 */
import type { Pipeline, Problem } from '../../kernels/mod.ts'
import type { EvaluateSpec, PredictSpec } from '../../machines/batch-spec.ts'
import type { ModelVersionView } from '../../machines/views.ts'
import type { BatchPlanServices } from './plan.ts'
import type { ResolvedDataset } from '../datasets.ts'
import { checkPool } from '../pools.ts'
import { problem, problemOfDataset } from '../problem.ts'
import { readPipeline } from '../registry.ts'

export interface ModelUse {
  readonly model: ModelVersionView
  readonly pipeline: Pipeline
  /** Keras-style JSON. */
  readonly topology: unknown
  readonly manifest: string
  /** `name@version` of the dataset. */
  readonly dataset: string
  readonly rows: number
}

export async function findModelUse(
  services: BatchPlanServices,
  spec: EvaluateSpec | PredictSpec,
  signal: AbortSignal,
): Promise<{ readonly problems: readonly Problem[] } | { readonly use: ModelUse }> {
  const { blobs, kernels, registry } = services
  const { split } = spec
  const [name = '', which = 'latest'] = spec.model.split('@')
  const model = await registry.find(name, which)
  const { dataset, problems } = await findData(services, spec, signal)
  if (model === null) problems.unshift(problem('model', 'a model that is there, as NAME, NAME@VERSION or NAME@ALIAS', spec.model)) // prettier-ignore
  if (model === null || dataset === null) return { problems }
  const { data, manifest, version } = dataset
  const pipeline = await readPipeline(blobs, model.pipeline.sha256)
  const use = { splits: [split], isTargetRead: spec.kind === 'evaluate' }
  problems.push(...kernels.checkPipelineFits(pipeline, data, use))
  if (problems.length > 0) return { problems }
  const text = new TextDecoder().decode(await blobs.bytes(model.topology.sha256))
  const topology: unknown = JSON.parse(text)
  const rows = data.splits[split]?.count ?? 0
  return { use: { model, pipeline, topology, manifest, dataset: `${spec.dataset.name}@${version}`, rows } }
}

/** The dataset, and what speaks against the job whatever the model may be. */
export async function findData(
  services: BatchPlanServices,
  spec: EvaluateSpec | PredictSpec,
  signal: AbortSignal,
): Promise<{ readonly dataset: ResolvedDataset | null; readonly problems: Problem[] }> {
  const problems = [...(await checkPool(services.pools, spec.pool))]
  const dataset = await services.datasets.resolve(spec.dataset, { signal }).catch(problemOfDataset)
  if ('path' in dataset) return { dataset: null, problems: [...problems, dataset] }
  const { splits } = dataset.data
  if ((splits[spec.split]?.count ?? 0) === 0) problems.push(problem('split', `one of ${Object.keys(splits).join(', ')}`, spec.split)) // prettier-ignore
  return { dataset, problems }
}
