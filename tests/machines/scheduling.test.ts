import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { SCHEDULER_LIMITS } from '../../machines/limits.ts'
import type { Priority } from '../../machines/spec.ts'
import { checkBooks, Pool } from './pool.ts'

describe('assigning', () => {
  test('a task goes to a free worker at once', () => {
    const pool = new Pool()
    pool.join('worker/a')
    expect(pool.submit('J.0')).toEqual([{ task: 'J.0', attempt: 1, worker: 'worker/a' }])
  })

  test('a task waits while all slots are taken, and goes when one is free', () => {
    const pool = new Pool()
    pool.join('worker/a')
    pool.submit('J.0')
    expect(pool.submit('J.1')).toEqual([])
    expect(pool.endOldest()).toMatchObject([{ task: 'J.1' }])
  })

  test('workers of another fingerprint than the one asked for are refused', () => {
    const pool = new Pool()
    pool.join('worker/a', 1, 'f1')
    pool.submit('J.0.0')
    pool.join('worker/b', 1, 'f2')
    expect(pool.submit('J.0.1', { fingerprint: 'f1' })).toEqual([])
    expect(pool.submit('K.0.0')).toMatchObject([{ task: 'K.0.0', worker: 'worker/b' }])
    expect(pool.endOldest()).toMatchObject([{ task: 'J.0.1', worker: 'worker/a' }])
  })

  test('a task that asks for a back end waits for a worker that has it', () => {
    const pool = new Pool()
    pool.join('worker/a')
    expect(pool.submit('J.0', { backend: 'webgpu' })).toEqual([])
    expect(pool.submit('J.1', { backend: 'wasm' })).toMatchObject([{ task: 'J.1' }])
  })

  test('a task that asks for another worker waits for one', () => {
    const pool = new Pool()
    pool.join('worker/a')
    pool.join('worker/b')
    pool.submit('K.0')
    pool.submit('L.0')
    pool.submit('J.0', { avoid: 'worker/a' })
    expect(pool.free({ worker: 'worker/a', task: 'K.0', attempt: 1 })).toEqual([])
    expect(pool.free({ worker: 'worker/b', task: 'L.0', attempt: 1 })).toMatchObject([
      { task: 'J.0', worker: 'worker/b' },
    ])
  })

  test('where there is no other worker, the one to avoid is better than none', () => {
    const pool = new Pool()
    pool.join('worker/a')
    expect(pool.submit('J.0', { avoid: 'worker/a' })).toMatchObject([{ worker: 'worker/a' }])
  })

  test('a task of two slots waits until one worker has both', () => {
    const pool = new Pool()
    pool.join('worker/a', 2)
    pool.submit('K.0')
    expect(pool.submit('J.0', { slots: 2 })).toEqual([])
    expect(pool.endOldest()).toMatchObject([{ task: 'J.0' }])
    expect(pool.submit('K.1')).toEqual([])
  })

  test('a draining worker gets nothing', () => {
    const pool = new Pool()
    pool.join('worker/a')
    pool.take({ type: 'worker.draining', worker: 'worker/a' })
    expect(pool.submit('J.0')).toEqual([])
  })

  test('a worker that is gone frees what it had, and is shown among the departed', () => {
    const pool = new Pool()
    pool.join('worker/a')
    pool.submit('J.0')
    pool.take({ type: 'worker.gone', worker: 'worker/a' })
    expect(pool.book.placed).toEqual({})
    expect(pool.book.departed).toMatchObject([{ worker: 'worker/a', state: 'gone' }])
  })

  test('a word about an attempt that was given up frees nothing', () => {
    const pool = new Pool()
    pool.join('worker/a')
    pool.submit('J.0', { attempt: 1 })
    pool.submit('J.0', { attempt: 2 })
    pool.free({ worker: 'worker/a', task: 'J.0', attempt: 1 })
    expect(pool.book.placed).toMatchObject({ 'J.0 2': { attempt: 2 } })
  })
})

