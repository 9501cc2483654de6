/**
 * One split of a dataset, open for reading: any rows, in any order, across shards, as what the model takes and what its
 * loss compares with. It knows shards and pipelines, and nothing of where bytes come from: a `ChunkCache` brings them.
 */
import { KernelError } from '../errors.ts'
import { CHUNK_CACHE_BYTES_MAX, CHUNK_CACHE_STREAMING_BYTES_MAX, FULL_SHUFFLE_BYTES_MAX } from '../limits.ts'
import { ChunkCache, chunkRowsOf, shardsInMemory } from './chunks.ts'
import type { Chunk } from './chunks.ts'

import type { Column, FeatureSpec, TargetSpec } from './column.ts'
import type { DatasetSlice } from './manifest.ts'
import { lastAtMost } from './order.ts'
import type { Rows } from './order.ts'
import { planPipeline } from './pipeline.ts'
import type { PreprocessStep } from './preprocess.ts'
import { blocksOf, decodeLayout } from './shard.ts'
import { transform } from './transform.ts'
import type { Draw } from './transform.ts'

export interface Batch {
  readonly rows: number
  /** [rows, ...input.shape], preprocessed. The dataset's own memory: the next batch is read into it. */
  readonly features: Float32Array
  /** Class indices [rows], or values [rows, ...target.shape], scaled as the pipeline says. */
  readonly targets: Float32Array
}

export interface Dataset extends Rows {
  readonly input: FeatureSpec
  readonly target: TargetSpec
  /** Reads the rows with these indices, in this order; with a draw as training sees them, else as evaluation does. */
  read(rows: Uint32Array, draw?: Draw): Batch
}

/** Where a column's values lie in a chunk. */
interface Place {
  readonly block: number
  readonly width: number
  readonly offset: number
  readonly elements: number
}

export function openDataset({ columns, pipeline, shards }: DatasetSlice, cache: ChunkCache): Dataset {
  /** starts[k] is the first row of shard k; the last entry is the number of rows. */
  const starts = [0]
  for (const shard of shards) starts.push((starts.at(-1) ?? 0) + shard.count)
  const count = starts.at(-1) ?? 0
  const chunkRows = chunkRowsOf(columns)
  const rowsInOrder = rowsOf(pipeline.shuffle, columns, shards, count)
  const isStreamed = rowsInOrder.order !== 'full' && sizeOf(shards) > FULL_SHUFFLE_BYTES_MAX
  const keepBytes = isStreamed ? CHUNK_CACHE_STREAMING_BYTES_MAX : CHUNK_CACHE_BYTES_MAX
  const features = pipeline.features.map((column) => placeOf(columns, column))
  const target = pipeline.target === null ? null : placeOf(columns, pipeline.target)
  const { output } = pipeline
  const { factor, offset } = (output.kind === 'value' ? output.unscale : undefined) ?? { factor: 1, offset: 0 }

  // A batch is most of the memory that a step asks V8 for: new each time, it would be collected every two dozen steps.
  const memory: Float32Array[] = []

  /** Calls `take` for each row with its chunk and its place in it. */
  const visit = (rows: Uint32Array, take: (at: number, chunk: Chunk, local: number) => void): void => {
    // Chunks are looked up once per read: the cache's own lookup per row would cost more than the copy.
    const opened: Chunk[][] = []
    for (let at = 0; at < rows.length; at++) {
      const row = rows[at] ?? 0
      const index = lastAtMost(starts, row)
      const shard = shards[index]
      if (shard === undefined || row >= count) {
        throw new KernelError('request.invalid', `Row ${row} lies outside of the dataset's ${count} rows`, { count })
      }
      const local = row - (starts[index] ?? 0)
      const number = Math.floor(local / chunkRows)
      const chunks = (opened[index] ??= [])
      take(at, (chunks[number] ??= cache.get(shard, columns, number, keepBytes)), local - number * chunkRows)
    }
  }

  return {
    count,
    input: pipeline.input,
    target: output,
    ...rowsInOrder,
    read(rows, draw) {
      const raw = features.map(({ elements }, f) => {
        const length = rows.length * elements
        const kept = memory[f]
        return kept?.length === length ? kept : (memory[f] = new Float32Array(length))
      })
      const targets = new Float32Array(rows.length * (target?.elements ?? 0))
      visit(rows, (at, chunk, local) => {
        for (const [f, place] of features.entries()) copy(chunk, place, local, raw[f], at)
        if (target !== null) copy(chunk, target, local, targets, at)
      })
      const input = transform(pipeline, raw, rows.length, draw && { ...draw, ids: rows })
      if (target === null) return { rows: rows.length, features: input, targets: input.slice() }
      if (factor !== 1 || offset !== 0) {
        for (let i = 0; i < targets.length; i++) targets[i] = ((targets[i] ?? 0) - offset) / factor
      }
      return { rows: rows.length, features: input, targets }
    },
  }
}

function copy(chunk: Chunk, place: Place, local: number, into: Float32Array | undefined, at: number): void {
  const values = chunk[place.block]
  if (values === undefined || into === undefined) return
  const from = local * place.width + place.offset
  if (place.elements === 1) into[at] = values[from] ?? 0
  else into.set(values.subarray(from, from + place.elements), at * place.elements)
}

function placeOf(columns: readonly Column[], { name }: Column): Place {
  const index = columns.findIndex((column) => column.name === name)
  for (const [block, { width, columns: inside }] of blocksOf(columns).entries()) {
    const found = inside.find(({ column }) => column === index)
    if (found) return { block, width, offset: found.offset, elements: found.elements }
  }
  throw new KernelError('request.invalid', `The dataset has no column "${name}"`, { column: name })
}

function sizeOf(shards: DatasetSlice['shards']): number {
  return shards.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
}

/** A split that fits in memory is shuffled row by row, a larger one by windows; the same on every machine. */
function rowsOf(
  shuffle: DatasetSlice['pipeline']['shuffle'],
  columns: readonly Column[],
  shards: DatasetSlice['shards'],
  count: number,
): Omit<Rows, 'count'> {
  const order = shuffle === 'auto' ? (sizeOf(shards) <= FULL_SHUFFLE_BYTES_MAX ? 'full' : 'windowed') : shuffle
  if (order !== 'windowed') return { order, chunkStarts: new Uint32Array(0) }
  const chunkRows = chunkRowsOf(columns)
  const chunkStarts: number[] = []
  let first = 0
  for (const shard of shards) {
    for (let local = 0; local < shard.count; local += chunkRows) chunkStarts.push(first + local)
    first += shard.count
  }
  return { order, chunkStarts: Uint32Array.from([...chunkStarts, count]) }
}

/** A dataset whose shards are already in memory, for tests and for callers without files. */
export function datasetInMemory(
  columns: readonly Column[],
  target: string | null,
  steps: readonly PreprocessStep[],
  shardBytes: readonly Uint8Array[],
  features?: readonly string[],
): Dataset {
  const { pipeline, problems } = planPipeline({ columns, target }, { target, ...(features && { features }) }, steps)
  if (pipeline === undefined) {
    const sentence = problems.map(({ message }) => message).join('; ')
    throw new KernelError('request.invalid', sentence, { problems })
  }
  const shards = shardBytes.map((bytes, index) => ({
    sha256: `memory-${index}`,
    sizeBytes: bytes.byteLength,
    count: decodeLayout(bytes).count,
    path: String(index),
  }))
  const source = shardsInMemory(new Map(shardBytes.map((bytes, index) => [String(index), bytes])))
  return openDataset({ columns, pipeline, shards }, new ChunkCache(source))
}
