/**
 * Documents in a SQLite file: the embedded default, in the Node process itself (`node:sqlite`), no server to run.
 *
 * Layout: a table per collection, `doc_<name>(id, version, body)`, body being the JSON text. A declared field is an
 * index over `json_extract(body, '$.field')` with the id behind it, so that a page is one walk along an index, and a
 * field declared later needs no change to the rows. Several processes may open one file: WAL lets them read while one
 * writes, a writer waits its turn (`busy_timeout`), and every operation is a single statement, thus atomic.
 *
 * `synchronous=FULL`: a commit survives a power cut, as the registry and the users must; the runtime's mail is not here,
 * so the fsync is not in any hot path. SQLite is synchronous under the promises: a statement blocks the event loop for
 * well under a millisecond, a commit for one fsync.
 */
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import { mkdir } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  checkId,
  checkIndexed,
  checkSearch,
  checkWhere,
  defineCollection,
  encodeDocument,
  fieldOf,
  type Collection,
  type CollectionDefinition,
  type Documents,
  type IndexedField,
  type IndexedValue,
  type Page,
  type Search,
  type Stored,
} from '../documents.ts'
import { denied, diskError, diskFull } from '../disk.ts'
import { StoreError } from '../errors.ts'
import { LIMITS } from '../limits.ts'

/** "tfdc" in ASCII: the mark in the file's head that says whose it is. */
const APPLICATION_ID = 0x74666463
const FORMAT = 1

/** Opens the file, making it and its folder where they are not. `:memory:` is a store for this process alone. */
export async function openSqliteDocuments(path: string): Promise<Documents> {
  const place = path === ':memory:' ? path : resolve(path)
  if (place !== ':memory:') {
    await mkdir(dirname(place), { recursive: true }).catch((error: unknown) => {
      throw storeErrorOf(error, place)
    })
  }
  const deadline = performance.now() + LIMITS.sqliteBusyMs
  for (;;) {
    try {
      return new SqliteDocuments(openDatabase(place), place)
    } catch (error) {
      // Turning on WAL while another process opens the same new file fails at once: SQLite's busy handler is not asked.
      const opened = storeErrorOf(error, place)
      if (opened.code !== 'store.busy' || performance.now() > deadline) throw opened
      await sleep(20)
    }
  }
}

