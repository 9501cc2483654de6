import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { BlobCache } from '../../actors/blob-cache.ts'
import { House } from './house.ts'

let house: House
let sha256: string
beforeAll(async () => {
  house = await House.stores()
  sha256 = (await house.blobs.put(new TextEncoder().encode('weights'))).sha256
})
afterAll(() => house.stop())

function newCache(name: string): { cache: BlobCache; files: () => Promise<string[]> } {
  const folder = join(house.folder, name)
  return { cache: new BlobCache(house.blobs, folder), files: () => readdir(folder) }
}

test('what is kept stays', async () => {
  const { cache, files } = newCache('kept')
  await cache.keep(sha256)
  expect(await files()).toEqual([sha256])
})

test('what was lent stays for a while after its last user, and the longest idle gives way', async () => {
  const { cache, files } = newCache('lent')
  const others: string[] = []
  for (let i = 0; i < 64; i++) others.push((await house.blobs.put(new TextEncoder().encode(`other ${i}`))).sha256)
  await cache.lend([sha256], () => cache.lend([sha256], async () => {}))
  for (const other of others.slice(1)) await cache.lend([other], async () => {})
  expect(await files()).toContain(sha256)
  await cache.lend([others[0] ?? ''], async () => {})
  expect(await files()).not.toContain(sha256)
  expect(await files()).toHaveLength(64)
})

test('what is in use stays, whatever is lent beside it', async () => {
  const { cache, files } = newCache('used')
  await cache.lend([sha256], async () => {
    for (let i = 0; i < 70; i++) {
      const other = await house.blobs.put(new TextEncoder().encode(`more ${i}`))
      await cache.lend([other.sha256], async () => {})
    }
    expect(await files()).toContain(sha256)
  })
})

test('only what was not here is told as brought', async () => {
  const { cache } = newCache('brought')
  const brought: number[] = []
  for (let i = 0; i < 2; i++)
    await cache.lend(
      [sha256],
      async () => {},
      (_, sizeBytes) => brought.push(sizeBytes),
    )
  expect(brought).toEqual([7])
})

test('a file that is adopted need not be brought', async () => {
  const { cache } = newCache('adopted')
  await cache.keep(sha256)
  const made = join(house.folder, 'adopted', 'made')
  await writeFile(made, 'mine')
  await cache.adopt(made, 'f'.repeat(64))
  expect(await cache.find('f'.repeat(64))).toMatchObject({ sizeBytes: 4 })
})

test('a use that fails gives back what it had', async () => {
  const { cache, files } = newCache('failed')
  await expect(cache.lend([sha256], () => Promise.reject(new Error('broken')))).rejects.toThrow('broken')
  await cache.drop(sha256)
  expect(await files()).toEqual([])
})
