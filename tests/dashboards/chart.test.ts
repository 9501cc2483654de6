import fc from 'fast-check'
import { expect, test } from 'vitest'

interface Column {
  readonly step: number
  readonly value: number
  readonly smooth: number
}

/** The page's modules are plain JavaScript without types: what they give is stated here. */
interface Chart {
  columnsOf(points: readonly { step: number; value: number }[], stepsTotal: number): Column[]
  rangeOf(values: readonly number[]): { low: number; high: number }
  ticksOf(low: number, high: number, count: number): number[]
}
interface Format {
  readonly duration: (ms: number) => string
  readonly percent: (fraction: number | undefined) => string
  readonly bytes: (value: number) => string
  readonly ago: (ms: number) => string
}

const folder = '../../dashboards/console'
const chart = (await import(`${folder}/chart.js`)) as Chart
const format = (await import(`${folder}/format.js`)) as Format

test('a chart has a bounded number of columns, in the order of steps, between the extremes', () => {
  const value = fc.double({ min: -1e6, max: 1e6, noNaN: true })
  const points = fc.array(fc.record({ step: fc.nat(10_000), value }), { minLength: 1, maxLength: 2_000 })
  fc.assert(
    fc.property(points, (points) => {
      const columns = chart.columnsOf(points, 10_000)
      const values = points.map((point) => point.value)
      const [low, high] = [Math.min(...values) - 1e-6, Math.max(...values) + 1e-6]

      expect(columns.length).toBeLessThanOrEqual(321)
      expect(columns.map(({ step }) => step)).toEqual(columns.map(({ step }) => step).toSorted((a, b) => a - b))
      expect(columns.every(({ smooth }) => smooth >= low && smooth <= high)).toBe(true)
    }),
  )
})

test('the replicas of a step are averaged', () => {
  const points = [
    { step: 10, value: 1 },
    { step: 10, value: 3 },
  ]

  expect(chart.columnsOf(points, 100)).toEqual([{ step: 10, value: 2, smooth: 2 }])
})

test('one wild value does not flatten all others', () => {
  const values = [...Array.from({ length: 100 }, (_, i) => i / 100), 1e9]

  expect(chart.rangeOf(values).high).toBeLessThan(5)
})

test('ticks are round numbers within the range', () => {
  expect(chart.ticksOf(0, 2.4, 4)).toEqual([0, 1, 2])
  expect(chart.ticksOf(0, 938, 6)).toEqual([0, 200, 400, 600, 800])
  expect(chart.ticksOf(0.2, 1, 4)).toEqual([0.2, 0.4, 0.6, 0.8, 1])
})

test('numbers are written as a person reads them', () => {
  expect([48_000, 200_000, 7_500_000, 0].map(format.duration)).toEqual(['48 s', '3 min 20 s', '2 h 5 min', '0 s'])
  expect([0.9894, 1, 0.99996, undefined].map(format.percent)).toEqual(['98.94 %', '100.00 %', '99.996 %', '–'])
  expect([999, 407_000, 4_070_000].map(format.bytes)).toEqual(['999 bytes', '407.0 kB', '4.1 MB'])
  expect([2_000, 90_000, 3 * 86_400_000].map(format.ago)).toEqual(['just now', '1 min ago', '3 d ago'])
})
