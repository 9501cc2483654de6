/** Redis that is killed, again and again, under a fleet of processes; and one that comes back without its last second. */
import { readdir, stat, truncate } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { systemClock } from '../../runtime/mod.ts'
import { has } from '../harness/parts.ts'
import { RuntimeWorld, WAIT } from './runtime-world.ts'

const LIMIT_MS = 180_000
const KILLS = 5
/** More commits than may be in flight, and so not acknowledged. */
const IN_FLIGHT_MAX = 4

describe.skipIf(!has('redis'))('Redis', () => {
  test(
    'killed five times, with every write on the disk, loses nothing and doubles nothing',
    {
      timeout: LIMIT_MS,
    },
    async () => {
      await using world = await RuntimeWorld.start({ nodes: 2, seed: 8, redis: ['--appendfsync', 'always'] })
      const load = world.load()
      for (let kill = 0; kill < KILLS; kill++) {
        await world.untilGoesOn((await world.standing()).keys())
        await world.redis.kill()
        await world.redis.start()
      }
      await world.untilGoesOn((await world.standing()).keys())
      await load.stop()
      expect(await world.judge()).toEqual([])
      // Nothing was lost, so nobody may say that something was.
      expect(world.nodes.flatMap((node) => node.said('shard.rolled-back'))).toEqual([])
    },
  )

  test(
    'that has lost its last second in a crash of the machine: each shard says what, nothing is doubled, all goes on',
    {
      timeout: LIMIT_MS,
    },
    async () => {
      await using world = await RuntimeWorld.start({ nodes: 2, seed: 9, redis: ['--appendfsync', 'everysec'] })
      const load = world.load()
      const shards = [...(await world.standing()).keys()]
      await world.untilGoesOn(shards)
      const file = await appendOnlyFile(dirname(world.redis.url))
      const synced = (await stat(file)).size
      const had = await world.standing()
      await world.untilGoesOn(shards, 3 * IN_FLIGHT_MAX)
      await world.redis.kill()
      await truncate(file, synced) // what the system had not yet written when its power went
      await world.redis.start()
      const lostBefore = systemClock.now()
      const told = () =>
        new Set(world.nodes.flatMap((node) => node.said('shard.rolled-back').map(({ shard }) => shard)))
      await vi.waitUntil(() => shards.every((shard) => told().has(shard)), WAIT)
      await world.untilGoesOn(shards)
      await load.stop()
      expect(await world.judge(lostBefore)).toEqual([])
      for (const { shard, to, from } of world.nodes.flatMap((node) => node.said('shard.rolled-back'))) {
        expect(from).toBeGreaterThan(to)
        expect(to).toBeGreaterThanOrEqual((had.get(shard) ?? 0) - IN_FLIGHT_MAX)
      }
    },
  )
})

async function appendOnlyFile(dir: string): Promise<string> {
  const folder = join(dir, 'appendonlydir')
  const name = (await readdir(folder)).find((each) => each.endsWith('.incr.aof'))
  return join(folder, name ?? '')
}
