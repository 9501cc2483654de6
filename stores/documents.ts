/**
 * Documents: typed collections of JSON values, the memory of everything that is not a running actor (the read model
 * of jobs, the registry of models, datasets, users, audit). This file is the contract and the rules that every
 * implementation shares; the implementations stand in `documents/`. It is kept inside what SQLite and MongoDB both do
 * well: one document is the unit of atomicity, a search goes by declared fields only, pages follow a cursor.
 *
 * Invariants, held by every implementation and checked by tests/contracts/documents.ts:
 * 1. A write is durable, and visible to every process on the same store, when its promise resolves.
 * 2. A document's version starts at 1 and grows by one with each write. Of several `update`s from one version
 *    exactly one succeeds. (A deleted id starts at 1 again, so ids should not be used twice.)
 * 3. Following `next` from page to page visits each document that matches throughout exactly once, whatever is
 *    written meanwhile, since a cursor names a place in the order and not a count.
 * 4. What comes back equals what was put; a value of which this would not be true is refused.
 */
import { createHash } from 'node:crypto'
import { StoreError } from './errors.ts'
import { LIMITS } from './limits.ts'

/** What may be searched by. A missing field counts as null, and null comes before everything else. */
export type IndexedValue = string | number | boolean | null

/**
 * The fields of T that may be indexed: those which hold nothing but strings, numbers, booleans and null, and such fields
 * of an object in T, as `sweep.id`.
 */
export type IndexedField<T> = PlainField<T> | NestedField<T>

type PlainField<T> = {
  [Field in keyof T & string]-?: Exclude<T[Field], undefined> extends IndexedValue ? Field : never
}[keyof T & string]

type NestedField<T> = {
  [Field in keyof T & string]-?: Exclude<T[Field], undefined> extends infer Value
    ? Value extends IndexedValue | readonly unknown[]
      ? never
      : Value extends object
        ? `${Field}.${PlainField<Value>}`
        : never
    : never
}[keyof T & string]

/** What an indexed field holds. */
export type FieldValue<T, Field> = Field extends keyof T
  ? T[Field]
  : Field extends `${infer Outer}.${infer Inner}`
    ? Outer extends keyof T
      ? FieldValue<NonNullable<T[Outer]>, Inner>
      : never
    : never

/**
 * A collection as declared once beside its type. `indexes` names the fields that `find` may use. Where a search has
 * both a filter and an order, a list of fields (`['owner', 'createdAt']`) is one index over both, in that sequence.
 * A field holds values of one type (or null) throughout: across types, stores order differently.
 */
export interface CollectionDefinition<T extends object> {
  readonly name: string
  readonly indexes: readonly (IndexedField<T> | readonly IndexedField<T>[])[]
}

export interface Stored<T> {
  readonly id: string
  readonly version: number
  readonly value: T
}

declare const cursorBrand: unique symbol
/** A place in the order of one search. Opaque: give it back to `find` with the same search. */
export type Cursor = string & { readonly [cursorBrand]: true }

export interface Search<T extends object> {
  /** Fields that must equal. */
  readonly where?: { readonly [Field in IndexedField<T>]?: (IndexedValue & FieldValue<T, Field>) | null }
  /** By which field the result is ordered; ties, and a search without an order, go by id. */
  readonly order?: { readonly by: IndexedField<T>; readonly direction?: Direction }
  readonly limit?: number
  /** `next` of the page before. It may come from outside: a malformed one is a clear error. */
  readonly cursor?: string
}
export type Direction = 'ascending' | 'descending'

export interface Page<T> {
  readonly items: readonly Stored<T>[]
  /** Absent on the last page. */
  readonly next?: Cursor
}

