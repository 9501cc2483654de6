import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import yazl from 'yazl'
import { ingest } from './files.ts'
import { zipOf } from './zips.ts'

const TYPES = {
  '|u1': { make: (values: number[]) => Uint8Array.from(values), range: [0, 255] },
  '<i2': { make: (values: number[]) => Int16Array.from(values), range: [-30_000, 30_000] },
  '<i4': { make: (values: number[]) => Int32Array.from(values), range: [-1_000_000, 1_000_000] },
  '<i8': { make: (values: number[]) => BigInt64Array.from(values, BigInt), range: [-1_000_000, 1_000_000] },
  '<f4': { make: (values: number[]) => Float32Array.from(values), range: [-1_000, 1_000] },
  '<f8': { make: (values: number[]) => Float64Array.from(values), range: [-1_000, 1_000] },
} as const
type NpyType = keyof typeof TYPES

/** An NPY file as numpy.save writes it. */
function npy(type: string, shape: readonly number[], bytes: Uint8Array, fortran = 'False'): Uint8Array {
  const header = `{'descr': '${type}', 'fortran_order': ${fortran}, 'shape': (${shape.join(', ')}${shape.length === 1 ? ',' : ''}), }`
  const padded = header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11) + '\n'
  const prefix = Buffer.alloc(10)
  prefix.write('\x93NUMPY\x01\x00', 'latin1')
  prefix.writeUInt16LE(padded.length, 8)
  return Buffer.concat([prefix, Buffer.from(padded, 'latin1'), bytes])
}

function of(type: NpyType, shape: readonly number[], values: number[]): Uint8Array {
  const { buffer, byteOffset, byteLength } = TYPES[type].make(values)
  return npy(type, shape, new Uint8Array(buffer, byteOffset, byteLength))
}

describe('NPY files', () => {
  test('give back what numpy stored, of every type and shape', async () => {
    const type = fc.constantFrom(...(Object.keys(TYPES) as NpyType[]))
    const row = fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 3 })
    await fc.assert(
      fc.asyncProperty(type, row, fc.integer({ min: 1, max: 20 }), fc.nat(), async (of_, shape, rows, seed) => {
        const [min, max] = TYPES[of_].range
        const count = rows * shape.reduce((a, b) => a * b, 1)
        const values = Array.from({ length: count }, (_, i) => min + ((seed + i * 7_919) % (max - min)))
        const read = await ingest({ 'x.npy': of(of_, [rows, ...shape], values) })
        expect(read.values('x')).toEqual(values)
      }),
      { numRuns: 40 },
    )
  })

  test('stand side by side as columns, and a target of whole numbers from 0 on is classes', async () => {
    const files = { 'x.npy': of('<f8', [4, 2], [1, 2, 3, 4, 5, 6, 7, 8]), 'y.npy': of('<i8', [4], [0, 1, 1, 0]) }
    const read = await ingest(files, { target: 'y' })
    expect(read.columns).toEqual([
      { name: 'x', dtype: 'float32', shape: [2] },
      { name: 'y', dtype: 'int32', shape: [], categories: { count: 2 } },
    ])
    expect(read.splits.train?.statistics[0]).toMatchObject({ mean: [4, 5] })
  })

  test('of big-endian and half-precision numbers are understood', async () => {
    const big = Buffer.alloc(8)
    big.writeFloatBE(1.5, 0)
    big.writeFloatBE(-2, 4)
    expect((await ingest({ 'x.npy': npy('>f4', [2], big) })).values('x')).toEqual([1.5, -2])
    const half = Buffer.from(Uint16Array.of(0x3c00, 0xc000, 0x3555, 0x0001).buffer)
    const found = (await ingest({ 'x.npy': npy('<f2', [4], half) })).values('x')
    expect(found.map((value) => Math.round(value * 1e8) / 1e8)).toEqual([1, -2, 0.33325195, 0.00000006])
  })

  test('stored column by column, as pandas gives them, come row by row', async () => {
    const shape = fc.tuple(
      fc.integer({ min: 1, max: 9 }),
      fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 3 }),
    )
    const type = fc.constantFrom<NpyType>('|u1', '<i2', '<f4', '<f8')
    await fc.assert(
      fc.asyncProperty(type, shape, async (of_, [rows, row]) => {
        const dims = [rows, ...row]
        const count = dims.reduce((a, b) => a * b, 1)
        // The value of each place is its number in the order of rows; it is stored with the first index fastest.
        const stored = Array.from({ length: count }, (_, place) => {
          let [rest, number] = [place, 0]
          for (const [d, dimension] of dims.entries()) {
            number += (rest % dimension) * dims.slice(d + 1).reduce((a, b) => a * b, 1)
            rest = Math.floor(rest / dimension)
          }
          return number % 251
        })
        const { buffer } = TYPES[of_].make(stored)
        const read = await ingest({ 'x.npy': npy(of_, dims, new Uint8Array(buffer), 'True') })
        expect(read.values('x')).toEqual(Array.from({ length: count }, (_, i) => i % 251))
      }),
      { numRuns: 40 },
    )
  })

  test.each<[string, Uint8Array, string]>([
    ['of text', npy('<U4', [1], new Uint8Array(16)), 'its values are <U4, expected numbers'],
    ['stored column by column and too large to be turned', npy('<f4', [2 ** 20, 300], new Uint8Array(16), 'True'), 'save numpy.ascontiguousarray of it'],
    ['stored column by column and cut short', npy('<f4', [2, 2], new Uint8Array(12), 'True'), 'cut short: [2, 2] needs 2 rows, it has 0'],
    ['stored column by column and too long', npy('<f4', [2, 2], new Uint8Array(20), 'True'), 'too long: [2, 2] needs 2 rows'],
    ['with an infinite number', of('<f4', [2], [1, Infinity]), 'column "x": expected finite numbers, up to 3.4e38, found an infinite one'],
    ['with a number that float32 does not hold', of('<f8', [2], [-1e300, 1]), 'column "x": expected finite numbers'],
    ['of one number', npy('<f4', [], new Uint8Array(4)), 'it holds one number, expected rows'],
    ['of complex numbers', npy('<c8', [1], new Uint8Array(8)), 'its values are <c8, expected numbers'],
    ['of fields', Buffer.from(Buffer.from(npy('<f4', [1], new Uint8Array(4))).toString('latin1').replace("'<f4'", "[('a', '<f4')]"), 'latin1'), 'its values are structured'],
    ['without rows', npy('<f4', [0, 3], new Uint8Array(0)), 'it has no rows'],
    ['cut short', of('<f4', [2], [1, 2]).subarray(0, -4), 'cut short: [2] needs 2 rows, it has 1'],
    ['too large a number', npy('<i8', [1], new Uint8Array(BigInt64Array.of(2n ** 40n).buffer)), 'expected whole numbers of 32 bits, found 1099511627776'],
    ['another file', Buffer.from('hello, world'), 'it does not start as one'],
  ])('%s are refused', async (_, bytes, message) => {
    await expect(ingest({ 'x.npy': bytes })).rejects.toThrow(message)
  }) // prettier-ignore
})

