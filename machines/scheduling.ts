/**
 * Who runs what next: the scheduler's rules as pure functions over its book. Each takes a book and gives the next, with
 * the orders that follow from it.
 *
 * The order of choice:
 * 1. *Class*: high before normal before low, but a class that was passed over often enough goes first once (ageing is
 *    counted in assignments, since a chart has no clock): nothing starves.
 * 2. *Owner*: whose runs hold the fewest slots now; then who was served longest ago (fair share). Who holds as many as
 *    the pool allows waits.
 * 3. *Queue*: an owner's queues take turns. 4. *Task and worker*: first come, first served, on the worker that
 *    matching.ts finds.
 * What waits in the high class and finds no room takes it from lower ones: their runs are told to give it back.
 *
 * Invariants: 1. A run is in one place: gathering in its gang, waiting in its queue, or placed on one worker. 2. A
 * worker never has more slots taken than it has. 3. A queue is in the book exactly while something waits in it.
 * 4. `owners[o].running` is the sum of the slots of o's placed runs. 5. The book's size does not depend on how much waits.
 */
import { draft, runOf } from './book.ts'
import type { Book, Draft, Entry, Order, OwnerRow, PoolSettings, Submission, WorkerFacts, WorkerRow } from './book.ts'
import { SCHEDULER_LIMITS } from './limits.ts'
import { hasNeeds, matchOf, roomOf, victimsOf } from './matching.ts'
import type { Match } from './matching.ts'
import { enqueue, setHead, setOwner, strike, turn, wantOf } from './queue.ts'
import type { Priority } from './spec.ts'
import type { Gpu } from './views.ts'

export interface Scheduled {
  readonly book: Book
  readonly orders: readonly Order[]
}

/** A worker comes, or says again that it is there. */
export function join(book: Book, facts: WorkerFacts): Scheduled {
  const next = draft(book)
  const known = book.workers[facts.worker]
  const { worker, slots, backend, fingerprint, host, pid, joinedAt, gpus } = facts
  next.workers[worker] = {
    worker,
    slots,
    backend,
    fingerprint,
    host,
    pid,
    joinedAt,
    gpus,
    state: known?.state ?? 'ready',
    tasks: known?.tasks ?? [],
    used: known?.used ?? 0,
    servedAt: known?.servedAt ?? 0,
    data: known?.data ?? [],
    pace: known?.pace ?? 1,
    strikes: known?.strikes ?? 0,
    slowUntil: known?.slowUntil ?? 0,
  }
  return assign(next)
}

/** How a worker's GPUs are now; nothing follows from it. */
export function observe(book: Book, worker: string, gpus: readonly Gpu[]): Scheduled {
  const row = book.workers[worker]
  if (row === undefined) return { book, orders: [] }
  return { book: { ...book, workers: { ...book.workers, [worker]: { ...row, gpus } } }, orders: [] }
}

/** A worker takes no more tasks. */
export function drain(book: Book, worker: string): Scheduled {
  const row = book.workers[worker]
  if (row === undefined) return { book, orders: [] }
  return { book: { ...book, workers: { ...book.workers, [worker]: { ...row, state: 'draining' } } }, orders: [] }
}

/** A worker is gone. Its tasks come back by themselves: it has told them. */
export function leave(book: Book, worker: string): Scheduled {
  const row = book.workers[worker]
  if (row === undefined) return { book, orders: [] }
  const next = draft(book)
  for (const [run, placing] of Object.entries(book.placed)) if (placing.worker === worker) unplace(next, run)
  delete next.workers[worker]
  next.departed = [{ ...row, tasks: [], used: 0, state: 'gone' as const }, ...book.departed].slice(
    0,
    SCHEDULER_LIMITS.departedKept,
  )
  return assign(next)
}

/** A task wants to run. Its former attempt has come back, unless it was preempted: then its worker says when it stops. */
export function submit(book: Book, submission: Submission): Scheduled {
  const { task, attempt, job, gang } = submission
  const next = draft(book)
  if (submission.isBack !== true) unplace(next, runOf({ task, attempt: attempt - 1 }))
  if (gang === undefined || gang === 1) {
    enqueue(next, submission, entryOf([submission]), submission.isBack === true ? 'front' : 'end')
    return assign(next)
  }
  const submissions = [...(next.gangs[job]?.submissions ?? []), submission]
  if (submissions.length < gang) {
    next.gangs[job] = { size: gang, submissions }
    return finish(next)
  }
  delete next.gangs[job]
  enqueue(next, submission, entryOf(submissions), 'end')
  return assign(next)
}

function entryOf(submissions: readonly Submission[]): Entry {
  const { job = '', slots = 1, data } = submissions[0] ?? {}
  return { job, wants: submissions.map(wantOf), slots, passed: 0, ...(data !== undefined && { data }) }
}

