/**
 * The batch job's actor: its chart bound to what plans it and makes one result of its chunks. Each kind of batch job
 * says both in a file of `batches/`. All of it may run again after a crash and ends in the same blobs.
 */
import type { Problem } from '../kernels/mod.ts'
import { batchMachine } from '../machines/batch.ts'
import type { BatchInput, BatchResult, FinishInput } from '../machines/batch.ts'
import type { BatchPlan } from '../machines/batch-plan.ts'
import type { BatchSpec } from '../machines/batch-spec.ts'
import { defineActor } from '../runtime/mod.ts'
import type { Actor } from '../runtime/mod.ts'
import { exactModel, isAwaited } from './basis.ts'
import { withStoredArrays } from './batches/arrays.ts'
import { finishEvaluation, planEvaluation } from './batches/evaluate.ts'
import { finishKernel, planKernel } from './batches/kernel.ts'
import { findData } from './batches/model-use.ts'
import type { BatchPlanServices, Planned } from './batches/plan.ts'
import { finishPrediction, planPrediction } from './batches/predict.ts'
import { FleetError } from './errors.ts'
import { jobLog } from './streams.ts'
import type { Telemetry } from './streams.ts'

export interface BatchServices extends BatchPlanServices, Telemetry {}

export function batchActor(services: BatchServices): Actor<typeof batchMachine> {
  return defineActor({
    kind: 'batch',
    version: 1,
    machine: batchMachine,
    effects: {
      prepare: (input, { signal }) => prepare(services, input, signal),
      finish: (input, { signal }) => finish(services, input, signal),
    },
  })
}

export function planBatch(
  services: BatchPlanServices,
  spec: BatchSpec,
  owner: string,
  signal: AbortSignal,
): Promise<Planned> {
  switch (spec.kind) {
    case 'kernel':
      return planKernel(services, spec, owner, signal)
    case 'evaluate':
      return planEvaluation(services, spec, signal)
    case 'predict':
      return planPrediction(services, spec, signal)
  }
}

/** What speaks against a job before it begins: what those before it bring is not there yet, and is looked at by `prepare`. */
export async function admitBatch(
  services: BatchPlanServices,
  spec: BatchSpec,
  owner: string,
  signal: AbortSignal,
): Promise<readonly Problem[]> {
  if ('model' in spec && isAwaited(spec.model, spec)) return (await findData(services, spec, signal)).problems
  const planned = await planBatch(services, spec, owner, signal)
  if ('plan' in planned) return []
  const before = new Set((spec.after ?? []).map(({ job }) => job))
  const inputs = spec.kind === 'kernel' ? spec.inputs : []
  const awaited = new Set(inputs.map((input, i) => ('job' in input && before.has(input.job) ? `inputs[${i}].job` : '')))
  return planned.problems.filter(({ path }) => !awaited.has(path))
}

/** The specification as the job keeps it: with the exact version of its model, where that is found, and values as files. */
export async function pinnedBatch(
  services: Pick<BatchPlanServices, 'registry' | 'blobs' | 'kernels'>,
  spec: BatchSpec,
): Promise<BatchSpec> {
  if (spec.kind === 'kernel') return withStoredArrays(services, spec)
  return isAwaited(spec.model, spec) ? spec : { ...spec, model: await exactModel(services, spec.model) }
}

async function prepare(
  services: BatchServices,
  { id, owner, spec }: BatchInput,
  signal: AbortSignal,
): Promise<BatchPlan> {
  const planned = await planBatch(services, spec, owner, signal)
  if ('plan' in planned) {
    const { rows, chunks } = planned.plan
    await jobLog(services, id, 'prepare')('info', `${rows} rows in ${chunks} chunks`)
    return planned.plan
  }
  const sentence = planned.problems.map(({ message }) => message).join('; ')
  await jobLog(services, id, 'prepare')('error', sentence)
  throw new FleetError('spec.not-admitted', `The job cannot run: ${sentence}`, { problems: planned.problems })
}

async function finish(services: BatchServices, input: FinishInput, signal: AbortSignal): Promise<BatchResult> {
  const result = await resultOf(services, input, signal)
  const { output } = result
  const shape = output?.shape === undefined ? '' : ` of shape [${output.shape.join(', ')}]`
  if (output !== undefined) {
    await jobLog(services, input.id, 'finish')('info', `The output${shape} has ${output.sizeBytes} bytes`)
  }
  return result
}

function resultOf(services: BatchServices, input: FinishInput, signal: AbortSignal): Promise<BatchResult> {
  switch (input.spec.kind) {
    case 'kernel':
      return finishKernel(services, input, signal)
    case 'evaluate':
      return finishEvaluation(services, input, signal)
    case 'predict':
      return finishPrediction(services, input, input.spec.format, signal)
  }
}
