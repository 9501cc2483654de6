/**
 * How many commits a shard's journal keeps. A commit has one transition or hundreds, so a number of commits alone says
 * little of what they take in Redis: by the size of its latest ones the owner keeps as many as fit into a number of bytes.
 * A burst of large commits lets go of what is old at once; small ones after it leave room for more again.
 */
import type { Limits } from './limits.ts'

/** So many of the latest commits count, the younger the more. */
const MEMORY = 32

export class JournalRoom {
  readonly #limits: Pick<Limits, 'journalCommitsMax' | 'journalBytesMax'>
  #meanBytes = 0

  constructor(limits: Pick<Limits, 'journalCommitsMax' | 'journalBytesMax'>) {
    this.#limits = limits
  }

  /** How many commits the journal may keep now. */
  get commits(): number {
    const { journalCommitsMax, journalBytesMax } = this.#limits
    return Math.min(journalCommitsMax, 1 + Math.floor(journalBytesMax / Math.max(1, this.#meanBytes)))
  }

  /** One more commit goes into it; null: without a transition. */
  add(journal: string | null): void {
    if (journal !== null) this.#meanBytes += (journal.length - this.#meanBytes) / MEMORY
  }
}
