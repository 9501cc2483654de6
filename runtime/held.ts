/**
 * Messages that wait for other code. During a rolling upgrade an owner meets actors that newer code has written, and kinds
 * that only other nodes know; what is for them it holds (plan, P4), in a stream of the shard's own, until an owner comes
 * whose code can take it.
 *
 * Invariants:
 * H1. An owner first takes what was held before it, in order, and only then anything newer (shard, S5).
 * H2. What it holds itself it does not look at again: that is for the next owner.
 * H3. Whoever meets what it cannot read says so (`need`), and placement gives the shard to a node that can.
 */
import { kindOf } from './address.ts'
import type { ActorAddress, ShardName } from './address.ts'
import { readerOf } from './cell.ts'
import type { Cell, Definitions } from './cell.ts'
import type { Cells } from './cells.ts'
import type { Unreadable } from './consequences.ts'
import type { RuntimeEvents } from './events.ts'
import type { Limits } from './limits.ts'
import { openHeld } from './message.ts'
import type { Taken } from './message.ts'
import { compareIds, heldStream } from './transport.ts'
import type { Need, Transport } from './transport.ts'

export interface HeldOptions {
  readonly name: ShardName
  readonly transport: Transport
  readonly definitions: Definitions
  readonly events: RuntimeEvents
  readonly limits: Limits
  readonly onNeed: (need: Need) => void
}

export class Held {
  readonly #options: HeldOptions
  readonly #cells: Cells
  /** Where the owner is in the stream, and where it will be through with it; null once it is. */
  #ahead: { after: string; readonly until: string } | null = null
  /** Messages that this owner has held. */
  #count = 0

  constructor(options: HeldOptions, cells: Cells) {
    this.#options = options
    this.#cells = cells
  }

  /** Begins at the head of what is held now. */
  async begin(): Promise<void> {
    const { transport, name } = this.#options
    this.#count = 0
    const { newest } = await transport.ends(heldStream(name))
    this.#ahead = { after: '0-0', until: newest }
  }

  /** H1: whether some is left from before. */
  get isAhead(): boolean {
    return this.#ahead !== null
  }

  /** How many more may be held. */
  get room(): number {
    return this.#options.limits.mailboxMax - this.#count
  }

  grow(count: number): void {
    this.#count += count
  }

  /** The next of those from before, maybe none. */
  async next(): Promise<readonly Taken[]> {
    const { transport, name, limits } = this.#options
    const ahead = this.#ahead
    if (ahead === null) return []
    const rows = ahead.until === '0-0' ? [] : await transport.range(heldStream(name), ahead.after, limits.batchMax)
    const own = rows.filter(({ id }) => compareIds(id, ahead.until) <= 0)
    ahead.after = own.at(-1)?.id ?? ahead.after
    if (own.length < limits.batchMax) this.#ahead = null
    return own.map(openHeld)
  }

  tell(held: readonly Unreadable[]): void {
    const { name, events } = this.#options
    for (const { to, fault } of held) {
      events.emit({ type: 'message.held', shard: name, to, fault })
      this.#need(to)
    }
  }

  canRead(cell: Cell): boolean {
    try {
      readerOf(this.#options.definitions, cell)
      return true
    } catch {
      this.#need(cell.actor)
      return false
    }
  }

  /** H3, where another version would help. */
  #need(actor: ActorAddress): void {
    const { name, definitions, onNeed } = this.#options
    const kind = kindOf(actor)
    const version = this.#cells.get(actor)?.record?.v ?? 1
    if (version > (definitions.get(kind)?.version ?? 0)) onNeed({ shard: name, kind, version })
  }
}
