/**
 * A column: one named value of each row, of one type and shape. An image is a column as a price is; a row is one of each.
 *
 * Numbers are float32 unless the source says otherwise, and NaN where the source had none. A category is a code 0 … n−1,
 * with the names that the source used for them where it used names; a missing one is −1, so it is int32 wherever one
 * may be missing.
 */
import { alignedAt, elementCount } from '../safetensors.ts'

export type Dtype = 'uint8' | 'int32' | 'float32'
export type Values = Uint8Array | Int32Array | Float32Array

export const ELEMENT_BYTES: Readonly<Record<Dtype, number>> = { uint8: 1, int32: 4, float32: 4 }

/** The code of a category that a row does not have. */
export const MISSING_CATEGORY = -1

export interface Column {
  readonly name: string
  readonly dtype: Dtype
  /** Of one row: [] for one number, [28, 28, 1] for a grey image. */
  readonly shape: readonly number[]
  readonly categories?: Categories
}

/** A column as predictions are asked with it. */
export interface FeatureColumn extends Column {
  /** Null will do: preprocessing says what to make of a missing value. */
  readonly nullable?: true
}

export interface Categories {
  readonly count: number
  readonly names?: readonly string[]
}

/** Shape and type of what a model takes, without the batch dimension: `[28, 28, 1]`. */
export interface FeatureSpec {
  readonly shape: readonly number[]
  readonly dtype: Dtype
}

export type TargetSpec =
  | { readonly kind: 'class'; readonly classes: number; readonly names?: readonly string[] }
  | {
      readonly kind: 'value'
      readonly shape: readonly number[]
      /** Where the target was scaled for training: the data's value is the model's × factor + offset. */
      readonly unscale?: { readonly factor: number; readonly offset: number }
    }

export function elementsOf(column: Column): number {
  return elementCount(column.shape)
}

/** Numbers per row of the target as a loss takes it: one class index, or the elements of the value. */
export function targetElements(target: TargetSpec): number {
  return target.kind === 'class' ? 1 : elementCount(target.shape)
}

export function newValues(dtype: Dtype, length: number): Values {
  if (dtype === 'uint8') return new Uint8Array(length)
  return dtype === 'int32' ? new Int32Array(length) : new Float32Array(length)
}

/** A view of bytes as values; copied where an odd slice is misaligned. */
export function valuesAt(bytes: Uint8Array, dtype: Dtype, offset: number, length: number): Values {
  const size = ELEMENT_BYTES[dtype]
  const { buffer, offset: at } = alignedAt(bytes, offset, length * size, size)
  if (dtype === 'uint8') return new Uint8Array(buffer, at, length)
  return dtype === 'int32' ? new Int32Array(buffer, at, length) : new Float32Array(buffer, at, length)
}

export function bytesOf(values: Values): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
}
