/**
 * Everything that can be said about a job's spec before it is accepted, beyond the shape of its fields: the dataset
 * exists, the model fits its data, there is enough of it. All problems at once, each with its field, so that a person
 * mends a spec in one go. The gateway asks before it answers; the job asks again, since time has passed.
 */
import type * as Kernels from '../kernels/mod.ts'
import type { Problem } from '../kernels/mod.ts'
import type { PresetSpec } from '../machines/preset-spec.ts'
import type { JobSpec } from '../machines/spec.ts'
import type { MetricSpec } from '../machines/train-spec.ts'
import { basisOf, isAwaited } from './basis.ts'
import type { BasisServices } from './basis.ts'
import type { Datasets, ResolvedDataset } from './datasets.ts'
import { checkPool } from './pools.ts'
import type { PoolNames } from './pools.ts'
import { expandPreset } from './presets.ts'
import { problem, problemOfDataset } from './problem.ts'

export interface AdmissionServices extends BasisServices {
  readonly datasets: Datasets
  readonly kernels: Pick<typeof Kernels, 'checkModel' | 'checkPipelineFits' | 'planPipeline'>
  readonly pools: PoolNames
}

export interface AdmitOptions {
  /** What a sweep compares by: it must fit as well. */
  readonly metric?: MetricSpec
  /** Of a job that has not begun, what those before it bring is not there yet. */
  readonly isEarly?: boolean
}

export async function admit(
  services: AdmissionServices,
  spec: JobSpec,
  { metric, isEarly = false }: AdmitOptions = {},
): Promise<readonly Problem[]> {
  const isModelAwaited = isEarly && 'from' in spec.model && isAwaited(spec.model.from, spec)
  const pool = await checkPool(services.pools, spec.pool)
  const dataset = await services.datasets.resolve(spec.dataset).catch(problemOfDataset)
  if ('path' in dataset) return [dataset, ...pool]
  return [
    ...(isModelAwaited ? [] : await checkModelFits(services, spec, dataset, metric)),
    ...checkReplicas(spec, dataset),
    ...checkValidation(spec, dataset),
    ...pool,
  ]
}

/** A preset as a whole specification, from the dataset that it names. */
export async function expand({ datasets }: Pick<AdmissionServices, 'datasets'>, preset: PresetSpec): Promise<Expanded> {
  const dataset = await datasets.resolve(preset.dataset).catch(problemOfDataset)
  return 'path' in dataset ? { problems: [dataset] } : expandPreset(preset, dataset.data)
}

type Expanded = ReturnType<typeof expandPreset>

async function checkModelFits(
  services: AdmissionServices,
  spec: JobSpec,
  { data }: ResolvedDataset,
  metric: MetricSpec | undefined,
): Promise<readonly Problem[]> {
  const found = await basisOf(services, spec, data)
  if ('problems' in found) return found.problems
  const { topology, pipeline } = found.basis
  const { input, output: target } = pipeline
  const { loss, labelSmoothing, classWeights, earlyStopping } = spec.train
  const problems = services.kernels.checkModel({
    model: topology,
    input,
    target,
    loss,
    labelSmoothing,
    ...(classWeights !== undefined && { classWeights }),
    metrics: metric === undefined ? (earlyStopping === undefined ? [] : [earlyStopping.metric]) : [metric],
  })
  // The kernels know a model and what it is trained for, not where a spec keeps them.
  const field = (path: string): string =>
    metric !== undefined && path.startsWith('metrics') ? 'metric' : fieldOf(path, spec)
  return problems.map(({ path, expected, found }) => problem(field(path), expected, found))
}

function fieldOf(path: string, { model }: JobSpec): string {
  if (path.startsWith('model')) return 'from' in model ? 'model.from' : path
  return path.startsWith('metrics') ? 'train.earlyStopping.metric' : `train.${path}`
}

function checkValidation({ train }: JobSpec, { name, data }: ResolvedDataset): readonly Problem[] {
  if (train.validation === undefined || (data.splits.validation?.count ?? 0) > 0) return []
  const field = train.earlyStopping === undefined ? 'train.validation' : 'train.earlyStopping'
  return [
    problem(
      field,
      `a dataset with a validation split`,
      `${name}, which has none ("tensorfleet dataset add … --validation 0.1" makes a version with one)`,
    ),
  ]
}

function checkReplicas(spec: JobSpec, { name, data }: ResolvedDataset): readonly Problem[] {
  const { replicas } = spec.train
  const { count } = data.splits.train
  if (replicas <= count) return []
  return [problem('train.replicas', `at most ${count}, the training examples of ${name}`, String(replicas))]
}
