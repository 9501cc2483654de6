/**
 * The cells of one shard: actors become active when a batch needs them, and passive again when there are more than `max`:
 * the ones used least recently go. Nothing is lost by that, since a cell is a cache of its record. The cell of an actor that
 * is no more goes as soon as nothing is under way with it.
 */
import { kindOf } from './address.ts'
import type { ActorAddress, ShardName } from './address.ts'
import type { Cell } from './cell.ts'
import { decodeRecord } from './record.ts'
import type { ActorRecord } from './record.ts'
import type { Transport } from './transport.ts'

export class Cells {
  readonly #cells = new Map<ActorAddress, Cell>()
  readonly #max: number
  /** Of actors whose record a commit has deleted. */
  readonly #left = new Set<Cell>()
  #batch = 0

  constructor(max: number) {
    this.#max = max
  }

  get size(): number {
    return this.#cells.size
  }

  get(actor: ActorAddress): Cell | undefined {
    const cell = this.#cells.get(actor)
    if (cell !== undefined) cell.usedAt = this.#batch
    return cell
  }

  put(actor: ActorAddress, record: ActorRecord | null): Cell {
    const cell: Cell = { actor, record, snapshot: null, inFlight: 0, usedAt: this.#batch }
    this.#cells.set(actor, cell)
    return cell
  }

  /** Makes sure that each of a batch's actors has one. Returns how many were activated, by kind. */
  async load(
    shard: ShardName,
    transport: Transport,
    wanted: Iterable<ActorAddress | null>,
  ): Promise<ReadonlyMap<string, number>> {
    const missing = new Set<ActorAddress>()
    for (const actor of wanted) if (actor !== null && this.get(actor) === undefined) missing.add(actor)
    const activated = new Map<string, number>()
    if (missing.size === 0) return activated
    for (const { actor } of await this.fetch(shard, transport, [...missing])) {
      const kind = kindOf(actor)
      activated.set(kind, (activated.get(kind) ?? 0) + 1)
    }
    return activated
  }

  /** Brings their records as the transport holds them. */
  async fetch(shard: ShardName, transport: Transport, actors: readonly ActorAddress[]): Promise<readonly Cell[]> {
    const bodies = await transport.load(shard, actors)
    return actors.map((actor, i) => {
      const body = bodies[i]
      return this.put(actor, body === null || body === undefined ? null : decodeRecord(body))
    })
  }

  nextBatch(): void {
    this.#batch++
  }

  /** A commit that has taken effect has touched these. */
  settle(touched: readonly Cell[]): void {
    for (const cell of touched) if (cell.record === null) this.#left.add(cell)
  }

  /** Returns how many were dropped. */
  passivate(): number {
    for (const cell of this.#left) {
      const isOver = cell.record === null && this.#cells.get(cell.actor) === cell
      if (isOver && !this.#rests(cell, 1)) continue
      if (isOver) this.#cells.delete(cell.actor)
      this.#left.delete(cell)
    }
    if (this.#cells.size <= this.#max) return 0
    const before = this.#cells.size
    const target = Math.floor(this.#max * 0.75)
    // Two passes: cells unused for a while first, then, when that is not enough, any that rests.
    for (const ageMin of [4, 1]) {
      for (const cell of this.#cells.values()) {
        if (this.#cells.size <= target) break
        if (this.#rests(cell, ageMin)) this.#cells.delete(cell.actor)
      }
    }
    return before - this.#cells.size
  }

  clear(): void {
    this.#cells.clear()
    this.#left.clear()
  }

  /** No batch of the last `ages` has used it: the next may be on its way already, and counts on what it has loaded. */
  #rests({ inFlight, usedAt }: Cell, ages: number): boolean {
    return inFlight === 0 && this.#batch - usedAt >= ages
  }
}
