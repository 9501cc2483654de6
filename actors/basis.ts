/**
 * What a job's training rests on: a model and the preprocessing of its data. Both stand in the specification, or come
 * from a version of a model that the job starts from. Weights mean something only for data that comes as it came when
 * they were learnt, so such a job keeps the version's fitted preprocessing, constants and all, unless it says its own.
 */
import type * as Kernels from '../kernels/mod.ts'
import type { DatasetManifest, Pipeline, Problem } from '../kernels/mod.ts'
import type { JobSpec, Predecessor } from '../machines/spec.ts'
import type { ModelVersionView } from '../machines/views.ts'
import type { Blobs } from '../stores/mod.ts'
import { problem } from './problem.ts'
import { readPipeline } from './registry.ts'
import type { Registry } from './registry.ts'

export interface BasisServices {
  readonly blobs: Pick<Blobs, 'bytes'>
  readonly registry: Pick<Registry, 'find'>
  readonly kernels: Pick<typeof Kernels, 'planPipeline' | 'checkPipelineFits'>
}

export interface JobBasis {
  /** Keras-style JSON, not yet checked where the specification brings it. */
  readonly topology: object
  readonly pipeline: Pipeline
  /** The version whose weights the job starts from. */
  readonly start: ModelVersionView | null
}

export async function basisOf(
  services: BasisServices,
  spec: JobSpec,
  data: DatasetManifest,
): Promise<{ readonly basis: JobBasis } | { readonly problems: readonly Problem[] }> {
  const { model, dataset, preprocess } = spec
  const start = 'from' in model ? await findModel(services, model.from) : null
  if (start === undefined) return { problems: [unknownModel(model)] }
  const topology = start === null ? model : await topologyOf(services, start)
  if (start !== null && preprocess === undefined) {
    const pipeline = await readPipeline(services.blobs, start.pipeline.sha256)
    const problems = [...checkSelection(spec, pipeline), ...checkFits(services, pipeline, data)]
    return problems.length > 0 ? { problems } : { basis: { topology, pipeline, start } }
  }
  const { pipeline, problems } = services.kernels.planPipeline(data, dataset, preprocess ?? [])
  return pipeline === undefined ? { problems } : { basis: { topology, pipeline, start } }
}

/** Those before it may bring the version that is meant: it is looked for when the job begins. */
export function isAwaited(model: string, { after = [] }: { readonly after?: readonly Predecessor[] }): boolean {
  return after.length > 0 && !/@\d+$/.test(model)
}

/** The specification with the exact version that it starts from; as it is where that is not to be found, or awaited. */
export async function pinned(services: Pick<BasisServices, 'registry'>, spec: JobSpec): Promise<JobSpec> {
  const { model } = spec
  return 'from' in model && !isAwaited(model.from, spec)
    ? { ...spec, model: { from: await exactModel(services, model.from) } }
    : spec
}

/** `NAME@VERSION` of what is meant; as it is where that is not to be found. */
export async function exactModel(services: Pick<BasisServices, 'registry'>, ref: string): Promise<string> {
  const model = await findModel(services, ref)
  return model === undefined ? ref : `${model.name}@${model.version}`
}

async function findModel(
  { registry }: Pick<BasisServices, 'registry'>,
  ref: string,
): Promise<ModelVersionView | undefined> {
  const [name = '', which = 'latest'] = ref.split('@')
  return (await registry.find(name, which)) ?? undefined
}

async function topologyOf({ blobs }: BasisServices, { topology }: ModelVersionView): Promise<object> {
  return JSON.parse(new TextDecoder().decode(await blobs.bytes(topology.sha256))) as object // put by `prepare`
}

function checkFits({ kernels }: BasisServices, pipeline: Pipeline, data: DatasetManifest): readonly Problem[] {
  const use = { splits: ['train', 'validation', 'test'], isTargetRead: true } as const
  return kernels.checkPipelineFits(pipeline, data, use)
}

/** Which columns there are goes with the preprocessing: other ones need a preprocessing of their own. */
function checkSelection({ dataset }: JobSpec, pipeline: Pipeline): readonly Problem[] {
  const target = pipeline.target?.name ?? null
  const features = pipeline.features.map(({ name }) => name)
  const problems: Problem[] = []
  if (dataset.target !== undefined && dataset.target !== target) {
    problems.push(problem('dataset.target', `${target}, as the model has it (or a preprocess of its own)`, String(dataset.target))) // prettier-ignore
  }
  if (dataset.features !== undefined && dataset.features.join() !== features.join()) {
    const expected = `${features.join(', ')}, as the model has them (or a preprocess of its own)`
    problems.push(problem('dataset.features', expected, dataset.features.join(', ')))
  }
  return problems
}

function unknownModel(model: JobSpec['model']): Problem {
  const found = 'from' in model ? model.from : model.class_name
  return problem('model.from', 'a model that is there, as NAME, NAME@VERSION or NAME@ALIAS', found)
}
