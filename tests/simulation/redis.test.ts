/** The same scenarios on real servers, which are disturbed for real. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../runtime/clock.ts'
import { has } from '../harness/parts.ts'
import { TestCluster } from '../harness/redis-cluster.ts'
import { freePorts, LOOPBACK, until } from '../harness/redis-process.ts'
import { startServer, TestSentinels } from '../harness/redis-sentinel.ts'
import { TestRedis } from '../harness/redis.ts'
import {
  behindProxies,
  halfOpen,
  inTrouble,
  movingSlots,
  oneMasterFrozen,
  oneMasterLost,
  promotedByHand,
  promotedBySentinel,
} from './grounds.ts'
import type { Ground } from './grounds.ts'
import { runOnRedis } from './real.ts'

const LIMIT_MS = 120_000

describe.skipIf(!has('redis'))('no promise is broken', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tf-sim-'))
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  async function broken(ground: Ground, seeds: readonly number[]): Promise<unknown[]> {
    const found = await Promise.all(seeds.map(async (seed) => ({ seed, broken: await runOnRedis(ground, seed) })))
    return found.filter((each) => each.broken.length > 0)
  }

  test('on a real Redis, while connections break, answers get lost and nodes die', { timeout: LIMIT_MS }, async () => {
    const redis = await TestRedis.start()
    onTestFinished(() => redis.stop())
    expect(await broken(behindProxies(redis, folder), [1, 2, 3, 4, 5, 6, 7, 8])).toEqual([])
  })

  test('on a real Cluster, while slots move and nodes die', { timeout: LIMIT_MS }, async () => {
    const cluster = await TestCluster.start()
    onTestFinished(() => cluster.stop())
    const ground = movingSlots(cluster)
    expect(await broken(ground, [1, 2, 4, 5])).toEqual([])
    expect(ground.moved()).toBeGreaterThan(20)
  })

  test.each([
    {
      name: 'freezes for two seconds',
      fares: 'degraded' as const,
      async trouble(redis: TestRedis) {
        redis.freeze()
        await systemClock.sleep(2_000)
        redis.thaw()
      },
    },
    {
      name: 'pauses all commands for two seconds',
      fares: 'degraded' as const,
      async trouble(redis: TestRedis) {
        await redis.admin.client('PAUSE', 2_000)
      },
    },
    {
      name: 'is killed and comes back with its append-only file',
      fares: 'unreachable' as const,
      // With a sync a second, an answer may be out before the file has what it is about, where the disk is slow.
      args: ['--appendfsync', 'always'],
      async trouble(redis: TestRedis, isSeen: () => boolean) {
        await redis.kill()
        await until(async () => isSeen())
        await redis.start()
      },
    },
    {
      name: 'is full for two seconds, and evicts nothing',
      fares: 'degraded' as const,
      async trouble(redis: TestRedis) {
        await redis.admin.config('SET', 'maxmemory', '1mb')
        await systemClock.sleep(2_000)
        await redis.admin.config('SET', 'maxmemory', '0')
      },
    },
  ])('when Redis $name', { timeout: LIMIT_MS }, async ({ fares, args = [], ...its }) => {
    const redis = await TestRedis.start(...args)
    onTestFinished(() => redis.stop())
    expect(await broken(inTrouble(redis, fares, its.trouble), [2])).toEqual([])
  })

  test('when all connections are half-open', { timeout: LIMIT_MS }, async () => {
    const redis = await TestRedis.start()
    onTestFinished(() => redis.stop())
    expect(await broken(halfOpen(redis, folder), [2])).toEqual([])
  })

  test('when a replica that lagged is promoted by hand, and the loss is told', { timeout: LIMIT_MS }, async () => {
    const [masterPort = 0, replicaPort = 0] = await freePorts(2)
    const master = await startServer(join(folder, 'master'), masterPort)
    onTestFinished(() => master.stop())
    const replica = await startServer(join(folder, 'replica'), replicaPort, '--replicaof', LOOPBACK, String(masterPort))
    onTestFinished(() => replica.stop())
    await until(async () => (await replica.admin.info('replication')).includes('master_link_status:up'))
    expect(await broken(promotedByHand(master, replica, folder), [2])).toEqual([])
  })

  test('when a replica that lagged is promoted by Sentinels, and the loss is told', { timeout: LIMIT_MS }, async () => {
    const sentinels = await TestSentinels.start()
    onTestFinished(() => sentinels.stop())
    expect(await broken(promotedBySentinel(sentinels), [2])).toEqual([])
  })

  test.each(['by hand', 'by itself'] as const)(
    'when a master of a Cluster is lost with what its replica, promoted %s, had missed',
    { timeout: LIMIT_MS },
    async (promoted) => {
      const cluster = await TestCluster.start({ replicas: true })
      onTestFinished(() => cluster.stop())
      expect(await broken(oneMasterLost(cluster, promoted), [2])).toEqual([])
    },
  )

  test.each([
    { replicas: false, outcome: 'goes on' },
    { replicas: true, outcome: 'finds itself replaced' },
  ])('when a master of a Cluster freezes, and $outcome', { timeout: LIMIT_MS }, async ({ replicas }) => {
    const cluster = await TestCluster.start({ replicas })
    onTestFinished(() => cluster.stop())
    expect(await broken(oneMasterFrozen(cluster), [2])).toEqual([])
  })
})
