import { afterAll, beforeAll, expect, test } from 'vitest'
import { admit } from '../../actors/mod.ts'
import * as kernels from '../../kernels/mod.ts'
import type { JobSpec } from '../../machines/spec.ts'
import { House, namedPools, STRIPES } from './house.ts'

let house: House
beforeAll(async () => {
  house = await House.stores()
})
afterAll(() => house.stop())

const problemsOf = (spec: typeof STRIPES): ReturnType<typeof admit> =>
  admit(
    { blobs: house.blobs, datasets: house.datasets, registry: house.registry, kernels, pools: namedPools('default') },
    spec,
  )

test('a spec that can be trained has no problems', async () => {
  expect(await problemsOf(STRIPES)).toEqual([])
})

test('an unknown dataset is named, with those that there are', async () => {
  expect(await problemsOf({ ...STRIPES, dataset: { name: 'strips' } })).toEqual([
    {
      path: 'dataset.name',
      expected: 'one of stripes',
      found: 'strips',
      message: 'dataset.name: expected one of stripes, found strips',
    },
  ])
})

test('all problems are found at once, each by its field of the spec', async () => {
  const problems = await problemsOf({
    ...STRIPES,
    model: {
      class_name: 'Sequential',
      config: {
        layers: [
          { class_name: 'Flatten', config: {} },
          { class_name: 'Dense', config: { units: 7, activation: 'relu' } },
        ],
      },
    },
    train: { ...STRIPES.train, replicas: 241, loss: 'meanSquaredError' },
  })
  const paths = problems.map(({ path }) => path)
  expect(paths).toContain('train.loss')
  expect(paths).toContain('train.replicas')
  expect(problems.every(({ message, expected, found }) => message.includes(expected) && message.includes(found))).toBe(
    true,
  )
})

test('a last layer of the wrong size is found before training', async () => {
  const layers = [
    { class_name: 'Flatten', config: {} },
    { class_name: 'Dense', config: { units: 7, activation: 'softmax' } },
  ]
  const problems = await problemsOf({ ...STRIPES, model: { class_name: 'Sequential', config: { layers } } })
  expect(problems).toMatchObject([
    { path: 'model.config.layers[1].config.units', expected: expect.stringContaining('3') },
  ])
})

test('a pool that nobody serves is named', async () => {
  expect(await problemsOf({ ...STRIPES, pool: 'gpus' })).toMatchObject([{ path: 'pool', found: 'gpus' }])
})

test('a model that those before a job will bring is looked for when it begins, and an exact version at once', async () => {
  const services = { blobs: house.blobs, datasets: house.datasets, registry: house.registry, kernels, pools: namedPools('default') } // prettier-ignore
  const spec = (from: string): JobSpec => ({ ...STRIPES, model: { from }, after: [{ job: 'A', otherwise: 'fail' }] })
  const pathsOf = async (from: string, isEarly: boolean): Promise<string[]> =>
    (await admit(services, spec(from), { isEarly })).map(({ path }) => path)
  expect(await pathsOf('unborn@latest', true)).toEqual([])
  expect(await pathsOf('unborn@2', true)).toEqual(['model.from'])
  expect(await pathsOf('unborn@latest', false)).toEqual(['model.from'])
})
