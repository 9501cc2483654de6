/**
 * Rows whose values are of any kind (JSON Lines, Parquet), into columns: the first rows say what each column is, as text
 * does in `types.ts`, and lists of numbers of one size are columns with a shape. JSON Lines gives rows as objects,
 * Parquet many rows at once, as a list for each column.
 */
import { KernelError } from '../../errors.ts'
import { elementCount } from '../../safetensors.ts'
import { newValues } from '../column.ts'
import type { Column, Values } from '../column.ts'
import type { SplitName } from '../manifest.ts'
import { invalid } from './request.ts'
import type { IngestOptions } from './request.ts'
import type { RowSink } from './sink.ts'
import { columnOf, dateToDays, inferTypes, isMissing } from './types.ts'
import type { TypedColumn } from './types.ts'

export type Row = Readonly<Record<string, unknown>>

/** Rows that decide what the columns are. */
export const SAMPLE_ROWS = 10_000

const BATCH_ROWS = 1_024

type Field = { readonly name: string; readonly shape: readonly number[]; readonly typed: TypedColumn | undefined }

export class RecordTable {
  readonly #fields: readonly Field[]
  readonly #names: ReadonlySet<string>
  readonly #values: readonly Values[]
  readonly #sink: RowSink
  /** Of each row in the batch: its line or number in the file. */
  readonly #numbers = new Float64Array(BATCH_ROWS)
  #rows = 0
  /** What a row is called in a message: `d.jsonl, line ` and its number. */
  source = ''

  constructor(sample: readonly Row[], options: IngestOptions, file: string, sink: RowSink) {
    const names = [...new Set(sample.flatMap((row) => Object.keys(row)))]
    const shapes = new Map(names.map((name) => [name, shapeOf(sample, name)]))
    const scalars = names.filter((name) => shapes.get(name) === undefined)
    for (const name of scalars) checkValues(sample, name, options, file)
    const texts = sample.map((row) => scalars.map((name) => textOf(valueOf(row, name))))
    const types = inferTypes(scalars, texts, options, file)
    this.#fields = names.flatMap((name): Field[] => {
      const shape = shapes.get(name)
      if (shape !== undefined) return options.types?.[name] === 'skip' ? [] : [{ name, shape, typed: undefined }]
      const typed = types[scalars.indexOf(name)]
      return typed === undefined ? [] : [{ name, shape: [], typed }]
    })
    this.#names = new Set(names)
    this.#values = this.#fields.map(({ shape, typed }) =>
      newValues(typed?.dtype ?? 'float32', BATCH_ROWS * elementCount(shape)),
    )
    this.#sink = sink
    sink.begin(this.columns())
  }

  columns(): Column[] {
    return this.#fields.map(({ name, shape, typed }) =>
      typed === undefined ? { name, dtype: 'float32', shape } : columnOf(typed),
    )
  }

  /** Takes one row. Gives whether the batch is full and is to be flushed. */
  take(row: Row, number: number): boolean {
    this.#numbers[this.#rows] = number
    let known = 0
    for (const [f, field] of this.#fields.entries()) {
      const value = field.name in Object.prototype ? valueOf(row, field.name) : row[field.name]
      if (value !== undefined) known++
      this.#put(f, field, value, this.#rows)
    }
    if (known !== countOf(row)) this.#checkNames(row)
    return ++this.#rows === BATCH_ROWS
  }

  /** Takes rows `from` to `to` of lists by their columns' names, and flushes whatever is full. */
  async takeLists(
    lists: ReadonlyMap<string, ArrayLike<unknown>>,
    { from, to, number }: { readonly from: number; readonly to: number; readonly number: number },
    split: SplitName | undefined,
  ): Promise<void> {
    this.#checkNames(Object.fromEntries(lists))
    for (let done = from; done < to;) {
      const count = Math.min(to - done, BATCH_ROWS - this.#rows)
      for (let i = 0; i < count; i++) this.#numbers[this.#rows + i] = number + done - from + i
      for (const [f, field] of this.#fields.entries()) {
        const list = lists.get(field.name)
        const into = this.#values[f]
        if (field.typed?.kind === 'number' && into !== undefined && isFloats(list)) {
          into.set(list.subarray(done, done + count), this.#rows)
        } else {
          for (let i = 0; i < count; i++) this.#put(f, field, list?.[done + i], this.#rows + i)
        }
      }
      this.#rows += count
      done += count
      if (this.#rows === BATCH_ROWS) await this.flush(split)
    }
  }

  async flush(split: SplitName | undefined): Promise<void> {
    const count = this.#rows
    this.#rows = 0
    if (count > 0) await this.#sink.take(count, this.#values, split, (row) => this.#place(row))
  }

  #put(f: number, { name, shape, typed }: Field, value: unknown, row: number): void {
    const into = this.#values[f]
    if (into === undefined) return
    if (typeof value === 'number' && typed?.kind === 'number') into[row] = value
    else if (typed === undefined) {
      const elements = elementCount(shape)
      fillNested(into, row * elements, shape, value, () => `${this.#place(row)}, field "${name}"`)
    } else into[row] = scalarOf(typed, value, () => `${this.#place(row)}, field "${name}"`)
  }

  #checkNames(row: Row): void {
    for (const name of Object.keys(row)) {
      if (this.#names.has(name)) continue
      throw malformed(this.#place(this.#rows), `one of the fields ${[...this.#names].join(', ')}`, `"${name}"`)
    }
  }

  #place(row: number): string {
    return `${this.source}${this.#numbers[row]}`
  }
}

/** What every object inherits is no value of a row. */
function valueOf(row: Row, name: string): unknown {
  return Object.hasOwn(row, name) ? row[name] : undefined
}

function countOf(row: Row): number {
  let count = 0
  for (const _ in row) count++
  return count
}

export function isFloats(list: ArrayLike<unknown> | undefined): list is Float32Array | Float64Array {
  return list instanceof Float64Array || list instanceof Float32Array
}

/** Values of which nothing can be made unless it is said what, or nothing at all. */
function checkValues(sample: readonly Row[], name: string, { types = {} }: IngestOptions, file: string): void {
  if (Object.hasOwn(types, name)) return // then it is the value that is wrong, and has a place
  for (const row of sample) {
    const value = valueOf(row, name)
    if (typeof value === 'object' && value !== null && !(value instanceof Date)) {
      throw invalidType(name, `skip, since ${file} has objects in it`)
    }
    if (typeof value === 'bigint' && !Number.isSafeInteger(Number(value))) {
      throw invalidType(name, `number (rounded), category or skip, since ${file} has whole numbers beyond 2^53 in it`)
    }
  }
}

function invalidType(name: string, expected: string): KernelError {
  return invalid(`types.${name}`, expected, 'nothing')
}

/** The shape of a field that holds lists; undefined for one that holds single values. */
function shapeOf(sample: readonly Row[], name: string): readonly number[] | undefined {
  let value = sample.find((row) => isList(row[name]))?.[name]
  if (value === undefined) return undefined
  const shape: number[] = []
  while (isList(value)) {
    shape.push(value.length)
    value = value[0]
  }
  return shape
}

function isList(value: unknown): value is ArrayLike<unknown> {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView))
}

