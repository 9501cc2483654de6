import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { IngestOptions } from '../../../kernels/mod.ts'
import { ingest } from './files.ts'

const flowers = 'length,species,kept\n1.5,rose,yes\n2.25,tulip,no\n,rose,yes\n'

describe('a CSV file', () => {
  test('becomes columns of numbers and categories, with what is missing left missing', async () => {
    const read = await ingest({ 'flowers.csv': flowers }, { target: 'species' })
    expect(read.columns).toEqual([
      { name: 'length', dtype: 'float32', shape: [] },
      { name: 'species', dtype: 'int32', shape: [], categories: { count: 2, names: ['rose', 'tulip'] } },
      { name: 'kept', dtype: 'int32', shape: [], categories: { count: 2, names: ['no', 'yes'] } },
    ])
    expect(read.values('length')).toEqual([1.5, 2.25, Number.NaN])
    expect(read.values('species')).toEqual([0, 1, 0])
    expect(read.splits.train?.statistics[0]).toMatchObject({ count: 2, missing: 1, min: [1.5], max: [2.25] })
    expect(read.splits.train?.statistics[1]).toMatchObject({ classes: [2, 1] })
  })

  test('has its quotes, doubled quotes, line ends in quotes, CRLF and byte order mark understood', async () => {
    const text = '\ufeff"a ""1""",b\r\n"1","x, ""y""\nz"\r\n2,w\r\n\r\n'
    const read = await ingest({ 'quotes.csv': text })
    expect(read.columns.map(({ name }) => name)).toEqual(['a "1"', 'b'])
    expect(read.values('a "1"')).toEqual([1, 2])
    expect(read.columns[1]?.categories?.names).toEqual(['w', 'x, "y"\nz'])
  })

  test('without a header has its columns numbered, and semicolons and tabs are found', async () => {
    const plain = await ingest({ 'plain.csv': '1;2\n3;4' })
    expect(plain.columns.map(({ name }) => name)).toEqual(['c1', 'c2'])
    expect(plain.values('c2')).toEqual([2, 4])
    expect((await ingest({ 'tabs.tsv': 'a\tb\n1,5\t2\n' })).values('b')).toEqual([2])
  })

  test('may come in several files of the same columns', async () => {
    const read = await ingest({ 'train.csv': flowers, 'test.csv': 'length,species,kept\n9,lily,no\n' })
    expect([read.split, read.splits.train?.count, read.splits.test?.count]).toEqual([null, 3, 1])
    expect(read.values('species', 'test')).toEqual([2])
    expect(read.columns[1]?.categories?.names).toEqual(['rose', 'tulip', 'lily'])
  })

  test('has its types overridden', async () => {
    const text = 'zip,day,note\n90210,2026-01-02,a\n10001,1970-01-02T12:00:00Z,b\n'
    const read = await ingest({ 'd.csv': text }, { types: { zip: 'category', day: 'date', note: 'skip' } })
    expect(read.columns.map(({ name }) => name)).toEqual(['zip', 'day'])
    expect(read.columns[0]?.categories?.names).toEqual(['10001', '90210'])
    expect(read.values('day')).toEqual([20_455, 1.5])
  })

  test('gives whole numbers from 0 on as classes where they are the target', async () => {
    const read = await ingest({ 'd.csv': 'x,y\n1,0\n2,1\n3,2\n4,1\n' }, { target: 'y' })
    expect(read.columns[1]?.categories).toEqual({ count: 3 })
    expect(read.splits.train?.statistics[1]?.classes).toEqual([1, 2, 1])
    const values = await ingest({ 'd.csv': 'x,y\n1,0\n2,1\n3,2.5\n' }, { target: 'y' })
    expect(values.columns[1]?.categories).toBeUndefined()
  })

  test('loses the rows that lack a value, where it is told to, and always those that lack the target', async () => {
    const text = 'x,y\n1,2\n,3\n4,\n5,6\n'
    const dropped = await ingest({ 'd.csv': text }, { missing: 'drop' })
    expect([dropped.values('x'), dropped.skipped]).toEqual([[1, 5], 2])
    const kept = await ingest({ 'd.csv': text }, { target: 'y' })
    expect([kept.values('x'), kept.skipped]).toEqual([[1, Number.NaN, 5], 1])
  })

  test.each([
    [
      'a number',
      'x,y\n1,2\n3,four\n',
      {},
      'wrong.csv, line 3, column "y": expected a number, found "four"',
      { y: 'number' },
    ],
    ['a field', 'x,y\n1,2\n3\n', {}, 'wrong.csv, line 3: expected 2 fields, found 1'],
    [
      'names of their own',
      'x,y,x\n1,2,3\n',
      {},
      'wrong.csv, line 1: expected a name of its own for each column, or "header: false" where the first line is data, found "x" for columns 1 and 3',
    ],
    [
      'a closing quote',
      'x,y\n1,"2\n3,4\n',
      {},
      'wrong.csv, line 2: expected a closing quote, found a quote that is not closed',
    ],
    [
      'a byte',
      'x,y\n1,256\n',
      {},
      'wrong.csv, line 2, column "y": expected a whole number from 0 to 255, found "256"',
      { y: 'byte' },
    ],
    ['a value', 'x,y\n1,2\n3,\n', { missing: 'refuse' as const }, 'wrong.csv, line 3: column "y" has no value'],
    [
      'a decision on dates',
      'x,y\n1,2026-01-02\n',
      {},
      'types.y: expected date (days since 1970) or skip, since wrong.csv has dates in it, found nothing',
    ],
    ['its target', 'x,y\n1,2\n', { target: 'z' }, 'target: expected one of the columns x, y, found z'],
    ['rows', 'x,y\n', {}, 'there are no rows'],
    ['content', '', {}, 'Cannot read wrong.csv: it is empty'],
  ] as const)(
    'that lacks %s is refused with its place',
    async (_, text, options, message, types?: IngestOptions['types']) => {
      await expect(ingest({ 'wrong.csv': text }, { ...options, ...(types && { types }) })).rejects.toThrow(message)
    },
  )

  test('that is not in UTF-8 is refused with its place, for every text would lose what other letters it has', async () => {
    await expect(ingest({ 'd.csv': Buffer.from('city,y\nBern,1\nZürich,2\n', 'latin1') })).rejects.toThrow(
      'd.csv, line 3: expected text in UTF-8, found "Zürich"',
    )
  })

  test('keeps a first letter that begins with the byte of the mark', async () => {
    const read = await ingest({ 'd.csv': 'ａ,b\n1,2\n' })
    expect(read.columns.map(({ name }) => name)).toEqual(['ａ', 'b'])
  })

  test('gives every number as JavaScript would read it, and every text as it was written', async () => {
    const number = fc.oneof(
      fc.double({ noNaN: true, noDefaultInfinity: true, min: -3.4e38, max: 3.4e38 }),
      fc.integer(),
      fc.float({ noNaN: true, noDefaultInfinity: true }),
    )
    const text = fc.string().map((some) => `t${some}`.replaceAll('\r', '').trim())
    const row = fc.record({ number, text })
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 40 }), async (rows) => {
        const lines = rows.map((each) => `${each.number},"${each.text.replaceAll('"', '""')}"`)
        const read = await ingest({ 'd.csv': `n,t\n${lines.join('\n')}\n` }, { types: { n: 'number', t: 'category' } })
        expect(read.values('n')).toEqual(rows.map((each) => Math.fround(Number(String(each.number)))))
        const names = read.columns[1]?.categories?.names ?? []
        expect(read.values('t').map((code) => names[code])).toEqual(rows.map((each) => each.text))
      }),
      { numRuns: 50 },
    )
  })
})
