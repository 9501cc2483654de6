/**
 * Types of a table's columns: what a person says, or what the first rows look like. Shared by the formats whose fields
 * are text or may be anything (CSV, JSON Lines).
 */
import { KernelError } from '../../errors.ts'
import { CATEGORIES_MAX } from '../../limits.ts'
import { MISSING_CATEGORY } from '../column.ts'
import type { Column, Dtype } from '../column.ts'
import { COLUMN_TYPES, invalid } from './request.ts'
import type { ColumnType, IngestOptions } from './request.ts'

export const NUMBER = 1

interface Typed {
  readonly name: string
  readonly dtype: Dtype
  /** NUMBER for the commonest kind: a number compares faster than a string. */
  readonly code: number
}

export type TypedColumn = Typed &
  ({ readonly kind: 'number' | 'int' | 'byte' | 'date' } | { readonly kind: 'category'; readonly codes: CategoryCodes })

const MISSING = new Set(['', 'NA', 'N/A', 'n/a', 'NaN', 'nan', 'NULL', 'null', 'None', '?', '-'])

/** What tables write where there is no value. */
export function isMissing(text: string): boolean {
  return text.length <= 4 && MISSING.has(text)
}

const DATE = /^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$/

/** Days since 1970-01-01, with the time of day as a fraction; without a zone it is UTC. Undefined where it is no date. */
export function dateToDays(text: string): number | undefined {
  if (!DATE.test(text)) return undefined
  const isWithoutZone = text.length > 10 && !/(Z|[+-]\d{2}:?\d{2})$/.test(text.slice(10))
  const ms = Date.parse(isWithoutZone ? `${text.replace(' ', 'T')}Z` : text.replace(' ', 'T'))
  return Number.isNaN(ms) ? undefined : ms / 86_400_000
}

/** The codes of one category's names, in the order in which they were first given. */
export class CategoryCodes {
  readonly names: string[] = []
  readonly #codes = new Map<string, number>()
  /** By a hash of a field's bytes: making a string of them costs more than all else that is done to a field. */
  readonly #byBytes = new Map<number, { readonly bytes: Uint8Array; readonly code: number }>()

  /** `sample` is given its codes in order, so that names seen early come sorted: "no" is 0 and "yes" is 1. */
  constructor(sample: Iterable<string> = []) {
    const isNumeric = (text: string): boolean => !Number.isNaN(Number(text))
    const names = [...new Set(sample)].toSorted((a, b) => {
      return isNumeric(a) && isNumeric(b) ? Number(a) - Number(b) : a < b ? -1 : a > b ? 1 : 0
    })
    for (const name of names) this.of(name, () => '')
  }

  of(text: string, place: () => string): number {
    if (isMissing(text)) return MISSING_CATEGORY
    const known = this.#codes.get(text)
    if (known !== undefined) return known
    if (this.names.length >= CATEGORIES_MAX) {
      throw new KernelError(
        'data.malformed',
        `${place()}: expected at most ${CATEGORIES_MAX} different texts, found more; leave the column out (skip) if it is free text`,
      )
    }
    this.#codes.set(text, this.names.length)
    return this.names.push(text) - 1
  }

  /** The code of what was seen in these very bytes before. */
  ofBytes(buffer: Buffer, start: number, end: number): number | undefined {
    let hash = end - start
    for (let i = start; i < end; i++) hash = (Math.imul(hash, 31) + (buffer[i] ?? 0)) | 0
    const known = this.#byBytes.get(hash)
    if (known !== undefined && isEqual(known.bytes, buffer, start, end)) return known.code
    const text = buffer.toString('utf8', start, end).trim()
    const code = isMissing(text) ? MISSING_CATEGORY : this.#codes.get(text)
    // Spaces around a name make other bytes of the same name; not without end.
    if (code !== undefined && this.#byBytes.size < 2 * CATEGORIES_MAX) {
      this.#byBytes.set(hash, { bytes: Uint8Array.prototype.slice.call(buffer, start, end), code })
    }
    return code
  }
}

function isEqual(bytes: Uint8Array, buffer: Buffer, start: number, end: number): boolean {
  if (bytes.length !== end - start) return false
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== buffer[start + i]) return false
  return true
}

const DTYPES: Readonly<Record<Exclude<ColumnType, 'skip'>, Dtype>> = {
  number: 'float32',
  int: 'int32',
  byte: 'uint8',
  category: 'int32',
  date: 'float32',
}

export function columnOf(typed: TypedColumn): Column {
  const { name, dtype, kind } = typed
  const categories =
    kind === 'category' ? { count: typed.codes.names.length, names: [...typed.codes.names] } : undefined
  return { name, dtype, shape: [], ...(categories && { categories }) }
}

/** Each column's type; undefined for those that are left out. `sample` holds rows of texts. */
export function inferTypes(
  names: readonly string[],
  sample: readonly (readonly string[])[],
  { types = {}, target }: IngestOptions,
  file: string,
): (TypedColumn | undefined)[] {
  for (const [name, type] of Object.entries(types)) {
    if (!names.includes(name)) throw invalid(`types.${name}`, `one of the columns ${names.join(', ')}`, name)
    if (!COLUMN_TYPES.includes(type)) throw invalid(`types.${name}`, `one of ${COLUMN_TYPES.join(', ')}`, type)
  }
  return names.map((name, i) => {
    const texts = sample.map((row) => row[i] ?? '').filter((text) => !isMissing(text))
    const said = Object.hasOwn(types, name) ? types[name] : undefined
    const kind = said ?? inferType(name, texts, sample.length, file, name === target)
    if (kind === 'skip') return undefined
    const common = { name, dtype: DTYPES[kind], code: kind === 'number' ? NUMBER : 0 }
    return kind === 'category' ? { ...common, kind, codes: new CategoryCodes(texts) } : { ...common, kind }
  })
}

function inferType(name: string, texts: readonly string[], rows: number, file: string, isTarget: boolean): ColumnType {
  if (texts.every((text) => !Number.isNaN(Number(text)) || INFINITE.test(text))) return 'number'
  if (texts.every((text) => DATE.test(text))) {
    throw invalid(`types.${name}`, `date (days since 1970) or skip, since ${file} has dates in it`, 'nothing')
  }
  const different = new Set(texts).size
  // A name or a sentence in each row says nothing that a model could learn from another row.
  if (!isTarget && rows >= FREE_TEXT_ROWS && different > rows / 2) {
    const expected = `category or skip, since ${different} of the first ${rows} rows of ${file} differ in it`
    throw invalid(`types.${name}`, expected, 'nothing')
  }
  return 'category'
}

/** A number, too, though no reader takes it: a column of numbers must not become names because of one. */
const INFINITE = /^[+-]?inf(inity)?$/i

/** Fewer rows than this say little about how many different texts there will be. */
const FREE_TEXT_ROWS = 50