/** As a table would write it, for the inference of types. */
function textOf(value: unknown): string {
  if (value === null || value === undefined) return ''
  if (value instanceof Date) return value.toISOString()
  if (typeof value === 'string') return value.trim()
  return typeof value === 'object' ? jsonOf(value) : String(value as number | bigint | boolean) // what is left
}

function scalarOf(typed: TypedColumn, value: unknown, place: () => string): number {
  if (typed.kind === 'category') {
    if (typeof value === 'object' && value !== null)
      throw malformed(place(), 'text, a number or true or false', 'an object')
    return typed.codes.of(textOf(value), place)
  }
  if (value === null || value === undefined) return missingOf(typed, place)
  if (typed.kind === 'date') {
    const days = value instanceof Date ? value.getTime() / 86_400_000 : dateToDays(textOf(value))
    if (days === undefined) throw malformed(place(), 'a date like 2026-11-24', describe(value))
    return days
  }
  const number = typeof value === 'number' || typeof value === 'bigint' ? Number(value) : numberOf(value)
  if (typeof value === 'string' && isMissing(value.trim())) return missingOf(typed, place)
  if (number === undefined || (typed.kind !== 'number' && !Number.isInteger(number))) {
    throw malformed(place(), typed.kind === 'number' ? 'a number' : 'a whole number', describe(value))
  }
  const [min, max] = typed.kind === 'byte' ? [0, 255] : [-2_147_483_648, 2_147_483_647]
  if (typed.kind !== 'number' && (number < min || number > max)) {
    throw malformed(place(), `a whole number from ${min} to ${max}`, String(number))
  }
  return number
}

function missingOf(typed: TypedColumn, place: () => string): number {
  if (typed.kind === 'number' || typed.kind === 'date') return Number.NaN
  throw malformed(place(), 'a whole number', 'nothing')
}

function numberOf(value: unknown): number | undefined {
  if (typeof value !== 'string') return undefined
  const number = Number(value)
  return value.trim() === '' || Number.isNaN(number) ? undefined : number
}

function fillNested(into: Values, at: number, shape: readonly number[], value: unknown, place: () => string): number {
  const [length, ...inner] = shape
  if (length === undefined) {
    if (typeof value !== 'number' && typeof value !== 'bigint') throw malformed(place(), 'numbers', describe(value))
    into[at] = Number(value)
    return at + 1
  }
  if (!isList(value) || value.length !== length) {
    throw malformed(place(), `a list of ${length}`, isList(value) ? `a list of ${value.length}` : describe(value))
  }
  let next = at
  for (let i = 0; i < length; i++) next = fillNested(into, next, inner, value[i], place)
  return next
}

function describe(value: unknown): string {
  if (value === undefined) return 'nothing'
  const text = jsonOf(value)
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}

/** Parquet has numbers that JSON knows nothing of. */
function jsonOf(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'bigint' ? Number(inner) : inner))
}

function malformed(place: string, expected: string, found: string): KernelError {
  return new KernelError('data.malformed', `${place}: expected ${expected}, found ${found}`, { place, expected, found })
}
