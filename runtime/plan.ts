/**
 * The plan: from a batch of messages to everything that follows, with no I/O. It runs each message through its actor's
 * chart and collects new records, sends, timers, journal lines and dead letters into one commit, and beside it what may
 * happen only after that commit: effects to start and stop, asks to answer.
 *
 * Invariants:
 * P1. A message that throws leaves no trace but a dead letter (and its ask's error): the plan is rolled back to it.
 * P2. A result or a timer counts only if its generation is the record's: an abandoned effect and a cancelled timer are mute.
 * P3. A message that the chart has no transition for, or only a reply, changes no record.
 */
import type { AnyEventObject } from 'xstate'
import type { ActorDefinition } from './actor.ts'
import { parseAddress, shardOf } from './address.ts'
import type { ActorAddress, Directory, ShardName } from './address.ts'
import { definitionOf, snapshotOf } from './cell.ts'
import type { Cell, Cells, Definitions } from './cell.ts'
import { decodeEnvelope, encodeEnvelope, SPAWN } from './envelope.ts'
import type { Envelope, Lane } from './envelope.ts'
import { faultOf, RuntimeError } from './errors.ts'
import type { Fault } from './errors.ts'
import type { Json } from './json.ts'
import type { Answer, JournalLine } from './client.ts'
import { encodeRecord } from './record.ts'
import type { ActorRecord, ChartState, EffectRow, TimerRow } from './record.ts'
import { afterEvent, effectDone, effectFailed, freeze, start, step, withoutEffect } from './step.ts'
import type { Op, Stepped } from './step.ts'
import type { Commit, Entry, Send, TimerEntry, Transport } from './transport.ts'

/** What an owner takes: mail from its lanes, and what it owes its actors itself. */
export type Message =
  | { readonly kind: 'mail'; readonly entry: Entry }
  | { readonly kind: 'timer'; readonly timer: TimerEntry }
  | {
      readonly kind: 'effect'
      readonly actor: ActorAddress
      readonly id: string
      readonly gen: number
      readonly result: EffectResult
    }
  /** The process that owned a pinned actor is gone: the chart hears `owner.lost`. */
  | { readonly kind: 'orphaned'; readonly actor: ActorAddress }

export type EffectResult =
  | { readonly ok: true; readonly output: unknown }
  | { readonly ok: false; readonly fault: Fault }

export const OWNER_LOST = 'owner.lost'
/** The timer that takes a finished actor out of Redis. */
export const RETIRE = '@retire'

export interface EffectStart {
  readonly actor: ActorAddress
  readonly id: string
  readonly row: EffectRow
  readonly trace: string | undefined
}

export type Reply = { readonly id: string } & ({ readonly answer: Answer } | { readonly fault: Fault })

export type Line = Omit<JournalLine, 'position'>

export interface Plan {
  readonly commit: Commit
  readonly touched: readonly Cell[]
  readonly starts: readonly EffectStart[]
  readonly stops: readonly { readonly actor: ActorAddress; readonly id: string; readonly gen: number }[]
  /** One list of `Reply` for each channel. */
  readonly replies: readonly { readonly channel: string; readonly body: string }[]
  readonly lines: readonly Line[]
  readonly dead: readonly { readonly to: string; readonly fault: Fault }[]
  readonly fired: readonly TimerEntry[]
  /** When the oldest message of the batch was sent. */
  readonly oldest: number
  /** The earliest timer that was set, or Infinity. */
  readonly nextDue: number
}

/** Where the shard stands before the plan. */
export interface Standing {
  readonly shard: ShardName
  readonly epoch: string
  readonly seq: number
  readonly cursor: Commit['cursor']
  readonly outSeq: number
  readonly outTrim: number
  readonly incarnation: number
  readonly reach: Transport['reach']
  readonly now: number
}

/** The actor a message is for; null when it cannot be read (the plan makes a dead letter of it). */
export interface Taken {
  readonly message: Message
  readonly actor: ActorAddress | null
  readonly envelope: Envelope | null
  readonly fault: Fault | null
}

/** Opens a message, so that the owner can load the records it needs. */
export function open(message: Message): Taken {
  switch (message.kind) {
    case 'mail':
      try {
        const envelope = decodeEnvelope(message.entry.body)
        return { message, envelope, actor: parseAddress(envelope.to), fault: null }
      } catch (error) {
        return { message, envelope: null, actor: null, fault: faultOf(error, 'envelope.malformed') }
      }
    case 'timer':
      return { message, envelope: null, actor: message.timer.actor, fault: null }
    case 'effect':
    case 'orphaned':
      return { message, envelope: null, actor: message.actor, fault: null }
  }
}

