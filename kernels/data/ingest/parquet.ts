/**
 * Parquet by hyparquet, one row group after another: a file of any size is read in the memory that its row groups take.
 */
import { open } from 'node:fs/promises'
import { parquetMetadataAsync, parquetReadObjects } from 'hyparquet'
import type { AsyncBuffer } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import { KernelError } from '../../errors.ts'
import { ROW_GROUP_BYTES_MAX } from '../../limits.ts'
import type { Column } from '../column.ts'
import { RecordTable, SAMPLE_ROWS } from './records.ts'
import type { Row } from './records.ts'
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
    let first = 0
    for (const group of metadata.row_groups) {
      if (Number(group.total_byte_size) > ROW_GROUP_BYTES_MAX) {
        throw malformed(
          name,
          `a row group of ${group.total_byte_size} bytes, at most ${ROW_GROUP_BYTES_MAX} are read at once`,
        )
      }
      const rowEnd = first + Number(group.num_rows)
      const rows: Row[] = await readable(name, () =>
        parquetReadObjects({ file, metadata, compressors, rowStart: first, rowEnd }),
      )
      table ??= new RecordTable(rows.slice(0, SAMPLE_ROWS), options, name, sink)
      for (const [k, row] of rows.entries()) {
        if (table.take(row, `${name}, row ${first + k + 1}`)) await table.flush(splits?.[i])
      }
      first = rowEnd
      onBytes(bytesBefore + Math.round((size * first) / Math.max(1, Number(metadata.num_rows))))
    }
    await table?.flush(splits?.[i])
    bytesBefore += size
  }
  return table?.columns() ?? []
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
