/**
 * What a version of a dataset is: its columns, and for each split a list of shards and what is in them. The manifest is
 * a blob; everything in it follows from the files and the options that it was made of, so that the same content gives
 * the same manifest. Which name and number it has is a document's business.
 */
import { KernelError } from '../errors.ts'
import type { Column } from './column.ts'
import type { Pipeline } from './pipeline.ts'
import type { ColumnStatistics } from './statistics.ts'

export interface ShardRef {
  readonly sha256: string
  readonly sizeBytes: number
  readonly count: number
}

export interface SplitManifest {
  readonly count: number
  readonly shards: readonly ShardRef[]
  /** Of each column, in the order of the columns. */
  readonly statistics: readonly ColumnStatistics[]
}

export const SPLITS = ['train', 'validation', 'test'] as const
export type SplitName = (typeof SPLITS)[number]

export interface SourceFile {
  readonly name: string
  readonly sizeBytes: number
  readonly sha256: string
  /** Where the source says itself which rows are for testing. */
  readonly split?: SplitName
}

/** Shares of the rows; what validation and test leave is for training. */
export interface SplitOptions {
  readonly seed: number
  readonly validation: number
  readonly test: number
}

export interface DatasetManifest {
  readonly columns: readonly Column[]
  /** The column that a job predicts unless it says otherwise. */
  readonly target: string | null
  readonly splits: { readonly train: SplitManifest; readonly validation?: SplitManifest; readonly test?: SplitManifest }
  /** By seed, or null where the source had its own split. */
  readonly split: SplitOptions | null
  readonly format: string
  readonly files: readonly SourceFile[]
  /** Rows that were left out because a value was missing. */
  readonly skipped: number
}

/** One split as a kernel reads it: `path` is where the shard's blob lies on this host. */
export interface DatasetSlice {
  readonly columns: readonly Column[]
  readonly pipeline: Pipeline
  readonly shards: readonly (ShardRef & { readonly path: string })[]
}

/** The slice of a manifest that a kernel needs, with paths from the caller's blob cache. */
export function datasetSlice(
  manifest: DatasetManifest,
  pipeline: Pipeline,
  split: SplitName,
  pathOf: (shard: ShardRef) => string,
): DatasetSlice {
  const found = manifest.splits[split]
  if (!found) {
    const known = Object.keys(manifest.splits).join(', ')
    throw new KernelError('request.invalid', `The dataset has no split ${split}; it has ${known}`, { split })
  }
  const { columns } = manifest
  return { columns, pipeline, shards: found.shards.map((shard) => ({ ...shard, path: pathOf(shard) })) }
}