export interface Collection<T extends object> {
  readonly definition: CollectionDefinition<T>
  get(id: string): Promise<Stored<T> | undefined>
  /** Writes, whatever was there. */
  put(id: string, value: T): Promise<Stored<T>>
  /** Writes only if nothing has this id; otherwise changes nothing and gives undefined. */
  insert(id: string, value: T): Promise<Stored<T> | undefined>
  /** Writes only if the document is still at this version; otherwise changes nothing and gives undefined. */
  update(id: string, version: number, value: T): Promise<Stored<T> | undefined>
  find(search?: Search<T>): Promise<Page<T>>
  /** Whether there was something to delete. With a version: only if it is still at it. */
  delete(id: string, version?: number): Promise<boolean>
  /** Deletes those whose `field` is less than `bound` (null never is). Gives how many. */
  deleteOlderThan(field: IndexedField<T>, bound: number | string, where?: Search<T>['where']): Promise<number>
}

export interface Documents extends AsyncDisposable {
  /** What it is and where, for messages: `SQLite at /srv/tensorfleet/documents.sqlite`. */
  readonly description: string
  collection<T extends object>(definition: CollectionDefinition<T>): Collection<T>
  /** Resolves when the store answers; for readiness checks. */
  check(): Promise<void>
  close(): Promise<void>
}

const NAME = /^[a-z][a-zA-Z0-9]{0,47}$/
const FIELD = /^[a-z][a-zA-Z0-9]{0,47}(\.[a-z][a-zA-Z0-9]{0,47})?$/

/** Declares a collection, and checks that it can be one in every store. */
export function defineCollection<T extends object>(definition: CollectionDefinition<T>): CollectionDefinition<T> {
  const refuse = (reason: string): never => {
    throw new StoreError('collection.invalid', `Cannot define collection "${definition.name}": ${reason}`, {
      collection: definition.name,
      reason,
    })
  }
  if (!NAME.test(definition.name)) refuse(`its name must match ${NAME}`)
  for (const field of indexedFieldsOf(definition)) {
    if (!FIELD.test(field)) refuse(`the indexed field "${field}" must match ${FIELD}`)
  }
  return definition
}

/** The fields a search may use. */
export function indexedFieldsOf<T extends object>(definition: CollectionDefinition<T>): ReadonlySet<string> {
  return new Set(
    definition.indexes.flatMap((index): readonly string[] => (typeof index === 'string' ? [index] : index)),
  )
}

/** Every document that matches, page by page. */
export async function* eachDocument<T extends object>(
  collection: Collection<T>,
  search: Omit<Search<T>, 'cursor'> = {},
): AsyncGenerator<Stored<T>> {
  for (let cursor: Cursor | undefined; ;) {
    const page = await collection.find({ ...search, ...(cursor !== undefined && { cursor }) })
    yield* page.items
    if (page.next === undefined) return
    cursor = page.next
  }
}

/**
 * Reads, changes and writes one document, again if somebody else wrote it in between. `change` is given undefined
 * where there is none, and may give undefined to leave things as they are. It may run several times: it must be pure.
 */
export async function modify<T extends object>(
  collection: Collection<T>,
  id: string,
  change: (value: T | undefined) => T | undefined,
): Promise<Stored<T> | undefined> {
  for (let attempt = 1; attempt <= LIMITS.modifyAttemptsMax; attempt++) {
    const before = await collection.get(id)
    const value = change(before?.value)
    if (value === undefined) return before
    const after = await (before === undefined
      ? collection.insert(id, value)
      : collection.update(id, before.version, value))
    if (after !== undefined) return after
  }
  const { name } = collection.definition
  throw new StoreError(
    'document.contended',
    `Cannot change ${name}/${id}: others wrote it between reading and writing ${LIMITS.modifyAttemptsMax} times.`,
    { collection: name, id, attempts: LIMITS.modifyAttemptsMax },
  )
}

// ---- What implementations share. ----

