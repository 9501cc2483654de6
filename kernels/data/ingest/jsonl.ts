/**
 * JSON Lines: an object in each line. Numbers, texts, true and false, null, and lists of numbers of one size.
 */
import { KernelError } from '../../errors.ts'
import { LINE_BYTES_MAX } from '../../limits.ts'
import type { Column } from '../column.ts'
import { openBytes } from './bytes.ts'
import type { ByteReader } from './bytes.ts'
import { RecordTable, SAMPLE_ROWS } from './records.ts'
import type { Row } from './records.ts'
import type { IngestFile, IngestOptions } from './request.ts'
import type { RowSink } from './sink.ts'
import { splitsOfFiles } from './split.ts'

const LF = 10

export async function readJsonl(
  files: readonly IngestFile[],
  sink: RowSink,
  options: IngestOptions,
  onBytes: (bytes: number) => void,
): Promise<readonly Column[]> {
  const splits = splitsOfFiles(files)
  let table: RecordTable | undefined
  let bytesBefore = 0
  for (const [i, file] of files.entries()) {
    await using bytes = await openBytes(file.path, file.name)
    const waiting: { readonly row: Row; readonly place: string }[] = []
    const start = async (): Promise<RecordTable> => {
      table ??= new RecordTable(
        waiting.map(({ row }) => row),
        options,
        file.name,
        sink,
      )
      for (const { row, place } of waiting.splice(0)) if (table.take(row, place)) await table.flush(splits?.[i])
      return table
    }
    for await (const { text, line } of linesOf(bytes)) {
      const place = `${file.name}, line ${line}`
      const row = parsed(text, place)
      if (table === undefined && waiting.length < SAMPLE_ROWS) waiting.push({ row, place })
      else if ((table ?? (await start())).take(row, place)) await table?.flush(splits?.[i])
      onBytes(bytesBefore + bytes.position)
    }
    if (waiting.length === 0 && table === undefined)
      throw new KernelError('data.malformed', `Cannot read ${file.name}: it is empty`)
    await (await start()).flush(splits?.[i])
    bytesBefore += bytes.position
  }
  return table?.columns() ?? []
}

function parsed(text: string, place: string): Row {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new KernelError(
      'data.malformed',
      `${place}: expected JSON, found ${error instanceof Error ? error.message : text}`,
    )
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Row // by this line
  throw new KernelError('data.malformed', `${place}: expected an object, found ${text.slice(0, 60)}`)
}

async function* linesOf(bytes: ByteReader): AsyncGenerator<{ readonly text: string; readonly line: number }> {
  const buffer = Buffer.alloc(2 * LINE_BYTES_MAX)
  let [end, line] = [0, 0]
  for (;;) {
    const read = await bytes.read(buffer.subarray(end))
    const isLast = read < buffer.length - end
    end += read
    let start = 0
    for (;;) {
      const found = buffer.subarray(0, end).indexOf(LF, start)
      const stop = found < 0 && isLast ? end : found
      if (stop < 0 || start >= end) break
      line++
      const text = buffer.toString('utf8', start, stop).trim()
      start = stop + 1
      if (text !== '') yield { text, line }
    }
    if (isLast) return
    buffer.copyWithin(0, start, end)
    end = Math.max(0, end - start)
    if (end >= LINE_BYTES_MAX) {
      throw new KernelError(
        'data.malformed',
        `${bytes.name}, line ${line + 1}: expected at most ${LINE_BYTES_MAX} bytes`,
      )
    }
  }
}
