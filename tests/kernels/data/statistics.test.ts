import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { balancedWeights, SplitStatistics } from '../../../kernels/data/statistics.ts'
import { decodeShard, encodeShard } from '../../../kernels/mod.ts'
import type { Column, ColumnStatistics, Values } from '../../../kernels/mod.ts'

/** As a person would compute it from the whole list. */
function naive(values: readonly number[]): Partial<ColumnStatistics> {
  const there = values.filter((value) => !Number.isNaN(value))
  const mean = there.reduce((sum, value) => sum + value, 0) / Math.max(1, there.length)
  const square = there.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, there.length)
  return {
    count: there.length,
    missing: values.length - there.length,
    min: [there.length === 0 ? 0 : Math.min(...there)],
    max: [there.length === 0 ? 0 : Math.max(...there)],
    mean: [mean],
    std: [Math.sqrt(square)],
  }
}

function close(found: ColumnStatistics, expected: Partial<ColumnStatistics>): void {
  expect(found).toMatchObject({
    count: expected.count,
    missing: expected.missing,
    min: expected.min,
    max: expected.max,
  })
  const scale = Math.max(1, Math.abs(expected.mean?.[0] ?? 0))
  expect(Math.abs((found.mean[0] ?? 0) - (expected.mean?.[0] ?? 0)) / scale).toBeLessThan(1e-9)
  expect(Math.abs((found.std[0] ?? 0) - (expected.std?.[0] ?? 0)) / scale).toBeLessThan(1e-9)
}

const columns: Column[] = [
  { name: 'number', dtype: 'float32', shape: [] },
  { name: 'byte', dtype: 'uint8', shape: [] },
]

test('statistics taken shard by shard are those of the whole', () => {
  const number = fc.oneof(
    fc.float({ noNaN: true, noDefaultInfinity: true, min: -1e6, max: 1e6 }),
    fc.constant(Number.NaN),
    fc.integer({ min: 10_000_000, max: 10_000_010 }),
  )
  const shard = fc.array(fc.record({ number, byte: fc.nat(255) }), { minLength: 1, maxLength: 30 })
  fc.assert(
    fc.property(fc.array(shard, { minLength: 1, maxLength: 6 }), (shards) => {
      const statistics = new SplitStatistics(columns)
      for (const rows of shards) {
        const values: Values[] = [
          Float32Array.from(rows, (row) => row.number),
          Uint8Array.from(rows, (row) => row.byte),
        ]
        statistics.take(decodeShard(encodeShard(columns, rows.length, values)))
      }
      const all = shards.flat()
      const [first, second] = statistics.result()
      close(first!, naive(all.map((row) => Math.fround(row.number))))
      close(second!, naive(all.map((row) => row.byte)))
      expect(second?.distinct).toBe(new Set(all.map((row) => row.byte)).size)
    }),
  )
})

test.each([
  ['far from zero', (i: number) => 16_000_000 + (i % 7)],
  ['in order', (i: number) => i - 50_000],
  ['with the odd one out first', (i: number) => (i === 0 ? -1e6 : i % 3)],
  ['half of them missing', (i: number) => (i % 2 === 0 ? Number.NaN : 1e4 + (i % 5))],
])('statistics of a hundred thousand numbers, %s, are those of the whole', (_, valueOf) => {
  const one: Column[] = [{ name: 'number', dtype: 'float32', shape: [] }]
  const values = Float32Array.from({ length: 100_000 }, (__, i) => valueOf(i))
  const statistics = new SplitStatistics(one)
  statistics.take(decodeShard(encodeShard(one, values.length, [values])))
  const there = [...values].filter((value) => !Number.isNaN(value))
  const mean = there.reduce((sum, value) => sum + value, 0) / there.length
  const std = Math.sqrt(there.reduce((sum, value) => sum + (value - mean) ** 2, 0) / there.length)
  const [found] = statistics.result()
  expect(found).toMatchObject({ count: there.length, missing: values.length - there.length })
  expect(found?.mean[0]).toBeCloseTo(mean, 6)
  expect((found?.std[0] ?? 0) / std).toBeCloseTo(1, 9)
})

test('a vector of bytes has exact statistics of each element', () => {
  const one: Column[] = [{ name: 'bytes', dtype: 'uint8', shape: [6] }]
  const values = Uint8Array.from({ length: 6 * 20_000 }, (_, i) => (i * 2_654_435_761) % 251)
  const statistics = new SplitStatistics(one)
  statistics.take(decodeShard(encodeShard(one, 20_000, [values])))
  const [found] = statistics.result()
  for (let group = 0; group < 6; group++) {
    const { min, max, mean, std } = naive([...values].filter((__, i) => i % 6 === group))
    expect([found?.min[group], found?.max[group]]).toEqual([min?.[0], max?.[0]])
    expect(found?.mean[group]).toBeCloseTo(mean?.[0] ?? 0, 9)
    expect(found?.std[group]).toBeCloseTo(std?.[0] ?? 0, 9)
  }
})

test('a vector has statistics of each element, a picture of each channel', () => {
  const shaped: Column[] = [
    { name: 'vector', dtype: 'float32', shape: [2] },
    { name: 'picture', dtype: 'uint8', shape: [1, 2, 3] },
  ]
  const statistics = new SplitStatistics(shaped)
  const values = [Float32Array.of(1, 10, 3, 30), Uint8Array.of(1, 2, 3, 3, 4, 5, 5, 6, 7, 7, 8, 9)]
  statistics.take(decodeShard(encodeShard(shaped, 2, values)))
  const [vector, picture] = statistics.result()
  expect(vector).toMatchObject({ mean: [2, 20], std: [1, 10], min: [1, 10], max: [3, 30], count: 4 })
  expect(picture).toMatchObject({ mean: [4, 5, 6], min: [1, 2, 3], max: [7, 8, 9], count: 12 })
})

describe('balanced class weights', () => {
  it('make all classes weigh the same, and the mean example 1', () => {
    const counts = [80, 15, 5, 0]
    const weights = balancedWeights(counts)
    expect(counts.slice(0, 3).map((count, k) => count * (weights[k] ?? 0))).toEqual([100 / 3, 100 / 3, 100 / 3])
    expect(counts.reduce((sum, count, k) => sum + count * (weights[k] ?? 0), 0) / 100).toBeCloseTo(1, 12)
    expect(weights[3]).toBe(1)
  })
})
