/** A fleet of processes is brought to new code, one node after the other, under load. */
import { expect, test } from 'vitest'
import { kindOf } from '../../runtime/mod.ts'
import { has } from '../harness/parts.ts'
import { VERSIONED } from '../simulation/actors.ts'
import { RuntimeWorld } from './runtime-world.ts'

const LIMIT_MS = 180_000

test.skipIf(!has('redis'))(
  'a rolling upgrade under load loses nothing, doubles nothing, keeps the order, and migrates each record once',
  { timeout: LIMIT_MS },
  async () => {
    await using world = await RuntimeWorld.start({ nodes: 3, seed: 10 })
    const old = [...world.nodes]
    const load = world.load()
    for (const [i, node] of old.entries()) {
      await world.untilGoesOn(await world.shardsOf(node))
      await world.start(2)
      await world.untilAllOwn(world.nodes.slice(i))
      // The last one dies of it.
      await (i === old.length - 1 ? node.kill() : node.leave())
    }
    await world.untilAllOwn(world.nodes.slice(old.length))
    await world.untilGoesOn((await world.standing()).keys())
    await load.stop()
    expect(await world.judge()).toEqual([])
    const { records, dead } = await world.evidence()
    expect(dead).toEqual([])
    const versioned = [...records].filter(([actor]) => (VERSIONED as readonly string[]).includes(kindOf(actor)))
    // Every record that was used since is migrated; the load uses all of them.
    expect(versioned.map(([, record]) => record.v)).toEqual(versioned.map(() => 2))
  },
)
