/**
 * Rows in, outputs out: raw values of the feature columns (from a request, or from a split of a dataset) go through the
 * pipeline that the model was trained with, then through the model in inference mode, in batches; values that were
 * scaled for training are turned back.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { forward } from './compiled.ts'
import type { CompiledModel } from './compiled.ts'
import { elementsOf } from './data/column.ts'
import type { Dataset } from './data/dataset.ts'
import type { Pipeline } from './data/pipeline.ts'
import { transformRows, turnedBack } from './data/transform.ts'
import { KernelError } from './errors.ts'
import { elementCount } from './safetensors.ts'

const BATCH_ROWS = 256

/** Rows as the data has them: of each, the values of the pipeline's feature columns, one column after another. */
export interface RawRows {
  values: Float32Array
}

export interface Predictions {
  rows: number
  /** Of one row. */
  shape: readonly number[]
  values: Float32Array
}

export async function predictRows(
  compiled: CompiledModel,
  { values }: RawRows,
  pipeline: Pipeline,
  { signal }: { signal?: AbortSignal } = {},
): Promise<Predictions> {
  const { outputShape } = compiled.plan
  const width = pipeline.features.reduce((sum, column) => sum + elementsOf(column), 0)
  if (values.length % width !== 0) {
    throw new KernelError('request.invalid', `rows: expected ${width} values for each, found ${values.length} in all`)
  }
  const rows = values.length / width
  const outputs = new Float32Array(rows * elementCount(outputShape))
  for (let at = 0; at < rows; at += BATCH_ROWS) {
    signal?.throwIfAborted()
    const count = Math.min(BATCH_ROWS, rows - at)
    const features = transformRows(pipeline, values.subarray(at * width, (at + count) * width), count)
    outputs.set(await forward(compiled, features, count), at * elementCount(outputShape))
    await nextTurn()
  }
  return { rows, shape: outputShape, values: turnedBack(outputs, pipeline.output) }
}

/** What the model says of `rows` rows of a split from `start` on. */
export async function predictSplit(
  compiled: CompiledModel,
  dataset: Dataset,
  { start, rows }: { readonly start: number; readonly rows: number },
  { signal, onBatch }: { signal?: AbortSignal; onBatch?: () => void } = {},
): Promise<Predictions> {
  const { outputShape } = compiled.plan
  const outputs = new Float32Array(rows * elementCount(outputShape))
  for (let at = 0; at < rows; at += BATCH_ROWS) {
    signal?.throwIfAborted()
    const count = Math.min(BATCH_ROWS, rows - at)
    const { features } = dataset.read(Uint32Array.from({ length: count }, (_, i) => start + at + i))
    outputs.set(await forward(compiled, features, count), at * elementCount(outputShape))
    onBatch?.()
    await nextTurn()
  }
  return { rows, shape: outputShape, values: turnedBack(outputs, dataset.target) }
}
