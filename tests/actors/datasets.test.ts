import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cars, Datasets, iris, mnist, Uploads } from '../../actors/mod.ts'
import type { BuiltInDataset } from '../../actors/mod.ts'
import * as kernels from '../../kernels/mod.ts'
import { systemClock } from '../../runtime/mod.ts'
import { modify } from '../../stores/mod.ts'
import { House } from './house.ts'

let house: House
beforeAll(async () => {
  house = await House.stores()
})
afterAll(() => house.stop())

const withBuiltIn = (...builtIn: BuiltInDataset[]): Datasets =>
  new Datasets({
    blobs: house.blobs,
    collections: house.collections,
    kernels,
    clock: systemClock,
    modify,
    uploads: new Uploads(join(house.folder, 'uploads'), house.blobs),
    builtIn,
  })

const add = (...table: Parameters<House['table']>): ReturnType<House['table']> => house.table(...table)

describe('a dataset that comes with a package', () => {
  test('is brought in once, however many ask for it at the same time', async () => {
    const resolved = await Promise.all(Array.from({ length: 5 }, () => house.datasets.resolve({ name: 'stripes' })))
    expect(new Set(resolved.map(({ manifest }) => manifest)).size).toBe(1)
    const { items } = await house.collections.datasets.find({ where: { name: 'stripes' } })
    expect(items.map(({ id }) => id)).toEqual(['stripes@1'])
  })

  test('is all of MNIST, where that is asked for', async () => {
    const { version, data } = await withBuiltIn(mnist()).resolve({ name: 'mnist' })
    expect([version, data.splits.train.count, data.splits.test?.count]).toEqual([1, 60_000, 10_000])
    expect(data.splits.train.statistics[0]?.mean[0]).toBeCloseTo(33.318, 3)
    expect(data.splits.train.statistics[1]?.classes?.[1]).toBe(6_742)
  })

  test('is a table of three kinds of iris, a fifth of each held out', async () => {
    const { data } = await withBuiltIn(iris()).resolve({ name: 'iris' })
    expect(data.columns.at(-1)).toMatchObject({
      name: 'species',
      categories: { names: ['setosa', 'versicolor', 'virginica'] },
    })
    expect(data.splits.train.count + (data.splits.test?.count ?? 0)).toBe(150)
    expect(data.splits.test?.count).toBeGreaterThanOrEqual(28)
    for (const classes of data.splits.test?.statistics.at(-1)?.classes ?? []) expect(classes).toBeGreaterThanOrEqual(8)
  })

  test('is a table of cars with a value to predict', async () => {
    const { data, rows } = await withBuiltIn(cars()).resolve({ name: 'cars' })
    expect([rows, data.target]).toEqual([398, 'mpg'])
  })

  test('whose files are missing says which', async () => {
    await expect(withBuiltIn(mnist('/nowhere')).resolve({ name: 'mnist', version: 1 })).resolves.toBeDefined() // it is here
    await house.datasets.remove('mnist', 1)
    await expect(withBuiltIn(mnist('/nowhere')).resolve({ name: 'mnist' })).rejects.toMatchObject({
      code: 'dataset.unreadable',
      data: { path: '/nowhere/train-images-idx3-ubyte' },
    })
  })
})

describe('a dataset made of files', () => {
  test('gets the next version for new content, and the same one for the same', async () => {
    const first = await add('prices', 'x,y\n1,2\n3,4\n')
    const again = await add('prices', 'x,y\n1,2\n3,4\n')
    const second = await add('prices', 'x,y\n1,2\n3,5\n')
    expect([first, again, second].map(({ dataset, isNew }) => [dataset.version, isNew])).toEqual([
      [1, true],
      [1, false],
      [2, true],
    ])
    expect((await house.datasets.resolve({ name: 'prices' })).version).toBe(2)
    expect((await house.datasets.resolve({ name: 'prices', version: 1 })).data.files).toMatchObject([
      { name: 'prices.csv', sizeBytes: 12, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string },
    ])
  })

  test('keeps its numbers when a version is removed', async () => {
    await add('gone', 'x\n1\n1\n')
    await add('gone', 'x\n2\n2\n')
    await house.datasets.remove('gone', 2)
    expect((await add('gone', 'x\n3\n3\n')).dataset.version).toBe(3)
    await expect(house.datasets.resolve({ name: 'gone', version: 2 })).rejects.toMatchObject({
      code: 'dataset.version-unknown',
      data: { path: 'dataset.version', expected: 'one of 1, 3', found: '2' },
    })
  })

  test('leaves no version behind when a file is wrong or the work is stopped', async () => {
    await expect(add('broken', 'x,y\n1,2\n3\n')).rejects.toMatchObject({ code: 'data.malformed' })
    const path = join(house.folder, 'stopped.csv')
    await writeFile(path, 'x\n1\n1\n')
    const stopped = house.datasets.add(
      { name: 'broken', owner: 'ann', files: [{ name: 'stopped.csv', path }], options: {} },
      { signal: AbortSignal.abort(new Error('no more')) },
    )
    await expect(stopped).rejects.toThrow('no more')
    expect(await house.datasets.names()).not.toContain('broken')
  })
})

describe('a reference that leads nowhere', () => {
  test('by its name says which names there are', async () => {
    await expect(house.datasets.resolve({ name: 'mnits' })).rejects.toMatchObject({
      code: 'dataset.unknown',
      data: { path: 'dataset.name', expected: expect.stringContaining('stripes') as string, found: 'mnits' },
    })
  })
})
