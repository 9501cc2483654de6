/**
 * Reads IDX, the format of MNIST's files (http://yann.lecun.com/exdb/mnist, "THE IDX FILE FORMAT"): two zero bytes, a
 * type, the number of dimensions, each dimension as a big-endian uint32, then the values row by row. `ingestIdx` turns
 * a file of images and a file of labels into shards. Nothing is believed: magic, dimensions, length and counts are
 * checked before the first shard leaves, and labels against the number of classes.
 */
import { KernelError } from '../errors.ts'
import { CLASSES_MAX, EXAMPLE_ELEMENTS_MAX } from '../limits.ts'
import { elementCount } from '../safetensors.ts'
import type { FeatureSpec, TargetSpec } from './manifest.ts'
import { encodeShard, rowsPerShard } from './shard.ts'

const TYPE_UNSIGNED_BYTE = 0x08
const DIMENSIONS_MAX = 4

export interface IdxArray {
  shape: number[]
  values: Uint8Array
}

export interface IdxSource {
  images: Uint8Array
  labels: Uint8Array
  /** The number of classes; without it, one more than the largest label. */
  classes?: number
  /** How large a shard may get; a test makes it small. */
  shardBytes?: number
}

export interface IngestedShard {
  bytes: Uint8Array
  count: number
}

export interface Ingest {
  features: FeatureSpec
  target: TargetSpec
  count: number
  shards: AsyncIterable<IngestedShard>
}

/** Checks both files, then gives what they hold and their shards, one at a time. */
export function ingestIdx(source: IdxSource): Ingest {
  const images = decodeIdx(source.images, 'images')
  const labels = decodeIdx(source.labels, 'labels')
  const count = images.shape[0] ?? 0
  if (images.shape.length < 2)
    throw malformed('images', `it has ${images.shape.length} dimension, expected rows of values`)
  if (labels.shape.length !== 1) throw malformed('labels', `it has ${labels.shape.length} dimensions, expected 1`)
  if (labels.shape[0] !== count) {
    throw malformed('labels', `it has ${labels.shape[0]} labels, the images file has ${count} images`)
  }
  if (count === 0) throw malformed('images', 'it has no images')
  let highest = 0
  for (const label of labels.values) if (label > highest) highest = label
  const classes = source.classes ?? highest + 1
  if (highest >= classes || classes > CLASSES_MAX) {
    throw malformed('labels', `label ${highest} does not fit ${classes} classes`)
  }
  // A grey image gets its channel dimension here, because every convolution expects one.
  const row = images.shape.slice(1)
  const features: FeatureSpec = { shape: row.length === 2 ? [...row, 1] : row, dtype: 'uint8' }
  return {
    features,
    target: { kind: 'class', classes },
    count,
    shards: cut(images.values, labels.values, features, count, source.shardBytes),
  }
}

// An async generator although nothing here waits: other formats stream, and callers see one kind of ingest.
async function* cut(
  images: Uint8Array,
  labels: Uint8Array,
  features: FeatureSpec,
  count: number,
  shardBytes: number | undefined,
): AsyncIterable<IngestedShard> {
  const target = { dtype: 'uint8', elements: 1 } as const
  const rows = rowsPerShard(features, target, shardBytes)
  const rowElements = elementCount(features.shape)
  for (let start = 0; start < count; start += rows) {
    const end = Math.min(count, start + rows)
    const layout = { count: end - start, features, target }
    yield {
      bytes: encodeShard(layout, images.subarray(start * rowElements, end * rowElements), labels.subarray(start, end)),
      count: end - start,
    }
  }
}

/** One IDX file of unsigned bytes; `name` stands in the errors. */
export function decodeIdx(bytes: Uint8Array, name: string): IdxArray {
  if (bytes.byteLength < 4) throw malformed(name, `it has ${bytes.byteLength} bytes, an IDX file starts with 4`)
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) throw malformed(name, 'it is compressed with gzip: unpack it first')
  if (bytes[0] !== 0 || bytes[1] !== 0) {
    throw malformed(name, `it starts with bytes ${bytes[0]} ${bytes[1]}, an IDX file starts with 0 0`)
  }
  if (bytes[2] !== TYPE_UNSIGNED_BYTE) {
    throw malformed(name, `its values have type 0x${(bytes[2] ?? 0).toString(16)}, expected unsigned bytes (0x8)`)
  }
  const rank = bytes[3] ?? 0
  if (rank < 1 || rank > DIMENSIONS_MAX)
    throw malformed(name, `it has ${rank} dimensions, expected 1 to ${DIMENSIONS_MAX}`)
  const headerBytes = 4 + rank * 4
  if (bytes.byteLength < headerBytes) throw malformed(name, `it ends within its header of ${headerBytes} bytes`)
  const header = new DataView(bytes.buffer, bytes.byteOffset, headerBytes)
  const shape = Array.from({ length: rank }, (_, i) => header.getUint32(4 + i * 4))
  if (shape.slice(1).some((dimension) => dimension === 0) || elementCount(shape.slice(1)) > EXAMPLE_ELEMENTS_MAX) {
    throw malformed(name, `its dimensions are [${shape.join(', ')}]`)
  }
  const found = bytes.byteLength - headerBytes
  const expected = elementCount(shape)
  if (found < expected)
    throw malformed(name, `it is cut short: [${shape.join(', ')}] needs ${expected} values, it has ${found}`)
  if (found > expected)
    throw malformed(name, `it is too long: [${shape.join(', ')}] needs ${expected} values, it has ${found}`)
  return { shape, values: bytes.subarray(headerBytes) }
}

function malformed(name: string, reason: string): KernelError {
  return new KernelError('data.malformed', `Cannot read IDX file ${name}: ${reason}`, { file: name })
}
