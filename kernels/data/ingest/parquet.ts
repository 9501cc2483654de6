/**
 * Parquet by hyparquet, one row group after another: a file of any size is read in the memory that its row groups take.
 */
import { open } from 'node:fs/promises'
import { parquetMetadataAsync, parquetRead, parquetSchema } from 'hyparquet'
import type { AsyncBuffer, FileMetaData } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import { KernelError } from '../../errors.ts'
import { ROW_GROUP_BYTES_MAX } from '../../limits.ts'
import type { Column } from '../column.ts'
import { isFloats, RecordTable, SAMPLE_ROWS } from './records.ts'
import type { IngestFile, IngestOptions } from './request.ts'
import type { RowSink } from './sink.ts'
import { splitsOfFiles } from './split.ts'

export async function readParquet(
  files: readonly IngestFile[],
  sink: RowSink,
  options: IngestOptions,
  onBytes: (bytes: number) => void,
): Promise<readonly Column[]> {
  const splits = splitsOfFiles(files)
  let table: RecordTable | undefined
  let bytesBefore = 0
  for (const [i, { path, name }] of files.entries()) {
    await using handle = await open(path, 'r')
    const { size } = await handle.stat()
    const file: AsyncBuffer = {
      byteLength: size,
      async slice(start, end = size) {
        const bytes = new Uint8Array(end - start)
        await handle.read(bytes, 0, bytes.byteLength, start)
        return bytes.buffer
      },
    }
    const metadata = await readable(name, () => parquetMetadataAsync(file))
    if (Number(metadata.num_rows) === 0) throw malformed(name, 'it has no rows')
    let first = 0
    if (table !== undefined) table.source = `${name}, row `
    for (const group of metadata.row_groups) {
      if (Number(group.total_byte_size) > ROW_GROUP_BYTES_MAX) {
        throw malformed(
          name,
          `a row group of ${group.total_byte_size} bytes, at most ${ROW_GROUP_BYTES_MAX} are read at once`,
        )
      }
      const rowEnd = first + Number(group.num_rows)
      const lists = await readable(name, () => readLists(file, metadata, first, rowEnd))
      if (table === undefined) {
        table = new RecordTable(sampleOf(lists, rowEnd - first), options, name, sink)
        table.source = `${name}, row `
      }
      await table.takeLists(lists, { from: 0, to: rowEnd - first, number: first + 1 }, splits?.[i])
      first = rowEnd
      onBytes(bytesBefore + Math.round((size * first) / Math.max(1, Number(metadata.num_rows))))
    }
    await table?.flush(splits?.[i])
    bytesBefore += size
  }
  return table?.columns() ?? []
}

/** The values of rows `first` to `rowEnd`, a row group, in a list for each column. */
async function readLists(
  file: AsyncBuffer,
  metadata: FileMetaData,
  first: number,
  rowEnd: number,
): Promise<ReadonlyMap<string, ArrayLike<unknown>>> {
  const pages = new Map<string, ArrayLike<unknown>[]>(
    parquetSchema(metadata).children.map(({ element }) => [element.name, []]),
  )
  await parquetRead({
    file,
    metadata,
    compressors,
    rowStart: first,
    rowEnd,
    onChunk: ({ columnName, columnData }) => void pages.get(columnName)?.push(columnData),
  })
  return new Map([...pages].map(([name, parts]) => [name, whole(name, parts, rowEnd - first)]))
}

/** The pages of a column as one list. */
function whole(name: string, pages: readonly ArrayLike<unknown>[], rows: number): ArrayLike<unknown> {
  const [first = []] = pages
  const found = pages.reduce((sum, { length }) => sum + length, 0)
  if (found !== rows) throw new Error(`column "${name}" has ${found} values, expected ${rows}`)
  if (pages.length === 1) return first
  const list: { [index: number]: unknown; readonly length: number } = pages.every(isFloats)
    ? new Float64Array(rows)
    : []
  let at = 0
  for (const page of pages) for (let i = 0; i < page.length; i++) list[at++] = page[i]
  return list
}

/** The first rows, from which the columns are inferred. */
function sampleOf(lists: ReadonlyMap<string, ArrayLike<unknown>>, rows: number): Record<string, unknown>[] {
  return Array.from({ length: Math.min(rows, SAMPLE_ROWS) }, (_, row) => {
    return Object.fromEntries([...lists].map(([name, list]) => [name, list[row]]))
  })
}

async function readable<Result>(name: string, read: () => Promise<Result>): Promise<Result> {
  try {
    return await read()
  } catch (error) {
    throw malformed(name, error instanceof Error ? error.message : String(error))
  }
}

function malformed(name: string, reason: string): KernelError {
  return new KernelError('data.malformed', `Cannot read ${name} as Parquet: ${reason}`, { file: name })
}
