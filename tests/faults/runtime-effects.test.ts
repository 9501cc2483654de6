/** What an owner had begun when it was killed: effects and timers, as processes on a real Redis. */
import { describe, expect, test, vi } from 'vitest'
import type { ActorAddress } from '../../runtime/mod.ts'
import { has } from '../harness/parts.ts'
import type { ErrandContext } from '../simulation/actors.ts'
import { ERRANDS, RuntimeWorld, WAIT, WAITERS } from './runtime-world.ts'

const LIMIT_MS = 180_000

describe.skipIf(!has('redis'))('after kill -9 of an owner', () => {
  test(
    'its effects run again under the same key, unless their state has been left meanwhile',
    {
      timeout: LIMIT_MS,
    },
    async () => {
      await using world = await RuntimeWorld.start({ nodes: 2, seed: 3 })
      const [owner, heir] = world.nodes
      if (owner === undefined || heir === undefined) throw new Error('two nodes were started')
      // Longer than a takeover.
      for (const errand of ERRANDS) world.send(errand, { type: 'do', mode: { ms: 4_000, fails: 0, givesUp: false } })
      const startedBy = (id: string) =>
        world.history.runs.flatMap((run) => (run.process === id ? [run.actor as ActorAddress] : []))
      await vi.waitUntil(() => world.history.runs.length === ERRANDS.length, WAIT)
      const orphans = startedBy(owner.id)
      expect(orphans.length).toBeGreaterThan(3)
      await owner.kill()
      const left = orphans.filter((_, i) => i % 2 === 0)
      for (const errand of left) world.send(errand, { type: 'halt' })

      expect(await world.judge()).toEqual([])
      const { records } = await world.evidence()
      const endsOf = (actor: ActorAddress) => {
        const context = records.get(actor)?.s.context as unknown as ErrandContext | undefined // its chart wrote it
        return context?.ends.map((end) => end.split('|')[0])
      }
      for (const errand of ERRANDS) {
        const runs = world.history.runs.filter(({ actor }) => actor === errand)
        expect(new Set(runs.map(({ key }) => key)).size).toBe(1)
        expect(endsOf(errand)).toEqual([left.includes(errand) ? 'halted' : 'done'])
      }
      // Of those that were left, some may not have begun again at all.
      for (const errand of orphans.filter((each) => !left.includes(each))) {
        const runs = world.history.runs.filter(({ actor }) => actor === errand)
        expect(runs.map((run) => run.process)).toEqual([owner.id, heir.id])
      }
      const ended = heir.said('effect.ended')
      const outcomesOf = (actor: ActorAddress) => ended.flatMap((each) => (each.actor === actor ? [each.outcome] : []))
      for (const errand of left) {
        const again = world.history.runs.some(({ actor, process }) => actor === errand && process === heir.id)
        expect(outcomesOf(errand)).toEqual(again ? ['aborted'] : [])
      }
    },
  )

  test('a result is taken once, whether it was committed or not', { timeout: LIMIT_MS }, async () => {
    await using world = await RuntimeWorld.start({ nodes: 2, seed: 4 })
    const [owner] = world.nodes
    if (owner === undefined) throw new Error('two nodes were started')
    // One after the other on each: at any moment some have just ended.
    const over = new AbortController()
    const sending = (async () => {
      while (!over.signal.aborted) {
        for (const errand of ERRANDS) world.send(errand, { type: 'do', mode: { ms: 1, fails: 0, givesUp: false } })
        await vi.waitUntil(() => world.history.sent.every(({ outcome }) => outcome.kind !== 'pending'), WAIT)
      }
    })()
    await vi.waitUntil(() => owner.said('effect.ended').length > 100, WAIT)
    await owner.kill()
    over.abort()
    await sending
    expect(await world.judge()).toEqual([])
  })

  test('its timers fire, once', { timeout: LIMIT_MS }, async () => {
    await using world = await RuntimeWorld.start({ nodes: 2, seed: 5 })
    const [owner, heir] = world.nodes
    if (owner === undefined || heir === undefined) throw new Error('two nodes were started')
    for (const waiter of WAITERS) world.send(waiter, { type: 'both' })
    // Some have fired then, some are about to, and some are due while nobody owns them.
    await vi.waitUntil(() => owner.said('timer.fired').length > 0, WAIT)
    await owner.kill()
    for (const waiter of WAITERS) world.send(waiter, { type: 'remind' })
    expect(await world.judge()).toEqual([])
    const fired = [...(await world.evidence()).journal.values()]
      .flat()
      .filter(({ event }) => /^(ring|xstate.after)/.test(event))
    expect(fired.length).toBeGreaterThanOrEqual(2 * WAITERS.length)
    expect(heir.said('timer.fired').length).toBeGreaterThan(WAITERS.length)
  })
})
