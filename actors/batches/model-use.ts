/**
 * A version of a model over a split of a dataset: what evaluating and predicting have in common. The dataset need not be
 * the one that the model was trained on; it must have the columns that the model reads.
 */
import type { Pipeline, Problem } from '../../kernels/mod.ts'
import type { EvaluateSpec, PredictSpec } from '../../machines/batch-spec.ts'
import type { ModelVersionView } from '../../machines/views.ts'
import type { BatchPlanServices } from './plan.ts'
import type { ResolvedDataset } from '../datasets.ts'
import { FleetError } from '../errors.ts'
import { checkPool } from '../pools.ts'
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
  const { blobs, kernels, pools, registry } = services
  const { split } = spec
  const problems = [...(await checkPool(pools, spec.pool))]
  const [name = '', which = 'latest'] = spec.model.split('@')
  const model = await registry.find(name, which)
  if (model === null) problems.push(problem('model', 'a model that is there, as NAME, NAME@VERSION or NAME@ALIAS', spec.model)) // prettier-ignore
  const found = await findDataset(services, spec, signal)
  if ('path' in found) return { problems: [...problems, found] }
  const { data, manifest, version } = found
  const rows = data.splits[split]?.count ?? 0
  if (rows === 0) problems.push(problem('split', `one of ${Object.keys(data.splits).join(', ')}`, split))
  if (model === null) return { problems }
  const pipeline = await readPipeline(blobs, model.pipeline.sha256)
  const use = { splits: [split], isTargetRead: spec.kind === 'evaluate' }
  problems.push(...kernels.checkPipelineFits(pipeline, data, use))
  if (problems.length > 0) return { problems }
  const text = new TextDecoder().decode(await blobs.bytes(model.topology.sha256))
  const topology: unknown = JSON.parse(text)
  return { use: { model, pipeline, topology, manifest, dataset: `${spec.dataset.name}@${version}`, rows } }
}

async function findDataset(
  { datasets }: BatchPlanServices,
  { dataset }: EvaluateSpec | PredictSpec,
  signal: AbortSignal,
): Promise<ResolvedDataset | Problem> {
  try {
    return await datasets.resolve(dataset, { signal })
  } catch (error) {
    if (!(error instanceof FleetError) || error.remedy !== 'fix-request') throw error
    const { path, expected, found } = error.data
    return problem(String(path), String(expected), String(found))
  }
}

function problem(path: string, expected: string, found: string): Problem {
  return { path, expected, found, message: `${path}: expected ${expected}, found ${found}` }
}
