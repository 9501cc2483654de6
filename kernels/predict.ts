/**
 * Rows in, outputs out: the model in inference mode over rows that a caller gives, in batches.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { forward, writeWeights } from './compiled.ts'
import type { CompiledModel } from './compiled.ts'
import { preprocess } from './data/preprocess.ts'
import type { PreprocessStep } from './data/preprocess.ts'
import { KernelError } from './errors.ts'
import { elementCount } from './safetensors.ts'

const BATCH_ROWS = 256

/** Values of any number of rows, row after row; `shape` is of one row. */
export interface Rows {
  shape: readonly number[]
  values: Float32Array | Int32Array | Uint8Array
}

export interface Predictions {
  rows: number
  /** Of one row. */
  shape: readonly number[]
  values: Float32Array
}

export async function predictRows(
  compiled: CompiledModel,
  weights: Uint8Array,
  { shape, values }: Rows,
  steps: readonly PreprocessStep[],
  { signal }: { signal?: AbortSignal } = {},
): Promise<Predictions> {
  const { inputShape, outputShape } = compiled.plan
  const rowElements = elementCount(inputShape)
  if (elementCount(shape) !== rowElements || values.length % rowElements !== 0) {
    throw new KernelError(
      'request.invalid',
      `rows: expected values of shape [${inputShape.join(', ')}], found [${shape.join(', ')}] with ${values.length} values`,
    )
  }
  writeWeights(compiled, weights)
  const rows = values.length / rowElements
  const outputs = new Float32Array(rows * elementCount(outputShape))
  for (let at = 0; at < rows; at += BATCH_ROWS) {
    signal?.throwIfAborted()
    const count = Math.min(BATCH_ROWS, rows - at)
    const features = Float32Array.from(values.subarray(at * rowElements, (at + count) * rowElements))
    preprocess(features, steps)
    outputs.set(await forward(compiled, features, count), at * elementCount(outputShape))
    await nextTurn()
  }
  return { rows, shape: outputShape, values: outputs }
}
