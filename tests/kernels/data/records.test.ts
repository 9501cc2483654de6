import fc from 'fast-check'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { describe, expect, test } from 'vitest'
import { ingest } from './files.ts'

const jsonl = (...rows: object[]): string => rows.map((row) => JSON.stringify(row)).join('\n')

describe('JSON Lines', () => {
  test('become columns of numbers, categories and lists', async () => {
    const text = jsonl(
      { n: 1, t: 'a', b: true, v: [1, 2] },
      { n: null, t: 'b', b: false, v: [3, 4] },
      { t: 'a', b: true, v: [5, 6], n: 2.5 },
    )
    const read = await ingest({ 'd.jsonl': text }, { target: 't' })
    expect(read.columns).toEqual([
      { name: 'n', dtype: 'float32', shape: [] },
      { name: 't', dtype: 'int32', shape: [], categories: { count: 2, names: ['a', 'b'] } },
      { name: 'b', dtype: 'int32', shape: [], categories: { count: 2, names: ['false', 'true'] } },
      { name: 'v', dtype: 'float32', shape: [2] },
    ])
    expect(read.values('n')).toEqual([1, Number.NaN, 2.5])
    expect(read.values('b')).toEqual([1, 0, 1])
    expect(read.values('v')).toEqual([1, 2, 3, 4, 5, 6])
  })

  test('may have fields that are called as what objects inherit, in some rows', async () => {
    const read = await ingest({ 'd.jsonl': jsonl({ constructor: 'a', x: 1 }, { x: 2 }, { constructor: 'b', x: 3 }) })
    expect(read.columns[0]).toMatchObject({ name: 'constructor', categories: { names: ['a', 'b'] } })
    expect(read.values('constructor')).toEqual([0, -1, 1])
  })

  test('are counted over empty lines, files and pieces of a file', async () => {
    const many = `${'{"a": 1}\n\n'.repeat(1_000_000)}{"a": "no"}`
    await expect(ingest({ 'd.jsonl': many }, { types: { a: 'number' } })).rejects.toThrow(
      'd.jsonl, line 2000001, field "a": expected a number, found "no"',
    )
    await expect(ingest({ '1.jsonl': '{"a":1}', '2.jsonl': '\n{"a":1}\n{"a":1,"b":2}\n' })).rejects.toThrow(
      '2.jsonl, line 3: expected one of the fields a, found "b"',
    )
  })

  test('that are not in UTF-8 are refused with their place', async () => {
    const bytes = Buffer.from('{"city":"Bern"}\n{"city":"Zürich"}\n', 'latin1')
    await expect(ingest({ 'd.jsonl': bytes })).rejects.toThrow(
      'd.jsonl, line 2: expected text in UTF-8, found {"city":"Zürich"}',
    )
  })

  test.each<[string, string, string]>([
    ['no JSON', '{"a":1}\n{a}', 'd.jsonl, line 2: expected JSON'],
    ['no object', '{"a":1}\n[1]', 'd.jsonl, line 2: expected an object, found [1]'],
    ['of another type', jsonl({ a: 1 }, { a: 2 }, { a: {} }), 'd.jsonl, line 3, field "a"'],
    ['a list of another length', jsonl({ v: [1, 2] }, { v: [1] }), 'd.jsonl, line 2, field "v": expected a list of 2, found a list of 1'],
    ['empty', '', 'Cannot read d.jsonl: it is empty'],
  ])('with a line that is %s are refused with its place', async (_, text, message) => {
    await expect(ingest({ 'd.jsonl': text }, { types: text.includes('"a"') ? { a: 'number' } : {} })).rejects.toThrow(message)
  }) // prettier-ignore
})

describe('Parquet', () => {
  test('gives back what was written, over row groups', async () => {
    const row = fc.record({
      number: fc.option(fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e6, max: 1e6 })),
      whole: fc.integer({ min: -1_000, max: 1_000 }),
      text: fc.constantFrom('red', 'green', 'blue'),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 60 }), async (rows) => {
        const bytes = parquetWriteBuffer({
          columnData: [
            { name: 'number', data: rows.map((each) => each.number), type: 'DOUBLE' },
            { name: 'whole', data: rows.map((each) => each.whole), type: 'INT32' },
            { name: 'text', data: rows.map((each) => each.text), type: 'STRING' },
          ],
          rowGroupSize: 20,
        })
        const read = await ingest(
          { 'd.parquet': new Uint8Array(bytes) },
          { types: { number: 'number', whole: 'number' } },
        )
        expect(read.values('number')).toEqual(
          rows.map((each) => (each.number === null ? Number.NaN : Math.fround(each.number))),
        )
        expect(read.values('whole')).toEqual(rows.map((each) => each.whole))
        const names = read.columns[2]?.categories?.names ?? []
        expect(read.values('text').map((code) => names[code])).toEqual(rows.map((each) => each.text))
      }),
      { numRuns: 20 },
    )
  })

  const parquet = (data: unknown[], type?: 'DOUBLE' | 'INT64' | 'JSON'): Uint8Array =>
    new Uint8Array(parquetWriteBuffer({ columnData: [{ name: 'a', data, ...(type !== undefined && { type }) }] }))

  test.each<[string, Uint8Array, string]>([
    ['objects', parquet([{ u: 1 }, { u: 2 }], 'JSON'), 'types.a: expected skip, since d.parquet has objects in it'],
    ['whole numbers beyond 2^53', parquet([2n ** 60n, 2n ** 60n + 1n], 'INT64'), 'types.a: expected number (rounded), category or skip'],
    ['an infinite number', parquet([1, Infinity, 2], 'DOUBLE'), 'column "a": expected finite numbers'],
    ['no rows', parquet([], 'DOUBLE'), 'Cannot read d.parquet as Parquet: it has no rows'],
  ])('with %s is refused', async (_, bytes, message) => {
    await expect(ingest({ 'd.parquet': bytes })).rejects.toThrow(message)
  }) // prettier-ignore

  test('with whole numbers beyond 2^53 is taken as it is said: rounded, or as names', async () => {
    const bytes = parquet([2n ** 60n, 2n ** 60n + 1n], 'INT64')
    expect((await ingest({ 'd.parquet': bytes }, { types: { a: 'number' } })).values('a')).toEqual([2 ** 60, 2 ** 60])
    const { columns } = await ingest({ 'd.parquet': bytes }, { types: { a: 'category' } })
    expect(columns[0]?.categories?.names).toEqual(['1152921504606846976', '1152921504606846977'])
  })

  test('that is none is refused', async () => {
    await expect(ingest({ 'd.parquet': 'PAR1 and then nothing' })).rejects.toThrow(/Cannot read d.parquet as Parquet/)
  })
})
