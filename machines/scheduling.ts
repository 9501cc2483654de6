/**
 * Who runs what next: the scheduler's rules as pure functions over its book. A book is plain JSON; each function takes
 * one and gives the next, with the assignments that follow from it.
 *
 * The order of choice:
 * 1. *Class*: high before normal before low, but a class that was passed over often enough goes first once (ageing is
 *    counted in assignments, since a chart has no clock): nothing starves.
 * 2. *Owner*: whose tasks hold the fewest slots now; then who was served longest ago (fair share).
 * 3. *Job*: an owner's jobs take turns. 4. *Task and worker*: a task whose home worker is free; else the job's oldest
 *    task, on the least loaded worker.
 *
 * A job's first worker fixes its numerics fingerprint, and workers of another are not considered: their results would
 * differ in the last bits. A queue is therefore kept for each class and fingerprint (`Lane`), so that a choice looks at
 * the owners that wait in a lane and at the workers, never along the queue. (Copying the map of jobs does cost their
 * number; splitting it into pages would end that, when measurements ask for it.)
 *
 * Invariants: 1. A task is in one place: waiting in its job, or placed on one worker. 2. A worker never has more
 * tasks than slots. 3. A job stands in a lane exactly when it has waiting tasks, in the lane of its class and
 * fingerprint. 4. `owners[o].running` is the number of placed tasks of o.
 */
import { SCHEDULER_LIMITS } from './limits.ts'
import type { Priority } from './spec.ts'

export interface WorkerFacts {
  /** The worker's address. */
  readonly worker: string
  readonly slots: number
  readonly backend: string
  readonly fingerprint: string
  readonly host: string
  readonly pid: number
  readonly joinedAt: number
}

export interface WorkerRow extends WorkerFacts {
  readonly state: 'ready' | 'draining' | 'gone'
  readonly tasks: readonly string[]
  /** The value of the book's clock at its last assignment. */
  readonly servedAt: number
}

export interface WaitingTask {
  readonly task: string
  readonly attempt: number
  readonly home: string
  /** The worker that it should not go to while there is another. */
  readonly avoid?: string
}

export interface Submission extends WaitingTask {
  readonly job: string
  readonly owner: string
  readonly priority: Priority
}

interface JobRow {
  readonly owner: string
  readonly priority: Priority
  readonly fingerprint: string | null
  /** The value of the book's clock when one of its tasks was last assigned, or when it came. */
  readonly servedAt: number
  readonly waiting: readonly WaitingTask[]
  /** Home key → the worker that ran it last. */
  readonly homes: Readonly<Record<string, string>>
}

interface OwnerRow {
  readonly running: number
  readonly servedAt: number
  /** In how many lanes the owner waits. */
  readonly turns: number
}

interface Placing {
  readonly worker: string
  readonly attempt: number
  readonly owner: string
}

/**
 * Owner → its jobs that wait there, the one served longest ago first. Lanes are named `<priority> <fingerprint>`, or
 * `<priority> *` where any fingerprint does.
 */
type Lane = Readonly<Record<string, readonly string[]>>

export interface Book {
  readonly workers: Readonly<Record<string, WorkerRow>>
  readonly jobs: Readonly<Record<string, JobRow>>
  readonly owners: Readonly<Record<string, OwnerRow>>
  readonly lanes: Readonly<Record<string, Lane>>
  /** Task → where it is. */
  readonly placed: Readonly<Record<string, Placing>>
  readonly passedOver: { readonly normal: number; readonly low: number }
  /** How many assignments there were. */
  readonly clock: number
  /** The last workers that went, for people who wonder where one is. */
  readonly departed: readonly WorkerRow[]
}

export interface Assignment {
  readonly task: string
  readonly attempt: number
  readonly worker: string
}

export interface Scheduled {
  readonly book: Book
  readonly assignments: readonly Assignment[]
}

export const EMPTY_BOOK: Book = {
  workers: {},
  jobs: {},
  owners: {},
  lanes: {},
  placed: {},
  passedOver: { normal: 0, low: 0 },
  clock: 0,
  departed: [],
}

