/**
 * A stream of rows with rising ids, of which the oldest are trimmed, as Redis's streams are. Ids are times: after a
 * rollback none comes again, which an owner may still have in its cursor.
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
    let [from, to] = [0, this.rows.length]
    while (from < to) {
      const middle = (from + to) >> 1
      if (compareIds(this.rows[middle]?.id ?? id, id) > 0) to = middle
      else from = middle + 1
    }
    return this.rows.slice(from, from + limit)
  }

  trimTo(id: string): void {
    let gone = 0
    for (const row of this.rows) {
      if (compareIds(row.id, id) > 0) break
      gone++
    }
    this.#drop(gone)
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

  #drop(count: number): void {
    if (count === 0) return
    this.trimmed = this.rows[count - 1]?.id ?? this.trimmed
    this.rows = this.rows.slice(count)
  }
}
