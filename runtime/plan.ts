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
import type { ActorAddress, Directory } from './address.ts'
import { apply, replyOf } from './apply.ts'
import type { Applied } from './apply.ts'
import { idFrom } from './cause.ts'
import { readerOf, snapshotOf } from './cell.ts'
import type { Cell, Definitions } from './cell.ts'
import type { Cells } from './cells.ts'
import { Consequences, UnwritableRecord } from './consequences.ts'
import type { Plan, Standing } from './consequences.ts'
import { endedEvent, genOf, heard, outcomeOf, unwatched, watched } from './ending.ts'
import { AGAIN, CHILD_FAILED, ENDED, SCHEDULE, SPAWN, UNSCHEDULE, UNWATCH, WATCH } from './envelope.ts'
import type { Envelope } from './envelope.ts'
import { faultOf, RuntimeError } from './errors.ts'
import type { Fault } from './errors.ts'
import { without } from './json.ts'
import { CHILD_HAS_FAILED, OWNER_LOST, RETIRE } from './message.ts'
import type { Message, Taken } from './message.ts'
import type { ActorRecord, Writing } from './record.ts'
import { isRepeated, nextBeat, schedule, unschedule } from './scheduling.ts'
import { bury, hold, isUnreadable } from './set-aside.ts'
import { afterEvent, effectDone, effectFailed, start, step, withoutEffect } from './step.ts'
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
  readonly #writing: Writing
  /** From here on, what throws is the chart's fault. */
  #inChart = false

  constructor(cells: Cells, definitions: Definitions, directory: Directory, at: Standing, careful: boolean) {
    this.#writing = { now: at.now, careful }
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
    const letter = { taken, fault: fault ?? faultOf('unreadable', 'envelope.malformed'), inChart: this.#inChart }
    bury(this.#collected, this.#cells, this.#definitions, this.#at.now, letter)
  }

  #held(taken: Taken, actor: ActorAddress, error: RuntimeError): boolean {
    return hold(this.#collected, this.#cells, this.#at, taken, actor, error)
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
    if (type === SCHEDULE) schedule(this.#collected, cell, record, envelope, this.#writing)
    else if (type === UNSCHEDULE) unschedule(this.#collected, cell, record, envelope, this.#writing)
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
      ...(!definition.indexed && { unindexed: true as const }),
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
    apply({ ...applied, ...this.#writing }, this.#collected)
  }

  /** A timer or a result for an actor that is no more. */
  #clearStray(message: Message): void {
    if (message.kind === 'timer') this.#collected.clearTimer(message.timer)
  }
}

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