describe('policies', () => {
  const placedBy = (policy: 'affinity' | 'least-loaded' | 'round-robin' | 'resource-aware'): string[] => {
    const pool = new Pool({ settings: { policy } })
    pool.join('worker/a', 8)
    pool.join('worker/b', 2)
    for (let i = 0; i < 4; i++) pool.submit(`J.${i}`, { data: 'd', ...(i === 3 && { prefer: 'worker/b' }) })
    return pool.assigned.map(({ worker }) => worker.slice(-1))
  }

  test('affinity: the worker of before, then one that has the data, then the least loaded', () => {
    expect(placedBy('affinity').join('')).toBe('aaab')
  })
  test('least loaded: the smallest part of its slots taken', () => {
    expect(placedBy('least-loaded').join('')).toBe('abaa')
  })
  test('round robin: in turns', () => {
    expect(placedBy('round-robin').join('')).toBe('abab')
  })
  test('resource aware: the one that is filled best', () => {
    expect(placedBy('resource-aware').join('')).toBe('bbaa')
  })

  test('a replica goes back to the worker that ran it before, before those that came earlier', () => {
    const pool = new Pool()
    pool.join('worker/a')
    pool.join('worker/b')
    pool.submit('K.0')
    pool.submit('K.1')
    pool.submit('J.1.0', { prefer: 'worker/a' })
    pool.submit('J.1.1', { prefer: 'worker/b' })
    expect(pool.free(pool.assigned[1])).toMatchObject([{ task: 'J.1.1', worker: 'worker/b' }])
  })

  test('but nobody is overtaken for that without end', () => {
    const pool = new Pool()
    pool.join('worker/a')
    pool.submit('K.0')
    pool.submit('first')
    for (let i = 0; i < 30; i++) {
      pool.submit(`J.${i}`, { prefer: 'worker/a' })
      pool.endOldest()
    }
    expect(pool.tasks.indexOf('first')).toBe(1 + SCHEDULER_LIMITS.affinityPatience)
  })
})

describe('priority and fairness', () => {
  test('high goes before normal, normal before low', () => {
    const pool = new Pool()
    for (const priority of ['low', 'normal', 'high'] as const) pool.submit(`${priority}.0`, { priority })
    pool.join('worker/a')
    pool.endOldest()
    pool.endOldest()
    expect(pool.tasks).toEqual(['high.0', 'normal.0', 'low.0'])
  })

  test.each([
    ['normal', 9],
    ['low', 33],
  ] as const)('a %s task behind an endless stream of high ones is assignment number %i', (priority, at) => {
    const pool = new Pool()
    pool.submit('last.0', { priority, owner: 'bob' })
    pool.submit('H.0', { priority: 'high' })
    pool.join('worker/a')
    for (let i = 1; i < 50; i++) {
      pool.submit(`H.${i}`, { priority: 'high' })
      pool.endOldest()
    }
    expect(pool.tasks.indexOf('last.0') + 1).toBe(at)
  })

  test('owners share the slots equally, however much each of them wants', () => {
    const pool = new Pool()
    for (let i = 0; i < 40; i++) pool.submit(`A.${i}`, { owner: 'ann' })
    for (let i = 0; i < 10; i++) pool.submit(`B.${i}`, { owner: 'bob' })
    pool.join('worker/a', 4)
    for (let i = 0; i < 12; i++) pool.endOldest()
    const byBob = pool.tasks.filter((task) => task.startsWith('B')).length
    expect([pool.tasks.length, byBob]).toEqual([16, 8])
  })

  test('an owner who comes back again and again does not stay in front of one who waits', () => {
    const pool = new Pool()
    pool.join('worker/a')
    pool.submit('B.0', { owner: 'bob' })
    pool.submit('A.0', { owner: 'ann' })
    for (let i = 1; i < 4; i++) {
      pool.submit(`B.${i}`, { owner: 'bob' })
      pool.endOldest()
    }
    expect(pool.tasks.slice(0, 2)).toEqual(['B.0', 'A.0'])
  })

  test('nobody holds more slots than the pool allows, and an admin may allow one of them more', () => {
    const pool = new Pool({ settings: { slotsPerOwner: 1, slotsOf: { eve: 3 } } })
    for (const owner of ['ann', 'eve']) for (let i = 0; i < 4; i++) pool.submit(`${owner}.${i}`, { owner })
    pool.join('worker/a', 8)
    expect(pool.tasks.toSorted()).toEqual(['ann.0', 'eve.0', 'eve.1', 'eve.2'])
    pool.take({ type: 'pool.configure', settings: { slotsPerOwner: null } })
    expect(pool.tasks).toHaveLength(7)
  })
})