/** A task no longer wants to run, wherever it is. */
export function withdraw(book: Book, submission: Submission, page: string | undefined): Scheduled {
  const next = draft(book)
  const run = runOf(submission)
  const { job } = submission
  const gang = next.gangs[job]
  if (next.placed[run] !== undefined) unplace(next, run)
  else if (gang?.submissions.some((other) => runOf(other) === run) === true) {
    const submissions = gang.submissions.filter((other) => runOf(other) !== run)
    if (submissions.length > 0) next.gangs[job] = { ...gang, submissions }
    else delete next.gangs[job]
  } else strike(next, submission, run, page)
  return assign(next)
}

/** A page of a queue has given back what it held. */
export function takeTurn(book: Book, queue: string, entries: readonly Entry[]): Scheduled {
  const next = draft(book)
  turn(next, queue, entries)
  return assign(next)
}

/** A worker has done with a run; `pace` says how long it took, as a multiple of what others need. */
export function free(book: Book, worker: string, run: string, pace: number | undefined): Scheduled {
  const placing = book.placed[run]
  if (placing?.worker !== worker) return { book, orders: [] }
  const next = draft(book)
  unplace(next, run)
  const row = next.workers[worker]
  if (row !== undefined && pace !== undefined) next.workers[worker] = paced(row, pace, next.clock)
  return assign(next)
}

/** A run takes so long that its worker must be slow, though it has not ended. */
export function suspect(book: Book, worker: string, pace: number): Scheduled {
  const row = book.workers[worker]
  if (row === undefined) return { book, orders: [] }
  return {
    book: { ...book, workers: { ...book.workers, [worker]: paced(row, Math.max(pace, row.pace), book.clock) } },
    orders: [],
  }
}

/** What a worker's last run says of its pace. A slow one is spared for a while, longer each time that it proves slow. */
function paced(row: WorkerRow, pace: number, clock: number): WorkerRow {
  const { paceSlow, paceTolerated, paceMemory, spareAssignments, spareDoublings } = SCHEDULER_LIMITS
  const mixed = paceMemory * row.pace + (1 - paceMemory) * pace
  if (pace >= paceSlow) {
    const strikes = row.strikes + 1
    const spared = spareAssignments * 2 ** Math.min(row.strikes, spareDoublings)
    return { ...row, pace: Math.max(pace, mixed), strikes, slowUntil: clock + spared }
  }
  if (pace <= paceTolerated) return { ...row, pace: Math.min(mixed, pace * paceTolerated), strikes: 0, slowUntil: 0 }
  return { ...row, pace: mixed }
}

export function configure(book: Book, settings: Partial<PoolSettings>): Scheduled {
  return assign(draft({ ...book, settings: { ...book.settings, ...settings } }))
}

/** Assigns for as long as an entry and a worker fit each other, and then sees who must make room. */
function assign(next: Draft): Scheduled {
  /** Queues of which nothing may go to a worker that is free now. */
  const blocked = new Set<string>()
  /** Queues whose next is a gang that others go before. */
  const passed = new Set<string>()
  while (Object.values(next.workers).some((row) => roomOf(row) > 0)) {
    const choice = nextQueue(next, blocked)
    const queue = choice === null ? undefined : next.queues[choice.name]
    if (choice === null || queue === undefined) break
    const match = matchOf(next, queue)
    if (match === 'hold') break
    if (typeof match === 'string') {
      blocked.add(choice.name)
      if (match === 'gang') passed.add(choice.name)
      continue
    }
    place(next, choice.name, match, choice.isAged)
    for (const name of passed) passOver(next, name)
  }
  makeRoom(next)
  return finish(next)
}

function finish({ orders, ...book }: Draft): Scheduled {
  return { book, orders }
}

const PRIORITIES = ['high', 'normal', 'low'] as const

interface Choice {
  readonly name: string
  readonly isAged: boolean
}

function nextQueue(book: Draft, blocked: ReadonlySet<string>): Choice | null {
  const { normal, low } = SCHEDULER_LIMITS.passedOverMax
  const overdue = [
    ...(book.passedOver.low >= low ? (['low'] as const) : []),
    ...(book.passedOver.normal >= normal ? (['normal'] as const) : []),
  ]
  for (const [rank, priority] of [...overdue, ...PRIORITIES].entries()) {
    const name = nextQueueOf(book, priority, blocked)
    if (name !== null) return { name, isAged: rank < overdue.length }
  }
  return null
}

/** The next queue of a class, by its owner's share. */
function nextQueueOf(book: Draft, priority: Priority, blocked: ReadonlySet<string>): string | null {
  const free = Object.values(book.workers).filter((row) => roomOf(row) > 0)
  let best: { name: string; owner: OwnerRow; servedAt: number } | null = null
  for (const [name, queue] of Object.entries(book.queues)) {
    if (queue.priority !== priority || queue.head.length === 0 || blocked.has(name)) continue
    const owner = book.owners[queue.owner] ?? { running: 0, servedAt: 0, queues: 0 }
    if (!mayHaveMore(book, queue.owner, owner, queue.head[0])) continue
    const order = best === null ? -1 : shareOrder(owner, best.owner) || queue.servedAt - best.servedAt
    if (order >= 0 || !free.some((row) => hasNeeds(row, queue.needs))) continue
    best = { name, owner, servedAt: queue.servedAt }
  }
  return best?.name ?? null
}

