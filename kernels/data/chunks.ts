/**
 * Shards read piece by piece: chunks of consecutive rows, about 128 kB each, kept in memory under one limit for the
 * whole process, so that a dataset of any size is read in bounded memory. Nothing is believed: a shard is hashed from
 * end to end, in pieces, when this process first opens it, and only then are pieces of it read.
 *
 * Invariants:
 * 1. No row of a shard is given out before the whole shard was seen to have its hash and the columns of its dataset.
 * 2. The chunks in memory take at most `CHUNK_CACHE_BYTES_MAX`, or one chunk where one is larger.
 */
import { createHash } from 'node:crypto'
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { KernelError } from '../errors.ts'
import { CHUNK_BYTES, CHUNK_CACHE_BYTES_MAX, SHARD_HEADER_BYTES_MAX } from '../limits.ts'
import { ELEMENT_BYTES, valuesAt } from './column.ts'
import type { Column, Values } from './column.ts'
import type { ShardRef } from './manifest.ts'
import { decodeLayout, rowBytesOf } from './shard.ts'
import type { ShardColumn, ShardLayout } from './shard.ts'

/** Where shards lie. */
export interface ShardSource {
  /** The shard's layout, once its bytes were seen to have its hash. */
  open(shard: ShardRef & { readonly path: string }): ShardLayout
  read(shard: ShardRef & { readonly path: string }, offset: number, length: number): Uint8Array
}

/** For each block of the shard, the chunk's values. */
export type Chunk = readonly Values[]

/** Rows of one chunk; it follows from the columns alone, so that orders over chunks are the same everywhere. */
export function chunkRowsOf(columns: readonly ShardColumn[]): number {
  return Math.max(1, Math.floor(CHUNK_BYTES / rowBytesOf(columns)))
}

/** Chunks in memory, shared by all datasets of a process; the oldest use goes first. */
export class ChunkCache {
  readonly #source: ShardSource
  readonly #sizeMaxBytes: number
  readonly #layouts = new Map<string, ShardLayout>()
  readonly #held = new Map<string, { chunk: Chunk; sizeBytes: number }>()
  #sizeBytes = 0

  constructor(source: ShardSource = files, sizeMaxBytes: number = CHUNK_CACHE_BYTES_MAX) {
    this.#source = source
    this.#sizeMaxBytes = sizeMaxBytes
  }

  /** The `index`th chunk of a shard of these columns. Afterwards at most `keepBytes` are in memory, whatever they are of. */
  get(
    ref: ShardRef & { readonly path: string },
    columns: readonly Column[],
    index: number,
    keepBytes: number = this.#sizeMaxBytes,
  ): Chunk {
    const key = `${ref.sha256}:${index}`
    const held = this.#held.get(key)
    if (held) {
      this.#held.delete(key)
      this.#held.set(key, held)
      return held.chunk
    }
    const layout = this.#open(ref, columns)
    const rows = chunkRowsOf(columns)
    const first = index * rows
    const count = Math.min(rows, layout.count - first)
    const chunk = layout.blocks.map(({ dtype, width }, b) => {
      const rowBytes = width * ELEMENT_BYTES[dtype]
      const bytes = this.#source.read(ref, (layout.offsets[b] ?? 0) + first * rowBytes, count * rowBytes)
      return valuesAt(bytes, dtype, 0, count * width)
    })
    const sizeBytes = chunk.reduce((sum, { byteLength }) => sum + byteLength, 0)
    this.#held.set(key, { chunk, sizeBytes })
    this.#sizeBytes += sizeBytes
    for (const [oldest, { sizeBytes: freed }] of this.#held) {
      if (this.#sizeBytes <= Math.min(keepBytes, this.#sizeMaxBytes) || oldest === key) break
      this.#held.delete(oldest)
      this.#sizeBytes -= freed
    }
    return chunk
  }

  #open(ref: ShardRef & { readonly path: string }, columns: readonly Column[]): ShardLayout {
    const known = this.#layouts.get(ref.sha256)
    if (known) return known
    const layout = this.#source.open(ref)
    const found = JSON.stringify(layout.columns.map(({ dtype, shape }) => [dtype, shape]))
    const expected = JSON.stringify(columns.map(({ dtype, shape }) => [dtype, shape]))
    if (layout.count !== ref.count || found !== expected) {
      throw new KernelError('data.malformed', `Shard ${ref.sha256} does not hold the rows that its manifest names`, {
        sha256: ref.sha256,
        expected: { count: ref.count, columns: expected },
        found: { count: layout.count, columns: found },
      })
    }
    this.#layouts.set(ref.sha256, layout)
    return layout
  }
}

const PIECE_BYTES = 1024 * 1024

/** Shards as files of this host. */
const files: ShardSource = {
  open({ path, sha256 }) {
    return withFile(path, sha256, (file) => {
      const hash = createHash('sha256')
      const sizeBytes = fstatSync(file).size
      const piece = new Uint8Array(Math.min(PIECE_BYTES, sizeBytes))
      const head = new Uint8Array(Math.min(sizeBytes, SHARD_HEADER_BYTES_MAX + 64))
      let at = 0
      for (;;) {
        const length = readSync(file, piece, 0, piece.byteLength, at)
        if (length === 0) break
        hash.update(piece.subarray(0, length))
        if (at < head.byteLength) head.set(piece.subarray(0, Math.min(length, head.byteLength - at)), at)
        at += length
      }
      const found = hash.digest('hex')
      if (found !== sha256) {
        throw new KernelError('blob.corrupt', `Blob ${sha256} is corrupt: its ${at} bytes hash to ${found}`, {
          sha256,
          found,
          path,
        })
      }
      const layout = decodeLayout(head)
      if (layout.sizeBytes === at) return layout
      throw new KernelError('data.malformed', `Shard ${sha256} has ${at} bytes, its header needs ${layout.sizeBytes}`)
    })
  },
  read({ path, sha256 }, offset, length) {
    return withFile(path, sha256, (file) => {
      const bytes = new Uint8Array(length)
      for (let at = 0; at < length;) {
        const read = readSync(file, bytes, at, length - at, offset + at)
        if (read === 0)
          throw new KernelError('blob.missing', `Blob ${sha256} ends before its rows do`, { sha256, path })
        at += read
      }
      return bytes
    })
  },
}

function withFile<Result>(path: string, sha256: string, use: (file: number) => Result): Result {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new KernelError('blob.missing', `Cannot read blob ${sha256}: ${reason}`, { sha256, path }, error)
  }
  try {
    return use(file)
  } finally {
    closeSync(file)
  }
}

/** Shards that are in memory already, by their path, for callers without files. */
export function shardsInMemory(shards: ReadonlyMap<string, Uint8Array>): ShardSource {
  const bytesAt = (path: string): Uint8Array => shards.get(path) ?? new Uint8Array(0)
  return {
    open: ({ path }) => decodeLayout(bytesAt(path)),
    read: ({ path }, offset, length) => bytesAt(path).subarray(offset, offset + length),
  }
}
