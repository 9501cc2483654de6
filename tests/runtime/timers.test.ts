/** What an owner keeps in memory of its shard's timers (runtime/timers.ts). */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { address } from '../../runtime/address.ts'
import { Timers } from '../../runtime/timers.ts'
import type { TimerEntry } from '../../runtime/transport.ts'

const timer = (id: number, due: number): TimerEntry => ({
  actor: address('clock', String(id)),
  name: 'tick',
  gen: 1,
  due,
})

/** The timer set of a shard, as the transport holds it. */
class Held {
  readonly all = new Map<string, TimerEntry>()
  asked = 0

  readonly fetch = async (until: number, limit: number) => {
    this.asked++
    const sorted = [...this.all.values()].sort((a, b) => a.due - b.due)
    const timers = sorted.filter(({ due }) => due <= until).slice(0, limit)
    return { timers, next: sorted[timers.length]?.due ?? null }
  }

  commit(set: readonly TimerEntry[], cleared: readonly TimerEntry[]): void {
    for (const each of set) this.all.set(each.actor, each)
    for (const each of cleared) this.all.delete(each.actor)
  }
}

test('each timer is due once, in time and in order, whatever is set and cleared meanwhile', async () => {
  const step = fc.record({
    pass: fc.integer({ min: 0, max: 700 }),
    set: fc.array(fc.integer({ min: 1, max: 3_000 }), { maxLength: 6 }),
    clear: fc.array(fc.nat(), { maxLength: 3 }),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const held = new Held()
      const timers = new Timers(held.fetch, { timersDueMax: 4, timersGrainMs: 0 })
      let now = 10_000
      let ids = 0
      for (const { pass, set, clear } of [...steps, { pass: 4_000, set: [], clear: [] }]) {
        now += pass
        while (timers.next <= now) {
          const due = await timers.due(now)
          expect(due.map((each) => each.due)).toEqual(due.map((each) => each.due).sort((a, b) => a - b))
          for (const each of due) expect(held.all.get(each.actor)).toBe(each)
          held.commit([], due)
          timers.follow([], due)
        }
        for (const each of held.all.values()) expect(each.due).toBeGreaterThan(now)
        const added = set.map((after) => timer(ids++, now + after))
        const there = [...held.all.values()]
        const gone = clear.flatMap((i) => there[i % Math.max(1, there.length)] ?? [])
        held.commit(added, gone)
        timers.follow(added, gone)
      }
      expect(held.all.size).toBe(0)
    }),
  )
})

test('who has many timers asks for those of a second at once, and not for each', async () => {
  const held = new Held()
  held.commit(
    Array.from({ length: 500 }, (_, i) => timer(i, 1_000 + i)),
    [],
  )
  const timers = new Timers(held.fetch, { timersDueMax: 1_000, timersGrainMs: 0 })
  let fired = 0
  for (let now = 900; now < 1_600; now++) {
    const due = await timers.due(now)
    held.commit([], due)
    timers.follow([], due)
    fired += due.length
  }
  expect(fired).toBe(500)
  expect(held.asked).toBe(1)
})

test('a lone timer is taken when it is due, and a stream of them in batches', async () => {
  const held = new Held()
  held.commit(
    [1_000, 1_001, 1_002, 1_003, 1_200].map((due, i) => timer(i, due)),
    [],
  )
  const timers = new Timers(held.fetch, { timersDueMax: 1_000, timersGrainMs: 10 })
  const taken: [number, number][] = []
  for (let now = 900; now < 1_300; now++) {
    const due = await timers.due(now)
    if (due.length > 0) taken.push([now, due.length])
  }
  expect(taken).toEqual([
    [1_000, 1],
    [1_010, 3],
    [1_200, 1],
  ])
})
