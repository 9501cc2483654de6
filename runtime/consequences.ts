/**
 * What follows from a batch, as it is collected: the parts of one commit, and beside them what may happen only after it.
 * One message at a time: `mark` before it, and `rollBack` when it throws, so that it leaves no trace (plan, P1).
 */
import { kindOf, parseAddress, shardOf } from './address.ts'
import type { ActorAddress, Directory, ShardName } from './address.ts'
import { idFrom } from './cause.ts'
import type { Cell } from './cell.ts'
import type { Cells } from './cells.ts'
import type { Answer } from './client.ts'
import { encodeEnvelope } from './envelope.ts'
import type { Envelope, Lane } from './envelope.ts'
import type { Fault } from './errors.ts'
import type { Json } from './json.ts'
import type { Line, Message, Reply, Taken } from './message.ts'
import { encodeRecord } from './record.ts'
import type { ActorRecord, ChartState, EffectRow } from './record.ts'
import { moveOf } from './state-index.ts'
import type { Commit, Move, Send, TimerEntry, Transport } from './transport.ts'

export interface EffectStart {
  readonly actor: ActorAddress
  readonly id: string
  readonly row: EffectRow
  readonly trace: string | undefined
}

export interface Plan {
  readonly commit: Commit
  readonly touched: readonly Cell[]
  readonly starts: readonly EffectStart[]
  readonly stops: readonly { readonly actor: ActorAddress; readonly id: string; readonly gen: number }[]
  readonly lines: readonly Line[]
  readonly dead: readonly { readonly to: string; readonly fault: Fault }[]
  /** Messages that wait for an owner with other code. */
  readonly held: readonly Unreadable[]
  /** How many of them stand in the held stream now. */
  readonly heldMore: number
  readonly fired: readonly TimerEntry[]
  /** When the oldest message of the batch was sent. */
  readonly oldest: number
}

/** What this process's code cannot take. */
export interface Unreadable {
  readonly to: ActorAddress
  readonly fault: Fault
}

/** A message on its way to another actor: an event of its chart, or a word of the runtime's. */
export interface Outgoing {
  readonly to: string
  readonly type: string
  readonly data?: Readonly<Record<string, unknown>>
  readonly control?: boolean
}

/** Where the shard stands before the plan. */
export interface Standing {
  readonly shard: ShardName
  readonly epoch: string
  readonly seq: number
  readonly cursor: Commit['cursor']
  readonly outSeq: number
  readonly outTrim: number
  /** How many entries the journal keeps. */
  readonly journalMax: number
  readonly incarnation: number
  readonly reach: Transport['reach']
  /** What the commit shall look for afterwards. */
  readonly look: number
  readonly now: number
  /** How many messages may be held, still. */
  readonly heldRoom: number
  /** Whether another living node reads records of this kind up to this version. */
  readonly readElsewhere: (kind: string, version: number) => boolean
}

/** Records are written once a batch. One that cannot be (a bigint, a cycle) sends the batch through again, with care. */
export class UnwritableRecord extends Error {}

/** How much had been collected before a message. */
interface Mark {
  readonly sends: number
  readonly outbox: number
  readonly timersSet: number
  readonly outSeq: number
}

export class Consequences {
  readonly #directory: Directory
  readonly #at: Standing
  readonly #touched = new Map<ActorAddress, { cell: Cell; before: ActorRecord | null }>()
  readonly #sends: Send[] = []
  readonly #outbox: { seq: number; id: string; shard: ShardName; lane: Lane; body: string }[] = []
  readonly #timersSet: TimerEntry[] = []
  readonly #timersCleared: Omit<TimerEntry, 'due'>[] = []
  readonly #fired: TimerEntry[] = []
  readonly #lines: Line[] = []
  readonly #letters: string[] = []
  readonly #dead: { to: string; fault: Fault }[] = []
  readonly #starts: EffectStart[] = []
  readonly #stops: { actor: ActorAddress; id: string; gen: number }[] = []
  /** By channel: JSON of each reply, comma between. */
  readonly #replies = new Map<string, string>()
  readonly #heldBodies: string[] = []
  readonly #held: Unreadable[] = []
  readonly #heldTaken: string[] = []
  #heldKept = 0
  #hi: string
  #in: string
  #outSeq: number
  #oldest = Infinity
  /** What the message at hand has sent so far, and how often in the same words. */
  readonly #said = new Map<string, number>()

