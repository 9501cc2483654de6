/**
 * The cells of one shard: actors become active when a batch needs them, and passive again when there are more than `max`:
 * the ones used least recently go. Nothing is lost by that, since a cell is a cache of its record.
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

  /** Returns how many were dropped. */
  passivate(): number {
    if (this.#cells.size <= this.#max) return 0
    const before = this.#cells.size
    const target = Math.floor(this.#max * 0.75)
    // Two passes: cells unused for a while first, then, when that is not enough, any that rests.
    for (const ageMin of [4, 1]) {
      for (const cell of this.#cells.values()) {
        if (this.#cells.size <= target) break
        if (cell.inFlight === 0 && this.#batch - cell.usedAt >= ageMin) this.#cells.delete(cell.actor)
      }
    }
    return before - this.#cells.size
  }

  clear(): void {
    this.#cells.clear()
  }
}
