/**
 * A queue of any length in a book of bounded size. Entries are added to its tail and taken from its head; when the tail
 * has filled a page, an actor of its own takes the page (page.ts), and when the head runs low, the oldest page is asked
 * to give its entries back. Between the two the book knows of a page only its number.
 *
 * Invariants:
 * 1. An entry is in one place: head, one page, or tail, in the order in which they came; `head` and `tail` hold at most
 *    two pages' worth each.
 * 2. A task that was parked is told its page, so that its withdrawal can name it. What is told to a page arrives in
 *    order: a strike that is sent before the turn is counted, and one that comes later waits in `struck`.
 */
import { runOf } from './book.ts'
import type { Draft, Entry, Queue, Submission, Want } from './book.ts'
import { pageAddress, pageOf } from './address.ts'
import { SCHEDULER_LIMITS } from './limits.ts'

const { pageSize: PAGE_SIZE } = SCHEDULER_LIMITS

type Needs = Pick<Submission, 'owner' | 'priority' | 'fingerprint' | 'backend'>

export function needsOf({ fingerprint, backend }: Pick<Submission, 'fingerprint' | 'backend'>): string {
  return fingerprint ?? (backend === undefined ? '*' : `backend:${backend}`)
}

export function queueName(needs: Needs): string {
  return `${needs.priority} ${needsOf(needs)} ${needs.owner}`
}

export function wantOf({ task, attempt, prefer, avoid }: Want): Want {
  return { task, attempt, ...(prefer !== undefined && { prefer }), ...(avoid !== undefined && { avoid }) }
}

/** Adds an entry at the end of its queue, or in front of it. */
export function enqueue(next: Draft, needs: Needs, entry: Entry, where: 'front' | 'end'): void {
  const name = queueName(needs)
  const queue = next.queues[name] ?? open(next, needs)
  if (where === 'front') {
    next.queues[name] = { ...queue, head: [entry, ...queue.head] }
    return
  }
  const hasMore = queue.first < queue.next || queue.tail.length > 0
  if (!hasMore && queue.head.length < 2 * PAGE_SIZE) {
    next.queues[name] = { ...queue, head: [...queue.head, entry] }
    return
  }
  const tail = [...queue.tail, entry]
  next.queues[name] = tail.length < PAGE_SIZE ? { ...queue, tail } : parkTail(next, name, { ...queue, tail })
}

function open(next: Draft, { owner, priority, fingerprint, backend }: Needs): Queue {
  next.queueCount += 1
  // An owner who comes back comes after those who have waited meanwhile: coming back must not be a way to the front.
  const row = next.owners[owner] ?? { running: 0, servedAt: next.clock, queues: 0 }
  next.owners[owner] = { ...row, queues: row.queues + 1 }
  const needs = needsOf({ fingerprint, ...(backend !== undefined && { backend }) })
  const { queueCount: id, clock: servedAt } = next
  return { id, owner, priority, needs, head: [], first: 0, next: 0, isTurning: false, struck: [], tail: [], servedAt }
}

function parkTail(next: Draft, name: string, queue: Queue): Queue {
  const page = pageAddress(next.pool, queue.id, queue.next)
  next.orders.push({ do: 'park', queue: name, page, entries: queue.tail })
  return { ...queue, next: queue.next + 1, tail: [] }
}

/** Replaces a queue's head, fills it up when it runs low, and forgets the queue when nothing is left. */
export function setHead(next: Draft, name: string, queue: Queue, head: readonly Entry[]): void {
  const refilled = refill(next, { ...queue, head })
  if (refilled.head.length > 0 || refilled.first < refilled.next) {
    next.queues[name] = refilled
    return
  }
  delete next.queues[name]
  const owner = next.owners[queue.owner]
  if (owner !== undefined) setOwner(next, queue.owner, { ...owner, queues: owner.queues - 1 })
}

function refill(next: Draft, queue: Queue): Queue {
  if (queue.isTurning || queue.head.length > PAGE_SIZE / 2) return queue
  if (queue.first === queue.next) return { ...queue, head: [...queue.head, ...queue.tail], tail: [] }
  next.orders.push({ do: 'turn', page: pageAddress(next.pool, queue.id, queue.first) })
  return { ...queue, isTurning: true }
}

/** A page has given its entries back. */
export function turn(next: Draft, name: string, entries: readonly Entry[]): void {
  const queue = next.queues[name]
  if (queue === undefined) return
  const kept = queue.struck.reduce((left, run) => without(left, run), entries)
  const turned = { ...queue, first: queue.first + 1, isTurning: false, struck: [] }
  setHead(next, name, turned, [...queue.head, ...kept])
}

/** Takes a run out of its queue, wherever it stands there. `page` is where it was told that it is parked. */
export function strike(next: Draft, needs: Needs, run: string, page: string | undefined): void {
  const name = queueName(needs)
  const queue = next.queues[name]
  if (queue === undefined) return
  const head = without(queue.head, run)
  if (head !== queue.head) {
    setHead(next, name, queue, head)
    return
  }
  const tail = without(queue.tail, run)
  if (tail !== queue.tail) {
    setHead(next, name, { ...queue, tail }, queue.head)
    return
  }
  const place = page === undefined ? null : pageOf(page)
  if (place === null || place.queue !== queue.id || place.page < queue.first || place.page >= queue.next) return
  if (queue.isTurning && place.page === queue.first) next.queues[name] = { ...queue, struck: [...queue.struck, run] }
  else if (page !== undefined) next.orders.push({ do: 'strike', page, run })
}

/** The entries without a run; the very same where it is not among them. What is left of a gang waits on. */
export function without(entries: readonly Entry[], run: string): readonly Entry[] {
  const index = entries.findIndex(({ wants }) => wants.some((want) => runOf(want) === run))
  const entry = entries[index]
  if (entry === undefined) return entries
  const wants = entry.wants.filter((want) => runOf(want) !== run)
  return wants.length > 0 ? entries.with(index, { ...entry, wants }) : entries.toSpliced(index, 1)
}

/** An owner with nothing running and nothing waiting is forgotten. */
export function setOwner(next: Draft, name: string, owner: Draft['owners'][string]): void {
  if (owner.running > 0 || owner.queues > 0) next.owners[name] = owner
  else delete next.owners[name]
}

/** How many entries wait in a queue; withdrawn ones that a page still holds are counted. */
export function lengthOf({ head, first, next, tail }: Queue): number {
  return head.length + (next - first) * PAGE_SIZE + tail.length
}