describe('preemption', () => {
  const full = (): Pool => {
    const pool = new Pool()
    pool.join('worker/a', 3)
    pool.submit('L.0', { priority: 'low' })
    pool.submit('N.0')
    pool.submit('N.1')
    return pool
  }

  test('a high task that finds no room takes the slot of the lowest, once its worker has let go', () => {
    const pool = full()
    expect(pool.submit('H.0', { priority: 'high' })).toEqual([])
    expect(pool.preempted).toEqual(['L.0'])
    expect(pool.submit('L.0', { priority: 'low', attempt: 2, isBack: true })).toEqual([])
    expect(pool.free({ task: 'L.0', attempt: 1, worker: 'worker/a' })).toMatchObject([{ task: 'H.0' }])
  })

  test('of equals, what has begun last goes, and no more than is needed', () => {
    const pool = full()
    pool.submit('H.0', { priority: 'high' })
    pool.submit('H.1', { priority: 'high' })
    expect(pool.preempted).toEqual(['L.0', 'N.1'])
    pool.free({ task: 'L.0', attempt: 1, worker: 'worker/a' })
    expect(pool.preempted).toHaveLength(2)
  })

  test('who was preempted comes before the others of its queue', () => {
    const pool = full()
    pool.submit('N.2')
    pool.submit('H.0', { priority: 'high' })
    pool.submit('H.1', { priority: 'high' })
    pool.submit('N.1', { attempt: 2, isBack: true })
    pool.free({ task: 'L.0', attempt: 1, worker: 'worker/a' })
    pool.free({ task: 'N.1', attempt: 1, worker: 'worker/a' })
    expect(pool.free({ task: 'H.0', attempt: 1, worker: 'worker/a' })).toMatchObject([{ task: 'N.1', attempt: 2 }])
  })

  test('high does not take from high, nor normal from low', () => {
    const pool = new Pool()
    pool.join('worker/a', 2)
    pool.submit('H.0', { priority: 'high' })
    pool.submit('L.0', { priority: 'low' })
    pool.submit('N.0')
    expect(pool.preempted).toEqual([])
    pool.submit('H.1', { priority: 'high' })
    pool.submit('H.2', { priority: 'high' })
    expect(pool.preempted).toEqual(['L.0'])
  })

  test('what went first by its age keeps its slot', () => {
    const pool = new Pool()
    pool.submit('old.0', { owner: 'bob' })
    pool.submit('H.0', { priority: 'high' })
    pool.join('worker/a')
    for (let i = 1; i < 20 && !pool.tasks.includes('old.0'); i++) {
      pool.submit(`H.${i}`, { priority: 'high' })
      pool.endOldest()
    }
    pool.submit('H.last', { priority: 'high' })
    expect(pool.book.placed).toMatchObject({ 'old.0 1': { isLeaving: false } })
    expect(pool.preempted).toEqual([])
  })
})

