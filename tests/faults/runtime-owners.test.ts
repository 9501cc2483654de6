/** Owners that lose what they own without dying, and owners that die: as processes, on a real Redis, under load. */
import { describe, expect, test, vi } from 'vitest'
import { has } from '../harness/parts.ts'
import { RuntimeWorld, WAIT } from './runtime-world.ts'

const LIMIT_MS = 180_000

describe.skipIf(!has('redis'))('an owner', () => {
  test.each(['frozen', 'cut off'] as const)(
    '%s past its lease commits nothing more, says so, drops what it had, and goes on as a newcomer',
    { timeout: LIMIT_MS },
    async (how) => {
      await using world = await RuntimeWorld.start({ nodes: 3, seed: 1, proxied: true })
      const [owner] = world.nodes
      if (owner === undefined) throw new Error('three nodes were started')
      const load = world.load()
      const former = await world.shardsOf(owner)
      await world.untilGoesOn(former)

      if (how === 'frozen') owner.freeze()
      else owner.proxy?.stall()
      await vi.waitUntil(async () => {
        const owners = await world.owners()
        return former.every((shard) => owners.has(shard) && owners.get(shard) !== owner.id)
      }, WAIT)
      if (how === 'cut off') {
        // Nobody has told it anything: it has stopped by itself.
        const suspended = () => new Set(owner.said('lease.suspended').map(({ shard }) => shard))
        await vi.waitUntil(() => former.every((shard) => suspended().has(shard)), WAIT)
      }
      const taken = await world.standing()
      await world.untilGoesOn(former)
      const before = owner.events.length

      if (how === 'frozen') owner.thaw()
      else owner.proxy?.resume()
      const lost = () => new Set(owner.said('lease.lost', before).map(({ shard }) => shard))
      await vi.waitUntil(() => former.every((shard) => lost().has(shard)), WAIT)
      await world.untilAllOwn()
      const anew = await world.shardsOf(owner)
      await world.untilGoesOn(anew)
      await load.stop()

      expect(await world.judge()).toEqual([])
      const since = owner.events.slice(before)
      for (const shard of former) {
        const own = since.filter((event) => 'shard' in event && event.shard === shard)
        const claimed = own.findIndex(({ type }) => type === 'lease.claimed')
        const stale = own.slice(0, claimed === -1 ? undefined : claimed)
        // What it had committed before it was stopped it may still hear of.
        const late = stale.filter((event) => event.type === 'commit' && event.seq > (taken.get(shard) ?? 0))
        expect(late).toEqual([])
      }
      const claims = owner.said('lease.claimed', before).map(({ shard }) => shard)
      expect(anew.filter((shard) => !claims.includes(shard))).toEqual([])
      expect(owner.said('commit', before).length).toBeGreaterThan(0)
    },
  )

  test('killed again and again loses nothing and doubles nothing', { timeout: LIMIT_MS }, async () => {
    await using world = await RuntimeWorld.start({ nodes: 2, seed: 2 })
    const load = world.load()
    for (let kill = 0; kill < 3; kill++) {
      const victim = world.nodes[kill]
      if (victim === undefined) throw new Error('each kill is followed by a start')
      const former = await world.shardsOf(victim)
      await world.untilGoesOn(former)
      await victim.kill()
      await world.start()
      await world.untilAllOwn(world.nodes.slice(kill + 1))
      await world.untilGoesOn(former)
    }
    await load.stop()
    expect(await world.judge()).toEqual([])
  })
})
