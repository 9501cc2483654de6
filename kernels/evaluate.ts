/**
 * How good a model is on a part of a split: sums that can be added up over parts in any order, and the measures that
 * follow from them. The model runs in inference mode, so nothing of it changes.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { forward, writeWeights } from './compiled.ts'
import type { CompiledModel } from './compiled.ts'
import type { Dataset } from './data/dataset.ts'
import { evaluationRange } from './data/order.ts'
import { KernelError } from './errors.ts'
import { expectedOutputs, lossSum, predictedClasses } from './loss.ts'
import type { LossName } from './loss.ts'

/** Above this a confusion matrix is no longer something to look at. */
const CONFUSION_CLASSES_MAX = 1_000

/** Sums over examples; `mergeEvaluations` adds them. */
export interface Evaluation {
  examples: number
  lossSum: number
  /** Classification only. */
  correct?: number
  /** confusion[actual][predicted], classification of up to 1,000 classes. */
  confusion?: number[][]
}

export interface EvaluationSummary {
  examples: number
  loss: number
  accuracy?: number
  confusion?: number[][]
}

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
  const evaluation: Evaluation = { examples: 0, lossSum: 0 }
  if (target.kind === 'class') {
    evaluation.correct = 0
    if (target.classes <= CONFUSION_CLASSES_MAX) {
      evaluation.confusion = Array.from({ length: target.classes }, () =>
        Array.from({ length: target.classes }, () => 0),
      )
    }
  }
  for (let at = start; at < end; at += settings.batchSize) {
    signal?.throwIfAborted()
    const rows = Uint32Array.from({ length: Math.min(settings.batchSize, end - at) }, (_, i) => at + i)
    const batch = dataset.read(rows)
    const outputs = await forward(compiled, batch.features, batch.rows)
    const expected = expectedOutputs(batch.targets, batch.rows, target, { loss: settings.loss })
    evaluation.examples += batch.rows
    evaluation.lossSum += lossSum(settings.loss, outputs, expected, batch.rows)
    if (target.kind === 'class') countClasses(evaluation, predictedClasses(outputs, batch.rows), batch.targets)
    onBatch?.(evaluation)
    await nextTurn()
  }
  return evaluation
}

function countClasses(evaluation: Evaluation, predicted: Int32Array, actual: Float32Array): void {
  for (const [row, guess] of predicted.entries()) {
    const truth = actual[row] ?? 0
    if (guess === truth) evaluation.correct = (evaluation.correct ?? 0) + 1
    const line = evaluation.confusion?.[truth]
    if (line) line[guess] = (line[guess] ?? 0) + 1
  }
}

/** The evaluation of all parts together. Give the parts in order: the loss is a float64 sum. */
export function mergeEvaluations(parts: readonly Evaluation[]): Evaluation {
  const merged: Evaluation = { examples: 0, lossSum: 0 }
  for (const part of parts) {
    merged.examples += part.examples
    merged.lossSum += part.lossSum
    if (part.correct !== undefined) merged.correct = (merged.correct ?? 0) + part.correct
    if (part.confusion) {
      const { confusion } = part
      merged.confusion = confusion.map((line, i) => line.map((count, j) => count + (merged.confusion?.[i]?.[j] ?? 0)))
    }
  }
  return merged
}

export function summarize(evaluation: Evaluation): EvaluationSummary {
  const { examples, correct, confusion } = evaluation
  return {
    examples,
    loss: examples === 0 ? 0 : evaluation.lossSum / examples,
    ...(correct === undefined ? {} : { accuracy: examples === 0 ? 0 : correct / examples }),
    ...(confusion === undefined ? {} : { confusion }),
  }
}