/** A search with its defaults filled in and everything in it checked. */
export interface CheckedSearch {
  readonly where: readonly (readonly [field: string, value: IndexedValue])[]
  /** Undefined: by id alone. */
  readonly by: string | undefined
  readonly direction: Direction
  readonly limit: number
  /** The last document of the page before. `key` is its value in the field `by`. */
  readonly after: { readonly key: IndexedValue; readonly id: string } | undefined
  /** The cursor of this search after a document. */
  readonly cursorAfter: (key: IndexedValue, id: string) => Cursor
}

export function checkSearch<T extends object>(definition: CollectionDefinition<T>, search: Search<T>): CheckedSearch {
  const where = checkWhere(definition, search.where)
  const by = search.order?.by
  if (by !== undefined) checkIndexed(definition, by)
  const direction = search.order?.direction ?? 'ascending'
  const limit = search.limit ?? LIMITS.pageDefault
  if (!Number.isInteger(limit) || limit < 1 || limit > LIMITS.pageMax) {
    throw new StoreError(
      'find.bad-limit',
      `Cannot search ${definition.name}: limit must be a whole number from 1 to ${LIMITS.pageMax}, found ${limit}.`,
      { collection: definition.name, limit, limitMax: LIMITS.pageMax },
    )
  }
  // The fingerprint ties a cursor to its search: used with another filter it would silently skip documents.
  const fingerprint = createHash('sha256')
    .update(JSON.stringify([definition.name, where, by ?? null, direction]))
    .digest('base64url')
    .slice(0, 12)
  return {
    where,
    by,
    direction,
    limit,
    after: search.cursor === undefined ? undefined : readCursor(definition.name, search.cursor, fingerprint),
    cursorAfter: (key, id) =>
      // The only place where a Cursor is made.
      Buffer.from(JSON.stringify([1, fingerprint, key, id])).toString('base64url') as Cursor,
  }
}

export function checkWhere<T extends object>(
  definition: CollectionDefinition<T>,
  where: Search<T>['where'],
): CheckedSearch['where'] {
  const given: [string, unknown][] = Object.entries(where ?? {})
  return given
    .flatMap(([field, value]): [string, IndexedValue][] => {
      checkIndexed(definition, field)
      return value === undefined ? [] : [[field, checkIndexedValue(definition.name, '(search)', field, value)]]
    })
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
}

export function checkIndexed<T extends object>(definition: CollectionDefinition<T>, field: string): void {
  const indexed = indexedFieldsOf(definition)
  if (indexed.has(field)) return
  throw new StoreError(
    'find.not-indexed',
    `Cannot search ${definition.name} by "${field}": its indexes are ${[...indexed].join(', ') || 'none'}.`,
    { collection: definition.name, field, indexed: [...indexed] },
  )
}

export function checkId(collection: string, id: string): string {
  if (id.length >= 1 && id.length <= LIMITS.documentIdCharsMax && isPlainText(id)) return id
  throw new StoreError(
    'document.bad-id',
    `Cannot use ${JSON.stringify(id.slice(0, 80))} as an id in ${collection}: ` +
      `an id has 1 to ${LIMITS.documentIdCharsMax} characters and no control characters.`,
    { collection, id },
  )
}

/** What a document has in an indexed field; null where that is absent. */
export function fieldOf(value: object, field: string): unknown {
  let found: unknown = value
  for (const name of field.split('.')) {
    found = typeof found === 'object' && found !== null ? (found as Record<string, unknown>)[name] : undefined // any may be absent
  }
  return found ?? null
}

/** The document as JSON text, refused where it would not come back as it is (invariant 4). */
export function encodeDocument<T extends object>(definition: CollectionDefinition<T>, id: string, value: T): string {
  const { name } = definition
  refuseWhatIsNotJson(value, name, id, '')
  for (const field of indexedFieldsOf(definition)) {
    checkIndexedValue(name, id, field, fieldOf(value, field))
  }
  const text = JSON.stringify(value)
  const sizeBytes = Buffer.byteLength(text)
  if (sizeBytes > LIMITS.documentBytesMax) {
    throw new StoreError(
      'document.too-large',
      `Cannot store ${name}/${id}: it has ${sizeBytes} bytes, at most ${LIMITS.documentBytesMax} fit. ` +
        'Large data belongs in a blob.',
      { collection: name, id, sizeBytes, sizeMaxBytes: LIMITS.documentBytesMax },
    )
  }
  return text
}

