/** A fleet of processes is brought to new code, one node after the other, under load. */
import { expect, test, vi } from 'vitest'
import { kindOf } from '../../runtime/mod.ts'
import { has } from '../harness/parts.ts'
import { VERSIONED } from '../simulation/actors.ts'
import { ERRANDS, LEDGERS, RuntimeWorld, WAIT, WAITERS } from './runtime-world.ts'

const LIMIT_MS = 180_000

test.skipIf(!has('redis'))(
  'a rolling upgrade under load loses nothing, doubles nothing, keeps the order, and migrates each record once',
  { timeout: LIMIT_MS },
  async () => {
    await using world = await RuntimeWorld.start({ nodes: 3, seed: 10 })
    const old = [...world.nodes]
    const load = world.load()
    // The first of the new ones dies again: what it has migrated falls to older code, which holds what is for it.
    const first = await world.start(2)
    await world.untilAllOwn()
    await world.untilGoesOn(await world.shardsOf(first))
    await first.kill()
    await vi.waitUntil(() => old.some((node) => node.said('message.held').length > 0), WAIT)
    for (const [i, node] of old.entries()) {
      await world.untilGoesOn(await world.shardsOf(node))
      const young = await world.start(2)
      await world.untilAllOwn([...old.slice(i), young])
      // The last one dies of it.
      await (i === old.length - 1 ? node.kill() : node.leave())
    }
    await world.untilAllOwn(world.nodes.slice(-old.length))
    await world.untilGoesOn((await world.standing()).keys())
    await load.stop()
    for (const ledger of LEDGERS) world.send(ledger, { type: 'pass', next: [] })
    for (const errand of ERRANDS) world.send(errand, { type: 'halt' })
    for (const waiter of WAITERS) world.send(waiter, { type: 'disarm' })
    expect(await world.judge()).toEqual([])
    const { records, dead } = await world.evidence()
    expect(dead).toEqual([])
    const versioned = [...records].filter(([actor]) => (VERSIONED as readonly string[]).includes(kindOf(actor)))
    // Every record that has been used since is migrated.
    expect(versioned.map(([, record]) => record.v)).toEqual(versioned.map(() => 2))
  },
)