/** A worker comes, or says again that it is there. */
export function join(book: Book, facts: WorkerFacts): Scheduled {
  const next = draft(book)
  const known = book.workers[facts.worker]
  const { worker, slots, backend, fingerprint, host, pid, joinedAt } = facts
  next.workers[worker] = {
    worker,
    slots,
    backend,
    fingerprint,
    host,
    pid,
    joinedAt,
    state: known?.state ?? 'ready',
    tasks: known?.tasks ?? [],
    servedAt: known?.servedAt ?? 0,
  }
  return assign(next)
}

/** A worker takes no more tasks. */
export function drain(book: Book, worker: string): Scheduled {
  const row = book.workers[worker]
  if (row === undefined) return { book, assignments: [] }
  return { book: { ...book, workers: { ...book.workers, [worker]: { ...row, state: 'draining' } } }, assignments: [] }
}

/** A worker is gone. Its tasks come back by themselves: it has told them. */
export function leave(book: Book, worker: string): Scheduled {
  const row = book.workers[worker]
  if (row === undefined) return { book, assignments: [] }
  const next = draft(book)
  for (const task of row.tasks) unplace(next, task)
  delete next.workers[worker]
  next.departed = [{ ...row, tasks: [], state: 'gone' as const }, ...book.departed].slice(
    0,
    SCHEDULER_LIMITS.departedKept,
  )
  return assign(next)
}

/** A task wants to run. One that was placed before has come back: its slot is free again. */
export function submit(book: Book, submission: Submission): Scheduled {
  const { job, owner, priority, task, attempt, home, avoid } = submission
  const next = draft(book)
  unplace(next, task)
  const row = next.jobs[job] ?? { owner, priority, fingerprint: null, servedAt: book.clock, waiting: [], homes: {} }
  const waiting = { task, attempt, home, ...(avoid !== undefined && { avoid }) }
  setWaiting(next, job, row, [...row.waiting.filter((other) => other.task !== task), waiting])
  return assign(next)
}

/** A task no longer wants to run, wherever it is. */
export function withdraw(book: Book, task: string, job: string): Scheduled {
  const next = draft(book)
  unplace(next, task)
  const row = next.jobs[job]
  if (row?.waiting.some((other) => other.task === task) === true) {
    setWaiting(
      next,
      job,
      row,
      row.waiting.filter((other) => other.task !== task),
    )
  }
  return assign(next)
}

/** A worker has done with an attempt. What is said of an attempt that is placed no more changes nothing. */
export function free(book: Book, worker: string, task: string, attempt: number): Scheduled {
  const placing = book.placed[task]
  if (placing?.worker !== worker || placing.attempt !== attempt) return { book, assignments: [] }
  const next = draft(book)
  unplace(next, task)
  return assign(next)
}

/** A job has ended: nothing of it waits any more. What still runs is freed by its worker. */
export function forget(book: Book, job: string): Scheduled {
  const row = book.jobs[job]
  if (row === undefined) return { book, assignments: [] }
  const next = draft(book)
  setWaiting(next, job, row, [])
  delete next.jobs[job]
  return { book: next, assignments: [] }
}

/** A book that is being changed: its maps are copies, the rows in them are replaced and never written to. */
type Draft = {
  -readonly [Key in keyof Book]: Book[Key] extends Readonly<Record<string, infer Row>> ? Record<string, Row> : Book[Key]
} & {
  passedOver: Book['passedOver']
}

function draft(book: Book): Draft {
  return {
    ...book,
    workers: { ...book.workers },
    jobs: { ...book.jobs },
    owners: { ...book.owners },
    lanes: { ...book.lanes },
    placed: { ...book.placed },
  }
}

