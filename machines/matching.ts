/**
 * Which worker a waiting entry goes to. What is fit at all comes first (needs, room, not the one to avoid), then what is
 * best. A worker whose runs take twice as long as those of others is *slow*: a round waits for its slowest task, so work
 * rather waits for another worker than to go there, as long as there is another.
 *
 * The policies, each among workers that are fit, free and no slower than the others that are:
 * - `affinity`: the worker that ran the like of it before; then one that has the dataset; then the least loaded.
 * - `least-loaded`: the one with the smallest part of its slots taken. - `round-robin`: the one served longest ago.
 * - `resource-aware`: the one that the task fills best, so that room for large ones is kept.
 */
import { runOf } from './book.ts'
import type { Draft, Entry, Policy, Queue, Want, WorkerRow } from './book.ts'
import { SCHEDULER_LIMITS } from './limits.ts'

export interface Match {
  readonly index: number
  readonly entry: Entry
  /** A worker for each of the entry's wants. */
  readonly workers: readonly string[]
}

/** What stopped a queue: nothing of it fits now, or a gang that waits for enough room and has been passed over enough. */
export type NoMatch = 'none' | 'gang' | 'hold'

export function roomOf({ state, slots, used }: WorkerRow): number {
  return state === 'ready' ? slots - used : 0
}

export function hasNeeds(worker: WorkerRow, needs: string): boolean {
  return needs === '*' || needs === worker.fingerprint || needs === `backend:${worker.backend}`
}

export function isSlow({ slowUntil }: WorkerRow, clock: number): boolean {
  return slowUntil > clock
}

/** The entry of a queue's head, and the workers, that go together best now. */
export function matchOf(book: Draft, queue: Queue): Match | NoMatch {
  const able = Object.values(book.workers).filter((row) => row.state === 'ready' && hasNeeds(row, queue.needs))
  const swift = able.filter((row) => !isSlow(row, book.clock))
  if (book.settings.policy === 'affinity') {
    const atHome = homeMatch(swift.length > 0 ? swift : able, queue)
    if (atHome !== null) return atHome
  }
  let hasGang = false
  for (const [index, entry] of queue.head.entries()) {
    // Slow ones are better than to wait for a room that the others will never have.
    const workers = couldEver(swift, entry) ? swift : able
    const placed = entry.wants.length === 1 ? single(book, workers, entry) : gang(book, workers, entry)
    if (placed !== null) return { index, entry, workers: placed }
    if (entry.wants.length === 1 || !couldEver(workers, entry)) continue
    // Smaller ones may go before a gang for a while; then the room that becomes free is kept for it.
    if (entry.passed >= SCHEDULER_LIMITS.gangPatience) return 'hold'
    hasGang = true
  }
  return hasGang ? 'gang' : 'none'
}

/** A task near the front may go before others to the worker that ran the like of it before, but not for ever. */
function homeMatch(workers: readonly WorkerRow[], queue: Queue): Match | null {
  const { affinityReach, affinityPatience } = SCHEDULER_LIMITS
  if ((queue.head[0]?.passed ?? 0) >= affinityPatience) return null
  for (const [index, entry] of queue.head.slice(0, affinityReach).entries()) {
    const [want] = entry.wants
    if (entry.wants.length > 1) return null // a gang is not overtaken for the sake of a cache
    if (want?.prefer === undefined || want.prefer === want.avoid) continue
    const home = workers.find(({ worker }) => worker === want.prefer)
    if (home !== undefined && roomOf(home) >= entry.slots) return { index, entry, workers: [home.worker] }
  }
  return null
}

function single(book: Draft, workers: readonly WorkerRow[], entry: Entry): readonly string[] | null {
  const [want] = entry.wants
  if (want === undefined) return null
  const others = workers.filter(({ worker }) => worker !== want.avoid)
  // With nobody else there, the one to avoid is better than none.
  const best = bestOf(others.length > 0 ? others : workers, book.settings.policy, entry, want)
  return best === null ? null : [best.worker]
}

