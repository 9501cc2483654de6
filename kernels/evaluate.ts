/**
 * How good a model is on a part of a split, as the sums of metrics.ts. The model runs in inference mode, so nothing of it changes.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { forward, writeWeights } from './compiled.ts'
import type { CompiledModel } from './compiled.ts'
import type { Dataset } from './data/dataset.ts'
import { evaluationRange } from './data/order.ts'
import { KernelError } from './errors.ts'
import { expectedOutputs } from './loss.ts'
import type { LossName } from './loss.ts'
import { addBatch, emptyEvaluation } from './metrics.ts'
import type { Evaluation } from './metrics.ts'

export interface EvaluateSettings {
  slice: { index: number; of: number }
  batchSize: number
  loss: LossName
}

export async function evaluateSlice(
  compiled: CompiledModel,
  weights: Uint8Array,
  dataset: Dataset,
  settings: EvaluateSettings,
  { signal, onBatch }: { signal?: AbortSignal; onBatch?: (evaluation: Evaluation) => void } = {},
): Promise<Evaluation> {
  const { index, of } = settings.slice
  if (!Number.isSafeInteger(of) || !Number.isSafeInteger(index) || of < 1 || index < 0 || index >= of) {
    throw new KernelError('request.invalid', `slice: expected index below of, found ${index} of ${of}`)
  }
  writeWeights(compiled, weights)
  const { start, end } = evaluationRange(dataset.count, index, of)
  const { target } = dataset
  const evaluation = emptyEvaluation(target)
  const unit = target.kind === 'value' ? (target.unscale?.factor ?? 1) : 1
  for (let at = start; at < end; at += settings.batchSize) {
    signal?.throwIfAborted()
    const rows = Uint32Array.from({ length: Math.min(settings.batchSize, end - at) }, (_, i) => at + i)
    const batch = dataset.read(rows)
    const outputs = await forward(compiled, batch.features, batch.rows)
    const expected = expectedOutputs(batch.targets, batch.rows, target, { loss: settings.loss })
    addBatch(evaluation, settings.loss, batch.rows, { outputs, expected, targets: batch.targets }, unit)
    onBatch?.(evaluation)
    await nextTurn()
  }
  return evaluation
}
