/**
 * The job's actor: its chart bound to what validates, prepares, reduces and registers. All of it runs on the node that
 * owns the job's shard, may run again after a crash, and ends in content-addressed blobs or in documents that are
 * written once.
 */
import type * as Kernels from '../kernels/mod.ts'
import type { DatasetManifest, Pipeline } from '../kernels/mod.ts'
import { jobMachine } from '../machines/job.ts'
import { recipeOf } from '../machines/training.ts'
import type { JobInput, ModelRef, Plan, ReduceInput, ReduceOutput, RegisterInput } from '../machines/training.ts'
import { batchSizesOf } from '../machines/train-spec.ts'
import type { Blob } from '../machines/work.ts'
import { defineActor } from '../runtime/mod.ts'
import type { Actor } from '../runtime/mod.ts'
import type { Blobs } from '../stores/mod.ts'
import { admit } from './admission.ts'
import { basisOf } from './basis.ts'
import type { FleetCollections } from './collections.ts'
import type { Datasets } from './datasets.ts'
import { FleetError } from './errors.ts'
import type { PoolNames } from './pools.ts'
import { score } from './score.ts'
import type { Registry } from './registry.ts'
import { jobLog } from './streams.ts'
import type { Telemetry } from './streams.ts'

export interface JobServices extends Telemetry {
  readonly blobs: Pick<Blobs, 'put' | 'bytes'>
  readonly collections: FleetCollections
  readonly datasets: Datasets
  readonly registry: Pick<Registry, 'register' | 'find'>
  readonly pools: PoolNames
  readonly kernels: Pick<
    typeof Kernels,
    | 'balancedWeights'
    | 'checkModel'
    | 'checkPipelineFits'
    | 'mergeEvaluations'
    | 'planPipeline'
    | 'reduce'
    | 'summarize'
    | 'stepsPerEpoch'
    | 'decodeTensors'
  >
}

export function jobActor(services: JobServices): Actor<typeof jobMachine> {
  return defineActor({
    kind: 'job',
    version: 1,
    machine: jobMachine,
    effects: {
      validate: (input) => validate(services, input),
      prepare: (input, { signal }) => prepare(services, input, signal),
      reduce: (input, { signal }) => reduce(services, input, signal),
      score: ({ slices }, { signal }) => score(services, slices, signal),
      register: (input) => registerAndLog(services, input),
    },
  })
}

async function validate(services: JobServices, { id, spec }: JobInput): Promise<null> {
  const problems = await admit(services, spec)
  if (problems.length === 0) return null
  const sentence = problems.map(({ message }) => message).join('; ')
  await jobLog(services, id, 'validate')('error', sentence)
  throw notAdmitted(problems)
}

function notAdmitted(problems: readonly Kernels.Problem[]): FleetError {
  const sentence = problems.map(({ message }) => message).join('; ')
  return new FleetError('spec.not-admitted', `The job cannot be trained: ${sentence}`, { problems })
}

async function prepare(services: JobServices, { id, spec }: JobInput, signal: AbortSignal): Promise<Plan> {
  const { datasets, blobs, kernels } = services
  const log = jobLog(services, id, 'prepare')
  const { data, name, version, manifest } = await datasets.resolve(spec.dataset, { signal })
  const found = await basisOf(services, spec, data)
  if ('problems' in found) throw notAdmitted(found.problems)
  const { topology: model, pipeline, start } = found.basis
  const store = async (value: unknown): Promise<Blob> => {
    const { sha256, sizeBytes } = await blobs.put(new TextEncoder().encode(JSON.stringify(value)), { signal })
    return { sha256, sizeBytes }
  }
  const [topology, fitted] = await Promise.all([start?.topology ?? store(model), store(pipeline)])
  const { train } = spec
  const batchSizes = batchSizesOf(train)
  const stepsPerEpoch = kernels.stepsPerEpoch(data.splits.train.count, batchSizes)
  const steps = train.epochs * stepsPerEpoch
  const rows = batchSizes.join(' + ')
  await log('info', `${steps} steps of ${rows} examples, ${stepsPerEpoch} per epoch`)
  const named = { topology: topology.sha256, manifest, pipeline: fitted.sha256, dataset: `${name}@${version}` }
  return {
    recipe: recipeOf(spec, { ...named, steps, balanced: balancedOf(services, data, pipeline) }),
    dataset: { name, version },
    topology,
    pipeline: fitted,
    ...(start !== null && { start: { name: start.name, version: start.version, weights: start.weights.sha256 } }),
    steps,
    validationExamples: data.splits.validation?.count ?? 0,
    testExamples: data.splits.test?.count ?? 0,
  }
}

/** The class weights that balance the training split; null where the target is no class. */
function balancedOf({ kernels }: JobServices, data: DatasetManifest, { target }: Pipeline): readonly number[] | null {
  const index = data.columns.findIndex(({ name }) => name === target?.name)
  const counts = data.splits.train.statistics[index]?.classes
  return counts === undefined ? null : kernels.balancedWeights(counts)
}

async function reduce(services: JobServices, input: ReduceInput, signal: AbortSignal): Promise<ReduceOutput> {
  const { blobs, kernels } = services
  const { strategy, shares } = input
  if (strategy.kind !== 'diloco') return agreed(input)
  const [weights, outerState, replicas] = await Promise.all([
    blobs.bytes(input.weights),
    input.outerState === null ? undefined : blobs.bytes(input.outerState),
    Promise.all(input.replicas.map(({ sha256 }) => blobs.bytes(sha256))),
  ])
  signal.throwIfAborted()
  const reduced = kernels.reduce({
    weights,
    replicas,
    shares,
    outer: strategy.outer,
    precision: strategy.precision,
    outerState,
    statistics: statisticsOf(kernels.decodeTensors(weights).tensors.map(({ name }) => name)),
  })
  const store = (bytes: Uint8Array | undefined) => (bytes === undefined ? null : blobs.put(bytes, { signal }))
  const [next, update, state] = await Promise.all([
    blobs.put(reduced.weights, { signal }),
    store(reduced.update),
    store(reduced.outerState),
  ])
  return {
    weights: { sha256: next.sha256, sizeBytes: next.sizeBytes },
    update: update?.sha256 ?? null,
    outerState: state?.sha256 ?? null,
  }
}

/** Replicas that went together have reduced at every step: they are at one place, or one of them computes wrongly. */
function agreed({ job, round, replicas }: ReduceInput): ReduceOutput {
  const found = [...new Set(replicas.map(({ sha256 }) => sha256))]
  const [weights] = replicas
  if (weights === undefined || found.length > 1) {
    const message = `Replicas that went together came to different weights in round ${round}: ${found.join(', ')}`
    throw new FleetError('round.disagreement', message, { job, round, found })
  }
  return { weights, update: null, outerState: null }
}

/** Weights that no gradient moves: the moving statistics of normalisation layers, by Keras's names for them. */
function statisticsOf(names: readonly string[]): readonly string[] {
  return names.filter((name) => /(^|\/)moving_(mean|variance)$/.test(name))
}

async function registerAndLog(services: JobServices, input: RegisterInput): Promise<ModelRef> {
  const model = await services.registry.register(input)
  await jobLog(services, input.id, 'register')('info', `Registered as ${model.name} version ${model.version}`)
  return model
}
