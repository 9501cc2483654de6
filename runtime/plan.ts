/**
 * The plan: from a batch of messages to everything that follows, with no I/O. It runs each message through its actor's
 * chart and collects new records, sends, timers, journal lines and dead letters into one commit, and beside it what may
 * happen only after that commit: effects to start and stop, asks to answer.
 *
 * Invariants:
 * P1. A message that throws leaves no trace but a dead letter (and its ask's error): the plan is rolled back to it.
 * P2. A result or a timer counts only if its generation is the record's: an abandoned effect and a cancelled timer are mute.
 * P3. A message that the chart has no transition for, or only a reply, changes no record.
 * P4. A message that this code cannot take (a kind or a version of which another process knows more) is held as it is,
 *     behind those that are held already, and touches nothing else.
 */
import type { AnyEventObject } from 'xstate'
import type { ActorDefinition } from './actor.ts'
import { kindOf } from './address.ts'
import type { ActorAddress, Directory } from './address.ts'
import { apply, replyOf } from './apply.ts'
import type { Applied } from './apply.ts'
import { idFrom } from './cause.ts'
import { definitionOf, readerOf, snapshotOf } from './cell.ts'
import type { Cell, Cells, Definitions } from './cell.ts'
import { Consequences, UnwritableRecord } from './consequences.ts'
import type { Plan, Standing } from './consequences.ts'
import { endedEvent, genOf, heard, outcomeOf, unwatched, watched } from './ending.ts'
import { AGAIN, CHILD_FAILED, ENDED, SCHEDULE, SPAWN, UNSCHEDULE, UNWATCH, WATCH } from './envelope.ts'
import type { Envelope } from './envelope.ts'
import { faultOf, RuntimeError } from './errors.ts'
import type { Fault } from './errors.ts'
import { hasKeys } from './json.ts'
import { CHILD_HAS_FAILED, OWNER_LOST, RETIRE } from './message.ts'
import type { Message, Taken } from './message.ts'
import { encodeRecord } from './record.ts'
import type { ActorRecord } from './record.ts'
import { isRepeated, nextBeat, scheduleName, scheduleRow } from './scheduling.ts'
import { afterEvent, effectDone, effectFailed, start, step, withoutEffect } from './step.ts'
import { supervise, superviseBirth } from './supervision.ts'
import type { TimerEntry } from './transport.ts'

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

class Planner {
  readonly #cells: Cells
  readonly #definitions: Definitions
  readonly #at: Standing
  readonly #collected: Consequences
  /** Writes each record at once, so that the message which spoils it is found. */
  readonly #careful: boolean
  /** From here on, what throws is the chart's fault. */
  #inChart = false

  constructor(cells: Cells, definitions: Definitions, directory: Directory, at: Standing, careful: boolean) {
    this.#careful = careful
    this.#cells = cells
    this.#definitions = definitions
    this.#at = at
    this.#collected = new Consequences(directory, at)
  }

  take(batch: readonly Taken[]): Plan {
    for (const taken of batch) {
      this.#collected.pass(taken)
      this.#one(taken)
    }
    return this.#collected.finish(this.#cells)
  }

  undo(): void {
    this.#collected.undo()
  }

  /** P1: one message, whole or not at all. */
  #one(taken: Taken): void {
    const mark = this.#collected.mark()
    this.#inChart = false
    let { fault } = taken
    if (fault === null && taken.actor !== null) {
      try {
        this.#dispatch(taken, taken.actor)
        return
      } catch (error) {
        if (error instanceof RuntimeError && isUnreadable(error) && this.#held(taken, taken.actor, error)) return
        const code = error instanceof RuntimeError ? error.code : 'transition.failed'
        fault = { ...faultOf(error, code), code }
      }
    }
    this.#collected.rollBack(mark)
    this.#bury(taken, fault ?? faultOf('unreadable', 'envelope.malformed'))
  }

  #dispatch(taken: Taken, actor: ActorAddress): void {
    const cell = this.#cells.get(actor)
    if (cell === undefined) throw new TypeError(`no cell was loaded for ${actor}`)
    const definition = readerOf(this.#definitions, cell)
    const { message, envelope } = taken
    const { record } = cell
    if (envelope !== null) this.#mail(cell, definition, envelope)
    else if (record === null) this.#clearStray(message)
    else if (message.kind === 'timer') this.#timer(cell, record, definition, message.timer, null)
    else if (record.s.status !== 'active') return
    else if (message.kind === 'effect') this.#effect(cell, record, definition, message, null)
    else if (message.kind === 'rewatch') this.#watchAgain(record, message)
    else if (message.kind === 'ended') {
      const cause = idFrom(actor, message.kind, message.of, message.gen)
      this.#ended(cell, record, definition, { ...message, outcome: outcomeOf(null), cause, envelope: null })
    } else if (message.kind === 'orphaned') {
      const cause = idFrom(actor, OWNER_LOST, '', record.n)
      this.#transition(cell, record, definition, { type: OWNER_LOST }, { cause, envelope: null })
    }
  }

