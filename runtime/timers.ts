/**
 * The timers of a shard that are due soon, in its owner's memory. Only the owner sets and clears timers, so what it has
 * fetched once stays true as long as it also keeps what its own commits add: it asks the transport once for what comes
 * within a second, and not again for each timer.
 *
 * Invariants:
 * D1. Every timer that is due before the horizon is here. At the horizon the owner asks anew, and then only what the
 *     transport says counts: commands take effect in order (T5), so its answer knows of every commit that was issued.
 * D2. No more than a limit are kept: what is due last goes, and the horizon comes nearer.
 *
 * A timer that is due alone is taken at once. Where they come as a stream, each batch waits for `grainMs` after the one
 * before: a commit for each timer would cost many times what the timers do.
 */
import type { TimerEntry } from './transport.ts'

export type FetchTimers = (
  untilMs: number,
  limit: number,
) => Promise<{ readonly timers: readonly TimerEntry[]; readonly next: number | null }>

/** How far ahead the owner asks. */
const AHEAD_MS = 1_000

export class Timers {
  readonly #fetch: FetchTimers
  readonly #max: number
  readonly #grainMs: number
  /** When some were taken last. */
  #tookAt = -Infinity
  /** Earliest first, from `#taken` on. */
  #ahead: TimerEntry[] = []
  #taken = 0
  /** Those of `#ahead` that have been neither taken nor cleared. */
  readonly #waiting = new Set<string>()
  #horizon = 0

  constructor(fetch: FetchTimers, limits: { readonly timersDueMax: number; readonly timersGrainMs: number }) {
    this.#fetch = fetch
    this.#max = limits.timersDueMax
    this.#grainMs = limits.timersGrainMs
  }

  /** Knows nothing any more. */
  forget(): void {
    this.#ahead = []
    this.#taken = 0
    this.#waiting.clear()
    this.#horizon = 0
  }

  /** When the owner should come back. */
  get next(): number {
    return Math.max(this.#ahead[this.#taken]?.due ?? this.#horizon, this.#tookAt + this.#grainMs)
  }

  /** What is due now, earliest first, at most the limit. */
  async due(now: number): Promise<readonly TimerEntry[]> {
    if (now < this.next) return []
    if (this.#taken === this.#ahead.length && now >= this.#horizon) await this.#ask(now)
    const due: TimerEntry[] = []
    for (; this.#taken < this.#ahead.length; this.#taken++) {
      const timer = this.#ahead[this.#taken] as TimerEntry // within the list
      if (timer.due > now) break
      if (this.#waiting.delete(keyOf(timer))) due.push(timer)
    }
    if (due.length > 0) {
      this.#tookAt = now
      this.#ahead.splice(0, this.#taken)
      this.#taken = 0
    }
    return due
  }

  /** What a commit that has been issued says of timers. */
  follow(set: readonly TimerEntry[], cleared: readonly Omit<TimerEntry, 'due'>[]): void {
    for (const timer of cleared) this.#waiting.delete(keyOf(timer))
    for (const timer of set) if (timer.due < this.#horizon) this.#insert(timer)
    while (this.#waiting.size > this.#max) {
      const last = this.#ahead.pop() as TimerEntry // as many are waiting
      if (this.#waiting.delete(keyOf(last))) this.#horizon = last.due // D2
    }
  }

  async #ask(now: number): Promise<void> {
    const { timers, next } = await this.#fetch(now + AHEAD_MS, this.#max)
    this.#ahead = [...timers]
    this.#taken = 0
    this.#waiting.clear()
    for (const timer of timers) this.#waiting.add(keyOf(timer))
    // More may be due at the very time of the last: then the owner comes back for them.
    this.#horizon = timers.length === this.#max ? (timers.at(-1)?.due ?? 0) : (next ?? Infinity)
  }

  /** Behind those that are due at the same time. */
  #insert(timer: TimerEntry): void {
    let from = this.#taken
    let to = this.#ahead.length
    while (from < to) {
      const middle = (from + to) >> 1
      if ((this.#ahead[middle] as TimerEntry).due <= timer.due) from = middle + 1
      else to = middle
    }
    this.#ahead.splice(from, 0, timer)
    this.#waiting.add(keyOf(timer))
  }
}

function keyOf({ actor, name, gen }: Omit<TimerEntry, 'due'>): string {
  return `${actor}|${gen}|${name}`
}
