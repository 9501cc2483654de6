import { readdir } from 'node:fs/promises'
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

test('what is lent goes with its last user', async () => {
  const { cache, files } = newCache('lent')
  const gate = Promise.withResolvers<void>()
  const lent = Promise.withResolvers<void>()
  const long = cache.lend([sha256], () => {
    lent.resolve()
    return gate.promise
  })
  await lent.promise
  await cache.lend([sha256], async () => {})
  expect(await files()).toEqual([sha256])
  gate.resolve()
  await long
  expect(await files()).toEqual([])
})

test('a use that fails gives back what it had', async () => {
  const { cache, files } = newCache('failed')
  await expect(cache.lend([sha256], () => Promise.reject(new Error('broken')))).rejects.toThrow('broken')
  expect(await files()).toEqual([])
})