describe('gangs', () => {
  const gang = (pool: Pool, job: string, size: number): void => {
    for (let i = 0; i < size; i++) pool.submit(`${job}.${i}`, { gang: size })
  }

  test('all of a gang start, or none', () => {
    const pool = new Pool()
    pool.join('worker/a', 2)
    pool.join('worker/b', 1)
    pool.submit('K.0')
    gang(pool, 'J', 3)
    expect(pool.tasks).toEqual(['K.0'])
    expect(pool.endOldest().map(({ task }) => task)).toEqual(['J.0', 'J.1', 'J.2'])
  })

  test('a gang runs on workers of one fingerprint', () => {
    const pool = new Pool()
    pool.join('worker/a', 1, 'f1')
    pool.join('worker/b', 2, 'f2')
    gang(pool, 'J', 2)
    expect(pool.assigned.map(({ worker }) => worker)).toEqual(['worker/b', 'worker/b'])
  })

  test('smaller ones go before a gang that finds no room, for a while; then the room is kept for it', () => {
    const pool = new Pool()
    pool.join('worker/a', 2)
    pool.submit('K.0')
    gang(pool, 'J', 2)
    for (let i = 1; i < 40 && !pool.tasks.includes('J.0'); i++) {
      pool.submit(`K.${i}`)
      pool.endOldest()
    }
    expect(pool.tasks).toContain('J.0')
    expect(pool.tasks.length).toBeGreaterThan(10)
  })

  test('a gang that the pool can never hold keeps nobody else out', () => {
    const pool = new Pool()
    pool.join('worker/a', 2)
    gang(pool, 'J', 3)
    for (let i = 0; i < 40; i++) {
      pool.submit(`K.${i}`)
      pool.endOldest()
    }
    expect(pool.tasks).toHaveLength(40)
  })

  test('a gang that was withdrawn before it was complete leaves nothing behind', () => {
    const pool = new Pool()
    pool.submit('J.0', { gang: 2 })
    pool.withdraw('J.0')
    expect(pool.book).toMatchObject({ gangs: {}, queues: {}, owners: {} })
  })
})

describe('slow workers', () => {
  const slowed = (): Pool => {
    const pool = new Pool()
    pool.join('worker/a')
    pool.join('worker/b')
    pool.submit('J.0')
    pool.free({ task: 'J.0', attempt: 1, worker: 'worker/a' }, 10)
    return pool
  }

  test('work rather waits for another worker than to go to a slow one', () => {
    const pool = slowed()
    expect(pool.submit('K.0', { prefer: 'worker/a' })).toMatchObject([{ worker: 'worker/b' }])
    expect(pool.submit('K.1')).toEqual([])
    expect(pool.free(pool.assigned.at(-1))).toMatchObject([{ task: 'K.1', worker: 'worker/b' }])
  })

  test('a slow worker is better than none', () => {
    const pool = slowed()
    pool.take({ type: 'worker.gone', worker: 'worker/b' })
    expect(pool.submit('K.0')).toMatchObject([{ worker: 'worker/a' }])
  })

  test('a gang for which there is no room without the slow ones takes them too', () => {
    const pool = slowed()
    pool.submit('G.0', { gang: 2 })
    expect(pool.submit('G.1', { gang: 2 })).toHaveLength(2)
  })

  test('it is tried again after a while, and twice as late when it proves slow again', () => {
    const pool = slowed()
    const sparedFor = (): number => (pool.book.workers['worker/a']?.slowUntil ?? 0) - pool.book.clock
    const first = sparedFor()
    let tried
    for (let i = 0; tried === undefined; i++) {
      for (const each of [`K.${i}`, `L.${i}`]) pool.submit(each)
      tried = Object.values(pool.book.placed).find(({ worker }) => worker === 'worker/a')
      if (tried === undefined) pool.endOldest()
    }
    expect(pool.book.clock).toBeGreaterThan(first)
    pool.free(tried, 10)
    expect(sparedFor()).toBe(2 * first)
  })

  test('a worker that is as fast as others again is treated like them', () => {
    const pool = slowed()
    pool.take({ type: 'worker.gone', worker: 'worker/b' })
    pool.submit('K.0')
    pool.free({ task: 'K.0', attempt: 1, worker: 'worker/a' }, 1)
    expect(pool.book.workers['worker/a']).toMatchObject({ strikes: 0, slowUntil: 0 })
    pool.join('worker/b')
    pool.submit('K.1')
    expect(pool.submit('K.2')).toHaveLength(1)
  })

  test('a run that has not ended for long tells that its worker is slow', () => {
    const pool = new Pool()
    pool.join('worker/a')
    pool.join('worker/b')
    pool.take({ type: 'worker.slow', worker: 'worker/a', pace: 2 })
    expect(pool.submit('K.0')).toMatchObject([{ worker: 'worker/b' }])
    expect(pool.submit('K.1')).toEqual([])
  })
})

