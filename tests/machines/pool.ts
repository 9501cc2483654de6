/**
 * A scheduler's book with all that it ever assigned, and pages of its queues beside it, which give their entries back at
 * once or when a test says so.
 */
import { expect } from 'vitest'
import { emptyBook, runOf } from '../../machines/book.ts'
import type { Book, Entry, Order, PoolSettings } from '../../machines/book.ts'
import { schedule } from '../../machines/scheduler.ts'
import type { SchedulerEvent } from '../../machines/scheduler.ts'
import { without } from '../../machines/queue.ts'

export type Assignment = Omit<Extract<Order, { do: 'assign' }>, 'do' | 'fingerprint'>
type Submitted = Extract<SchedulerEvent, { type: 'task.submit' }>

export class Pool {
  book: Book
  readonly assigned: Assignment[] = []
  readonly preempted: string[] = []
  /** Pages that hold something, by address. */
  readonly pages = new Map<string, { readonly queue: string; entries: readonly Entry[]; isAsked: boolean }>()
  /** Where a run was told that it is parked. */
  readonly places = new Map<string, string>()
  readonly submissions = new Map<string, Submitted>()
  readonly #turnsByItself: boolean

  constructor(options: { settings?: Partial<PoolSettings>; turnsByItself?: boolean } = {}) {
    this.book = emptyBook('default', options.settings)
    this.#turnsByItself = options.turnsByItself ?? true
  }

  take(event: SchedulerEvent): readonly Assignment[] {
    const { book, orders } = schedule(this.book, event)
    this.book = book
    const assignments = orders.flatMap((order) => (order.do === 'assign' ? [assignmentOf(order)] : []))
    this.assigned.push(...assignments)
    for (const order of orders) this.#carryOut(order)
    if (this.#turnsByItself) this.turnPages()
    return assignments
  }

  #carryOut(order: Order): void {
    if (order.do === 'preempt') this.preempted.push(order.task)
    if (order.do === 'park') {
      this.pages.set(order.page, { queue: order.queue, entries: order.entries, isAsked: false })
      for (const want of order.entries.flatMap(({ wants }) => wants)) this.places.set(runOf(want), order.page)
    }
    if (order.do !== 'turn' && order.do !== 'strike') return
    const page = this.pages.get(order.page)
    if (page === undefined || page.isAsked) throw new Error(`${order.do} for ${order.page}, which is not there`)
    if (order.do === 'turn') page.isAsked = true
    else page.entries = without(page.entries, order.run)
  }

  /** The pages that were asked for their entries give them. */
  turnPages(): void {
    for (const [address, { queue, entries, isAsked }] of this.pages) {
      if (!isAsked) continue
      this.pages.delete(address)
      this.take({ type: 'page.turned', queue, entries })
    }
  }

  join(worker: string, slots = 1, fingerprint = 'f1'): readonly Assignment[] {
    const facts = { worker, slots, fingerprint, backend: 'wasm', host: 'h', pid: 1, joinedAt: 0, gpus: [] }
    return this.take({ type: 'worker.joined', ...facts })
  }

  submit(task: string, more: Partial<Submitted> = {}): readonly Assignment[] {
    const submission: Submitted = {
      type: 'task.submit',
      task,
      attempt: 1,
      job: task.split('.')[0] ?? task,
      owner: 'ann',
      priority: 'normal',
      fingerprint: null,
      ...more,
    }
    this.submissions.set(runOf(submission), submission)
    return this.take(submission)
  }

  withdraw(task: string, attempt = 1): readonly Assignment[] {
    const run = runOf({ task, attempt })
    const submission = this.submissions.get(run)
    if (submission === undefined) throw new Error(`${run} was never submitted`)
    const page = this.places.get(run)
    return this.take({ ...submission, type: 'task.withdraw', ack: false, ...(page !== undefined && { page }) })
  }

  /** A run has ended. */
  free(assignment: Assignment | undefined, pace?: number): readonly Assignment[] {
    if (assignment === undefined) return []
    return this.take({ type: 'worker.freed', ...assignment, ...(pace !== undefined && { pace }) })
  }

  /** The oldest run that is still placed has ended. */
  endOldest(): readonly Assignment[] {
    return this.free(this.assigned.find((one) => runOf(one) in this.book.placed))
  }

  get tasks(): string[] {
    return this.assigned.map(({ task }) => task)
  }

  /** Everything that waits, wherever it is. */
  get waiting(): string[] {
    const queues = Object.values(this.book.queues)
    const entries = [
      ...queues.flatMap(({ head, tail }) => [...head, ...tail]),
      ...[...this.pages.values()].flatMap((page) => page.entries),
    ]
    const struck = new Set(queues.flatMap((queue) => queue.struck))
    const gathering = Object.values(this.book.gangs).flatMap(({ submissions }) => submissions)
    return [...entries.flatMap(({ wants }) => wants), ...gathering].map(runOf).filter((run) => !struck.has(run))
  }
}

function assignmentOf({ task, attempt, worker }: Assignment): Assignment {
  return { task, attempt, worker }
}

/** The invariants at the head of scheduling.ts. */
export function checkBooks(pool: Pool): void {
  const { workers, placed, owners, queues } = pool.book
  const everywhere = [...pool.waiting, ...Object.keys(placed)]
  expect(new Set(everywhere).size).toBe(everywhere.length)
  for (const { worker, slots, used, tasks } of Object.values(workers)) {
    const here = Object.values(placed).filter((placing) => placing.worker === worker)
    expect(used).toBe(here.reduce((sum, placing) => sum + placing.slots, 0))
    expect(used).toBeLessThanOrEqual(slots)
    expect(tasks.toSorted()).toEqual(here.map(({ task }) => task).toSorted())
  }
  for (const { head, first, next, tail } of Object.values(queues)) {
    expect(head.length + tail.length + (next - first)).toBeGreaterThan(0)
  }
  for (const [name, { running, queues: count }] of Object.entries(owners)) {
    const own = Object.values(placed).filter(({ owner }) => owner === name)
    expect(running).toBe(own.reduce((sum, placing) => sum + placing.slots, 0))
    expect(count).toBe(Object.values(queues).filter(({ owner }) => owner === name).length)
    expect(running + count).toBeGreaterThan(0)
  }
}
