import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { expand, jobView } from '../../actors/mod.ts'
import { cars, iris } from '../../actors/built-in-datasets.ts'
import { jobSpecSchema } from '../../gateway/schemas/job-spec.ts'
import { presetSpecSchema } from '../../gateway/schemas/preset-spec.ts'
import type { PresetSpec } from '../../machines/preset-spec.ts'
import type { JobSpec } from '../../machines/spec.ts'
import type { JobView } from '../../machines/views.ts'
import { House } from './house.ts'
import type { RunningHouse } from './house.ts'
import { leastSquaresR2 } from './least-squares.ts'
import type { TableRow } from './least-squares.ts'

/** Iris, with another fifth held back in each. */
const irises = [1, 2, 3, 4].map((seed) => ({
  ...iris(),
  name: `iris-${seed}`,
  options: { ...iris().options, split: { seed, validation: 0, test: 0.2 } },
}))

const carses = [1, 2, 3, 4].map((seed) => ({
  ...cars(),
  name: `cars-${seed}`,
  options: { ...cars().options, split: { seed, validation: 0, test: 0.2 } },
}))

let house: House
let fleet: RunningHouse
beforeAll(async () => {
  house = await House.stores(iris(), cars(), ...irises, ...carses)
  fleet = await house.start()
  await house.worker(fleet, 1)
})
afterAll(() => house.stop())

async function whole(preset: PresetSpec): Promise<JobSpec> {
  const expanded = await expand({ datasets: house.datasets }, preset)
  if ('problems' in expanded) throw new Error(expanded.problems.map(({ message }) => message).join('; '))
  return jobSpecSchema.parse(expanded.spec)
}

async function trained(preset: PresetSpec): Promise<JobView> {
  return jobView(await fleet.train(`${preset.dataset.name}-${preset.preset}`, await whole(preset)))
}

/** The R² of least squares on the rows that a split of the cars holds back. */
async function leastSquaresOf(name: string): Promise<number> {
  const rowsOf = async (split: 'train' | 'test'): Promise<TableRow[]> => {
    return (await house.datasets.rows({ name }, { split, offset: 0, limit: 1_000 })).rows
  }
  return leastSquaresR2(await rowsOf('train'), await rowsOf('test'), 'mpg')
}

const problemsOf = async (preset: PresetSpec): Promise<string[]> => {
  const expanded = await expand({ datasets: house.datasets }, preset)
  return 'problems' in expanded ? expanded.problems.map(({ message }) => message) : []
}

describe('a preset', () => {
  // A fifth has 30 flowers, of which two look alike: one split more or less lucky says little, four of them do.
  test.each(['logistic', 'mlp'] as const)('%s knows the flowers of fifths that it has not seen', async (preset) => {
    let [examples, right] = [0, 0]
    for (const { name } of irises) {
      const view = await trained({ preset, dataset: { name, target: 'species' } })
      expect(view).toMatchObject({ state: 'completed' })
      examples += view.evaluation?.examples ?? 0
      right += (view.evaluation?.examples ?? 0) * (view.evaluation?.accuracy ?? 0)
    }
    expect(examples).toBeGreaterThanOrEqual(irises.length * 29)
    expect(right / examples).toBeGreaterThanOrEqual(0.95)
  })

  // On the fifths that seeds 1 to 8 hold back, least squares reach an R² of 0.74 to 0.86, 0.805 in the mean; the network
  // 0.86. So a figure is held against what least squares reach on the same rows, never against one number for all.
  test('linear says how far cars go as well as least squares do, though some horsepowers are missing', async () => {
    for (const { name } of carses) {
      const view = await trained({ preset: 'linear', dataset: { name } })
      expect(view).toMatchObject({ state: 'completed' })
      expect(Math.abs((view.evaluation?.r2 ?? 0) - (await leastSquaresOf(name)))).toBeLessThan(0.01)
      // In miles a gallon, although the target was scaled.
      expect(view.evaluation?.rmse).toBeGreaterThan(2.5)
      expect(view.evaluation?.rmse).toBeLessThan(4.5)
    }
  })

  test('mlp says it better than least squares do, over fifths that it has not seen', async () => {
    let better = 0
    for (const { name } of carses) {
      const view = await trained({ preset: 'mlp', dataset: { name } })
      expect(view).toMatchObject({ state: 'completed' })
      better += ((view.evaluation?.r2 ?? 0) - (await leastSquaresOf(name))) / carses.length
    }
    expect(better).toBeGreaterThan(0.02)
  })

  test('autoencoder gives back what it was given', async () => {
    const view = await trained({ preset: 'autoencoder', dataset: { name: 'iris' } })
    const features = ['sepal_length', 'sepal_width', 'petal_length', 'petal_width']
    expect(view).toMatchObject({ state: 'completed', spec: { dataset: { target: null, features } } })
    expect(view.evaluation?.r2).toBeGreaterThan(0.8)
  })

  test('cnn trains on pictures, and its fields may be told otherwise', async () => {
    const preset = { preset: 'cnn', dataset: { name: 'stripes' }, name: 'mine', train: { epochs: 1, seed: 9 } } as const
    const spec = await whole(preset)
    expect(spec).toMatchObject({ name: 'mine', train: { epochs: 1, seed: 9 } })
    expect(jobView(await fleet.train('cnn', spec))).toMatchObject({ state: 'completed' })
  })

  test('runs as it is told', async () => {
    const how = { priority: 'low', slots: 2, gang: true, limits: { time: 60 }, register: { name: 'm' } }
    const said = presetSpecSchema.parse({ preset: 'linear', dataset: { name: 'cars' }, ...how, after: ['J'] })
    expect(await whole(said)).toMatchObject({ ...how, after: [{ job: 'J', otherwise: 'fail' }] })
  })

  test('gives the same specification for the same data, and trains to the same weights', async () => {
    const preset = { preset: 'linear', dataset: { name: 'cars' }, train: { epochs: 3 } } as const
    expect(await whole(preset)).toEqual(await whole(preset))
  })

  test('that does not suit the data is refused by its field, with those that do', async () => {
    expect(await problemsOf({ preset: 'linear', dataset: { name: 'iris' } })).toEqual([
      'preset: expected logistic or mlp: species is a category, found linear',
    ])
    expect(await problemsOf({ preset: 'logistic', dataset: { name: 'cars' } })).toEqual([
      'preset: expected linear or mlp: mpg is a number, found logistic',
    ])
    expect(await problemsOf({ preset: 'cnn', dataset: { name: 'iris' } })).toEqual([
      expect.stringMatching(/^preset: expected .* no pictures/),
    ])
    expect(await problemsOf({ preset: 'mlp', dataset: { name: 'iris', target: 'colour' } })).toEqual([
      expect.stringMatching(/^dataset.target: expected the column to predict, one of .*species, found colour/),
    ])
    expect(await problemsOf({ preset: 'mlp', dataset: { name: 'nist' } })).toEqual([
      expect.stringMatching(/^dataset.name: expected one of/),
    ])
  })
})