type Step =
  | { readonly do: 'join' | 'drain' | 'gone'; readonly worker: number }
  | {
      readonly do: 'submit'
      readonly job: number
      readonly task: number
      readonly avoid: number
      readonly isBack: boolean
    }
  | { readonly do: 'withdraw'; readonly nth: number }
  | { readonly do: 'free'; readonly nth: number; readonly pace: number }
  | { readonly do: 'turn' }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('join', 'drain', 'gone'), worker: fc.nat(4) }) },
  {
    weight: 14,
    arbitrary: fc.record({
      do: fc.constant('submit'),
      job: fc.nat(7),
      task: fc.nat(40),
      avoid: fc.nat(9),
      isBack: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('withdraw'), nth: fc.nat(200) }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('free'), nth: fc.nat(9), pace: fc.constantFrom(1, 1, 5) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('turn') }) },
) as fc.Arbitrary<Step> // fc.constant widens to string

describe('laws, over any history', () => {
  test('no run is in two places or lost, no worker has more than its slots, and all books agree', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 160 }), (steps) => {
        const history = new History()
        for (const one of steps) {
          history.apply(one)
          checkBooks(history.pool)
          expect(history.strays).toEqual([])
        }
        const runs = history.pool.assigned.map(({ task, attempt }) => `${task} ${attempt}`)
        expect(new Set(runs).size).toBe(runs.length)
      }),
      { numRuns: 300 },
    )
  })

  test('a slot is never free while a task that may have it waits in the window', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const history = new History(false)
        for (const one of steps) history.apply(one)
        const { workers, queues, clock } = history.pool.book
        for (const { needs, head } of Object.values(queues)) {
          const able = Object.values(workers).filter(
            ({ state, fingerprint }) => state === 'ready' && (needs === '*' || needs === fingerprint),
          )
          const swift = able.filter(({ slowUntil }) => slowUntil <= clock)
          const fits = swift.length > 0 ? swift : able
          for (const want of head.flatMap(({ wants }) => wants)) {
            const others = fits.filter(({ worker }) => worker !== want.avoid)
            const free = (others.length > 0 ? others : fits).filter(({ used, slots }) => used < slots)
            expect(free).toEqual([])
          }
        }
      }),
      { numRuns: 200 },
    )
  })

  test('nothing starves: whatever waits runs within a bounded number of assignments, though high work never ends', () => {
    const waiting = fc.array(
      fc.record({ owner: fc.constantFrom('ann', 'bob', 'eve'), priority: fc.constantFrom('high', 'normal', 'low') }),
      { minLength: 1, maxLength: 12 },
    )
    fc.assert(
      fc.property(waiting, fc.integer({ min: 1, max: 3 }), (wanted, slots) => {
        const pool = new Pool()
        for (const [i, { owner, priority }] of wanted.entries()) {
          pool.submit(`W${i}.0`, { owner, priority: priority as Priority })
        }
        pool.join('worker/a', slots)
        for (let i = 0; i < wanted.length * 40; i++) {
          pool.submit(`H.${i}`, { owner: 'flood', priority: 'high' })
          pool.endOldest()
        }
        for (const i of wanted.keys()) expect(pool.tasks).toContain(`W${i}.0`)
      }),
      { numRuns: 50 },
    )
  })

  test('first come, first served: a queue of any length is served in its order, and the book stays small', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 0, max: 5 }), (count, between) => {
        const pool = new Pool()
        pool.join('worker/a')
        for (let i = 0; i < count; i++) {
          pool.submit(`J.${i}`)
          if (between > 0 && i % between === 0) pool.endOldest()
        }
        const window = Object.values(pool.book.queues).flatMap(({ head, tail }) => [...head, ...tail])
        expect(window.length).toBeLessThanOrEqual(3 * SCHEDULER_LIMITS.pageSize)
        while (Object.keys(pool.book.placed).length > 0) pool.endOldest()
        expect(pool.tasks).toEqual(Array.from({ length: count }, (_, i) => `J.${i}`))
        expect(pool.book).toMatchObject({ queues: {}, owners: {} })
        expect(pool.pages.size).toBe(0)
      }),
      { numRuns: 60 },
    )
  })
})