/** Plans a batch. Every actor in it must have a cell. Cells are moved to the state after the batch. */
export function plan(
  batch: readonly Taken[],
  cells: Cells,
  definitions: Definitions,
  directory: Directory,
  at: Standing,
): Plan {
  const whole = new Planner(cells, definitions, directory, at, false)
  try {
    return whole.take(batch)
  } catch (error) {
    if (!(error instanceof UnwritableRecord)) throw error
    whole.undo()
    return new Planner(cells, definitions, directory, at, true).take(batch)
  }
}

/** Records are written once a batch. One that cannot be (a bigint, a cycle) sends the batch through again, with care. */
class UnwritableRecord extends Error {}

class Planner {
  readonly #cells: Cells
  readonly #definitions: Definitions
  readonly #directory: Directory
  readonly #at: Standing
  /** Writes each record at once, so that the message which spoils it is found. */
  readonly #careful: boolean
  readonly #touched = new Map<ActorAddress, { cell: Cell; before: ActorRecord | null }>()
  readonly #sends: Send[] = []
  readonly #outbox: { seq: number; shard: ShardName; lane: Lane; body: string }[] = []
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
  #hi: string
  #in: string
  #outSeq: number
  #oldest = Infinity
  #nextDue = Infinity

  constructor(cells: Cells, definitions: Definitions, directory: Directory, at: Standing, careful: boolean) {
    this.#careful = careful
    this.#cells = cells
    this.#definitions = definitions
    this.#directory = directory
    this.#at = at
    this.#hi = at.cursor.hi
    this.#in = at.cursor.in
    this.#outSeq = at.outSeq
  }

  take(batch: readonly Taken[]): Plan {
    for (const taken of batch) {
      if (taken.message.kind === 'mail') {
        if (taken.message.entry.lane === 'hi') this.#hi = taken.message.entry.id
        else this.#in = taken.message.entry.id
      }
      if (taken.envelope !== null) this.#oldest = Math.min(this.#oldest, taken.envelope.sentAt)
      this.#one(taken)
    }
    return this.#finish()
  }

  /** Moves every cell back to where it stood before the plan. */
  undo(): void {
    for (const { cell, before } of this.#touched.values()) {
      cell.record = before
      cell.snapshot = null
    }
  }

  /** P1: one message, whole or not at all. */
  #one(taken: Taken): void {
    const mark = [this.#sends.length, this.#outbox.length, this.#timersSet.length] as const
    const outSeq = this.#outSeq
    let fault = taken.fault
    let stopsActor = false
    if (fault === null && taken.actor !== null) {
      try {
        this.#dispatch(taken, taken.actor)
        return
      } catch (error) {
        const code = error instanceof RuntimeError ? error.code : 'transition.failed'
        fault = { ...faultOf(error, code), code }
        stopsActor = code === 'transition.failed'
      }
    }
    ;[this.#sends.length, this.#outbox.length, this.#timersSet.length] = mark
    this.#outSeq = outSeq
    this.#bury(taken, fault ?? faultOf('unreadable', 'envelope.malformed'), stopsActor)
  }

  #dispatch(taken: Taken, actor: ActorAddress): void {
    const definition = definitionOf(this.#definitions, actor)
    const cell = this.#cells.get(actor)
    if (cell === undefined) throw new TypeError(`no cell was loaded for ${actor}`)
    const { message, envelope } = taken
    if (envelope !== null) this.#mail(cell, definition, envelope)
    else if (cell.record === null) this.#clearStray(message)
    else if (message.kind === 'timer') this.#timer(cell, cell.record, definition, message.timer)
    else if (message.kind === 'effect') this.#effect(cell, cell.record, definition, message)
    else if (message.kind === 'orphaned' && cell.record.s.status === 'active') {
      this.#transition(cell, cell.record, definition, { type: OWNER_LOST }, null)
    }
  }

  #mail(cell: Cell, definition: ActorDefinition, envelope: Envelope): void {
    const { record } = cell
    if (envelope.type === SPAWN) {
      if (record === null) this.#spawn(cell, definition, envelope)
      else this.#answer(envelope, record.s, false, undefined)
      return
    }
    if (record === null) {
      throw new RuntimeError('actor.unknown', `There is no actor ${cell.actor}`, {
        remedy: 'fix-request',
        data: { actor: cell.actor },
      })
    }
    if (record.s.status !== 'active') {
      // An ask learns how the actor ended; a tell to it has nobody to tell.
      if (envelope.replyTo !== undefined) {
        this.#answer(envelope, record.s, false, undefined)
        return
      }
      throw new RuntimeError('actor.done', `${cell.actor} has ended and takes no "${envelope.type}"`, {
        remedy: 'give-up',
        data: { actor: cell.actor, status: record.s.status },
      })
    }
    this.#transition(cell, record, definition, { ...envelope.data, type: envelope.type }, envelope)
  }