test('an NPZ file has its arrays as columns, and the splits that their names say', async () => {
  const arrays = {
    'x_train.npy': of('|u1', [3, 2, 2], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
    'y_train.npy': of('|u1', [3], [0, 1, 2]),
    'x_test.npy': of('|u1', [1, 2, 2], [9, 9, 9, 9]),
    'y_test.npy': of('|u1', [1], [2]),
  }
  const read = await ingest({ 'mnist.npz': await zipOf(arrays) }, { target: 'y' })
  expect(read.columns.map(({ name, shape }) => [name, shape])).toEqual([
    ['x', [2, 2, 1]],
    ['y', []],
  ])
  expect([read.splits.train?.count, read.splits.test?.count, read.split]).toEqual([3, 1, null])
  expect(read.values('y', 'test')).toEqual([2])
})

describe('a zip', () => {
  test('with a link in it is refused', async () => {
    const zip = new yazl.ZipFile()
    zip.addBuffer(Buffer.from('/etc/passwd'), 'x.npy', { mode: 0o120777 })
    await expect(ingest({ 'a.npz': await zipOf({}, zip) })).rejects.toThrow('its entry x.npy is a link')
  })

  test('with a path that leads out of it is refused', async () => {
    const bytes = Buffer.from(await zipOf({ 'aa/bb/x.npy': of('|u1', [1], [1]) }))
    const evil = Buffer.from(bytes.toString('latin1').replaceAll('aa/bb/x.npy', '../../x.npy'), 'latin1')
    await expect(ingest({ 'a.npz': evil })).rejects.toThrow(/as a zip: invalid relative path/)
  })

  test('that unpacks to a multiple that no data has is refused before it is read', async () => {
    const bomb = await zipOf({
      'x.npy': of(
        '|u1',
        [30_000_000],
        Array.from({ length: 30_000_000 }, () => 0),
      ),
    })
    await expect(ingest({ 'a.npz': bomb })).rejects.toThrow(/unpack to more than/)
  })

  test('that is damaged is refused', async () => {
    const bytes = await zipOf({ 'x.npy': of('|u1', [9], [1, 2, 3, 4, 5, 6, 7, 8, 9]) })
    await expect(ingest({ 'a.npz': bytes.subarray(0, bytes.length - 30) })).rejects.toMatchObject({
      code: 'data.malformed',
    })
  })
})
