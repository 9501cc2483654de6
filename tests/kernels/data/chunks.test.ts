import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { encodeShard, planPipeline } from '../../../kernels/mod.ts'
import type { Column } from '../../../kernels/mod.ts'
import { ChunkCache, chunkRowsOf, shardsInMemory } from '../../../kernels/data/chunks.ts'
import { openDataset } from '../../../kernels/data/dataset.ts'
import { CHUNK_CACHE_BYTES_MAX, CHUNK_CACHE_STREAMING_BYTES_MAX } from '../../../kernels/limits.ts'
import { codeOf } from '../models.ts'

const columns: Column[] = [{ name: 'x', dtype: 'uint8', shape: [1_024] }]
const ROWS = 500
const values = Uint8Array.from({ length: ROWS * 1_024 }, (_, i) => i % 251)
const bytes = encodeShard(columns, ROWS, [values])
const sha256 = createHash('sha256').update(bytes).digest('hex')
const chunkRows = chunkRowsOf(columns)

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tf-chunks-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

function shardAt(
  name: string,
  content: Uint8Array,
): { sha256: string; sizeBytes: number; count: number; path: string } {
  const path = join(folder, name)
  writeFileSync(path, content)
  return { sha256, sizeBytes: content.byteLength, count: ROWS, path }
}

describe('a cache of chunks', () => {
  test('gives every row of a file, piece by piece', () => {
    const cache = new ChunkCache()
    const shard = shardAt('sound', bytes)
    const read = Array.from({ length: Math.ceil(ROWS / chunkRows) }, (_, i) => [
      ...(cache.get(shard, columns, i)[0] ?? []),
    ])
    expect(read.flat()).toEqual([...values])
  })

  test('gives nothing of a shard whose bytes are not those of its hash, wherever the damage is', () => {
    const damaged = bytes.slice()
    damaged[damaged.length - 1] = (damaged.at(-1) ?? 0) ^ 1
    expect(codeOf(() => new ChunkCache().get(shardAt('damaged', damaged), columns, 0))).toBe('blob.corrupt')
    expect(codeOf(() => new ChunkCache().get(shardAt('short', bytes.subarray(0, 9_000)), columns, 0))).toBe(
      'blob.corrupt',
    )
  })

  test('gives nothing of a shard of other columns or another number of rows', () => {
    const shard = shardAt('other', bytes)
    const other: Column[] = [{ name: 'x', dtype: 'uint8', shape: [512] }]
    expect(codeOf(() => new ChunkCache().get(shard, other, 0))).toBe('data.malformed')
    expect(codeOf(() => new ChunkCache().get({ ...shard, count: 9 }, columns, 0))).toBe('data.malformed')
  })

  test('keeps no more in memory than it may, and the last that was used', () => {
    let reads = 0
    const source = shardsInMemory(new Map([['p', bytes]]))
    const counted = { ...source, read: (...args: Parameters<typeof source.read>) => (reads++, source.read(...args)) }
    const cache = new ChunkCache(counted, 2 * chunkRows * 1_024)
    const get = (index: number): unknown => cache.get({ sha256, sizeBytes: 0, count: ROWS, path: 'p' }, columns, index)
    for (const index of [0, 1, 0, 1]) get(index)
    expect(reads).toBe(2)
    get(2) // puts out 0, which was used before 1
    get(1)
    expect(reads).toBe(3)
    get(0)
    expect(reads).toBe(4)
  })

  test('keeps only a few windows of a split that does not fit in memory, and all it may of another', () => {
    const kept = (sizeBytes: number, shuffle: 'auto' | 'full'): number | undefined => {
      const cache = new ChunkCache(shardsInMemory(new Map([['p', bytes]])))
      const get = vi.spyOn(cache, 'get')
      const { pipeline } = planPipeline({ columns, target: null }, { target: null }, [])
      if (pipeline === undefined) throw new Error('there is a pipeline')
      const shards = [{ sha256, sizeBytes, count: ROWS, path: 'p' }]
      openDataset({ columns, pipeline: { ...pipeline, shuffle }, shards }, cache).read(Uint32Array.of(0))
      return get.mock.lastCall?.[3]
    }
    expect(kept(2e9, 'auto')).toBe(CHUNK_CACHE_STREAMING_BYTES_MAX)
    expect(kept(2e9, 'full')).toBe(CHUNK_CACHE_BYTES_MAX)
    expect(kept(bytes.byteLength, 'auto')).toBe(CHUNK_CACHE_BYTES_MAX)
  })

  test('keeps what a reader asks for, when that is less than it may', () => {
    let reads = 0
    const source = shardsInMemory(new Map([['p', bytes]]))
    const counted = { ...source, read: (...args: Parameters<typeof source.read>) => (reads++, source.read(...args)) }
    const cache = new ChunkCache(counted)
    const shard = { sha256, sizeBytes: 0, count: ROWS, path: 'p' }
    for (const index of [0, 1, 0]) cache.get(shard, columns, index, chunkRows * 1_024)
    expect(reads).toBe(3)
  })
})
