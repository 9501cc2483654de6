/**
 * One split of a dataset, open for reading: any rows, in any order, across shards, as float32 features and targets.
 * It holds decoded shards (views into the files' bytes) and knows nothing of where the bytes came from; the caller
 * gives a function that loads a shard's verified bytes, and this file decides which are kept.
 */
import { KernelError } from '../errors.ts'
import { SHARD_CACHE_BYTES_MAX } from '../limits.ts'
import { elementCount } from '../safetensors.ts'
import type { DatasetSlice, FeatureSpec, ShardRef, TargetSpec } from './manifest.ts'
import { targetElements } from './manifest.ts'
import { preprocess } from './preprocess.ts'
import type { PreprocessStep } from './preprocess.ts'
import { decodeShard } from './shard.ts'
import type { Shard } from './shard.ts'

export interface Batch {
  rows: number
  /** [rows, ...features.shape], preprocessed. */
  features: Float32Array
  /** Class indices [rows], or values [rows, ...target.shape]. */
  targets: Float32Array
}

export interface Dataset {
  readonly count: number
  readonly features: FeatureSpec
  readonly target: TargetSpec
  /** Reads the rows with these indices, in this order. */
  read(rows: Uint32Array, steps: readonly PreprocessStep[]): Batch
}

/** Shards that are in memory, shared by all datasets of a process and kept under one limit; the oldest use goes first. */
export class ShardCache {
  readonly #load: (shard: ShardRef & { path: string }) => Uint8Array
  readonly #held = new Map<string, { shard: Shard; sizeBytes: number }>()
  #sizeBytes = 0

  constructor(load: (shard: ShardRef & { path: string }) => Uint8Array) {
    this.#load = load
  }

  get(ref: ShardRef & { path: string }): Shard {
    const held = this.#held.get(ref.sha256)
    if (held) {
      this.#held.delete(ref.sha256)
      this.#held.set(ref.sha256, held)
      return held.shard
    }
    const bytes = this.#load(ref)
    const shard = decodeShard(bytes)
    this.#held.set(ref.sha256, { shard, sizeBytes: bytes.byteLength })
    this.#sizeBytes += bytes.byteLength
    for (const [sha256, oldest] of this.#held) {
      if (this.#sizeBytes <= SHARD_CACHE_BYTES_MAX || sha256 === ref.sha256) break
      this.#held.delete(sha256)
      this.#sizeBytes -= oldest.sizeBytes
    }
    return shard
  }
}

export function openDataset(slice: DatasetSlice, cache: ShardCache): Dataset {
  const { features, target, shards } = slice
  const rowElements = elementCount(features.shape)
  const perTarget = targetElements(target)
  /** starts[k] is the first row of shard k; the last entry is the number of rows. */
  const starts = [0]
  for (const shard of shards) starts.push((starts.at(-1) ?? 0) + shard.count)
  const count = starts.at(-1) ?? 0

  const open = (index: number): Shard => {
    const ref = shards[index]
    if (!ref) throw new KernelError('request.invalid', `Row lies outside of the dataset's ${count} rows`, { count })
    const shard = cache.get(ref)
    if (
      shard.count !== ref.count ||
      elementCount(shard.features.shape) !== rowElements ||
      shard.features.dtype !== features.dtype ||
      shard.target.elements !== perTarget
    ) {
      throw new KernelError('data.malformed', `Shard ${ref.sha256} does not hold the rows that its manifest names`, {
        sha256: ref.sha256,
        expected: { count: ref.count, shape: features.shape, dtype: features.dtype },
        found: { count: shard.count, shape: shard.features.shape, dtype: shard.features.dtype },
      })
    }
    return shard
  }

  return {
    count,
    features,
    target,
    read(rows, steps) {
      const batch: Batch = {
        rows: rows.length,
        features: new Float32Array(rows.length * rowElements),
        targets: new Float32Array(rows.length * perTarget),
      }
      // Shards are opened once per read: a cache lookup per row would cost more than the copy.
      const opened: (Shard | undefined)[] = []
      for (let at = 0; at < rows.length; at++) {
        const row = rows[at] ?? 0
        const index = shardOf(starts, row)
        const shard = (opened[index] ??= open(index))
        const local = row - (starts[index] ?? 0)
        batch.features.set(
          shard.featureValues.subarray(local * rowElements, (local + 1) * rowElements),
          at * rowElements,
        )
        for (let k = 0; k < perTarget; k++) {
          batch.targets[at * perTarget + k] = shard.targetValues[local * perTarget + k] ?? 0
        }
      }
      preprocess(batch.features, steps)
      return batch
    },
  }
}

/** A dataset whose shards are already in memory, for tests and for callers without files. */
export function datasetInMemory(features: FeatureSpec, target: TargetSpec, shardBytes: readonly Uint8Array[]): Dataset {
  const shards = shardBytes.map((bytes, index) => ({
    sha256: `memory-${index}`,
    sizeBytes: bytes.byteLength,
    count: decodeShard(bytes).count,
    path: String(index),
  }))
  const cache = new ShardCache(({ path }) => shardBytes[Number(path)] ?? new Uint8Array(0))
  return openDataset({ features, target, shards }, cache)
}

/** The last shard that starts at or before the row. */
function shardOf(starts: readonly number[], row: number): number {
  let low = 0
  let high = starts.length - 1
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if ((starts[middle] ?? 0) <= row) low = middle
    else high = middle
  }
  return low
}