function openDatabase(place: string): DatabaseSync {
  const database = new DatabaseSync(place, { timeout: LIMITS.sqliteBusyMs })
  try {
    // One transaction, so that of several processes opening a new file one marks it and the others find it marked.
    database.exec('BEGIN IMMEDIATE')
    const found = { application: pragma(database, 'application_id'), format: pragma(database, 'user_version') }
    const isNew = found.application === 0 && found.format === 0 && pragma(database, 'schema_version') === 0
    if (!isNew && (found.application !== APPLICATION_ID || found.format !== FORMAT)) {
      const ours = found.application === APPLICATION_ID
      throw new StoreError(
        'store.format',
        ours
          ? `Cannot use ${place}: it has format ${found.format}, this TensorFleet reads format ${FORMAT}. ` +
              'A newer version wrote it: use that one, or another data folder.'
          : `Cannot use ${place}: it is an SQLite file, but not one of TensorFleet. Choose another data folder.`,
        {
          place,
          expected: `format ${FORMAT}`,
          found: ours ? `format ${found.format}` : 'a database of another program',
        },
      )
    }
    if (isNew) database.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${FORMAT};`)
    database.exec('COMMIT; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF;')
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

function pragma(database: DatabaseSync, name: string): number {
  return Number(Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0])
}

class SqliteDocuments implements Documents {
  readonly description: string
  readonly #database: DatabaseSync
  readonly #place: string
  readonly #statements = new Map<string, StatementSync>()

  constructor(database: DatabaseSync, place: string) {
    this.#database = database
    this.#place = place
    this.description = place === ':memory:' ? 'SQLite in memory' : `SQLite at ${place}`
  }

  collection<T extends object>(definition: CollectionDefinition<T>): Collection<T> {
    defineCollection(definition) // its names become part of SQL below
    const table = `doc_${definition.name}`
    const indexes = definition.indexes.map((index) => {
      const fields: readonly string[] = typeof index === 'string' ? [index] : index
      return (
        `CREATE INDEX IF NOT EXISTS ${table}_${fields.join('_').replaceAll('.', '__')} ` +
        `ON ${table} (${[...fields.map(expressionOf), 'id'].join(', ')})`
      )
    })
    const create = [
      `CREATE TABLE IF NOT EXISTS ${table} (id TEXT PRIMARY KEY, version INTEGER NOT NULL, body TEXT NOT NULL) STRICT`,
      ...indexes,
    ]
    this.#guard(() => {
      // IMMEDIATE: a transaction that begins as a reader and turns writer is refused at once if another wrote meanwhile.
      this.#database.exec('BEGIN IMMEDIATE')
      try {
        for (const sql of create) this.#database.exec(sql)
        this.#database.exec('COMMIT')
      } catch (error) {
        this.#database.exec('ROLLBACK')
        throw error
      }
    })
    return new SqliteCollection(definition, table, (sql, values) => this.#rows(sql, values))
  }

  async check(): Promise<void> {
    this.#rows('SELECT 1', [])
  }

  async close(): Promise<void> {
    if (!this.#database.isOpen) return
    this.#statements.clear()
    this.#database.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #rows(sql: string, values: readonly SQLInputValue[]): Row[] {
    return this.#guard(() => {
      let statement = this.#statements.get(sql)
      if (statement === undefined) {
        statement = this.#database.prepare(sql)
        this.#statements.set(sql, statement)
      }
      return statement.all(...values) as unknown as Row[] // the statements below select exactly a Row's columns
    })
  }

  #guard<R>(work: () => R): R {
    if (!this.#database.isOpen) {
      throw new StoreError('store.closed', `Cannot use ${this.description}: it has been closed.`, {
        place: this.#place,
      })
    }
    try {
      return work()
    } catch (error) {
      throw storeErrorOf(error, this.#place)
    }
  }
}

interface Row {
  readonly id: string
  readonly version: number
  readonly body: string
}

class SqliteCollection<T extends object> implements Collection<T> {
  readonly definition: CollectionDefinition<T>
  readonly #table: string
  readonly #rows: (sql: string, values: readonly SQLInputValue[]) => Row[]

  constructor(
    definition: CollectionDefinition<T>,
    table: string,
    rows: (sql: string, values: readonly SQLInputValue[]) => Row[],
  ) {
    this.definition = definition
    this.#table = table
    this.#rows = rows
  }

  async get(id: string): Promise<Stored<T> | undefined> {
    return this.#first(this.#rows(`SELECT id, version, body FROM ${this.#table} WHERE id = ?`, [this.#id(id)]))
  }

  async put(id: string, value: T): Promise<Stored<T>> {
    const rows = this.#rows(
      `INSERT INTO ${this.#table} (id, version, body) VALUES (?, 1, ?)
       ON CONFLICT (id) DO UPDATE SET version = version + 1, body = excluded.body
       RETURNING id, version, body`,
      [this.#id(id), encodeDocument(this.definition, id, value)],
    )
    return rows.map((row) => this.#stored(row))[0]! // an upsert returns its row
  }

  async insert(id: string, value: T): Promise<Stored<T> | undefined> {
    return this.#first(
      this.#rows(
        `INSERT INTO ${this.#table} (id, version, body) VALUES (?, 1, ?)
         ON CONFLICT (id) DO NOTHING RETURNING id, version, body`,
        [this.#id(id), encodeDocument(this.definition, id, value)],
      ),
    )
  }

  async update(id: string, version: number, value: T): Promise<Stored<T> | undefined> {
    return this.#first(
      this.#rows(
        `UPDATE ${this.#table} SET version = version + 1, body = ? WHERE id = ? AND version = ?
         RETURNING id, version, body`,
        [encodeDocument(this.definition, id, value), this.#id(id), version],
      ),
    )
  }

  async delete(id: string, version?: number): Promise<boolean> {
    const rows = this.#rows(
      `DELETE FROM ${this.#table} WHERE id = ? AND (? IS NULL OR version = ?) RETURNING id, version, '' AS body`,
      [this.#id(id), version ?? null, version ?? null],
    )
    return rows.length > 0
  }

  async deleteOlderThan(field: IndexedField<T>, bound: number | string, where?: Search<T>['where']): Promise<number> {
    checkIndexed(this.definition, field)
    const conditions = conditionsOf(checkWhere(this.definition, where))
    // A text is greater than every number in SQLite's order, so the type is part of the question.
    const type = typeof bound === 'string' ? `= 'text'` : `IN ('integer', 'real')`
    const rows = this.#rows(
      `DELETE FROM ${this.#table} WHERE ${expressionOf(field)} < ? AND typeof(${expressionOf(field)}) ${type}
       ${conditions.sql.map((sql) => `AND ${sql}`).join(' ')} RETURNING id, version, '' AS body`,
      [bound, ...conditions.values],
    )
    return rows.length
  }

  async find(search: Search<T> = {}): Promise<Page<T>> {
    const { where, by, direction, limit, after, cursorAfter } = checkSearch(this.definition, search)
    const conditions = conditionsOf(where)
    if (after !== undefined) {
      const place = placeAfter(by, direction, after)
      conditions.sql.push(place.sql)
      conditions.values.push(...place.values)
    }
    const sense = direction === 'ascending' ? 'ASC' : 'DESC'
    const rows = this.#rows(
      `SELECT id, version, body FROM ${this.#table}
       ${conditions.sql.length === 0 ? '' : `WHERE ${conditions.sql.join(' AND ')}`}
       ORDER BY ${by === undefined ? '' : `${expressionOf(by)} ${sense}, `}id ${sense} LIMIT ?`,
      [...conditions.values, limit + 1], // one more than asked for tells whether there is a next page
    )
    const items = rows.slice(0, limit).map((row) => this.#stored(row))
    const last = items.at(-1)
    if (rows.length <= limit || last === undefined) return { items }
    return { items, next: cursorAfter(by === undefined ? null : keyOf(last.value, by), last.id) }
  }

  #id(id: string): string {
    return checkId(this.definition.name, id)
  }

  #first(rows: readonly Row[]): Stored<T> | undefined {
    return rows[0] === undefined ? undefined : this.#stored(rows[0])
  }

  #stored(row: Row): Stored<T> {
    // Only `encodeDocument` of a T writes bodies; who changes T's shape brings the change of what is stored.
    return { id: row.id, version: row.version, value: JSON.parse(row.body) as T }
  }
}

