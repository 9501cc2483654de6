/**
 * The binary shard: rows of one size in a file of about 32 MB, named by its sha256.
 *
 *   offset  size    content
 *   0       8       magic "TFSHARD2"
 *   8       4       header length H, little-endian
 *   12      H       header, JSON: {"count", "columns": [{"dtype", "shape"}, …]}, padded with spaces
 *   12+H            the blocks, one after another, each at a multiple of 64; 12+H is one
 *
 * A column with a shape is a block of its own, row after row. Columns of one number share a block for each type, row
 * after row too: the cells of a wide table that belong to one row lie side by side. Where a row lies follows from the
 * header alone, so a reader takes any range of rows, from a file or by a range request, without the rest of the shard.
 * Equal rows give equal bytes; names and categories are the manifest's.
 */
import { KernelError } from '../errors.ts'
import {
  COLUMNS_MAX,
  EXAMPLE_ELEMENTS_MAX,
  RANK_MAX,
  SHARD_BYTES_MAX,
  SHARD_BYTES_TARGET,
  SHARD_HEADER_BYTES_MAX,
} from '../limits.ts'
import { elementCount } from '../safetensors.ts'
import { ELEMENT_BYTES, newValues, valuesAt } from './column.ts'
import type { Column, Dtype, Values } from './column.ts'

const MAGIC = 'TFSHARD2'
const PREFIX_BYTES = 12
const ALIGNMENT = 64

export type ShardColumn = Pick<Column, 'dtype' | 'shape'>

/** Values that lie together: `width` of them for each row. */
export interface Block {
  readonly dtype: Dtype
  readonly width: number
  /** Which columns, by index, and at which of a row's values each starts. */
  readonly columns: readonly { readonly column: number; readonly offset: number; readonly elements: number }[]
}

/** Where a shard's rows lie in its file. */
export interface ShardLayout {
  readonly count: number
  readonly columns: readonly ShardColumn[]
  readonly blocks: readonly Block[]
  /** Of each block. */
  readonly offsets: readonly number[]
  readonly sizeBytes: number
}

/** A shard in memory: for each block a view into its bytes. */
export interface Shard {
  readonly layout: ShardLayout
  readonly blocks: readonly Values[]
}

/** How columns are laid out; the same for all shards of a dataset. */
export function blocksOf(columns: readonly ShardColumn[]): Block[] {
  const blocks: { dtype: Dtype; width: number; columns: { column: number; offset: number; elements: number }[] }[] = []
  const shared = new Map<Dtype, (typeof blocks)[number]>()
  for (const [column, { dtype, shape }] of columns.entries()) {
    const elements = elementCount(shape)
    const block = (shape.length === 0 ? shared.get(dtype) : undefined) ?? { dtype, width: 0, columns: [] }
    if (block.width === 0) blocks.push(block)
    if (shape.length === 0) shared.set(dtype, block)
    block.columns.push({ column, offset: block.width, elements })
    block.width += elements
  }
  return blocks
}

/** Bytes of one row. */
export function rowBytesOf(columns: readonly ShardColumn[]): number {
  return columns.reduce((sum, { dtype, shape }) => sum + elementCount(shape) * ELEMENT_BYTES[dtype], 0)
}

/** How many rows a shard of the target size takes. */
export function rowsPerShard(columns: readonly ShardColumn[], sizeTarget: number = SHARD_BYTES_TARGET): number {
  return Math.max(1, Math.floor((sizeTarget - 4096) / rowBytesOf(columns)))
}

/**
 * A shard of so many rows: its bytes, with the header in place, and its blocks, all of which are to be filled. The memory
 * may be that of an older shard of as many such rows: what lies between its blocks is zero already.
 */
export function newShard(
  columns: readonly ShardColumn[],
  count: number,
  allocate: (sizeBytes: number) => ArrayBuffer = (sizeBytes) => new ArrayBuffer(sizeBytes),
): Shard & { bytes: Uint8Array<ArrayBuffer> } {
  const layout = layoutOf(columns, count)
  const bytes = new Uint8Array(allocate(layout.sizeBytes))
  const json = headerOf(columns, count)
  const start = layout.offsets[0] ?? roundUp(PREFIX_BYTES + json.length)
  bytes.set(Buffer.from(MAGIC, 'latin1'))
  new DataView(bytes.buffer).setUint32(8, start - PREFIX_BYTES, true)
  bytes.fill(0x20, PREFIX_BYTES, start)
  bytes.set(Buffer.from(json, 'latin1'), PREFIX_BYTES)
  return { layout, bytes, blocks: viewBlocks(bytes, layout) }
}

