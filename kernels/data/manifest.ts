/**
 * What a dataset is: a named, versioned list of shards per split, and what each row holds. The manifest is plain data
 * that travels in job specs and documents; shards are blobs named by their sha256. A kernel gets a `DatasetSlice`: one
 * split with the paths at which its host keeps the shards.
 */
import { KernelError } from '../errors.ts'

export type FeatureDtype = 'uint8' | 'float32' | 'int32'

/** Shape and type of one row, without the batch dimension: `[28, 28, 1]`. */
export interface FeatureSpec {
  shape: readonly number[]
  dtype: FeatureDtype
}

export type TargetSpec =
  | { kind: 'class'; classes: number; names?: readonly string[] }
  | { kind: 'value'; shape: readonly number[] }

export interface ShardRef {
  sha256: string
  sizeBytes: number
  count: number
}

export interface SplitManifest {
  count: number
  shards: ShardRef[]
}

export interface DatasetManifest {
  name: string
  version: string
  features: FeatureSpec
  target: TargetSpec
  splits: { train: SplitManifest; test?: SplitManifest; validation?: SplitManifest }
}

export type SplitName = keyof DatasetManifest['splits']

/** One split as a kernel reads it: `path` is where the shard's blob lies on this host. */
export interface DatasetSlice {
  features: FeatureSpec
  target: TargetSpec
  shards: (ShardRef & { path: string })[]
}

/** The slice of a manifest that a kernel needs, with paths from the caller's blob cache. */
export function datasetSlice(
  manifest: DatasetManifest,
  split: SplitName,
  pathOf: (shard: ShardRef) => string,
): DatasetSlice {
  const found = manifest.splits[split]
  if (!found) {
    const known = Object.keys(manifest.splits).join(', ')
    throw new KernelError('request.invalid', `Dataset ${manifest.name} has no split ${split}; it has ${known}`, {
      split,
    })
  }
  return {
    features: manifest.features,
    target: manifest.target,
    shards: found.shards.map((shard) => ({ ...shard, path: pathOf(shard) })),
  }
}

/** Numbers per row of the target as it is stored: one class index, or the elements of the value. */
export function targetElements(target: TargetSpec): number {
  if (target.kind === 'class') return 1
  return target.shape.reduce((product, dimension) => product * dimension, 1)
}
