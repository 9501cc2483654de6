/** A put of the same bytes in the very moment in which a sweep deletes them: whoever has put them has them. */
import { mkdtemp, rm, utimes } from 'node:fs/promises'
import type * as Files from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { openFileSystemBlobs, sha256Of } from '../../stores/mod.ts'
import type { Blobs } from '../../stores/mod.ts'

/** What happens around the first system call that takes a file away from `path`; the store under test is not told. */
const moment = vi.hoisted(() => ({ path: '', before: async () => {}, after: async () => {} }))

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof Files>()
  const around = async (path: unknown, call: () => Promise<void>): Promise<void> => {
    if (path !== moment.path) return call()
    moment.path = ''
    await moment.before()
    await call()
    await moment.after()
  }
  return {
    ...real,
    rename: (from: string, to: string) => around(from, () => real.rename(from, to)),
    unlink: (path: string) => around(path, () => real.unlink(path)),
    rm: (path: string, options: object) => around(path, () => real.rm(path, options)),
  }
})

const bytes = new TextEncoder().encode('both want it')
const sha256 = sha256Of(bytes)
const HOUR_MS = 3_600_000

let folder: string
let blobs: Blobs
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tf-race-'))
  blobs = await openFileSystemBlobs(folder)
  await blobs.put(bytes)
  const path = join(folder, sha256.slice(0, 2), sha256)
  const old = new Date(Date.now() - 2 * HOUR_MS)
  await utimes(path, old, old)
  Object.assign(moment, { path, before: async () => {}, after: async () => {} })
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const put = async (): Promise<void> => void (await blobs.put(bytes))
const deleteOld = (): Promise<boolean> => blobs.delete(sha256, { storedBeforeMs: Date.now() - HOUR_MS })

test.each(['before', 'after'] as const)('what is put just %s an old blob is taken away stays', async (when) => {
  moment[when] = put
  await deleteOld()
  expect(moment.path).toBe('') // it came to that moment
  expect(await blobs.bytes(sha256)).toEqual(bytes)
})

test('an old blob that nobody puts goes', async () => {
  expect(await deleteOld()).toBe(true)
  expect(await blobs.has(sha256)).toBe(false)
})
