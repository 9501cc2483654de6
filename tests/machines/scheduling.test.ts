import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { schedule } from '../../machines/scheduler.ts'
import type { SchedulerEvent } from '../../machines/scheduler.ts'
import { EMPTY_BOOK } from '../../machines/scheduling.ts'
import type { Assignment, Book } from '../../machines/scheduling.ts'
import type { Priority } from '../../machines/spec.ts'

/** A scheduler's book with all that it ever assigned. */
class Pool {
  book: Book = EMPTY_BOOK
  readonly assigned: Assignment[] = []

  take(event: SchedulerEvent): readonly Assignment[] {
    const { book, assignments } = schedule(this.book, event)
    this.book = book
    this.assigned.push(...assignments)
    return assignments
  }

  join(worker: string, slots = 1, fingerprint = 'f1'): readonly Assignment[] {
    const facts = { worker, slots, fingerprint, backend: 'wasm', host: 'h', pid: 1, joinedAt: 0 }
    return this.take({ type: 'worker.joined', ...facts })
  }

  submit(task: string, more: Partial<Extract<SchedulerEvent, { type: 'task.submit' }>> = {}): readonly Assignment[] {
    const defaults = {
      attempt: 1,
      job: task.split('.')[0] ?? task,
      owner: 'ann',
      priority: 'normal',
      home: '0',
    } as const
    return this.take({ type: 'task.submit', task, ...defaults, ...more })
  }

  /** The oldest task that runs has ended. */
  endOldest(): readonly Assignment[] {
    const { task = '', worker = '', attempt = 0 } = this.assigned.find((one) => one.task in this.book.placed) ?? {}
    return this.take({ type: 'worker.freed', worker, task, attempt })
  }

  get tasks(): string[] {
    return this.assigned.map(({ task }) => task)
  }
}

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

  test('tasks spread over the least loaded workers', () => {
    const pool = new Pool()
    pool.join('worker/a', 2)
    pool.join('worker/b', 2)
    for (const home of ['0', '1', '2']) pool.submit(`J.${home}`, { home })
    expect(pool.assigned.map(({ worker }) => worker)).toEqual(['worker/a', 'worker/b', 'worker/a'])
  })

  test('a replica goes back to the worker that ran it before', () => {
    const pool = new Pool()
    pool.join('worker/a')
    pool.join('worker/b')
    pool.submit('J.0.0', { home: '0' })
    pool.submit('J.0.1', { home: '1' })
    pool.endOldest()
    pool.endOldest()
    pool.submit('J.1.1', { home: '1' })
    pool.submit('J.1.0', { home: '0' })
    expect(pool.assigned.slice(2)).toMatchObject([
      { task: 'J.1.1', worker: 'worker/b' },
      { task: 'J.1.0', worker: 'worker/a' },
    ])
  })

  test('workers of another fingerprint than the first are refused for a job', () => {
    const pool = new Pool()
    pool.join('worker/a', 1, 'f1')
    pool.submit('J.0.0')
    pool.join('worker/b', 1, 'f2')
    expect(pool.submit('J.0.1')).toEqual([])
    expect(pool.submit('K.0.0')).toMatchObject([{ task: 'K.0.0', worker: 'worker/b' }])
    expect(pool.endOldest()).toMatchObject([{ task: 'J.0.1', worker: 'worker/a' }])
  })

  test('a task that asks for another worker waits for one', () => {
    const pool = new Pool()
    pool.join('worker/a')
    pool.join('worker/b')
    pool.submit('K.0', { home: 'k' })
    pool.submit('L.0', { home: 'l' })
    pool.submit('J.0', { avoid: 'worker/a' })
    expect(pool.take({ type: 'worker.freed', worker: 'worker/a', task: 'K.0', attempt: 1 })).toEqual([])
    expect(pool.take({ type: 'worker.freed', worker: 'worker/b', task: 'L.0', attempt: 1 })).toMatchObject([
      { task: 'J.0', worker: 'worker/b' },
    ])
  })

  test('where there is no other worker, the one to avoid is better than none', () => {
    const pool = new Pool()
    pool.join('worker/a')
    expect(pool.submit('J.0', { avoid: 'worker/a' })).toMatchObject([{ worker: 'worker/a' }])
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
    pool.take({ type: 'worker.freed', worker: 'worker/a', task: 'J.0', attempt: 1 })
    expect(pool.book.placed).toMatchObject({ 'J.0': { attempt: 2 } })
  })

  test('a job that has ended leaves nothing behind', () => {
    const pool = new Pool()
    pool.submit('J.0')
    pool.submit('J.1')
    pool.take({ type: 'job.ended', job: 'J' })
    expect(pool.book).toMatchObject({ jobs: {}, owners: {}, lanes: {} })
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

  test("an owner's jobs take turns", () => {
    const pool = new Pool()
    for (const job of ['J', 'K', 'L']) for (let i = 0; i < 2; i++) pool.submit(`${job}.${i}`)
    pool.join('worker/a')
    for (let i = 0; i < 5; i++) pool.endOldest()
    expect(pool.tasks).toEqual(['J.0', 'K.0', 'L.0', 'J.1', 'K.1', 'L.1'])
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
})

type Step =
  | { readonly do: 'join' | 'drain' | 'gone'; readonly worker: number }
  | {
      readonly do: 'submit'
      readonly job: number
      readonly task: number
      readonly priority: Priority
      readonly avoid: number
    }
  | { readonly do: 'withdraw'; readonly job: number; readonly task: number }
  | { readonly do: 'free'; readonly nth: number }
  | { readonly do: 'end'; readonly job: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom('join', 'drain', 'gone'),
      worker: fc.nat(4),
    }),
  },
  {
    weight: 10,
    arbitrary: fc.record({
      do: fc.constant('submit'),
      job: fc.nat(5),
      task: fc.nat(6),
      priority: fc.constantFrom('high', 'normal', 'low'),
      avoid: fc.nat(9),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('withdraw'), job: fc.nat(5), task: fc.nat(6) }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('free'), nth: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('end'), job: fc.nat(5) }) },
) as fc.Arbitrary<Step> // fc.constant widens to string

