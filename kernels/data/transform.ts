/**
 * A pipeline carried out on a batch: raw feature columns in, the model's input out, all in float32. Where training
 * draws (augmentation), everything drawn follows from (seed, epoch, row), so a row of an epoch comes out the same on
 * every worker, in every batch and at every repetition.
 */
import { deriveSeed } from '../random.ts'
import { elementCount } from '../safetensors.ts'
import { elementsOf, MISSING_CATEGORY } from './column.ts'
import type { TargetSpec } from './column.ts'
import { augment, resize } from './pictures.ts'
import type { FittedStep, Pipeline } from './pipeline.ts'

/** What random changes of a training step follow from. */
export interface Draw {
  readonly seed: number
  readonly epoch: number
}

/**
 * `columns` are the features' values, [rows × elements] each, and are used up. `ids` are the rows' numbers in the split;
 * without a draw nothing is augmented. Gives [rows, …input.shape].
 */
export function transform(
  { steps }: Pick<Pipeline, 'steps'>,
  columns: readonly Float32Array[],
  rows: number,
  draw?: Draw & { readonly ids: Uint32Array },
): Float32Array {
  const values = [...columns]
  for (const step of steps) {
    const before = values[step.column]
    if (before === undefined) continue
    if (step.op !== 'augment') values[step.column] = applied(step, before, rows)
    else if (draw !== undefined) augmentRows(step, before, rows, draw)
  }
  const [first] = values
  if (values.length === 1 && first !== undefined) return first
  const widths = values.map(({ length }) => length / rows)
  const width = widths.reduce((sum, each) => sum + each, 0)
  const joined = new Float32Array(rows * width)
  let offset = 0
  for (const [i, column] of values.entries()) {
    const each = widths[i] ?? 0
    for (let row = 0; row < rows; row++) {
      for (let k = 0; k < each; k++) joined[row * width + offset + k] = column[row * each + k] ?? 0
    }
    offset += each
  }
  return joined
}

/** Rows as they are asked for, each with the values of its columns one after another: gives what the model takes. */
export function transformRows(
  pipeline: Pick<Pipeline, 'features' | 'steps'>,
  values: Float32Array,
  rows: number,
): Float32Array {
  const width = values.length / rows
  let offset = 0
  const columns = pipeline.features.map((feature) => {
    const each = elementsOf(feature)
    const column = new Float32Array(rows * each)
    for (let row = 0; row < rows; row++) {
      column.set(values.subarray(row * width + offset, row * width + offset + each), row * each)
    }
    offset += each
    return column
  })
  return transform(pipeline, columns, rows)
}

/** What a model says, in the target's own units where it was scaled for training. */
export function turnedBack(outputs: Float32Array, target: TargetSpec): Float32Array {
  if (target.kind !== 'value' || target.unscale === undefined) return outputs
  const { factor, offset } = target.unscale
  return outputs.map((value) => value * factor + offset)
}

function applied(step: Exclude<FittedStep, { op: 'augment' }>, values: Float32Array, rows: number): Float32Array {
  switch (step.op) {
    case 'affine': {
      const [factor = 1, offset = 0] = [step.factor[0], step.offset[0]]
      const groups = step.factor.length
      if (groups === 1) for (let i = 0; i < values.length; i++) values[i] = (values[i] ?? 0) * factor + offset
      else {
        for (let i = 0; i < values.length; i++) {
          values[i] = (values[i] ?? 0) * (step.factor[i % groups] ?? 1) + (step.offset[i % groups] ?? 0)
        }
      }
      return values
    }
    case 'impute': {
      const groups = step.values.length
      for (let i = 0; i < values.length; i++) {
        const value = values[i] ?? 0
        const isMissing = step.isCategory ? value === MISSING_CATEGORY : Number.isNaN(value)
        if (isMissing) values[i] = step.values[i % groups] ?? 0
      }
      return values
    }
    case 'onehot': {
      const spread = new Float32Array(rows * step.classes)
      for (let row = 0; row < rows; row++) {
        const code = values[row] ?? MISSING_CATEGORY
        if (code >= 0 && code < step.classes) spread[row * step.classes + code] = 1
      }
      return spread
    }
    case 'resize': {
      const [before, after] = [elementCount(step.from), elementCount(step.to)]
      const resized = new Float32Array(rows * after)
      for (let row = 0; row < rows; row++) {
        const from = values.subarray(row * before, (row + 1) * before)
        resize(from, step.from, resized.subarray(row * after, (row + 1) * after), step.to)
      }
      return resized
    }
  }
}

function augmentRows(
  step: Extract<FittedStep, { op: 'augment' }>,
  values: Float32Array,
  rows: number,
  { seed, epoch, ids }: Draw & { readonly ids: Uint32Array },
): void {
  const size = elementCount(step.shape)
  const spare = new Float32Array(size)
  for (let row = 0; row < rows; row++) {
    const own = deriveSeed(seed, 'augment', epoch, ids[row] ?? 0, step.column)
    augment(values.subarray(row * size, (row + 1) * size), step.shape, step, own, spare)
  }
}