function refuseWhatIsNotJson(value: unknown, collection: string, id: string, path: string, depth = 0): void {
  const refuse = (found: string): never => {
    throw new StoreError(
      'document.invalid',
      `Cannot store ${collection}/${id}: at ${path === '' ? 'the top' : path}, expected a JSON value, found ${found}.`,
      { collection, id, path, found },
    )
  }
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return
    case 'number':
      if (!Number.isFinite(value)) refuse(String(value)) // JSON would make it null without a word
      return
    case 'object':
      break
    default:
      refuse(typeof value)
  }
  if (value === null) return
  if (depth > 100) refuse('more than 100 levels, or a cycle')
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) refuseWhatIsNotJson(item, collection, id, `${path}[${i}]`, depth + 1)
    return
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) refuse(`a ${value?.constructor.name ?? 'class instance'}`)
  for (const [key, item] of Object.entries(value as object)) {
    // An undefined property is an absent one, as in JSON; in an array it would turn into null.
    if (item !== undefined) refuseWhatIsNotJson(item, collection, id, path === '' ? key : `${path}.${key}`, depth + 1)
  }
}

function checkIndexedValue(collection: string, id: string, field: string, value: unknown): IndexedValue {
  if (value === null || typeof value === 'boolean') return value
  // Beyond the safe integers, a number's JSON text and its double compare differently inside a store.
  if (typeof value === 'number' && Number.isFinite(value)) {
    if (!Number.isInteger(value) || Number.isSafeInteger(value)) return value
  }
  if (typeof value === 'string' && value.length <= LIMITS.indexedCharsMax && isPlainText(value)) return value
  const found =
    typeof value === 'string'
      ? `a string of ${value.length} characters`
      : typeof value === 'number'
        ? String(value)
        : `a value of type ${typeof value}`
  throw new StoreError(
    'document.invalid',
    `Cannot index ${collection}/${id} by ${field}: expected a finite number (whole ones up to 2^53), true, false, null ` +
      `or text of at most ${LIMITS.indexedCharsMax} characters without control characters, found ${found}.`,
    { collection, id, path: field, found },
  )
}

/** Text that every store compares alike: no control characters (SQLite ends at NUL), no halves of a surrogate pair. */
function isPlainText(text: string): boolean {
  // eslint-disable-next-line no-control-regex -- control characters are what it looks for
  return text.isWellFormed() && !/[\u0000-\u001f\u007f]/.test(text)
}

function readCursor(collection: string, cursor: string, fingerprint: string): { key: IndexedValue; id: string } {
  const refuse = (reason: string, cause?: unknown): never => {
    throw new StoreError(
      'find.bad-cursor',
      `Cannot go on in ${collection}: the cursor ${reason}.`,
      { collection, reason },
      { cause },
    )
  }
  if (cursor.length > LIMITS.cursorCharsMax) return refuse('is too long to be one')
  let parts: unknown
  try {
    parts = JSON.parse(Buffer.from(cursor, 'base64url').toString())
  } catch (error) {
    return refuse('is malformed; give back `next` of a page as it is', error)
  }
  if (!Array.isArray(parts) || parts.length !== 4 || parts[0] !== 1) return refuse('is malformed')
  const [, of, key, id] = parts as unknown[] // length checked above, types below
  if (of !== fingerprint) return refuse('belongs to another search; filter and order must stay the same')
  if (typeof id !== 'string') return refuse('is malformed')
  return { key: checkIndexedValue(collection, '(cursor)', 'key', key), id: checkId(collection, id) }
}
