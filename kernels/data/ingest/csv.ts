/**
 * CSV and TSV into columns (RFC 4180: quotes, doubled quotes, line ends inside them; CRLF and LF; UTF-8, with or without
 * its mark). Bytes go straight into the columns' numbers: the libraries measured here (csv-parse 11–14 MB/s, Papa Parse
 * 18–26, uDSV 43–77 for text alone and 16–25 with numbers) make a string of every field first, and that is what they
 * spend their time on. This reader does so for text it has not seen before, and for numbers that are out of the ordinary.
 *
 * What the first rows look like decides the columns' types, unless somebody says them: numbers, categories (with their
 * names), and nothing silently: dates and free text are refused until it is said what to make of them. A later field
 * that does not fit is an error with its line and column.
 */
import { isUtf8 } from 'node:buffer'
import { KernelError } from '../../errors.ts'
import { LINE_BYTES_MAX } from '../../limits.ts'
import { newValues } from '../column.ts'
import type { Column, Values } from '../column.ts'
import { openBytes } from './bytes.ts'
import type { ByteReader } from './bytes.ts'
import { splitsOfFiles } from './split.ts'
import type { IngestFile, IngestOptions } from './request.ts'
import type { RowSink } from './sink.ts'
import { columnOf, dateToDays, inferTypes, isMissing, NUMBER } from './types.ts'
import type { TypedColumn } from './types.ts'

const SAMPLE_ROWS = 10_000
const BATCH_VALUES = 1_000_000
const BATCH_ROWS_MAX = 4_096

const [QUOTE, LF, CR, MINUS, PLUS, POINT, ZERO] = [34, 10, 13, 45, 43, 46, 48]
const DELIMITERS = [',', '\t', ';', '|'] as const

export async function readCsv(
  files: readonly IngestFile[],
  sink: RowSink,
  options: IngestOptions,
  onBytes: (bytes: number) => void,
): Promise<readonly Column[]> {
  const splits = splitsOfFiles(files)
  let table: Table | undefined
  let bytesBefore = 0
  for (const [i, file] of files.entries()) {
    await using bytes = await openBytes(file.path, file.name)
    const records = new Records(bytes)
    await records.start(options)
    table ??= Table.fromSample(records, options, sink)
    table.checkHeader(records, options)
    while (await table.readBatch(records)) {
      await table.flush(sink, splits?.[i])
      onBytes(bytesBefore + bytes.position)
    }
    bytesBefore += bytes.position
  }
  return table?.columns() ?? []
}

/** The records of a file, one at a time, as places of fields in a buffer of its bytes. */
class Records {
  readonly name: string
  readonly #bytes: ByteReader
  buffer = Buffer.alloc(2 * LINE_BYTES_MAX)
  /** The fields of the current record. A negative end marks doubled quotes to be undone. */
  starts = new Int32Array(64)
  ends = new Int32Array(64)
  fields = 0
  /** On which the current record begins, from 1. */
  line = 1
  #delimiter = 44
  #nextLine = 1
  /** Of the first record, after the mark of UTF-8. */
  #first = 0
  #at = 0
  #end = 0
  #isLast = false

  constructor(bytes: ByteReader) {
    this.#bytes = bytes
    this.name = bytes.name
  }

  /** Reads the first bytes and finds the delimiter. */
  async start({ delimiter }: IngestOptions): Promise<void> {
    await this.#refill()
    const isMarked = this.buffer[0] === 0xef && this.buffer[1] === 0xbb && this.buffer[2] === 0xbf
    this.#first = isMarked ? 3 : 0
    this.#at = this.#first
    this.#delimiter = (delimiter ?? this.#likeliestDelimiter()).charCodeAt(0)
  }

  /** The next record that is no empty line; false at the end. */
  async next(): Promise<boolean> {
    for (;;) {
      const found = this.nextHere()
      if (found !== undefined) return found
      await this.#refill()
    }
  }