/** Field names are checked by `defineCollection` to be plain words, with a dot between two, so they need no quoting. */
function expressionOf(field: string): string {
  return `json_extract(body, '$.${field}')`
}

function keyOf(value: object, field: string): IndexedValue {
  return fieldOf(value, field) as IndexedValue // held by `encodeDocument`
}

/** SQLite has no booleans: `json_extract` gives 1 and 0 for true and false. */
function toSql(value: IndexedValue): SQLInputValue {
  return typeof value === 'boolean' ? Number(value) : value
}

function conditionsOf(where: readonly (readonly [string, IndexedValue])[]): { sql: string[]; values: SQLInputValue[] } {
  // `= ?` and not `IS ?`, which finds null too: only after `=` does SQLite know that the rest of an index is in order.
  return {
    sql: where.map(([field, value]) => `${expressionOf(field)} ${value === null ? 'IS NULL' : '= ?'}`),
    values: where.flatMap(([, value]) => (value === null ? [] : [toSql(value)])),
  }
}

/** "Behind this document in the order". NULL is least in SQLite, but `<` and `>` never hold for it: hence the cases. */
function placeAfter(
  by: string | undefined,
  direction: 'ascending' | 'descending',
  after: { key: IndexedValue; id: string },
): { sql: string; values: SQLInputValue[] } {
  const beyond = direction === 'ascending' ? '>' : '<'
  if (by === undefined) return { sql: `id ${beyond} ?`, values: [after.id] }
  const key = expressionOf(by)
  if (after.key === null) {
    const tie = `(${key} IS NULL AND id ${beyond} ?)`
    return { sql: direction === 'ascending' ? `(${tie} OR ${key} IS NOT NULL)` : tie, values: [after.id] }
  }
  const value = toSql(after.key)
  const tie = `(${key} = ? AND id ${beyond} ?)`
  return direction === 'ascending'
    ? { sql: `(${key} >= ? AND (${key} > ? OR ${tie}))`, values: [value, value, value, after.id] }
    : { sql: `(${key} < ? OR ${tie} OR ${key} IS NULL)`, values: [value, value, after.id] }
}

// SQLite's primary result codes (https://sqlite.org/rescode.html); the extended ones carry more in the higher bits.
const SQLITE = { BUSY: 5, LOCKED: 6, READONLY: 8, CORRUPT: 11, FULL: 13, CANTOPEN: 14, NOTADB: 26 } as const

function storeErrorOf(error: unknown, place: string): StoreError {
  const translated = diskError(error, dirname(place))
  if (translated instanceof StoreError) return translated
  const { errcode } = error as { errcode?: number } // a field of SQLite's errors; read, not trusted
  const reason = error instanceof Error ? error.message : String(error)
  const options = { cause: error }
  switch (errcode === undefined ? undefined : errcode & 0xff) {
    case SQLITE.FULL:
      return diskFull(dirname(place), undefined, error)
    case SQLITE.READONLY:
    case SQLITE.CANTOPEN:
      return denied(place, error)
    case SQLITE.BUSY:
    case SQLITE.LOCKED:
      return new StoreError(
        'store.busy',
        `Cannot write documents: another process held ${place} for more than ${LIMITS.sqliteBusyMs} ms. Try again.`,
        { place, waitedMs: LIMITS.sqliteBusyMs },
        options,
      )
    case SQLITE.CORRUPT:
    case SQLITE.NOTADB:
      return new StoreError(
        'store.corrupt',
        `Cannot read ${place}: it is damaged or not an SQLite file. Put back a copy, or move it away to start anew.`,
        { place },
        options,
      )
    default:
      return new StoreError('store.failed', `Cannot use ${place}: ${reason}.`, { place, reason }, options)
  }
}
