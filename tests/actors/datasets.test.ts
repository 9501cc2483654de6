import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Datasets, mnist, readManifest } from '../../actors/mod.ts'
import * as kernels from '../../kernels/mod.ts'
import { systemClock } from '../../runtime/mod.ts'
import { House } from './house.ts'

let house: House
beforeAll(async () => {
  house = await House.stores()
})
afterAll(() => house.stop())

const quiet = { signal: new AbortController().signal, log: async () => {} }
const withMnist = (folder?: string): Datasets =>
  new Datasets({
    blobs: house.blobs,
    collections: house.collections,
    kernels,
    clock: systemClock,
    builtIn: [mnist(folder)],
  })

describe('a dataset that comes with a package', () => {
  test('is known by its facts before it is brought in', async () => {
    expect(await house.datasets.facts({ name: 'stripes' })).toMatchObject({
      version: 1,
      features: { shape: [8, 8, 1] },
      trainExamples: 240,
      testExamples: 60,
    })
  })

  test('is brought in once, however many ask for it at the same time', async () => {
    const resolved = await Promise.all(
      Array.from({ length: 5 }, () => house.datasets.resolve({ name: 'stripes' }, quiet)),
    )
    expect(new Set(resolved.map(({ manifest }) => manifest)).size).toBe(1)
    const { items } = await house.collections.datasets.find({ where: { name: 'stripes' } })
    expect(items.map(({ id }) => id)).toEqual(['stripes@1'])
  })

  test('says what it does, as it is brought in', async () => {
    await using fresh = await House.stores()
    const said: string[] = []
    await fresh.datasets.resolve({ name: 'stripes' }, { ...quiet, log: async (_, message) => void said.push(message) })
    expect(said).toEqual([
      'Dataset stripes: first use, bringing it in',
      'Dataset stripes: 240 training examples in 1 shards',
      'Dataset stripes: 60 test examples in 1 shards',
    ])
  })

  test('is all of MNIST, where that is asked for', async () => {
    const { manifest, version } = await withMnist().resolve({ name: 'mnist' }, quiet)
    const { splits } = await readManifest(house.blobs, manifest)
    expect([version, splits.train.count, splits.test?.count]).toEqual([1, 60_000, 10_000])
  })

  test('whose files are missing says which', async () => {
    await using fresh = await House.stores()
    const datasets = new Datasets({
      blobs: fresh.blobs,
      collections: fresh.collections,
      kernels,
      clock: systemClock,
      builtIn: [mnist('/nowhere')],
    })
    await expect(datasets.resolve({ name: 'mnist' }, quiet)).rejects.toMatchObject({
      code: 'dataset.unreadable',
      data: { path: '/nowhere/train-images-idx3-ubyte' },
    })
  })
})

describe('a reference that leads nowhere', () => {
  test('by its name says which names there are', async () => {
    await expect(house.datasets.facts({ name: 'mnits' })).rejects.toMatchObject({
      code: 'dataset.unknown',
      data: { path: 'dataset.name', expected: expect.stringContaining('stripes') as string, found: 'mnits' },
    })
  })

  test('by its version says which version there is', async () => {
    await expect(house.datasets.facts({ name: 'stripes', version: 9 })).rejects.toMatchObject({
      code: 'dataset.version-unknown',
      data: { path: 'dataset.version', expected: '1', found: '9' },
    })
  })
})