/** Room for all of a gang, on workers of one fingerprint: their results must go together. */
function gang(book: Draft, workers: readonly WorkerRow[], entry: Entry): readonly string[] | null {
  for (const fingerprint of new Set(workers.map((row) => row.fingerprint))) {
    let alike = workers.filter((row) => row.fingerprint === fingerprint)
    const chosen: string[] = []
    for (const want of entry.wants) {
      const best = bestOf(alike, book.settings.policy, entry, want)
      if (best === null) break
      chosen.push(best.worker)
      alike = alike.map((row) => (row === best ? { ...row, used: row.used + entry.slots } : row))
    }
    if (chosen.length === entry.wants.length) return chosen
  }
  return null
}

/** Whether a pool of these workers, all of them free, has room for the entry. */
function couldEver(workers: readonly WorkerRow[], { wants, slots }: Entry): boolean {
  const room = new Map<string, number>()
  for (const row of workers) {
    room.set(row.fingerprint, (room.get(row.fingerprint) ?? 0) + Math.floor(row.slots / slots))
  }
  return Math.max(0, ...room.values()) >= wants.length
}

function bestOf(workers: readonly WorkerRow[], policy: Policy, entry: Entry, want: Want): WorkerRow | null {
  let best: WorkerRow | null = null
  for (const row of workers) {
    if (roomOf(row) < entry.slots) continue
    if (best === null || compare(row, best, policy, entry, want) < 0) best = row
  }
  return best
}

function compare(a: WorkerRow, b: WorkerRow, policy: Policy, entry: Entry, want: Want): number {
  return tardiness(a) - tardiness(b) || byPolicy(a, b, policy, entry, want) || a.servedAt - b.servedAt
}

/** Small differences of pace are chance; a worker half as slow again is taken after those that are not. */
function tardiness({ pace }: WorkerRow): number {
  return pace > SCHEDULER_LIMITS.paceTolerated ? 1 : 0
}

function byPolicy(a: WorkerRow, b: WorkerRow, policy: Policy, entry: Entry, want: Want): number {
  switch (policy) {
    case 'round-robin':
      return 0
    case 'least-loaded':
      return loadOf(a) - loadOf(b)
    case 'resource-aware':
      return roomOf(a) - roomOf(b)
    case 'affinity':
      return distanceOf(a, entry, want) - distanceOf(b, entry, want) || loadOf(a) - loadOf(b)
  }
}

function loadOf({ used, slots }: WorkerRow): number {
  return used / slots
}

function distanceOf(row: WorkerRow, { data }: Entry, { prefer }: Want): number {
  if (row.worker === prefer) return 0
  return data !== undefined && row.data.includes(data) ? 1 : 2
}

/**
 * Runs of lower classes that give their slots to what waits in a queue of the high class: the lowest class first, and in
 * it what has begun last, since it loses least.
 */
export function victimsOf(book: Draft, queue: Queue): readonly string[] {
  const room = Object.values(book.workers).filter((row) => row.state === 'ready' && hasNeeds(row, queue.needs))
  const workers = new Set(room.map(({ worker }) => worker))
  const there = Object.values(book.placed).filter(({ worker }) => workers.has(worker))
  const wanted = queue.head.reduce((sum, { wants, slots }) => sum + wants.length * slots, 0)
  const coming = there.filter(({ isLeaving }) => isLeaving).reduce((sum, { slots }) => sum + slots, 0)
  let missing = wanted - coming - room.reduce((sum, row) => sum + roomOf(row), 0)
  const victims: string[] = []
  const candidates = there
    .filter(({ priority, isLeaving, isAged }) => priority !== 'high' && !isLeaving && !isAged)
    .toSorted((a, b) => Number(b.priority === 'low') - Number(a.priority === 'low') || b.at - a.at)
  for (const placing of candidates) {
    if (missing <= 0) break
    victims.push(runOf(placing))
    missing -= placing.slots
  }
  return victims
}
