/**
 * What an ingest is asked for, what it tells on its way and what it gives: plain data, since it crosses into a thread
 * and back. The files lie on this host; whoever received them put them there.
 */
import { KernelError } from '../../errors.ts'
import type { Column } from '../column.ts'
import type { SplitManifest, SplitName, SplitOptions } from '../manifest.ts'

export const FORMATS = ['idx', 'csv', 'npy', 'npz', 'jsonl', 'parquet', 'images'] as const
export type Format = (typeof FORMATS)[number]

/**
 * What a column of a table is read as. `number` is float32; `int` and `byte` are whole numbers of 32 and 8 bits; a
 * `date` counts days since 1970; `skip` leaves it out.
 */
export const COLUMN_TYPES = ['number', 'int', 'byte', 'category', 'date', 'skip'] as const
export type ColumnType = (typeof COLUMN_TYPES)[number]

export interface IngestOptions {
  /** By the files' names and first bytes where absent. */
  readonly format?: Format
  /** The column to predict, unless a job says otherwise. */
  readonly target?: string
  /** By the data where absent. */
  readonly types?: Readonly<Record<string, ColumnType>>
  /** `keep` (the default) leaves a missing value missing, `drop` leaves out its row, `refuse` is an error. */
  readonly missing?: 'keep' | 'drop' | 'refuse'
  /**
   * Shares of the rows. Where the files themselves are named as train, validation and test, a share that is said is
   * dealt out of the training rows, for a split that the files lack.
   */
  readonly split?: Partial<SplitOptions>
  /** CSV: whether the first line names the columns; by its look where absent. */
  readonly header?: boolean
  /** CSV: between fields; by the first lines where absent. */
  readonly delimiter?: string
  /** Pictures are brought to this size; without it they must all be of one. */
  readonly image?: { readonly height: number; readonly width: number; readonly channels?: 1 | 3 }
}

export const SPLIT_DEFAULT: SplitOptions = { seed: 1, validation: 0.1, test: 0.1 }

export interface IngestFile {
  readonly path: string
  /** As its sender calls it: in messages, and for its format. */
  readonly name: string
  readonly split?: SplitName
}

export interface IngestRequest {
  readonly files: readonly IngestFile[]
  readonly options: IngestOptions
  /** How large a shard may get; a test makes it small. */
  readonly shardBytes?: number
}

export interface IngestProgress {
  /** Of the files, as they lie there. */
  readonly bytes: number
  readonly bytesTotal: number
  readonly rows: number
}

export interface IngestedShard {
  readonly split: SplitName
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly count: number
}

/** All of a manifest but where the shards lie. */
export interface IngestSummary {
  readonly columns: readonly Column[]
  readonly target: string | null
  readonly format: Format
  readonly splits: Readonly<Partial<Record<SplitName, Omit<SplitManifest, 'shards'>>>>
  readonly split: SplitOptions | null
  readonly skipped: number
}

/** What is wrong with a request, by its field. */
export function invalid(path: string, expected: string, found: string): KernelError {
  return new KernelError('request.invalid', `${path}: expected ${expected}, found ${found}`, { path, expected, found })
}