/** A shard of whole columns, given column by column. */
export function encodeShard(columns: readonly ShardColumn[], count: number, values: readonly Values[]): Uint8Array {
  const { bytes, layout, blocks } = newShard(columns, count)
  for (const [b, block] of layout.blocks.entries()) {
    const into = blocks[b] ?? newValues(block.dtype, 0)
    for (const { column, offset, elements } of block.columns) {
      const from = values[column]
      if (from?.length !== count * elements) {
        throw malformed(`column ${column} has ${from?.length ?? 0} values, ${count} rows need ${count * elements}`)
      }
      if (elements === block.width) into.set(from)
      else for (let row = 0; row < count; row++) into[row * block.width + offset] = from[row] ?? 0
    }
  }
  return bytes
}

export function decodeShard(bytes: Uint8Array): Shard {
  const layout = decodeLayout(bytes)
  if (bytes.byteLength !== layout.sizeBytes)
    throw malformed(`it has ${bytes.byteLength} bytes, its header needs ${layout.sizeBytes}`)
  return { layout, blocks: viewBlocks(bytes, layout) }
}

/** The layout that a shard's header tells; `bytes` may end anywhere after the header. */
export function decodeLayout(bytes: Uint8Array): ShardLayout {
  if (bytes.byteLength < PREFIX_BYTES)
    throw malformed(`it has ${bytes.byteLength} bytes, a shard starts with ${PREFIX_BYTES}`)
  const magic = Buffer.from(bytes.subarray(0, 8)).toString('latin1')
  if (magic !== MAGIC) throw malformed(`it starts with ${JSON.stringify(magic)}, expected ${JSON.stringify(MAGIC)}`)
  const size = new DataView(bytes.buffer, bytes.byteOffset).getUint32(8, true)
  const start = PREFIX_BYTES + size
  if (size > SHARD_HEADER_BYTES_MAX || start > bytes.byteLength || start % ALIGNMENT !== 0) {
    throw malformed(`its header claims ${size} bytes`)
  }
  let header: unknown
  try {
    header = JSON.parse(Buffer.from(bytes.subarray(PREFIX_BYTES, start)).toString('utf8'))
  } catch (error) {
    throw malformed(`its header is no JSON (${error instanceof Error ? error.message : String(error)})`)
  }
  if (!isHeader(header)) throw malformed('its header does not describe rows')
  const layout = layoutOf(header.columns, header.count)
  if (layout.offsets[0] !== start) throw malformed(`its header has ${size} bytes, its own columns need another number`)
  return layout
}

function layoutOf(columns: readonly ShardColumn[], count: number): ShardLayout {
  const blocks = blocksOf(columns)
  let at = roundUp(PREFIX_BYTES + headerOf(columns, count).length)
  const offsets = blocks.map(({ dtype, width }) => {
    const offset = at
    at = roundUp(at + count * width * ELEMENT_BYTES[dtype])
    return offset
  })
  return { count, columns, blocks, offsets, sizeBytes: at }
}

/** Written field by field: the order of keys is part of the bytes. */
function headerOf(columns: readonly ShardColumn[], count: number): string {
  const list = columns.map(({ dtype, shape }) => `{"dtype":"${dtype}","shape":[${shape.join(',')}]}`)
  return `{"count":${count},"columns":[${list.join(',')}]}`
}

function viewBlocks(bytes: Uint8Array, { blocks, offsets, count }: ShardLayout): Values[] {
  return blocks.map(({ dtype, width }, b) => valuesAt(bytes, dtype, offsets[b] ?? 0, count * width))
}

function isHeader(value: unknown): value is { count: number; columns: ShardColumn[] } {
  if (typeof value !== 'object' || value === null) return false
  const { count, columns } = value as { count?: unknown; columns?: unknown } // both are checked below
  if (!isCount(count) || !Array.isArray(columns) || columns.length === 0 || columns.length > COLUMNS_MAX) return false
  if (!columns.every(isShardColumn)) return false
  return count * rowBytesOf(columns) <= SHARD_BYTES_MAX
}

function isShardColumn(value: unknown): value is ShardColumn {
  if (typeof value !== 'object' || value === null) return false
  const { dtype, shape } = value as { dtype?: unknown; shape?: unknown } // both are checked here
  if (typeof dtype !== 'string' || !Object.hasOwn(ELEMENT_BYTES, dtype)) return false
  if (!Array.isArray(shape) || shape.length > RANK_MAX || !shape.every((d) => isCount(d) && d > 0)) return false
  return elementCount(shape) <= EXAMPLE_ELEMENTS_MAX
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function roundUp(value: number): number {
  return Math.ceil(value / ALIGNMENT) * ALIGNMENT
}

function malformed(reason: string): KernelError {
  return new KernelError('data.malformed', `Cannot read or write a dataset shard: ${reason}`)
}