/** A pool and what its tasks know of themselves, told to do as tasks and workers do. */
class History {
  readonly pool: Pool
  readonly #attempts = new Map<string, number>()
  /** The attempt of a task that it waits or runs with. */
  readonly #current = new Map<string, { attempt: number; job: number }>()
  readonly #withGangs: boolean

  constructor(withGangs = true) {
    this.#withGangs = withGangs
    this.pool = new Pool({ turnsByItself: false })
  }

  apply(one: Step): void {
    const { pool } = this
    switch (one.do) {
      case 'join':
        pool.join(`worker/${one.worker}`, 1 + (one.worker % 3), `f${one.worker % 2}`)
        return
      case 'drain':
        pool.take({ type: 'worker.draining', worker: `worker/${one.worker}` })
        return
      case 'gone':
        for (const { task, worker, attempt } of Object.values(pool.book.placed)) {
          if (worker === `worker/${one.worker}` && this.#current.get(task)?.attempt === attempt) this.#current.delete(task) // prettier-ignore
        }
        pool.take({ type: 'worker.gone', worker: `worker/${one.worker}` })
        return
      case 'submit':
        this.#submit(one)
        return
      case 'withdraw': {
        const [task, current] = [...this.#current][one.nth] ?? []
        if (task === undefined || current === undefined) return
        this.#current.delete(task)
        pool.withdraw(task, current.attempt)
        return
      }
      case 'free': {
        const placing = Object.values(pool.book.placed)[one.nth]
        if (placing === undefined) return
        if (this.#current.get(placing.task)?.attempt === placing.attempt) this.#current.delete(placing.task)
        pool.free(placing, one.pace)
        return
      }
      case 'turn':
        pool.turnPages()
    }
  }

  /** A task that waits does not ask again; one that runs may come back, as lost or as preempted. */
  #submit({ job, task: number, avoid, isBack }: Extract<Step, { do: 'submit' }>): void {
    const task = `J${job}.${number}`
    const current = this.#current.get(task)
    if (current !== undefined && !(`${task} ${current.attempt}` in this.pool.book.placed)) return
    const attempt = (this.#attempts.get(task) ?? 0) + 1
    this.#attempts.set(task, attempt)
    this.#current.set(task, { attempt, job })
    // A job has one owner, one priority and one fingerprint, as in life.
    const priority = (['high', 'normal', 'low'] as const)[job % 3] ?? 'low'
    this.pool.submit(task, {
      attempt,
      owner: `o${job % 2}`,
      priority,
      fingerprint: job % 4 === 0 ? null : `f${job % 2}`,
      ...(avoid < 5 && { avoid: `worker/${avoid}` }),
      ...(current !== undefined && isBack && { isBack }),
      ...(this.#withGangs && job === 7 && attempt === 1 && { gang: 2 }),
    })
  }

  /** Runs that want a slot and neither wait nor have one, and runs that wait though nobody wants them to. */
  get strays(): string[] {
    const wanted = [...this.#current].map(([task, { attempt }]) => `${task} ${attempt}`)
    const { waiting, book } = this.pool
    return [
      ...wanted.filter((run) => !waiting.includes(run) && !(run in book.placed)),
      ...waiting.filter((run) => !wanted.includes(run)),
    ]
  }
}