  constructor(directory: Directory, at: Standing) {
    this.#directory = directory
    this.#at = at
    this.#hi = at.cursor.hi
    this.#in = at.cursor.in
    this.#outSeq = at.outSeq
  }

  /** The cursor moves over a message whatever becomes of it. */
  pass({ message, envelope, heldId }: Taken): void {
    if (this.#said.size > 0) this.#said.clear()
    if (heldId !== undefined) this.#heldTaken.push(heldId)
    else if (message.kind === 'mail') {
      if (message.entry.lane === 'hi') this.#hi = message.entry.id
      else this.#in = message.entry.id
    }
    if (envelope !== null) this.#oldest = Math.min(this.#oldest, envelope.sentAt)
  }

  mark(): Mark {
    return {
      sends: this.#sends.length,
      outbox: this.#outbox.length,
      timersSet: this.#timersSet.length,
      outSeq: this.#outSeq,
    }
  }

  rollBack({ sends, outbox, timersSet, outSeq }: Mark): void {
    this.#sends.length = sends
    this.#outbox.length = outbox
    this.#timersSet.length = timersSet
    this.#outSeq = outSeq
  }

  /** Before a cell is changed for the first time in this batch, and ever after. */
  touch(cell: Cell): void {
    if (!this.#touched.has(cell.actor)) this.#touched.set(cell.actor, { cell, before: cell.record })
  }

  /** Moves every cell back to where it stood before the batch. */
  undo(): void {
    for (const { cell, before } of this.#touched.values()) {
      cell.record = before
      cell.snapshot = null
    }
  }

  send(from: ActorAddress, cause: string, message: Outgoing, trace: string | undefined): void {
    const { type, data } = message
    const to = parseAddress(message.to)
    const envelope: Envelope = {
      id: this.#idOf(cause, to, type),
      to,
      from,
      sentAt: this.#at.now,
      cause,
      type,
      ...(data !== undefined && { data }),
      ...(trace !== undefined && { trace }),
    }
    const body = encodeEnvelope(envelope)
    const lane: Lane = message.control === true ? 'hi' : 'in'
    const shard = shardOf(to, this.#directory)
    if (shard === this.#at.shard || this.#at.reach === 'every shard') this.#sends.push({ shard, lane, body })
    else this.#outbox.push({ seq: ++this.#outSeq, id: envelope.id, shard, lane, body })
  }

  /** A message that is run again may send more or less than before: what it says in the same words keeps its id. */
  #idOf(cause: string, to: ActorAddress, type: string): string {
    const first = idFrom(cause, to, type, 0)
    const said = this.#said.get(first) ?? 0
    this.#said.set(first, said + 1)
    return said === 0 ? first : idFrom(cause, to, type, said)
  }

  setTimer(timer: TimerEntry): void {
    this.#timersSet.push(timer)
  }

  clearTimer({ actor, name, gen }: Omit<TimerEntry, 'due'>): void {
    this.#timersCleared.push({ actor, name, gen })
  }

  fire(timer: TimerEntry): void {
    this.#fired.push(timer)
  }

  start(effects: readonly EffectStart[]): void {
    this.#starts.push(...effects)
  }

  stop(actor: ActorAddress, id: string, gen: number): void {
    this.#stops.push({ actor, id, gen })
  }

  note(line: Line): void {
    this.#lines.push(line)
  }

  /** Written at once: a reply that cannot be is its message's fault (P1). */
  answer(envelope: Envelope, state: ChartState, handled: boolean, reply: { data: unknown } | undefined): void {
    if (envelope.replyTo === undefined) return
    const answer: Answer = {
      handled,
      state: state.value,
      status: state.status,
      ...(reply !== undefined && { reply: reply.data as Json }), // JSON is the chart's duty
    }
    this.#reply(envelope.replyTo, { id: envelope.id, answer })
  }

  /**
   * A message that this code cannot take goes to the end of the held stream, for an owner whose code can. One that is
   * there already keeps its place: were it added anew, a crash half-way through would leave it behind younger ones.
   */
  hold({ message, heldId }: Taken, unreadable: Unreadable): void {
    if (heldId === undefined) this.#heldBodies.push(JSON.stringify(message satisfies Message))
    else {
      this.#heldTaken.pop() // it was the last to pass
      this.#heldKept++
    }
    this.#held.push(unreadable)
  }

  /** Whether one more message may be held. */
  get hasHeldRoom(): boolean {
    return this.#heldBodies.length + this.#heldKept < this.#at.heldRoom
  }

  /** A message that is not taken at all: who asked is told so. */
  refuse(envelope: Envelope & { readonly replyTo: string }, unreadable: Unreadable): void {
    this.#held.push(unreadable)
    this.#reply(envelope.replyTo, { id: envelope.id, fault: unreadable.fault })
  }

  /** A dead letter, and word to who asked. */
  bury({ actor, envelope, message }: Taken, fault: Fault): void {
    const to = actor ?? 'unreadable'
    const subject = message.kind === 'mail' ? message.entry.body : JSON.stringify(message satisfies Message)
    this.#letters.push(JSON.stringify({ to, at: this.#at.now, fault, message: subject }))
    this.#dead.push({ to, fault })
    if (envelope?.replyTo !== undefined) this.#reply(envelope.replyTo, { id: envelope.id, fault })
  }

  /** Throws `UnwritableRecord`. */
  finish(cells: Cells): Plan {
    const records: { actor: ActorAddress; body: string | null }[] = []
    const effects: { actor: ActorAddress; active: boolean }[] = []
    const moves: Move[] = []
    const touched: Cell[] = []
    for (const { cell, before } of this.#touched.values()) {
      touched.push(cell)
      records.push({ actor: cell.actor, body: cell.record === null ? null : written(cell.record) })
      const move = moveOf(cell.actor, before, cell.record)
      if (move !== null) moves.push(move)
      const active = this.#needsRecovery(cell.record)
      if (active !== this.#needsRecovery(before)) effects.push({ actor: cell.actor, active })
    }
    const at = this.#at
    return {
      commit: {
        shard: at.shard,
        epoch: at.epoch,
        seq: at.seq,
        cursor: { hi: this.#hi, in: this.#in },
        outSeq: this.#outSeq,
        incarnation: at.incarnation,
        records,
        moves,
        at: at.now,
        sends: this.#sends,
        outbox: this.#outbox,
        outTrim: at.outTrim,
        timersSet: this.#timersSet,
        timersCleared: this.#timersCleared,
        effects,
        journal: this.#lines.length === 0 ? null : JSON.stringify(this.#lines),
        journalMax: at.journalMax,
        dead: this.#letters,
        held: this.#heldBodies,
        heldTaken: this.#heldTaken,
        replies: Array.from(this.#replies, ([channel, texts]) => ({ channel, body: `[${texts}]` })),
        look: at.look,
      },
      touched,
      starts: stillMeant(this.#starts, cells),
      stops: this.#stops,
      lines: this.#lines,
      dead: this.#dead,
      held: this.#held,
      heldMore: this.#heldBodies.length + this.#heldKept,
      fired: this.#fired,
      oldest: this.#oldest,
    }
  }

  /** What a new owner must look at: effects under way, and watches of actors whose mailbox may be gone by then. */
  #needsRecovery(record: ActorRecord | null): boolean {
    if (record === null) return false
    for (const id in record.fx) if (record.fx[id]?.ended !== true) return true
    for (const actor in record.watches) if (this.#directory.pinned.has(kindOf(parseAddress(actor)))) return true
    return false
  }

  #reply(channel: string, reply: Reply): void {
    const before = this.#replies.get(channel)
    const text = JSON.stringify(reply)
    this.#replies.set(channel, before === undefined ? text : `${before},${text}`)
  }
}

function written(record: ActorRecord): string {
  try {
    return encodeRecord(record)
  } catch (cause) {
    throw new UnwritableRecord('a record cannot be written', { cause })
  }
}

/** Effects started early in a batch and ended later in it never begin. */
function stillMeant(starts: readonly EffectStart[], cells: Cells): EffectStart[] {
  return starts.filter(({ actor, id, row }) => cells.get(actor)?.record?.fx?.[id]?.gen === row.gen)
}
