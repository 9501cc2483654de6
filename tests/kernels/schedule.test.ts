import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { learningRateAt } from '../../kernels/mod.ts'
import type { Schedule } from '../../kernels/mod.ts'

const rates = (schedule: Schedule, ...steps: number[]): number[] =>
  steps.map((step) => Number(learningRateAt({ learningRate: 1, schedule }, step).toFixed(6)))

describe('the learning rate', () => {
  it('stays where there is no schedule, or a constant one', () => {
    expect(learningRateAt({ learningRate: 0.3 }, 1_000)).toBe(0.3)
    expect(rates({ kind: 'constant' }, 0, 1_000)).toEqual([1, 1])
  })

  it('rises in a line over the warm-up, before every schedule', () => {
    expect(rates({ kind: 'constant', warmupSteps: 4 }, 0, 1, 3, 4)).toEqual([0.25, 0.5, 1, 1])
    expect(rates({ kind: 'step', warmupSteps: 2, everySteps: 10, factor: 0.5 }, 0, 1, 2, 11, 12)).toEqual([
      0.5, 1, 1, 1, 0.5,
    ])
  })

  it('falls along half a cosine to its final factor, and stays there', () => {
    expect(rates({ kind: 'cosine', steps: 10, finalFactor: 0.2 }, 0, 5, 10, 99)).toEqual([1, 0.6, 0.2, 0.2])
  })

  it('falls in steps, or in a curve through their starts', () => {
    expect(rates({ kind: 'step', everySteps: 5, factor: 0.1 }, 0, 4, 5, 14, 15)).toEqual([1, 1, 0.1, 0.01, 0.001])
    expect(rates({ kind: 'exponential', everySteps: 2, factor: 0.25 }, 0, 1, 2, 4)).toEqual([1, 0.5, 0.25, 0.0625])
  })

  it('never leaves the range from 0 to its base', () => {
    const kinds: fc.Arbitrary<Schedule> = fc.oneof(
      fc.record({ kind: fc.constant('cosine' as const), steps: fc.nat(1_000), warmupSteps: fc.nat(2_000) }),
      fc.record({
        kind: fc.constantFrom('step' as const, 'exponential' as const),
        everySteps: fc.integer({ min: 1, max: 50 }),
        factor: fc.double({ min: 0.01, max: 1, noNaN: true }),
        warmupSteps: fc.nat(100),
      }),
    )
    fc.assert(
      fc.property(kinds, fc.nat(1_000_000), (schedule, step) => {
        const rate = learningRateAt({ learningRate: 1, schedule }, step)
        expect(rate).toBeGreaterThanOrEqual(0)
        expect(rate).toBeLessThanOrEqual(1)
      }),
    )
  })
})