  /** P4. False when nobody can be expected to take it: then it is a dead letter. */
  #held(taken: Taken, actor: ActorAddress, error: RuntimeError): boolean {
    const { message, envelope } = taken
    // What this owner makes of itself, the next owner makes anew.
    if (message.kind !== 'mail' && message.kind !== 'timer') return true
    const kind = kindOf(actor)
    const record = this.#cells.get(actor)?.record ?? null
    const canElsewhere = this.#at.readElsewhere(kind, record?.v ?? 1)
    // Of an actor that is not there, and of a kind that no living node knows, nobody says that it ever will be.
    if (record === null && !canElsewhere) return false
    const unreadable = { to: actor, fault: faultOf(error, error.code) }
    const hasRoom = this.#collected.hasHeldRoom
    if (envelope?.replyTo !== undefined && !(canElsewhere && hasRoom)) {
      // Nobody takes it before its asker gives up: better that they know.
      this.#collected.refuse({ ...envelope, replyTo: envelope.replyTo }, unreadable)
      return true
    }
    // No more timers can come due than were set: they need no limit, and no dead letter would make up for one.
    if (!hasRoom && message.kind !== 'timer' && taken.heldId === undefined) return false
    if (message.kind === 'timer' && taken.heldId === undefined) this.#collected.clearTimer(message.timer)
    this.#collected.hold(taken, unreadable)
    return true
  }

  #mail(cell: Cell, definition: ActorDefinition, envelope: Envelope): void {
    const { record } = cell
    const isActive = record?.s.status === 'active'
    const { type, data, id } = envelope
    switch (type) {
      case SPAWN:
        if (record === null) this.#spawn(cell, definition, envelope)
        else this.#collected.answer(envelope, record.s, false, undefined)
        return
      case WATCH:
        watched(this.#collected, cell, envelope)
        return
      case UNWATCH:
        unwatched(this.#collected, cell, envelope)
        return
      case ENDED:
        if (!isActive || envelope.from === undefined) return
        this.#ended(cell, record, definition, {
          of: envelope.from,
          gen: genOf(envelope),
          outcome: data ?? {},
          cause: id,
          envelope,
        })
        return
      case CHILD_FAILED: {
        if (!isActive) return
        const event = { ...data, type: CHILD_HAS_FAILED }
        this.#transition(cell, record, definition, event, { cause: id, envelope, unheard: childFailed })
        return
      }
    }
    if (record === null) {
      throw new RuntimeError('actor.unknown', `There is no actor ${cell.actor}`, {
        remedy: 'fix-request',
        data: { actor: cell.actor },
      })
    }
    if (!isActive) {
      // An ask learns how the actor ended; a tell to it has nobody to tell.
      if (envelope.replyTo !== undefined) {
        this.#collected.answer(envelope, record.s, false, undefined)
        return
      }
      throw new RuntimeError('actor.done', `${cell.actor} has ended and takes no "${type}"`, {
        remedy: 'give-up',
        data: { actor: cell.actor, status: record.s.status },
      })
    }
    if (type === SCHEDULE) this.#schedule(cell, record, envelope)
    else if (type === UNSCHEDULE) this.#unschedule(cell, record, envelope)
    else if (type === AGAIN) {
      const { message } = data as unknown as { message: Message } // written by dead-letters.ts
      if (message.kind === 'timer') this.#timer(cell, record, definition, message.timer, envelope)
      else if (message.kind === 'effect') this.#effect(cell, record, definition, message, envelope)
    } else this.#transition(cell, record, definition, { ...data, type }, { cause: id, envelope })
  }

  #spawn(cell: Cell, definition: ActorDefinition, envelope: Envelope): void {
    const { now } = this.#at
    const before: ActorRecord = {
      v: definition.version,
      n: 0,
      born: now,
      at: now,
      s: { value: null, context: null, status: 'active' },
      ...(envelope.from !== undefined && { by: envelope.from }),
    }
    this.#inChart = true
    const stepped = start(definition, envelope.data?.['input'])
    this.#apply({ cell, before, definition, stepped, event: SPAWN, cause: envelope.id, envelope })
  }

  /** `envelope`: it is sent again, after the chart could not take it. */
  #timer(
    cell: Cell,
    record: ActorRecord,
    definition: ActorDefinition,
    timer: TimerEntry,
    envelope: Envelope | null,
  ): void {
    const { name } = timer
    const row = record.tm?.[name]
    // P2
    if (row === undefined || row.gen !== timer.gen) {
      this.#collected.clearTimer(timer)
      return
    }
    const isAgain = envelope !== null
    if (timer.due < row.due && !isAgain) return // an old look at one that has been put off since
    this.#collected.fire(timer)
    if (name === RETIRE) {
      this.#collected.clearTimer(timer)
      this.#collected.touch(cell)
      cell.record = null
      cell.snapshot = null
      return
    }
    // XState's type of an event is open, the row's was written from one.
    const event = (row.event as AnyEventObject | undefined) ?? afterEvent(definition, name)
    if (event === null) {
      throw new RuntimeError('chart.invalid', `${cell.actor}: the chart has no delay "${name}" any more`, {
        remedy: 'give-up',
        data: { actor: cell.actor, timer: name },
      })
    }
    const others = without(record.tm, name)
    if (isRepeated(row) && isAgain) {
      this.#transition(cell, record, definition, event, { cause: envelope.id, envelope }) // its beat goes on beside it
      return
    }
    const tm = isRepeated(row) ? { ...others, [name]: nextBeat(row, record.n + 1, this.#at.now) } : others
    this.#transition(cell, { ...record, tm }, definition, event, { cause: row.id, envelope })
    this.#collected.clearTimer(timer)
  }

  #effect(
    cell: Cell,
    record: ActorRecord,
    definition: ActorDefinition,
    message: Message & { kind: 'effect' },
    envelope: Envelope | null,
  ): void {
    const row = record.fx?.[message.id]
    if (row === undefined || row.gen !== message.gen) return // P2
    const { result, id } = message
    const rest = { ...record, fx: without(record.fx, id) }
    const event = result.ok ? effectDone(id, result.output) : effectFailed(id, result.fault)
    this.#transition(cell, rest, definition, event, { cause: row.id, envelope, endedEffect: id })
  }

  #watchAgain(record: ActorRecord, { actor, of, gen }: Message & { kind: 'ended' | 'rewatch' }): void {
    if (record.watches?.[of] !== gen) return
    const cause = idFrom(actor, WATCH, of, gen)
    this.#collected.send(actor, cause, { to: of, type: WATCH, data: { gen } }, undefined)
  }

  #ended(cell: Cell, record: ActorRecord, definition: ActorDefinition, end: End): void {
    const { of, gen, outcome, cause, envelope } = end
    const rest = heard(record, of, gen)
    if (rest !== null) this.#transition(cell, rest, definition, endedEvent(of, outcome), { cause, envelope })
  }

  #schedule(cell: Cell, record: ActorRecord, envelope: Envelope): void {
    const name = scheduleName(envelope.from, (envelope.data as { id: string }).id) // written by scheduleData
    const row = scheduleRow(record, name, envelope, cell.actor)
    this.#rearrange(cell, record, envelope, { ...record.tm, [name]: row }, name)
    this.#collected.setTimer({ actor: cell.actor, name, gen: row.gen, due: row.due })
  }

  #unschedule(cell: Cell, record: ActorRecord, envelope: Envelope): void {
    const name = scheduleName(envelope.from, (envelope.data as { id: string }).id) // likewise
    if (record.tm?.[name] === undefined) this.#collected.answer(envelope, record.s, false, undefined)
    else this.#rearrange(cell, record, envelope, without(record.tm, name), name)
  }

  /** A change that the chart has no part in: what is scheduled at the actor. */
  #rearrange(cell: Cell, record: ActorRecord, envelope: Envelope, tm: Timers, name: string): void {
    const { actor } = cell
    const { now } = this.#at
    const n = record.n + 1
    const { tm: old, ...rest } = record
    const changed: ActorRecord = { ...rest, n, at: now, ...(hasKeys(tm) && { tm }) }
    if (this.#careful) encodeRecord(changed)
    const row = old?.[name]
    if (row !== undefined) this.#collected.clearTimer({ actor, name, gen: row.gen })
    this.#collected.answer(envelope, record.s, true, undefined)
    this.#collected.touch(cell)
    cell.record = changed
    const { value } = record.s
    this.#collected.note({ actor, seq: n, event: envelope.type, from: value, to: value, at: now })
  }

  #transition(
    cell: Cell,
    before: ActorRecord,
    definition: ActorDefinition,
    event: AnyEventObject,
    { cause, envelope, endedEffect, unheard }: Happening,
  ): void {
    let snapshot = snapshotOf(cell, before, definition)
    if (endedEffect !== undefined) cell.snapshot = snapshot = withoutEffect(snapshot, endedEffect)
    this.#inChart = true
    const stepped = step(definition, snapshot, event)
    if (unheard !== undefined && !stepped.handled) throw unheard(event)
    if (before === cell.record && stepped.snapshot === snapshot && stepped.ops.every(({ op }) => op === 'reply')) {
      // P3: nothing has changed; at most there is something to say.
      if (envelope !== null) this.#collected.answer(envelope, before.s, stepped.handled, replyOf(stepped.ops))
    } else {
      this.#apply({ cell, before, definition, stepped, event: event.type, cause, envelope })
    }
  }

  #apply(applied: Omit<Applied, 'now' | 'careful'>): void {
    apply({ ...applied, now: this.#at.now, careful: this.#careful }, this.#collected)
  }

  #bury(taken: Taken, fault: Fault): void {
    const { message, actor, envelope } = taken
    const { now } = this.#at
    if (message.kind === 'timer') this.#endTimer(message.timer)
    if (message.kind === 'effect') this.#endEffect(message)
    this.#collected.bury(taken, fault)
    const cell = actor === null ? undefined : this.#cells.get(actor)
    if (cell === undefined || actor === null || !this.#inChart) return
    const definition = definitionOf(this.#definitions, actor)
    const cause = envelope?.id ?? idFrom(actor, message.kind, '', cell.record?.n ?? 0)
    const failure = { definition, fault, now, cause, trace: envelope?.trace }
    if (cell.record !== null) supervise(this.#collected, cell, failure)
    else if (envelope?.from !== undefined) superviseBirth(this.#collected, cell, envelope.from, failure)
  }

  /** A timer whose event the chart cannot take has fired all the same; one that comes again does so. */
  #endTimer(timer: TimerEntry): void {
    const cell = this.#cells.get(timer.actor)
    const row = cell?.record?.tm?.[timer.name]
    if (cell === undefined || cell.record === null || row?.gen !== timer.gen || !isRepeated(row)) {
      this.#collected.clearTimer(timer)
      return
    }
    const next = nextBeat(row, row.gen, this.#at.now)
    this.#collected.touch(cell)
    cell.record = { ...cell.record, tm: { ...cell.record.tm, [timer.name]: next } }
    this.#collected.setTimer({ ...timer, due: next.due })
  }

  /** A result that the chart cannot take has ended its effect all the same: a new owner must not run it again. */
  #endEffect({ actor, id, gen }: Message & { kind: 'effect' }): void {
    const cell = this.#cells.get(actor)
    const row = cell?.record?.fx?.[id]
    if (cell === undefined || cell.record === null || row?.gen !== gen) return
    this.#collected.touch(cell)
    cell.record = { ...cell.record, fx: { ...cell.record.fx, [id]: { ...row, ended: true } } }
  }

  /** A timer or a result for an actor that is no more. */
  #clearStray(message: Message): void {
    if (message.kind === 'timer') this.#collected.clearTimer(message.timer)
  }
}

function isUnreadable({ code }: RuntimeError): boolean {
  return code === 'actor.kind-unknown' || code === 'actor.version-unknown'
}

type Timers = NonNullable<ActorRecord['tm']>

/** What brings a transition about. */
interface Happening {
  readonly cause: string
  readonly envelope: Envelope | null
  readonly endedEffect?: string
  /** What it comes to when the chart has no transition for it. */
  readonly unheard?: (event: AnyEventObject) => Error
}

/** A watched actor's end, as it is told. */
interface End {
  readonly of: ActorAddress
  readonly gen: number
  readonly outcome: Readonly<Record<string, unknown>>
  readonly cause: string
  readonly envelope: Envelope | null
}

function childFailed(event: AnyEventObject): RuntimeError {
  const { actor, fault } = event as unknown as { actor: string; fault: Fault } // written by supervision.ts
  return new RuntimeError('child.failed', `${actor} has failed: ${fault.message}`, {
    remedy: fault.remedy,
    data: { actor, fault },
  })
}

function without<T>(rows: Readonly<Record<string, T>> | undefined, key: string): Readonly<Record<string, T>> {
  const { [key]: _gone, ...rest } = rows ?? {}
  return rest
}