describe('laws, over any history', () => {
  test('no task is in two places, no worker has more tasks than slots, and all books agree', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const pool = new Pool()
        const attempts = new Map<string, number>()
        for (const one of steps) {
          apply(pool, attempts, one)
          checkInvariants(pool.book)
        }
        expect(new Set(pool.assigned.map(({ task, attempt }) => `${task} ${attempt}`)).size).toBe(pool.assigned.length)
      }),
      { numRuns: 400 },
    )
  })

  test('a slot is never free while a task that may have it waits', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const pool = new Pool()
        const attempts = new Map<string, number>()
        for (const one of steps) apply(pool, attempts, one)
        for (const job of Object.values(pool.book.jobs)) {
          for (const waiting of job.waiting) {
            const fits = Object.values(pool.book.workers).filter(
              (worker) => worker.state === 'ready' && (job.fingerprint ?? worker.fingerprint) === worker.fingerprint,
            )
            const others = fits.filter(({ worker }) => worker !== waiting.avoid)
            const free = (others.length > 0 ? others : fits).filter(({ tasks, slots }) => tasks.length < slots)
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
})

function apply(pool: Pool, attempts: Map<string, number>, one: Step): void {
  switch (one.do) {
    case 'join':
      pool.join(`worker/${one.worker}`, 1 + (one.worker % 3), `f${one.worker % 2}`)
      return
    case 'drain':
      pool.take({ type: 'worker.draining', worker: `worker/${one.worker}` })
      return
    case 'gone':
      pool.take({ type: 'worker.gone', worker: `worker/${one.worker}` })
      return
    case 'submit': {
      const task = `J${one.job}.${one.task}`
      const attempt = (attempts.get(task) ?? 0) + 1
      attempts.set(task, attempt)
      // A job has one owner and one priority, as in life.
      const priority = (['high', 'normal', 'low'] as const)[one.job % 3] ?? 'low'
      const avoid = one.avoid < 5 ? { avoid: `worker/${one.avoid}` } : {}
      pool.submit(task, { attempt, owner: `o${one.job % 2}`, priority, home: String(one.task % 2), ...avoid })
      return
    }
    case 'withdraw':
      pool.take({ type: 'task.withdraw', task: `J${one.job}.${one.task}`, job: `J${one.job}`, ack: false })
      return
    case 'free': {
      const [task = '', placing] = Object.entries(pool.book.placed)[one.nth] ?? []
      if (placing) pool.take({ type: 'worker.freed', worker: placing.worker, task, attempt: placing.attempt })
      return
    }
    case 'end':
      pool.take({ type: 'job.ended', job: `J${one.job}` })
  }
}

function checkInvariants(book: Book): void {
  const onWorkers = Object.values(book.workers).flatMap(({ worker, tasks }) => tasks.map((task) => `${task} ${worker}`))
  expect(onWorkers.toSorted()).toEqual(
    Object.entries(book.placed)
      .map(([task, { worker }]) => `${task} ${worker}`)
      .toSorted(),
  )
  for (const { tasks, slots } of Object.values(book.workers)) expect(tasks.length).toBeLessThanOrEqual(slots)
  const waiting = Object.values(book.jobs).flatMap((job) => job.waiting.map(({ task }) => task))
  const everywhere = [...waiting, ...Object.keys(book.placed)]
  expect(new Set(everywhere).size).toBe(everywhere.length)

  const inLanes = Object.entries(book.lanes).flatMap(([name, lane]) =>
    Object.entries(lane).flatMap(([owner, jobs]) => jobs.map((job) => `${name} ${owner} ${job}`)),
  )
  const expected = Object.entries(book.jobs)
    .filter(([, job]) => job.waiting.length > 0)
    .map(([name, job]) => `${job.priority} ${job.fingerprint ?? '*'} ${job.owner} ${name}`)
  expect(inLanes.toSorted()).toEqual(expected.toSorted())

  const running = new Map<string, number>()
  for (const { owner } of Object.values(book.placed)) running.set(owner, (running.get(owner) ?? 0) + 1)
  for (const [owner, row] of Object.entries(book.owners)) {
    expect(row.running).toBe(running.get(owner) ?? 0)
    expect(row.running + row.turns).toBeGreaterThan(0)
  }
}
