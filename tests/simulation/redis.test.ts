import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { TestRedis } from '../harness/redis.ts'
import { runOnRedis } from './real.ts'

let redis: TestRedis
let folder: string
beforeAll(async () => {
  redis = await TestRedis.start()
  folder = await mkdtemp(join(tmpdir(), 'tf-sim-'))
})
afterAll(async () => {
  await redis.stop()
  await rm(folder, { recursive: true, force: true })
})

const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8]

test('no promise is broken on a real Redis, while connections break, answers get lost and nodes die', async () => {
  const found = await Promise.all(SEEDS.map(async (seed) => ({ seed, broken: await runOnRedis(redis, folder, seed) })))
  expect(found.filter(({ broken }) => broken.length > 0)).toEqual([])
})