function shareOrder(a: OwnerRow, b: OwnerRow): number {
  return a.running - b.running || a.servedAt - b.servedAt
}

function mayHaveMore({ settings }: Draft, name: string, owner: OwnerRow, entry: Entry | undefined): boolean {
  const quota = settings.slotsOf[name] ?? settings.slotsPerOwner
  return quota === null || owner.running + (entry === undefined ? 1 : entry.slots * entry.wants.length) <= quota
}

function place(next: Draft, name: string, { index, entry, workers }: Match, isAged: boolean): void {
  const queue = next.queues[name]
  if (queue === undefined) return
  const { owner, priority } = queue
  for (const [i, { task, attempt }] of entry.wants.entries()) {
    const row = next.workers[workers[i] ?? '']
    if (row === undefined) continue
    const { worker, fingerprint } = row
    next.clock += 1
    next.passedOver = passedOver(next, priority)
    next.workers[worker] = {
      ...row,
      tasks: [...row.tasks, task],
      used: row.used + entry.slots,
      servedAt: next.clock,
      data: entry.data === undefined ? row.data : withData(row.data, entry.data),
    }
    const { slots } = entry
    const at = next.clock
    next.placed[runOf({ task, attempt })] = { task, attempt, worker, owner, priority, slots, at, isAged, isLeaving: false } // prettier-ignore
    next.orders.push({ do: 'assign', task, attempt, worker, fingerprint })
  }
  const row = next.owners[owner] ?? { running: 0, servedAt: 0, queues: 0 }
  next.owners[owner] = { ...row, running: row.running + entry.slots * entry.wants.length, servedAt: next.clock }
  // Who stood before it was passed over once more.
  const head = queue.head.toSpliced(index, 1).map((other, i) => (i < index ? overtaken(other) : other))
  setHead(next, name, { ...queue, servedAt: next.clock }, head)
}

function withData(data: readonly string[], newest: string): readonly string[] {
  if (data[0] === newest) return data
  return [newest, ...data.filter((other) => other !== newest)].slice(0, SCHEDULER_LIMITS.dataKept)
}

function overtaken(entry: Entry): Entry {
  return { ...entry, passed: entry.passed + 1 }
}

function passOver(next: Draft, name: string): void {
  const queue = next.queues[name]
  const [first, ...others] = queue?.head ?? []
  if (queue !== undefined && first !== undefined) next.queues[name] = { ...queue, head: [overtaken(first), ...others] }
}

/** Ageing: each lower class in which somebody waits has been passed over once more. */
function passedOver(book: Draft, served: Priority): Book['passedOver'] {
  const count = (priority: 'normal' | 'low'): number => {
    const before = book.passedOver[priority]
    if (served === priority) return 0
    const isHigher = PRIORITIES.indexOf(served) < PRIORITIES.indexOf(priority)
    return isHigher && isWaitedIn(book, priority) ? before + 1 : before
  }
  return { normal: count('normal'), low: count('low') }
}

function isWaitedIn(book: Draft, priority: Priority): boolean {
  for (const name in book.queues) if (name.startsWith(`${priority} `)) return true
  return false
}

/** What waits in the high class and found no room gets that of lower ones, as soon as their workers have let go. */
function makeRoom(next: Draft): void {
  for (const [name, queue] of Object.entries(next.queues)) {
    const [first] = queue.head
    if (queue.priority !== 'high' || first === undefined) continue
    const owner = next.owners[queue.owner] ?? { running: 0, servedAt: 0, queues: 0 }
    if (!mayHaveMore(next, queue.owner, owner, first)) continue
    for (const run of victimsOf(next, next.queues[name] ?? queue)) {
      const placing = next.placed[run]
      if (placing === undefined) continue
      next.placed[run] = { ...placing, isLeaving: true }
      next.orders.push({ do: 'preempt', task: placing.task, attempt: placing.attempt })
    }
  }
}

/** Takes a run off its worker. */
function unplace(next: Draft, run: string): void {
  const placing = next.placed[run]
  if (placing === undefined) return
  delete next.placed[run]
  const row = next.workers[placing.worker]
  if (row !== undefined) {
    const index = row.tasks.indexOf(placing.task)
    next.workers[placing.worker] = { ...row, tasks: row.tasks.toSpliced(index, 1), used: row.used - placing.slots }
  }
  const owner = next.owners[placing.owner]
  if (owner !== undefined) setOwner(next, placing.owner, { ...owner, running: owner.running - placing.slots })
}