/** Assigns for as long as a task and a worker fit each other. */
function assign(next: Draft): Scheduled {
  const assignments: Assignment[] = []
  /** Jobs none of whose tasks may go to a worker that is free now. */
  const blocked = new Set<string>()
  for (;;) {
    const fingerprints = freeFingerprints(next)
    if (fingerprints.size === 0) break
    const job = nextJob(next, fingerprints, blocked)
    if (job === null) break
    const row = next.jobs[job]
    const match = row === undefined ? null : matchOf(next, row)
    if (row === undefined || match === null) blocked.add(job)
    else assignments.push(place(next, job, row, match))
  }
  return { book: next, assignments }
}

function hasFreeSlot(row: WorkerRow): boolean {
  return row.state === 'ready' && row.tasks.length < row.slots
}

function freeFingerprints(book: Book): Set<string> {
  const fingerprints = new Set<string>()
  for (const worker in book.workers) {
    const row = book.workers[worker]
    if (row !== undefined && hasFreeSlot(row)) fingerprints.add(row.fingerprint)
  }
  return fingerprints
}

const PRIORITIES = ['high', 'normal', 'low'] as const

function nextJob(book: Book, fingerprints: ReadonlySet<string>, blocked: ReadonlySet<string>): string | null {
  const { normal, low } = SCHEDULER_LIMITS.passedOverMax
  const overdue = [
    ...(book.passedOver.low >= low ? (['low'] as const) : []),
    ...(book.passedOver.normal >= normal ? (['normal'] as const) : []),
  ]
  for (const priority of [...overdue, ...PRIORITIES]) {
    const job = nextJobOf(book, priority, fingerprints, blocked)
    if (job !== null) return job
  }
  return null
}

/** The next job of a class, by its owner's share. */
function nextJobOf(
  book: Book,
  priority: Priority,
  fingerprints: ReadonlySet<string>,
  blocked: ReadonlySet<string>,
): string | null {
  let best: { running: number; ownerServedAt: number; servedAt: number; job: string } | null = null
  for (const fingerprint of ['*', ...fingerprints]) {
    const lane = book.lanes[laneName(priority, fingerprint)]
    for (const owner in lane) {
      const job = lane[owner]?.find((candidate) => !blocked.has(candidate))
      if (job === undefined) continue
      const { running = 0, servedAt: ownerServedAt = 0 } = book.owners[owner] ?? {}
      const servedAt = book.jobs[job]?.servedAt ?? 0
      const order =
        best === null ? -1 : running - best.running || ownerServedAt - best.ownerServedAt || servedAt - best.servedAt
      if (order < 0) best = { running, ownerServedAt, servedAt, job }
    }
  }
  return best?.job ?? null
}

interface Match {
  readonly waiting: WaitingTask
  readonly worker: WorkerRow
}

/** The job's task and the worker that go together best now. */
function matchOf(book: Book, row: JobRow): Match | null {
  for (const waiting of row.waiting) {
    const home = book.workers[row.homes[waiting.home] ?? '']
    if (home !== undefined && isFit(row, home) && hasFreeSlot(home) && waiting.avoid !== home.worker) {
      return { waiting, worker: home }
    }
  }
  const workers = Object.values(book.workers).filter((worker) => isFit(row, worker))
  for (const waiting of row.waiting) {
    const others = workers.filter(({ worker }) => worker !== waiting.avoid)
    // With nobody else there, the one to avoid is better than none.
    const worker = leastLoaded(others.length > 0 ? others : workers)
    if (worker !== null) return { waiting, worker }
  }
  return null
}

function isFit(row: JobRow, worker: WorkerRow): boolean {
  return worker.state === 'ready' && (row.fingerprint === null || row.fingerprint === worker.fingerprint)
}

/** Of those with a free slot: the one with the smallest part of its slots in use, then the one served longest ago. */
function leastLoaded(workers: readonly WorkerRow[]): WorkerRow | null {
  let best: WorkerRow | null = null
  for (const worker of workers) {
    if (!hasFreeSlot(worker)) continue
    const load = best === null ? -1 : worker.tasks.length / worker.slots - best.tasks.length / best.slots
    if (best === null || load < 0 || (load === 0 && worker.servedAt < best.servedAt)) best = worker
  }
  return best
}

