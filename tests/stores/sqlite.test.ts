/** SQLite documents: the contract, in memory and in a file, and what only a file shared by processes can show. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, onTestFinished, test } from 'vitest'
import { defineCollection, openSqliteDocuments, type Documents } from '../../stores/mod.ts'
import { documentsContract } from '../contracts/documents.ts'
import { smallDisk } from './small-disk.ts'

documentsContract('SQLite in memory', async () => ({
  documents: await openSqliteDocuments(':memory:'),
  again: undefined,
  remove: () => Promise.resolve(),
}))

documentsContract('SQLite in a file', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tf-sqlite-'))
  const path = join(folder, 'documents.sqlite')
  const others: Documents[] = []
  return {
    documents: await openSqliteDocuments(path),
    again: async () => {
      const other = await openSqliteDocuments(path)
      others.push(other)
      return other
    },
    remove: async () => {
      for (const other of others) await other.close()
      await rm(folder, { recursive: true })
    },
  }
})

describe('documents in an SQLite file', () => {
  const counters = defineCollection<{ count: number; owner?: string; note?: string }>({
    name: 'counters',
    indexes: ['count', ['owner', 'count']],
  })

  test('four processes that open a new file at once and count in it lose nothing', async () => {
    const path = join(await temporaryFolder(), 'documents.sqlite')
    const program = `
      import { defineCollection, modify, openSqliteDocuments } from ${JSON.stringify(import.meta.resolve('../../stores/mod.ts'))}
      await using documents = await openSqliteDocuments(${JSON.stringify(path)})
      const counters = documents.collection(defineCollection({ name: 'counters', indexes: ['count'] }))
      for (let i = 0; i < 25; i++) await modify(counters, 'a', (value) => ({ count: (value?.count ?? 0) + 1 }))
    `
    const codes = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const child = spawn(process.execPath, ['--input-type=module', '--eval', program], { stdio: 'inherit' })
        const [code] = await once(child, 'exit')
        return code as number // as documented for the event
      }),
    )
    expect(codes).toEqual([0, 0, 0, 0])
    await using documents = await openSqliteDocuments(path)
    expect((await documents.collection(counters).get('a'))?.value.count).toBe(100)
  })

  test('a page is one walk along an index, without a sort', async () => {
    const path = join(await temporaryFolder(), 'documents.sqlite')
    await using documents = await openSqliteDocuments(path)
    documents.collection(counters)
    const database = new DatabaseSync(path)
    const owner = `json_extract(body, '$.owner')`
    const count = `json_extract(body, '$.count')`
    const planOf = (sql: string): unknown[] =>
      database
        .prepare(`EXPLAIN QUERY PLAN SELECT * FROM doc_counters ${sql} LIMIT 3`)
        .all('x')
        .map(({ detail }) => detail)
    expect(planOf(`WHERE ${count} = ? ORDER BY id`)).toEqual([expect.stringContaining('INDEX doc_counters_count ')])
    expect(planOf(`WHERE ${owner} = ? ORDER BY ${count} DESC, id DESC`)).toEqual([
      expect.stringContaining('INDEX doc_counters_owner_count '),
    ])
    database.close()
  })

  test('refuses a file of a newer format, of another program, and one that is no database, and leaves it alone', async () => {
    const folder = await temporaryFolder()
    const newer = join(folder, 'newer.sqlite')
    await (await openSqliteDocuments(newer)).close()
    const other = join(folder, 'other.sqlite')
    for (const [path, sql] of [
      [newer, 'PRAGMA user_version = 99'],
      [other, 'CREATE TABLE birds (name TEXT)'],
    ] as const) {
      const database = new DatabaseSync(path)
      database.exec(sql)
      database.close()
    }
    const text = join(folder, 'text.sqlite')
    await writeFile(text, 'These are no pages of a database at all. '.repeat(200))
    await expect(openSqliteDocuments(newer)).rejects.toMatchObject({
      code: 'store.format',
      data: { found: 'format 99' },
    })
    await expect(openSqliteDocuments(other)).rejects.toMatchObject({ code: 'store.format' })
    await expect(openSqliteDocuments(text)).rejects.toMatchObject({ code: 'store.corrupt' })
  })

  test('says that it may not write where its folder cannot be made', async () => {
    const file = join(await temporaryFolder(), 'file')
    await writeFile(file, '')
    const place = join(file, 'documents.sqlite')
    await expect(openSqliteDocuments(place)).rejects.toMatchObject({ code: 'store.failed', data: { place: file } })
  })

  test('a full disk is a clear error that changes nothing, and writing goes on once there is room', async (context) => {
    const disk = await smallDisk(context, 512 * 1024)
    await using documents = await openSqliteDocuments(join(disk.folder, 'documents.sqlite'))
    const collection = documents.collection(counters)
    await collection.put('a', { count: 1 })
    await disk.fill()
    const write = collection.put('a', { count: 2, note: 'x'.repeat(100_000) })
    await expect(write).rejects.toMatchObject({
      code: 'store.full',
      remedy: 'retry-elsewhere',
      data: { folder: disk.folder },
      message: expect.stringContaining(disk.folder),
    })
    expect(await collection.get('a')).toMatchObject({ version: 1, value: { count: 1 } })
    await disk.empty()
    expect(await collection.put('a', { count: 3 })).toMatchObject({ version: 2 })
  })
})

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tf-sqlite-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  return folder
}
