/**
 * JSON Lines: an object in each line. Numbers, texts, true and false, null, and lists of numbers of one size.
 */
import { isUtf8 } from 'node:buffer'
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
    const waiting: { readonly row: Row; readonly line: number }[] = []
    const start = async (): Promise<RecordTable> => {
      table ??= new RecordTable(
        waiting.map(({ row }) => row),
        options,
        file.name,
        sink,
      )
      table.source = `${file.name}, line `
      for (const { row, line } of waiting.splice(0)) if (table.take(row, line)) await table.flush(splits?.[i])
      return table
    }
    if (table !== undefined) await start()
    let line = 0
    for await (const texts of linesOf(bytes)) {
      for (const text of texts) {
        line++
        const row = parsed(text, file.name, line)
        if (row === undefined) continue
        if (table === undefined && waiting.length < SAMPLE_ROWS) waiting.push({ row, line })
        else if ((table ?? (await start())).take(row, line)) await table?.flush(splits?.[i])
      }
      onBytes(bytesBefore + bytes.position)
    }
    if (waiting.length === 0 && table === undefined)
      throw new KernelError('data.malformed', `Cannot read ${file.name}: it is empty`)
    await (await start()).flush(splits?.[i])
    bytesBefore += bytes.position
  }
  return table?.columns() ?? []
}

/** A line's object; undefined where it is empty. */
function parsed(text: string, file: string, line: number): Row | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    if (text.trim() === '') return undefined
    throw malformed(file, line, `expected JSON, found ${error instanceof Error ? error.message : text}`)
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Row // by this line
  throw malformed(file, line, `expected an object, found ${text.trim().slice(0, 60)}`)
}

/** All lines in order, as many at a time as the buffer holds: to wait for each would take as long as to parse it. */
async function* linesOf(bytes: ByteReader): AsyncGenerator<readonly string[]> {
  const buffer = Buffer.alloc(2 * LINE_BYTES_MAX)
  let [end, lines] = [0, 0]
  for (let isLast = false; !isLast;) {
    const read = await bytes.read(buffer.subarray(end))
    isLast = read < buffer.length - end
    end += read
    const stop = isLast ? end : buffer.subarray(0, end).lastIndexOf(LF)
    if (!isUtf8(buffer.subarray(0, Math.max(0, stop)))) throw notUtf8(bytes.name, buffer.subarray(0, stop), lines)
    const texts = stop < 0 ? [] : buffer.toString('utf8', 0, stop).split('\n')
    lines += texts.length
    if (texts.length > 0) yield lines === texts.length ? texts.with(0, texts[0]?.replace(/^\uFEFF/, '') ?? '') : texts
    buffer.copyWithin(0, stop + 1, end)
    end = Math.max(0, end - stop - 1)
    if (end >= LINE_BYTES_MAX) throw malformed(bytes.name, lines + 1, `expected at most ${LINE_BYTES_MAX} bytes`)
  }
}

/** Of lines of which one is not; `before` them lie so many. */
function notUtf8(file: string, lines: Buffer, before: number): KernelError {
  let line = before
  for (let at = 0; at < lines.length;) {
    const end = lines.indexOf(LF, at)
    const text = lines.subarray(at, end < 0 ? lines.length : end)
    line++
    if (!isUtf8(text))
      return malformed(file, line, `expected text in UTF-8, found ${text.toString('latin1').slice(0, 60)}`)
    at += text.length + 1
  }
  return malformed(file, line, 'expected text in UTF-8')
}

function malformed(file: string, line: number, reason: string): KernelError {
  return new KernelError('data.malformed', `${file}, line ${line}: ${reason}`, { file, line })
}
