/**
 * Rows in, outputs out: raw values of the feature columns (from a request, or from a split of a dataset) go through the
 * pipeline that the model was trained with, then through the model in inference mode, in batches; values that were
 * scaled for training are turned back.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { forward } from './compiled.ts'
import type { CompiledModel } from './compiled.ts'
import { elementsOf } from './data/column.ts'
import type { TargetSpec } from './data/column.ts'
import type { Dataset } from './data/dataset.ts'
import type { Pipeline } from './data/pipeline.ts'
import { transform } from './data/transform.ts'
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
  const widths = pipeline.features.map(elementsOf)
  const width = widths.reduce((sum, each) => sum + each, 0)
  if (values.length % width !== 0) {
    throw new KernelError('request.invalid', `rows: expected ${width} values for each, found ${values.length} in all`)
  }
  const rows = values.length / width
  const outputs = new Float32Array(rows * elementCount(outputShape))
  for (let at = 0; at < rows; at += BATCH_ROWS) {
    signal?.throwIfAborted()
    const count = Math.min(BATCH_ROWS, rows - at)
    const columns = columnsOf(values.subarray(at * width, (at + count) * width), widths, count)
    const features = transform(pipeline, columns, count)
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

function turnedBack(outputs: Float32Array, target: TargetSpec): Float32Array {
  if (target.kind !== 'value' || target.unscale === undefined) return outputs
  const { factor, offset } = target.unscale
  return outputs.map((value) => value * factor + offset)
}

/** Values row by row, as values column by column. */
function columnsOf(values: Float32Array, widths: readonly number[], rows: number): Float32Array[] {
  const width = values.length / rows
  let offset = 0
  return widths.map((each) => {
    const column = new Float32Array(rows * each)
    for (let row = 0; row < rows; row++) {
      column.set(values.subarray(row * width + offset, row * width + offset + each), row * each)
    }
    offset += each
    return column
  })
}
