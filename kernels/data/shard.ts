/**
 * The binary shard: fixed-size rows of features and their targets, in one file of about 32 MB, named by its sha256.
 *
 *   offset  size    content
 *   0       8       magic "TFSHARD1"
 *   8       4       header length H, little-endian
 *   12      H       header, JSON: {"count","features":{"dtype","shape"},"target":{"dtype","elements"}}, space-padded
 *   12+H            features of all rows, row after row; 12+H is a multiple of 64
 *   …               zeros up to a multiple of 8, then the targets of all rows
 *
 * Rows are of one size, so row i lies at a known place: a reader may take any range of a shard, over a file or over an
 * object store's range request, without reading the rest and without copying. Features and targets stand apart so that
 * a batch of features is one block. Equal rows give equal bytes.
 */
import { KernelError } from '../errors.ts'
import {
  EXAMPLE_ELEMENTS_MAX,
  RANK_MAX,
  SHARD_BYTES_MAX,
  SHARD_BYTES_TARGET,
  SHARD_HEADER_BYTES_MAX,
} from '../limits.ts'
import { elementCount } from '../safetensors.ts'
import type { FeatureDtype, FeatureSpec } from './manifest.ts'

const MAGIC = 'TFSHARD1'
const PREFIX_BYTES = 12
const ALIGNMENT = 64

export type TargetDtype = 'uint8' | 'int32' | 'float32'
export type Values = Uint8Array | Int32Array | Float32Array

export interface ShardLayout {
  count: number
  features: FeatureSpec
  target: { dtype: TargetDtype; elements: number }
}

/** A shard in memory: views into its bytes, nothing copied. */
export interface Shard extends ShardLayout {
  featureValues: Values
  targetValues: Values
}

const ELEMENT_BYTES: Record<FeatureDtype, number> = { uint8: 1, int32: 4, float32: 4 }

/** How many rows of this kind a shard of the target size takes. */
export function rowsPerShard(
  features: FeatureSpec,
  target: ShardLayout['target'],
  sizeTarget = SHARD_BYTES_TARGET,
): number {
  const rowBytes = featureRowBytes(features) + target.elements * ELEMENT_BYTES[target.dtype]
  return Math.max(1, Math.floor((sizeTarget - 4096) / rowBytes))
}

export function encodeShard(layout: ShardLayout, featureValues: Values, targetValues: Values): Uint8Array {
  const rowElements = elementCount(layout.features.shape)
  if (
    featureValues.length !== layout.count * rowElements ||
    targetValues.length !== layout.count * layout.target.elements
  ) {
    throw malformed(
      `${layout.count} rows need ${layout.count * rowElements} feature and ${layout.count * layout.target.elements} target values, got ${featureValues.length} and ${targetValues.length}`,
    )
  }
  const { features, target, count } = layout
  // Written field by field: the order of keys is part of the bytes.
  const json = `{"count":${count},"features":{"dtype":"${features.dtype}","shape":[${features.shape.join(',')}]},"target":{"dtype":"${target.dtype}","elements":${target.elements}}}`
  const featuresAt = roundUp(PREFIX_BYTES + json.length, ALIGNMENT)
  const targetsAt = roundUp(featuresAt + count * featureRowBytes(features), 8)
  const bytes = new Uint8Array(targetsAt + count * target.elements * ELEMENT_BYTES[target.dtype])
  bytes.set(Buffer.from(MAGIC, 'latin1'))
  new DataView(bytes.buffer).setUint32(8, featuresAt - PREFIX_BYTES, true)
  bytes.fill(0x20, PREFIX_BYTES, featuresAt)
  bytes.set(Buffer.from(json, 'latin1'), PREFIX_BYTES)
  bytes.set(bytesOf(featureValues), featuresAt)
  bytes.set(bytesOf(targetValues), targetsAt)
  return bytes
}

export function decodeShard(bytes: Uint8Array): Shard {
  const { layout, featuresAt } = decodeHeader(bytes)
  const { count, features, target } = layout
  const featureBytes = count * featureRowBytes(features)
  const targetsAt = roundUp(featuresAt + featureBytes, 8)
  const expected = targetsAt + count * target.elements * ELEMENT_BYTES[target.dtype]
  if (bytes.byteLength !== expected) throw malformed(`it has ${bytes.byteLength} bytes, its header needs ${expected}`)
  return {
    ...layout,
    featureValues: valuesAt(bytes, features.dtype, featuresAt, count * elementCount(features.shape)),
    targetValues: valuesAt(bytes, target.dtype, targetsAt, count * target.elements),
  }
}

function decodeHeader(bytes: Uint8Array): { layout: ShardLayout; featuresAt: number } {
  if (bytes.byteLength < PREFIX_BYTES)
    throw malformed(`it has ${bytes.byteLength} bytes, a shard starts with ${PREFIX_BYTES}`)
  const magic = Buffer.from(bytes.subarray(0, 8)).toString('latin1')
  if (magic !== MAGIC) throw malformed(`it starts with ${JSON.stringify(magic)}, expected ${JSON.stringify(MAGIC)}`)
  const size = new DataView(bytes.buffer, bytes.byteOffset).getUint32(8, true)
  const featuresAt = PREFIX_BYTES + size
  if (size > SHARD_HEADER_BYTES_MAX || featuresAt > bytes.byteLength || featuresAt % ALIGNMENT !== 0) {
    throw malformed(`its header claims ${size} bytes`)
  }
  let header: unknown
  try {
    header = JSON.parse(Buffer.from(bytes.subarray(PREFIX_BYTES, featuresAt)).toString('utf8'))
  } catch (error) {
    throw malformed(`its header is no JSON (${error instanceof Error ? error.message : String(error)})`)
  }
  if (!isLayout(header)) throw malformed('its header does not describe rows')
  return { layout: header, featuresAt }
}

function isLayout(value: unknown): value is ShardLayout {
  if (typeof value !== 'object' || value === null) return false
  const { count, features, target } = value as Partial<ShardLayout> // every field is checked below
  if (!isCount(count) || typeof features !== 'object' || typeof target !== 'object') return false
  const { shape, dtype } = features
  if (!Array.isArray(shape) || shape.length > RANK_MAX || !shape.every((d) => isCount(d) && d > 0)) return false
  if (!Object.hasOwn(ELEMENT_BYTES, dtype) || !Object.hasOwn(ELEMENT_BYTES, target.dtype)) return false
  if (!isCount(target.elements) || elementCount(shape) > EXAMPLE_ELEMENTS_MAX) return false
  return count * (featureRowBytes(features) + target.elements * ELEMENT_BYTES[target.dtype]) <= SHARD_BYTES_MAX
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function featureRowBytes(features: FeatureSpec): number {
  return elementCount(features.shape) * ELEMENT_BYTES[features.dtype]
}

function valuesAt(bytes: Uint8Array, dtype: FeatureDtype, offset: number, length: number): Values {
  const element = ELEMENT_BYTES[dtype]
  // Only a caller's odd slice of a larger buffer is misaligned; a file's own buffer never is.
  const aligned = (bytes.byteOffset + offset) % element === 0
  const source = aligned ? bytes : bytes.slice(offset, offset + length * element)
  const at = aligned ? bytes.byteOffset + offset : 0
  if (dtype === 'uint8') return new Uint8Array(source.buffer, at, length)
  if (dtype === 'int32') return new Int32Array(source.buffer, at, length)
  return new Float32Array(source.buffer, at, length)
}

function bytesOf(values: Values): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple
}

function malformed(reason: string): KernelError {
  return new KernelError('data.malformed', `Cannot read or write a dataset shard: ${reason}`)
}