  #spawn(cell: Cell, definition: ActorDefinition, envelope: Envelope): void {
    const { now } = this.#at
    const empty: ActorRecord = {
      v: definition.version,
      n: 0,
      born: now,
      at: now,
      s: { value: null, context: null, status: 'active' },
      ...(envelope.from !== undefined && { by: envelope.from }),
    }
    this.#apply(cell, empty, definition, start(definition, envelope.data?.['input']), SPAWN, envelope)
  }

  #timer(cell: Cell, record: ActorRecord, definition: ActorDefinition, timer: TimerEntry): void {
    this.#timersCleared.push(timer)
    const row = record.tm?.[timer.name]
    if (row === undefined || row.gen !== timer.gen) return // P2
    this.#fired.push(timer)
    if (timer.name === RETIRE) {
      this.#touch(cell)
      cell.record = null
      cell.snapshot = null
      return
    }
    // XState's type of an event is open, the row's was written from one.
    const event = (row.event as AnyEventObject | undefined) ?? afterEvent(definition, timer.name)
    const rest = { ...record, tm: without(record.tm, timer.name) }
    if (event === null) {
      throw new RuntimeError('chart.invalid', `${cell.actor}: the chart has no delay "${timer.name}" any more`, {
        remedy: 'give-up',
        data: { actor: cell.actor, timer: timer.name },
      })
    }
    this.#transition(cell, rest, definition, event, null)
  }

  #effect(cell: Cell, record: ActorRecord, definition: ActorDefinition, message: Message & { kind: 'effect' }): void {
    const row = record.fx?.[message.id]
    if (row === undefined || row.gen !== message.gen) return // P2
    const { result, id } = message
    const rest = { ...record, fx: without(record.fx, id) }
    const event = result.ok ? effectDone(id, result.output) : effectFailed(id, result.fault)
    this.#transition(cell, rest, definition, event, null, id)
  }

  #transition(
    cell: Cell,
    record: ActorRecord,
    definition: ActorDefinition,
    event: AnyEventObject,
    envelope: Envelope | null,
    endedEffect?: string,
  ): void {
    let snapshot = snapshotOf(cell, record, definition)
    if (endedEffect !== undefined) cell.snapshot = snapshot = withoutEffect(snapshot, endedEffect)
    const stepped = step(definition, snapshot, event)
    if (record === cell.record && stepped.snapshot === snapshot && stepped.ops.every(({ op }) => op === 'reply')) {
      // P3: nothing has changed; at most there is something to say.
      if (envelope !== null) this.#answer(envelope, record.s, stepped.handled, replyOf(stepped.ops))
    } else {
      this.#apply(cell, record, definition, stepped, event.type, envelope)
    }
  }

  /** Moves the cell to what the step says, and collects what follows. */
  #apply(
    cell: Cell,
    before: ActorRecord,
    definition: ActorDefinition,
    stepped: Stepped,
    event: string,
    envelope: Envelope | null,
  ): void {
    const { now } = this.#at
    const n = before.n + 1
    const state = freeze(stepped.snapshot)
    const fx: Record<string, EffectRow> = { ...before.fx }
    const tm: Record<string, TimerRow> = { ...before.tm }
    const starts: EffectStart[] = []
    const stops: string[] = []
    const cleared: string[] = []
    let sent = 0
    for (const op of stepped.ops) {
      switch (op.op) {
        case 'tell':
        case 'spawn':
          this.#send(cell.actor, n, sent++, op, envelope?.trace)
          break
        case 'reply':
          break
        case 'start':
          if (fx[op.id] !== undefined) stops.push(op.id)
          fx[op.id] = { src: op.src, gen: n, ...(op.input !== undefined && { input: op.input as Json }) } // JSON is the chart's duty
          starts.push({ actor: cell.actor, id: op.id, row: fx[op.id] as EffectRow, trace: envelope?.trace })
          break
        case 'stop':
          if (fx[op.id] !== undefined) stops.push(op.id)
          dropStart(starts, op.id)
          delete fx[op.id]
          break
        case 'wait':
          if (tm[op.name] !== undefined) cleared.push(op.name)
          tm[op.name] = { gen: n, due: now + op.delayMs, ...(op.event !== undefined && { event: op.event as Json }) }
          break
        case 'cancel':
          if (tm[op.name] !== undefined) cleared.push(op.name)
          delete tm[op.name]
          break
      }
    }
    if (state.status !== 'active') {
      stops.push(...Object.keys(fx))
      cleared.push(...Object.keys(tm))
      for (const id of Object.keys(fx)) delete fx[id]
      for (const name of Object.keys(tm)) delete tm[name]
      starts.length = 0
      tm[RETIRE] = { gen: n, due: now + definition.policy.retentionMs }
    }
    const record: ActorRecord = {
      v: definition.version,
      n,
      born: before.born,
      at: now,
      s: state,
      ...(hasKeys(fx) && { fx }),
      ...(hasKeys(tm) && { tm }),
      ...(before.by !== undefined && { by: before.by }),
    }
    if (this.#careful) encodeRecord(record)
    if (envelope !== null) this.#answer(envelope, state, stepped.handled, replyOf(stepped.ops))
    // From here on nothing throws: P1.
    for (const id of stops) {
      const row = before.fx?.[id]
      if (row !== undefined) this.#stops.push({ actor: cell.actor, id, gen: row.gen })
    }
    for (const name of cleared) {
      const row = before.tm?.[name]
      if (row !== undefined) this.#timersCleared.push({ actor: cell.actor, name, gen: row.gen })
    }
    for (const [name, row] of Object.entries(tm)) {
      if (row.gen !== n) continue
      this.#timersSet.push({ actor: cell.actor, name, gen: n, due: row.due })
      this.#nextDue = Math.min(this.#nextDue, row.due)
    }
    this.#starts.push(...starts)
    this.#touch(cell)
    cell.record = record
    cell.snapshot = stepped.snapshot
    this.#lines.push({
      actor: cell.actor,
      seq: n,
      event,
      from: before.s.value,
      to: state.value,
      at: now,
      ...(envelope?.trace !== undefined && { trace: envelope.trace }),
    })
  }

  #send(from: ActorAddress, n: number, k: number, op: Op & { op: 'tell' | 'spawn' }, trace: string | undefined): void {
    const to = parseAddress(op.to)
    const envelope: Envelope = {
      id: `${from}:${n}:${k}`,
      to,
      from,
      sentAt: this.#at.now,
      ...(op.op === 'spawn' ? { type: SPAWN, data: { input: op.input } } : split(op.event)),
      ...(trace !== undefined && { trace }),
    }
    const body = encodeEnvelope(envelope)
    const lane: Lane = op.op === 'tell' && op.control ? 'hi' : 'in'
    const shard = shardOf(to, this.#directory)
    if (shard === this.#at.shard || this.#at.reach === 'every shard') this.#sends.push({ shard, lane, body })
    else this.#outbox.push({ seq: ++this.#outSeq, shard, lane, body })
  }

  /** Written at once: a reply that cannot be is its message's fault (P1). */
  #answer(envelope: Envelope, state: ChartState, handled: boolean, reply: { data: unknown } | undefined): void {
    if (envelope.replyTo === undefined) return
    const answer: Answer = {
      handled,
      state: state.value,
      status: state.status,
      ...(reply !== undefined && { reply: reply.data as Json }), // JSON is the chart's duty
    }
    this.#reply(envelope.replyTo, { id: envelope.id, answer })
  }

  #reply(channel: string, reply: Reply): void {
    const before = this.#replies.get(channel)
    const text = JSON.stringify(reply)
    this.#replies.set(channel, before === undefined ? text : `${before},${text}`)
  }

  #bury(taken: Taken, fault: Fault, stopsActor: boolean): void {
    const { envelope, message } = taken
    const to = taken.actor ?? 'unreadable'
    if (message.kind === 'timer') this.#timersCleared.push(message.timer)
    if (message.kind === 'effect') this.#endEffect(message)
    const subject = message.kind === 'mail' ? message.entry.body : JSON.stringify(message)
    this.#letters.push(JSON.stringify({ to, at: this.#at.now, fault, message: subject }))
    this.#dead.push({ to, fault })
    if (envelope?.replyTo !== undefined) this.#reply(envelope.replyTo, { id: envelope.id, fault })
    if (stopsActor && taken.actor !== null) this.#stopIfPolicySays(taken.actor, fault)
  }

  /** A result that the chart cannot take has ended its effect all the same: a new owner must not run it again. */
  #endEffect({ actor, id, gen }: Message & { kind: 'effect' }): void {
    const cell = this.#cells.get(actor)
    if (cell?.record?.fx?.[id]?.gen !== gen) return
    this.#touch(cell)
    const { fx, ...rest } = cell.record
    const others = without(fx, id)
    cell.record = hasKeys(others) ? { ...rest, fx: others } : rest
  }

  #stopIfPolicySays(actor: ActorAddress, fault: Fault): void {
    const cell = this.#cells.get(actor)
    const definition = definitionOf(this.#definitions, actor)
    if (cell === undefined || cell.record === null || definition.policy.onError !== 'stop') return
    const before = cell.record
    for (const [id, row] of Object.entries(before.fx ?? {})) this.#stops.push({ actor, id, gen: row.gen })
    for (const [name, row] of Object.entries(before.tm ?? {})) this.#timersCleared.push({ actor, name, gen: row.gen })
    const due = this.#at.now + definition.policy.retentionMs
    const n = before.n + 1
    this.#timersSet.push({ actor, name: RETIRE, gen: n, due })
    this.#nextDue = Math.min(this.#nextDue, due)
    this.#touch(cell)
    const { fx: _fx, ...rest } = before
    cell.record = {
      ...rest,
      n,
      at: this.#at.now,
      s: { ...before.s, status: 'error', error: fault },
      tm: { [RETIRE]: { gen: n, due } },
    }
    cell.snapshot = null
  }

  /** A timer or a result for an actor that is no more. */
  #clearStray(message: Message): void {
    if (message.kind === 'timer') this.#timersCleared.push(message.timer)
  }

  #touch(cell: Cell): void {
    if (this.#touched.has(cell.actor)) return
    this.#touched.set(cell.actor, { cell, before: cell.record })
  }

  #finish(): Plan {
    const records: { actor: ActorAddress; body: string | null }[] = []
    const effects: { actor: ActorAddress; active: boolean }[] = []
    const touched: Cell[] = []
    for (const { cell, before } of this.#touched.values()) {
      touched.push(cell)
      records.push({ actor: cell.actor, body: cell.record === null ? null : written(cell.record) })
      const active = cell.record?.fx !== undefined
      if (active !== (before?.fx !== undefined)) effects.push({ actor: cell.actor, active })
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
        sends: this.#sends,
        outbox: this.#outbox,
        outTrim: at.outTrim,
        timersSet: this.#timersSet,
        timersCleared: this.#timersCleared,
        effects,
        journal: this.#lines.length === 0 ? null : JSON.stringify(this.#lines),
        dead: this.#letters,
      },
      touched,
      starts: stillMeant(this.#starts, this.#cells),
      stops: this.#stops,
      replies: Array.from(this.#replies, ([channel, texts]) => ({ channel, body: `[${texts}]` })),
      lines: this.#lines,
      dead: this.#dead,
      fired: this.#fired,
      oldest: this.#oldest,
      nextDue: this.#nextDue,
    }
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

function replyOf(ops: readonly Op[]): { data: unknown } | undefined {
  return ops.findLast((op) => op.op === 'reply')
}

function dropStart(starts: EffectStart[], id: string): void {
  const index = starts.findIndex((start) => start.id === id)
  if (index !== -1) starts.splice(index, 1)
}

function split(event: { readonly type: string }): Pick<Envelope, 'type' | 'data'> {
  const { type, ...data } = event
  return hasKeys(data) ? { type, data } : { type }
}

function without<T>(rows: Readonly<Record<string, T>> | undefined, key: string): Readonly<Record<string, T>> {
  const { [key]: _gone, ...rest } = rows ?? {}
  return rest
}

function hasKeys(value: object): boolean {
  for (const _ in value) return true
  return false
}
