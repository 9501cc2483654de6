/**
 * Which format files are in, and its reader. By what somebody says, else by the files' names, else by their first bytes.
 */
import { open } from 'node:fs/promises'
import { KernelError } from '../../errors.ts'
import type { Column } from '../column.ts'
import { FORMATS, invalid } from './request.ts'
import type { Format, IngestedShard, IngestFile, IngestOptions, IngestProgress, IngestRequest, IngestSummary } from './request.ts' // prettier-ignore
import { RowSink } from './sink.ts'

/** Reads files into the sink and gives the columns as they are known at the end. */
export type Reader = (
  files: readonly IngestFile[],
  sink: RowSink,
  options: IngestOptions,
  onBytes: (bytes: number) => void,
) => Promise<readonly Column[]>

/** Loaded when they are needed: a CSV file has no use for decoders of pictures. */
const READERS: Readonly<Record<Format, () => Promise<Reader>>> = {
  idx: async () => (await import('./idx.ts')).readIdx,
  csv: async () => (await import('./csv.ts')).readCsv,
  npy: async () => (await import('./npy.ts')).readNpy,
  npz: async () => (await import('./npy.ts')).readNpz,
  jsonl: async () => (await import('./jsonl.ts')).readJsonl,
  parquet: async () => (await import('./parquet.ts')).readParquet,
  images: async () => (await import('./images.ts')).readImages,
}

const NAMES: readonly (readonly [RegExp, Format])[] = [
  [/\.(csv|tsv|txt|data)$/i, 'csv'],
  [/\.npy$/i, 'npy'],
  [/\.npz$/i, 'npz'],
  [/\.(jsonl|ndjson)$/i, 'jsonl'],
  [/\.parquet$/i, 'parquet'],
  [/\.zip$/i, 'images'],
  [/(idx\d-ubyte|\.idx\d?)$/i, 'idx'],
]

export async function readFiles(
  { files, options, shardBytes }: IngestRequest,
  onProgress: (progress: Omit<IngestProgress, 'bytesTotal'>) => void,
  emit: (shard: IngestedShard) => Promise<void>,
  allocate?: (sizeBytes: number) => ArrayBuffer,
): Promise<IngestSummary> {
  const format = options.format ?? (await formatOf(files))
  const sink = new RowSink({
    split: options.split,
    missing: options.missing ?? 'keep',
    target: options.target,
    shardBytes,
    emit,
    allocate,
  })
  const read = await READERS[format]()
  const columns = await read(files, sink, options, (bytes) => onProgress({ bytes, rows: sink.rows }))
  return { ...(await sink.end(columns)), format }
}

async function formatOf(files: readonly IngestFile[]): Promise<Format> {
  const formats = new Set<Format>()
  for (const { name, path } of files) {
    const plain = name.replace(/\.gz$/i, '')
    const format = NAMES.find(([pattern]) => pattern.test(plain))?.[1] ?? (await formatOfBytes(path))
    if (format === undefined) {
      throw new KernelError(
        'request.invalid',
        `Cannot tell what ${name} is: say its format, one of ${FORMATS.join(', ')}`,
        {
          path: 'format',
          expected: `one of ${FORMATS.join(', ')}`,
          found: 'nothing',
        },
      )
    }
    formats.add(format)
  }
  const [first, ...others] = formats
  if (first !== undefined && others.length === 0) return first
  throw invalid('files', 'files of one format', [...formats].join(' and ') || 'none')
}

async function formatOfBytes(path: string): Promise<Format | undefined> {
  await using file = await open(path, 'r')
  const head = Buffer.alloc(8)
  await file.read(head, 0, 8, 0)
  if (head.subarray(0, 6).toString('latin1') === '\x93NUMPY') return 'npy'
  if (head.subarray(0, 4).toString('latin1') === 'PAR1') return 'parquet'
  if (head[0] === 0 && head[1] === 0 && (head[3] ?? 0) >= 1 && (head[3] ?? 0) <= 6) return 'idx'
  return undefined
}