function place(next: Draft, job: string, row: JobRow, { waiting, worker }: Match): Assignment {
  const { task, attempt, home } = waiting
  const clock = next.clock + 1
  next.clock = clock
  next.passedOver = passedOver(next, row.priority)
  next.workers[worker.worker] = { ...worker, tasks: [...worker.tasks, task], servedAt: clock }
  next.placed[task] = { worker: worker.worker, attempt, owner: row.owner }

  // Out of its lane before its fingerprint, the lane's name, may change; back into it behind the owner's other jobs.
  setWaiting(next, job, row, [])
  const homes = { ...row.homes, [home]: worker.worker }
  const placed: JobRow = { ...row, fingerprint: worker.fingerprint, servedAt: clock, homes }
  const owner = next.owners[row.owner] ?? { running: 0, turns: 0 }
  next.owners[row.owner] = { ...owner, running: owner.running + 1, servedAt: clock }
  setWaiting(
    next,
    job,
    placed,
    row.waiting.filter((other) => other.task !== task),
  )
  return { task, attempt, worker: worker.worker }
}

/** Ageing: each lower class in which somebody waits has been passed over once more. */
function passedOver(book: Book, served: Priority): Book['passedOver'] {
  const count = (priority: 'normal' | 'low'): number => {
    const before = book.passedOver[priority]
    if (served === priority) return 0
    const isHigher = PRIORITIES.indexOf(served) < PRIORITIES.indexOf(priority)
    return isHigher && isWaitedIn(book, priority) ? before + 1 : before
  }
  return { normal: count('normal'), low: count('low') }
}

function isWaitedIn(book: Book, priority: Priority): boolean {
  for (const name in book.lanes) if (name.startsWith(`${priority} `)) return true
  return false
}

/** Takes a task off its worker, if it is on one. */
function unplace(next: Draft, task: string): void {
  const placing = next.placed[task]
  if (placing === undefined) return
  delete next.placed[task]
  const worker = next.workers[placing.worker]
  if (worker !== undefined) {
    next.workers[placing.worker] = { ...worker, tasks: worker.tasks.filter((other) => other !== task) }
  }
  const owner = next.owners[placing.owner]
  if (owner !== undefined) setOwner(next, placing.owner, { ...owner, running: owner.running - 1 })
}

/** Writes what waits in a job, and keeps the job in its lane exactly while that is something (invariant 3). */
function setWaiting(next: Draft, job: string, row: JobRow, waiting: readonly WaitingTask[]): void {
  next.jobs[job] = { ...row, waiting }
  const name = laneName(row.priority, row.fingerprint ?? '*')
  const lane = next.lanes[name] ?? {}
  const jobs = lane[row.owner] ?? []
  const isIn = jobs.includes(job)
  if (isIn === waiting.length > 0) return
  // An owner who comes back comes after those who have waited meanwhile: coming back must not be a way to the front.
  const owner = next.owners[row.owner] ?? { running: 0, servedAt: next.clock, turns: 0 }
  if (!isIn) {
    next.lanes[name] = { ...lane, [row.owner]: [...jobs, job] }
    if (jobs.length === 0) next.owners[row.owner] = { ...owner, turns: owner.turns + 1 }
    return
  }
  if (jobs.length > 1) {
    next.lanes[name] = { ...lane, [row.owner]: jobs.filter((other) => other !== job) }
    return
  }
  const { [row.owner]: _left, ...others } = lane
  if (Object.keys(others).length > 0) next.lanes[name] = others
  else delete next.lanes[name]
  setOwner(next, row.owner, { ...owner, turns: owner.turns - 1 })
}

/** An owner with nothing running and nothing waiting is forgotten. */
function setOwner(next: Draft, name: string, owner: OwnerRow): void {
  if (owner.running > 0 || owner.turns > 0) next.owners[name] = owner
  else delete next.owners[name]
}

function laneName(priority: Priority, fingerprint: string): string {
  return `${priority} ${fingerprint}`
}
