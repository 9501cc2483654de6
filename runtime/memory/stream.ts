/**
 * A stream of rows with rising ids, of which the oldest are trimmed, as Redis's streams are. Ids are times: after a
 * rollback none comes again, so a commit that takes a lost entry is not taken for one that takes a new one (transport, T7).
 */
import type { Clock } from '../clock.ts'
import { compareIds, nextId } from '../transport.ts'
import type { StreamRow } from '../transport.ts'

export class Stream {
  readonly #clock: Clock
  rows: StreamRow[] = []
  newest = '0-0'
  trimmed = '0-0'

  constructor(clock: Clock) {
    this.#clock = clock
  }

  add(body: string): void {
    const fresh = `${Math.floor(this.#clock.now())}-0`
    this.newest = compareIds(fresh, this.newest) > 0 ? fresh : nextId(this.newest)
    this.rows.push({ id: this.newest, body })
  }

  after(id: string, limit: number): StreamRow[] {
    if (compareIds(this.newest, id) <= 0) return []
    const from = this.#countTo(id)
    return this.rows.slice(from, from + limit)
  }

  has(id: string): boolean {
    return this.rows[this.#countTo(id) - 1]?.id === id
  }

  trimTo(id: string): void {
    this.#drop(this.#countTo(id))
  }

  /** Whether any of them was there. */
  remove(...ids: readonly string[]): boolean {
    if (ids.length === 0) return false
    const before = this.rows.length
    this.rows = this.rows.filter((row) => !ids.includes(row.id))
    return this.rows.length < before
  }

  copy(): Stream {
    const copy = new Stream(this.#clock)
    copy.rows = [...this.rows]
    copy.newest = this.newest
    copy.trimmed = this.trimmed
    return copy
  }

  cap(max: number): void {
    this.#drop(Math.max(0, this.rows.length - max))
  }

  /** Rows up to this id. */
  #countTo(id: string): number {
    let [from, to] = [0, this.rows.length]
    while (from < to) {
      const middle = (from + to) >> 1
      if (compareIds(this.rows[middle]?.id ?? id, id) > 0) to = middle
      else from = middle + 1
    }
    return from
  }

  #drop(count: number): void {
    if (count === 0) return
    this.trimmed = this.rows[count - 1]?.id ?? this.trimmed
    this.rows = this.rows.slice(count)
  }
}
