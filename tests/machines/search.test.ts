import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { gridSize, parametersOf, trialCount, trialSpec } from '../../machines/search.ts'
import type { ParameterSpec, SweepSpec } from '../../machines/sweep-spec.ts'
import { SWEEP } from './chart.ts'

type Space = Pick<SweepSpec, 'parameters' | 'search'>
const RATE = 'train.optimizer.learningRate'
const range = (min: number, max: number, more: object = {}): ParameterSpec => ({ min, max, scale: 'linear', integer: false, ...more }) // prettier-ignore
const gridOf = (parameters: SweepSpec['parameters'], more: object = {}): Space => ({ parameters, search: { kind: 'grid', seed: 1, ...more } }) // prettier-ignore
const randomOf = (parameters: SweepSpec['parameters'], trials = 50, seed = 1): Space => ({ parameters, search: { kind: 'random', trials, seed } }) // prettier-ignore
const all = (space: Space): readonly Readonly<Record<string, unknown>>[] =>
  Array.from({ length: trialCount(space) }, (_, trial) => parametersOf(space, trial))

describe('a grid', () => {
  test('has every combination once, whatever the seed', () => {
    const lengths = fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(lengths, fc.nat(), (counts, seed) => {
        const parameters = Object.fromEntries(counts.map((count, i) => [`p${i}`, Array.from({ length: count }, (_, v) => v)])) // prettier-ignore
        const trials = all(gridOf(parameters, { seed }))
        expect(trials).toHaveLength(counts.reduce((a, b) => a * b, 1))
        expect(new Set(trials.map((trial) => JSON.stringify(trial))).size).toBe(trials.length)
      }),
    )
  })

  test('is gone through in an order that the seed draws, since neighbours are alike', () => {
    const values = Array.from({ length: 64 }, (_, i) => i)
    const order = (seed: number): readonly unknown[] => all(gridOf({ p: values }, { seed })).map(({ p }) => p)
    expect(order(1)).not.toEqual(values)
    expect(order(2)).not.toEqual(order(1))
    const early = order(1)
      .slice(0, 32)
      .filter((value) => Number(value) < 32)
    expect(early.length).toBeGreaterThan(8)
    expect(early.length).toBeLessThan(24)
  })

  test.each([
    [range(0, 1, { step: 0.25 }), [0, 0.25, 0.5, 0.75, 1]],
    [range(0.1, 0.7, { step: 0.2 }), [0.1, 0.3, 0.5, 0.7]],
    [range(2, 9, { step: 3, integer: true }), [2, 5, 8]],
    [range(1, 4, { integer: true }), [1, 2, 3, 4]],
    [range(0.0001, 0.1, { scale: 'log', step: 10 }), [0.0001, 0.001, 0.01, 0.1]],
    [range(4, 64, { scale: 'log', step: 4, integer: true }), [4, 16, 64]],
  ])('has the steps of the range %j', (parameter, values) => {
    const trials = all(gridOf({ p: parameter })).map(({ p }) => Number(p))
    expect(trials.toSorted((a, b) => a - b)).toEqual(values)
  })

  test('of so many trials has the first of them', () => {
    const parameters = { a: [1, 2, 3, 4], b: [1, 2, 3, 4] }
    expect(all(gridOf(parameters, { trials: 5 }))).toEqual(all(gridOf(parameters)).slice(0, 5))
    expect(trialCount(gridOf(parameters, { trials: 100 }))).toBe(16)
  })

  test('has no end where a parameter may be anything in between', () => {
    expect(gridSize({ a: [1, 2], b: range(0, 1) })).toBe(Infinity)
  })
})

describe('a random search', () => {
  const wide = randomOf({ a: range(-1, 3), b: range(0.001, 1, { scale: 'log' }), c: range(1, 6, { integer: true }), d: ['x', 'y'] }, 400) // prettier-ignore

  test('stays within its ranges, and comes everywhere in them', () => {
    const trials = all(wide)
    for (const { a, b, c, d } of trials) {
      expect(Number(a)).toBeGreaterThanOrEqual(-1)
      expect(Number(a)).toBeLessThanOrEqual(3)
      expect(Number(b)).toBeGreaterThanOrEqual(0.001)
      expect(Number(b)).toBeLessThanOrEqual(1)
      expect([1, 2, 3, 4, 5, 6]).toContain(c)
      expect(['x', 'y']).toContain(d)
    }
    const share = (of: (trial: Readonly<Record<string, unknown>>) => boolean): number => trials.filter(of).length / trials.length // prettier-ignore
    expect(share(({ a }) => Number(a) < 1)).toBeCloseTo(1 / 2, 0.9)
    // On the log scale each power of ten has as many.
    for (const decade of [0.001, 0.01, 0.1]) {
      expect(share(({ b }) => Number(b) >= decade && Number(b) < 10 * decade)).toBeCloseTo(1 / 3, 0.9)
    }
    expect(new Set(trials.map(({ c }) => c)).size).toBe(6)
    expect(share(({ d }) => d === 'x')).toBeCloseTo(1 / 2, 0.9)
  })

  test('trial i is the same in every sweep of the seed, however many trials there are and in whatever order it is asked', () => {
    fc.assert(
      fc.property(fc.nat(399), fc.nat(), (trial, seed) => {
        const few = randomOf(wide.parameters, trial + 1, seed)
        const many = randomOf(Object.fromEntries(Object.entries(wide.parameters).toReversed()), 400, seed)
        expect(parametersOf(few, trial)).toEqual(parametersOf(many, trial))
      }),
    )
  })

  test('another seed has other trials', () => {
    expect(all(randomOf(wide.parameters, 10, 2))).not.toEqual(all(randomOf(wide.parameters, 10, 1)))
  })
})

test('a trial is the job with its parameters in their places, and nothing else is touched', () => {
  const spec = { ...SWEEP, ...gridOf({ [RATE]: [0.5], 'preprocess[0].factor': [2] }) }
  const before = JSON.stringify(spec)
  const job = trialSpec(spec, 0)
  expect(job).toEqual({
    ...SWEEP.job,
    name: 'digits-sweep-0',
    preprocess: [{ op: 'scale', factor: 2 }],
    train: { ...SWEEP.job.train, optimizer: { ...SWEEP.job.train.optimizer, learningRate: 0.5 } },
  })
  expect(JSON.stringify(spec)).toBe(before)
})

test('a trial that is tried again by itself makes a version of the model of the job', () => {
  const { register: _, ...job } = SWEEP.job
  expect(trialSpec({ ...SWEEP, job }, 0)).toMatchObject({ name: 'digits-sweep-0', register: { name: job.name } })
})
