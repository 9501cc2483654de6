/**
 * Time that passes only when somebody says so. Everything that waits on this clock stands in one queue; a turn takes
 * the earliest, moves the time to it, and then lets everything that can go on without time go on (`settle`).
 *
 * The same program with the same turns runs the same way: what is due at the same time runs in the order in which it
 * was asked for. The clock never reads the real time and sets no timer of the process.
 */
import { nextTick } from 'node:process'
import type { Clock } from '../clock.ts'

interface Due {
  readonly at: number
  readonly order: number
  /** Null once it has run or been called off. */
  run: (() => void) | null
}

/** Any fixed moment will do; this one makes durations easy to read: 2030-01-01T00:00:00Z. */
export const VIRTUAL_START_MS = Date.UTC(2030, 0, 1)

export class VirtualClock implements Clock {
  #now: number
  #order = 0
  /** A binary heap: the earliest first. */
  readonly #queue: Due[] = []

  constructor(startMs: number = VIRTUAL_START_MS) {
    this.#now = startMs
  }

  now(): number {
    return this.#now
  }

  /** When the next thing is due; null when nothing waits. */
  get next(): number | null {
    this.#prune()
    return this.#queue[0]?.at ?? null
  }

  /** Runs `run` at that time, or in the next turn when the time is past. Returns what calls it off. */
  at(timeMs: number, run: () => void): () => void {
    const due: Due = { at: Math.max(this.#now, timeMs), order: this.#order++, run }
    this.#push(due)
    return () => {
      due.run = null
    }
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted === true) {
        resolve()
        return
      }
      if (ms === Infinity && signal === undefined) return
      const wake = (): void => {
        callOff?.()
        signal?.removeEventListener('abort', wake)
        resolve()
      }
      const callOff = ms === Infinity ? null : this.at(this.#now + ms, wake)
      signal?.addEventListener('abort', wake, { once: true })
    })
  }

  /** Takes the earliest that is due, and lets everything settle that follows. False when nothing waits until then. */
  async turn(untilMs: number): Promise<boolean> {
    this.#prune()
    const due = this.#queue[0]
    if (due === undefined || due.at > untilMs) return false
    this.#pop()
    this.#now = due.at
    const { run } = due
    due.run = null
    run?.()
    await settle()
    return true
  }

  /** Moves the time, taking what is due on the way. */
  async advanceTo(untilMs: number): Promise<void> {
    await settle()
    while (await this.turn(untilMs));
    this.#now = Math.max(this.#now, untilMs)
  }

  #prune(): void {
    while (this.#queue.length > 0 && this.#queue[0]?.run === null) this.#pop()
  }

  #push(due: Due): void {
    const queue = this.#queue
    let i = queue.length
    queue.push(due)
    while (i > 0) {
      const parent = (i - 1) >> 1
      const above = queue[parent] as Due // within the heap
      if (!before(due, above)) break
      queue[i] = above
      i = parent
    }
    queue[i] = due
  }

  #pop(): void {
    const queue = this.#queue
    const last = queue.pop()
    if (last === undefined || queue.length === 0) return
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= queue.length) break
      const right = child + 1
      if (right < queue.length && before(queue[right] as Due, queue[child] as Due)) child = right
      if (!before(queue[child] as Due, last)) break
      queue[i] = queue[child] as Due
      i = child
    }
    queue[i] = last
  }
}

function before(a: Due, b: Due): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

/**
 * Resolves when every promise that can go on without time has gone on. Node runs a tick only after its queue of
 * microtasks is empty, and this costs a fraction of a turn of the event loop.
 */
export function settle(): Promise<void> {
  return new Promise((resolve) => {
    nextTick(resolve)
  })
}