  /** The same without waiting; undefined where more bytes must be read first. */
  nextHere(): boolean | undefined {
    for (;;) {
      if (this.#at >= this.#end) return this.#isLast ? false : undefined
      const before = this.#nextLine
      if (!this.#scan()) {
        this.#nextLine = before
        return undefined
      }
      if (this.fields > 1 || this.starts[0] !== this.ends[0]) return true
    }
  }

  /** Goes back to the first record, which must still be in the buffer. */
  rewind(): void {
    this.#at = this.#first
    this.#nextLine = 1
  }

  text(field: number): string {
    const [start, end] = [this.starts[field] ?? 0, this.ends[field] ?? 0]
    const bytes = this.buffer.subarray(start, Math.abs(end))
    if (!isUtf8(bytes)) throw this.malformed(JSON.stringify(bytes.toString('latin1')), 'text in UTF-8')
    const text = bytes.toString('utf8')
    return (end < 0 ? text.replaceAll('""', '"') : text).trim()
  }

  texts(): string[] {
    return Array.from({ length: this.fields }, (_, field) => this.text(field))
  }

  /** Places of the fields from here to the end of the record; false where the buffer ends before it. */
  #scan(): boolean {
    const { buffer } = this
    const [end, delimiter] = [this.#end, this.#delimiter]
    this.line = this.#nextLine
    let at = this.#at
    let field = 0
    for (;;) {
      if (field === this.starts.length) this.#growFields()
      let start = at
      let stop = at
      if (buffer[at] === QUOTE && at < end) {
        start = at + 1
        let doubled = false
        for (at = start; ; at++) {
          if (at >= end) {
            if (this.#isLast) throw this.malformed('a quote that is not closed', 'a closing quote')
            return false
          }
          const byte = buffer[at]
          if (byte === LF) this.#nextLine++
          if (byte !== QUOTE) continue
          if (at + 1 >= end && !this.#isLast) return false
          if (at + 1 >= end || buffer[at + 1] !== QUOTE) break
          doubled = true
          at++
        }
        stop = doubled ? -at : at
        at++
        if (at < end && buffer[at] === CR) at++
        if (at < end && buffer[at] !== delimiter && buffer[at] !== LF) {
          throw this.malformed(
            `"${String.fromCharCode(buffer[at] ?? 0)}" after a closing quote`,
            'the end of the field',
          )
        }
      } else {
        while (at < end && buffer[at] !== delimiter && buffer[at] !== LF) at++
        stop = at > start && buffer[at - 1] === CR ? at - 1 : at
      }
      if (at >= end && !this.#isLast) return false
      this.starts[field] = start
      this.ends[field] = stop
      field++
      const isDelimiter = at < end && buffer[at] === delimiter
      at++
      if (isDelimiter) continue
      this.fields = field
      this.#at = Math.min(at, end)
      this.#nextLine++
      return true
    }
  }

  async #refill(): Promise<void> {
    this.buffer.copyWithin(0, this.#at, this.#end)
    this.#end -= this.#at
    this.#at = 0
    if (this.#end >= LINE_BYTES_MAX) {
      throw this.malformed(`more than ${LINE_BYTES_MAX} bytes in one line`, 'a shorter one; is a quote not closed?')
    }
    const space = this.buffer.subarray(this.#end)
    const read = await this.#bytes.read(space)
    this.#end += read
    this.#isLast = read < space.byteLength
  }

  #growFields(): void {
    const [starts, ends] = [this.starts, this.ends]
    this.starts = new Int32Array(starts.length * 4)
    this.ends = new Int32Array(ends.length * 4)
    this.starts.set(starts)
    this.ends.set(ends)
  }

  /** The one that stands most often, and equally often, in the first lines. */
  #likeliestDelimiter(): string {
    const lines = this.buffer.subarray(this.#at, Math.min(this.#end, 65_536)).toString('utf8').split('\n').slice(0, 20)
    const whole = lines.length > 1 ? lines.slice(0, -1) : lines
    const score = (delimiter: string): number => {
      const counts = whole.filter((line) => line.trim() !== '').map((line) => line.split(delimiter).length - 1)
      const isEven = counts.every((count) => count === counts[0])
      return (counts[0] ?? 0) + (isEven && counts[0] !== 0 ? 10_000 : 0)
    }
    return DELIMITERS.toSorted((a, b) => score(b) - score(a))[0] ?? ','
  }

  malformed(found: string, expected: string, column?: string): KernelError {
    const place = `${this.name}, line ${this.line}${column === undefined ? '' : `, column "${column}"`}`
    return new KernelError('data.malformed', `${place}: expected ${expected}, found ${found}`, {
      file: this.name,
      line: this.line,
      ...(column !== undefined && { column }),
      expected,
      found,
    })
  }
}

/** The columns of a table and a batch of its rows. */
class Table {
  readonly #names: readonly string[]
  readonly #hasHeader: boolean
  /** By field; undefined where it is left out. */
  readonly #types: readonly (TypedColumn | undefined)[]
  readonly #kept: readonly TypedColumn[]
  readonly #values: readonly Values[]
  /** By field. */
  readonly #into: readonly (Values | undefined)[]
  readonly #rowsMax: number
  readonly #lines: Float64Array
  #rows = 0
  #file = ''

  private constructor(names: readonly string[], hasHeader: boolean, types: readonly (TypedColumn | undefined)[]) {
    this.#names = names
    this.#hasHeader = hasHeader
    this.#types = types
    this.#kept = types.filter((type) => type !== undefined)
    this.#rowsMax = Math.max(16, Math.min(BATCH_ROWS_MAX, Math.floor(BATCH_VALUES / Math.max(1, this.#kept.length))))
    this.#values = this.#kept.map(({ dtype }) => newValues(dtype, this.#rowsMax))
    this.#into = types.map((type) => (type === undefined ? undefined : this.#values[this.#kept.indexOf(type)]))
    this.#lines = new Float64Array(this.#rowsMax)
  }

  /** Looks at the records in the buffer, and tells the sink what columns there are. */
  static fromSample(records: Records, options: IngestOptions, sink: RowSink): Table {
    if (records.nextHere() !== true) {
      throw new KernelError('data.malformed', `Cannot read ${records.name}: it is empty`)
    }
    const first = records.texts()
    const hasHeader = options.header ?? looksLikeHeader(first)
    const names = hasHeader ? first : first.map((_, i) => `c${i + 1}`)
    checkNames(names, records)
    const sample = [first]
    while (sample.length < SAMPLE_ROWS && records.nextHere() === true) sample.push(records.texts())
    records.rewind()
    const types = inferTypes(names, hasHeader ? sample.slice(1) : sample, options, records.name)
    const table = new Table(names, hasHeader, types)
    sink.begin(table.columns())
    return table
  }

  columns(): Column[] {
    return this.#kept.map(columnOf)
  }

  /** Skips the header of a file, which must be that of the first one. */
  checkHeader(records: Records, { header }: IngestOptions): void {
    this.#file = records.name
    if (!this.#hasHeader || header === false) return
    if (records.nextHere() !== true) return
    const found = records.texts()
    if (found.join('\n') === this.#names.join('\n')) return
    throw records.malformed(found.join(', '), `the columns ${this.#names.join(', ')}`)
  }

  /** Reads rows until the batch is full or the file ends; false when there were none. */
  async readBatch(records: Records): Promise<boolean> {
    this.#rows = 0
    while (this.#rows < this.#rowsMax) {
      const found = records.nextHere() ?? (await records.next())
      if (!found) break
      this.#lines[this.#rows] = records.line
      this.#parse(records, this.#rows++)
    }
    return this.#rows > 0
  }

  async flush(sink: RowSink, split: Parameters<RowSink['take']>[2]): Promise<void> {
    await sink.take(this.#rows, this.#values, split, (row) => `${this.#file}, line ${this.#lines[row]}`)
  }

  #parse(records: Records, row: number): void {
    const { fields, buffer, starts, ends } = records
    if (fields !== this.#names.length) throw records.malformed(`${fields}`, `${this.#names.length} fields`)
    for (let field = 0; field < fields; field++) {
      const type = this.#types[field]
      const into = this.#into[field]
      if (type === undefined || into === undefined) continue
      if (type.code === NUMBER) {
        const value = parseNumber(buffer, starts[field] ?? 0, ends[field] ?? 0)
        if (value === undefined) throw this.#notA(records, field, 'a number')
        into[row] = value
      } else into[row] = this.#parseOther(records, field, type)
    }
  }

  #parseOther(records: Records, field: number, type: TypedColumn): number {
    if (type.kind === 'category') {
      const [start, end] = [records.starts[field] ?? 0, records.ends[field] ?? 0]
      const code = end < 0 ? undefined : type.codes.ofBytes(records.buffer, start, end)
      return code ?? type.codes.of(records.text(field), () => this.#place(records, field))
    }
    if (type.kind === 'date') {
      const text = records.text(field)
      const days = isMissing(text) ? Number.NaN : dateToDays(text)
      if (days === undefined) throw this.#notA(records, field, 'a date like 2026-11-24 or 2026-11-24T20:25:00Z')
      return days
    }
    const value = parseNumber(records.buffer, records.starts[field] ?? 0, records.ends[field] ?? 0)
    const max = type.kind === 'byte' ? 255 : 2_147_483_647
    const min = type.kind === 'byte' ? 0 : -2_147_483_648
    if (value === undefined || !Number.isInteger(value) || value < min || value > max) {
      throw this.#notA(records, field, `a whole number from ${min} to ${max}`)
    }
    return value
  }

  #notA(records: Records, field: number, expected: string): KernelError {
    const text = records.text(field)
    const found = text === '' ? 'nothing' : JSON.stringify(text.length > 60 ? `${text.slice(0, 57)}...` : text)
    return records.malformed(found, expected, this.#names[field])
  }

  #place(records: Records, field: number): string {
    return `${records.name}, line ${records.line}, column "${this.#names[field]}"`
  }
}

/** The record is the header. */
function checkNames(names: readonly string[], records: Records): void {
  const unnamed = names.indexOf('')
  if (unnamed >= 0) throw records.malformed('nothing', `a name for column ${unnamed + 1} in the header`)
  const second = names.findIndex((name, i) => names.indexOf(name) < i)
  if (second < 0) return
  const found = `"${names[second]}" for columns ${names.indexOf(names[second] ?? '') + 1} and ${second + 1}`
  throw records.malformed(found, 'a name of its own for each column, or "header: false" where the first line is data')
}

/** Names are no numbers, and none of them is missing. */
function looksLikeHeader(first: readonly string[]): boolean {
  return first.every((text) => !isMissing(text) && Number.isNaN(Number(text)))
}

const POWERS = Array.from({ length: 23 }, (_, i) => 10 ** i)

/**
 * A decimal number in bytes: NaN where it is missing, undefined where it is none. Up to 15 digits make a whole double
 * exactly, and so are powers of ten up to 22: one division then rounds right (Clinger 1990). The rest goes by its text.
 */
function parseNumber(buffer: Buffer, start: number, end: number): number | undefined {
  let at = start
  const sign = buffer[at]
  if (sign === MINUS || sign === PLUS) at++
  let mantissa = 0
  let digits = 0
  let fraction = 0
  for (; at < end; at++) {
    const digit = (buffer[at] ?? 0) - ZERO
    if (digit < 0 || digit > 9) break
    mantissa = mantissa * 10 + digit
    digits++
  }
  if (at < end && buffer[at] === POINT) {
    at++
    for (; at < end; at++) {
      const digit = (buffer[at] ?? 0) - ZERO
      if (digit < 0 || digit > 9) break
      mantissa = mantissa * 10 + digit
      digits++
      fraction++
    }
  }
  if (at === end && digits > 0 && digits <= 15) {
    const value = fraction === 0 ? mantissa : mantissa / (POWERS[fraction] ?? 1)
    return sign === MINUS ? -value : value
  }
  const text = buffer.toString('latin1', start, Math.abs(end)).trim()
  if (isMissing(text)) return Number.NaN
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : undefined
}
