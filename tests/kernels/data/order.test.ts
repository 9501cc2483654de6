import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { dataOrder, evaluationRange } from '../../../kernels/mod.ts'
import type { Rows } from '../../../kernels/data/order.ts'
import { permutation } from '../../../kernels/random.ts'

const full = (count: number): Rows => ({ count, order: 'full', chunkStarts: new Uint32Array(0) })
const windowed = (count: number, chunkRows: number): Rows => {
  const starts = Array.from({ length: Math.ceil(count / chunkRows) }, (_, i) => i * chunkRows)
  return { count, order: 'windowed', chunkStarts: Uint32Array.from([...starts, count]) }
}

describe.each([
  ['full', full(103)],
  ['windowed', windowed(103, 10)],
] as const)('the %s order', (_, rows) => {
  test('gives the replicas of an epoch different rows, and every row of a batch once', () => {
    const settings = { seed: 5, batchSizes: [8, 8, 8] }
    const seen = new Set<number>()
    for (const replica of [0, 1, 2]) {
      const order = dataOrder(rows, { ...settings, replica })
      expect(order.stepsPerEpoch).toBe(4)
      for (let step = 0; step < order.stepsPerEpoch; step++) for (const row of order.rowsAt(step)) seen.add(row)
    }
    expect(seen.size).toBe(3 * 4 * 8)
  })

  test('knows the rows of any step without the steps before it, and no two epochs are alike', () => {
    const settings = { seed: 5, batchSizes: [7, 7], replica: 1 }
    const walked = dataOrder(rows, settings)
    const steps = Array.from({ length: 30 }, (_, step) => [...walked.rowsAt(step)])
    expect([...dataOrder(rows, settings).rowsAt(29)]).toEqual(steps[29])
    expect(steps[0]).not.toEqual(steps[walked.stepsPerEpoch])
  })
})

describe('the windowed order', () => {
  test('is a permutation of all rows, whatever the chunks', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2_000 }),
        fc.integer({ min: 1, max: 9 }),
        fc.nat(),
        (count, chunk, seed) => {
          const order = dataOrder(windowed(count, chunk), { seed, batchSizes: [count], replica: 0 })
          expect([...order.rowsAt(0)].toSorted((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i))
        },
      ),
    )
  })

  test('needs the chunks of one window for a batch, and draws them from the whole split', () => {
    const count = 100_000
    const order = dataOrder(windowed(count, 10), { seed: 1, batchSizes: [2_560], replica: 0 })
    const chunks = new Set([...order.rowsAt(3)].map((row) => Math.floor(row / 10)))
    expect(chunks.size).toBe(256)
    expect(Math.max(...chunks)).toBeGreaterThan(9_000)
    expect(Math.min(...chunks)).toBeLessThan(1_000)
  })
})

describe('the order of data', () => {
  test('without a shuffle is that of the rows', () => {
    const order = dataOrder({ ...full(20), order: 'none' }, { seed: 1, batchSizes: [5, 5], replica: 1 })
    expect([...order.rowsAt(1)]).toEqual([15, 16, 17, 18, 19])
    expect([...order.rowsAt(3)]).toEqual([15, 16, 17, 18, 19])
  })

  test('makes one batch of what is less than a batch, and refuses fewer rows than replicas', () => {
    const settings = { seed: 1, batchSizes: [64, 64, 64], replica: 2 }
    expect(dataOrder(full(10), settings).rowsAt(0)).toHaveLength(3)
    expect(() => dataOrder(full(2), settings)).toThrow(/Cannot cut 2 rows/)
  })

  test('covers every row once in evaluation parts, however many', () => {
    fc.assert(
      fc.property(fc.nat(500), fc.integer({ min: 1, max: 20 }), (count, of) => {
        let end = 0
        for (let index = 0; index < of; index++) {
          const range = evaluationRange(count, index, of)
          expect(range.start).toBe(end)
          end = range.end
        }
        expect(end).toBe(count)
      }),
    )
  })

  test('permutes without losing a row', () => {
    fc.assert(
      fc.property(fc.nat(300), fc.integer(), (count, seed) => {
        expect([...permutation(count, seed)].toSorted((a, b) => a - b)).toEqual(
          Array.from({ length: count }, (_, i) => i),
        )
      }),
    )
  })
})
