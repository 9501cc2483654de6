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
import { idFrom } from './cause.ts'
import { definitionOf, readerOf, snapshotOf } from './cell.ts'
import type { Cell, Cells, Definitions } from './cell.ts'
import { Consequences, UnwritableRecord } from './consequences.ts'
import type { EffectStart, Plan, Standing } from './consequences.ts'
import { SPAWN } from './envelope.ts'
import type { Envelope } from './envelope.ts'
import { faultOf, RuntimeError } from './errors.ts'
import type { Fault } from './errors.ts'
import { hasKeys } from './json.ts'
import type { Json } from './json.ts'
import { OWNER_LOST, RETIRE } from './message.ts'
import type { Message, Taken } from './message.ts'
import { encodeRecord } from './record.ts'
import type { ActorRecord, EffectRow, TimerRow } from './record.ts'
import { afterEvent, effectDone, effectFailed, freeze, start, step, withoutEffect } from './step.ts'
import type { Op, Stepped } from './step.ts'
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
    let fault = taken.fault
    let stopsActor = false
    if (fault === null && taken.actor !== null) {
      try {
        this.#dispatch(taken, taken.actor)
        return
      } catch (error) {
        if (error instanceof RuntimeError && isUnreadable(error) && this.#held(taken, taken.actor, error)) return
        const code = error instanceof RuntimeError ? error.code : 'transition.failed'
        fault = { ...faultOf(error, code), code }
        stopsActor = code === 'transition.failed'
      }
    }
    this.#collected.rollBack(mark)
    this.#bury(taken, fault ?? faultOf('unreadable', 'envelope.malformed'), stopsActor)
  }

  #dispatch(taken: Taken, actor: ActorAddress): void {
    const cell = this.#cells.get(actor)
    if (cell === undefined) throw new TypeError(`no cell was loaded for ${actor}`)
    const definition = readerOf(this.#definitions, cell)
    const { message, envelope } = taken
    if (envelope !== null) this.#mail(cell, definition, envelope)
    else if (cell.record === null) this.#clearStray(message)
    else if (message.kind === 'timer') this.#timer(cell, cell.record, definition, message.timer)
    else if (message.kind === 'effect') this.#effect(cell, cell.record, definition, message)
    else if (message.kind === 'orphaned' && cell.record.s.status === 'active') {
      const cause = idFrom(actor, OWNER_LOST, '', cell.record.n)
      this.#transition(cell, cell.record, definition, { type: OWNER_LOST }, cause, null)
    }
  }

  /** P4. False when nobody can be expected to take it: then it is a dead letter. */
  #held(taken: Taken, actor: ActorAddress, error: RuntimeError): boolean {
    const { message, envelope } = taken
    // What this owner makes of itself, the next owner makes anew.
    if (message.kind === 'effect' || message.kind === 'orphaned') return true
    const kind = kindOf(actor)
    const record = this.#cells.get(actor)?.record ?? null
    const canElsewhere = this.#at.readElsewhere(kind, record?.v ?? 1)
    // Of an actor that is not there, and of a kind that no living node knows, nobody says that it ever will be.
    if (record === null && !canElsewhere) return false
    const unreadable = { to: actor, fault: faultOf(error, error.code) }
    if (envelope?.replyTo !== undefined && !canElsewhere) {
      // Nobody takes it before its asker gives up: better that they know.
      this.#collected.refuse({ ...envelope, replyTo: envelope.replyTo }, unreadable)
      return true
    }
    if (!this.#collected.hasHeldRoom) return false
    if (message.kind === 'timer') this.#collected.clearTimer(message.timer)
    this.#collected.hold(taken, unreadable)
    return true
  }

  #mail(cell: Cell, definition: ActorDefinition, envelope: Envelope): void {
    const { record } = cell
    if (envelope.type === SPAWN) {
      if (record === null) this.#spawn(cell, definition, envelope)
      else this.#collected.answer(envelope, record.s, false, undefined)
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
        this.#collected.answer(envelope, record.s, false, undefined)
        return
      }
      throw new RuntimeError('actor.done', `${cell.actor} has ended and takes no "${envelope.type}"`, {
        remedy: 'give-up',
        data: { actor: cell.actor, status: record.s.status },
      })
    }
    this.#transition(cell, record, definition, { ...envelope.data, type: envelope.type }, envelope.id, envelope)
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
    this.#apply(cell, empty, definition, start(definition, envelope.data?.['input']), SPAWN, envelope.id, envelope)
  }

  #timer(cell: Cell, record: ActorRecord, definition: ActorDefinition, timer: TimerEntry): void {
    this.#collected.clearTimer(timer)
    const row = record.tm?.[timer.name]
    if (row === undefined || row.gen !== timer.gen) return // P2
    this.#collected.fire(timer)
    if (timer.name === RETIRE) {
      this.#collected.touch(cell)
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
    this.#transition(cell, rest, definition, event, row.id, null)
  }

  #effect(cell: Cell, record: ActorRecord, definition: ActorDefinition, message: Message & { kind: 'effect' }): void {
    const row = record.fx?.[message.id]
    if (row === undefined || row.gen !== message.gen) return // P2
    const { result, id } = message
    const rest = { ...record, fx: without(record.fx, id) }
    const event = result.ok ? effectDone(id, result.output) : effectFailed(id, result.fault)
    this.#transition(cell, rest, definition, event, row.id, null, id)
  }

  #transition(
    cell: Cell,
    record: ActorRecord,
    definition: ActorDefinition,
    event: AnyEventObject,
    cause: string,
    envelope: Envelope | null,
    endedEffect?: string,
  ): void {
    let snapshot = snapshotOf(cell, record, definition)
    if (endedEffect !== undefined) cell.snapshot = snapshot = withoutEffect(snapshot, endedEffect)
    const stepped = step(definition, snapshot, event)
    if (record === cell.record && stepped.snapshot === snapshot && stepped.ops.every(({ op }) => op === 'reply')) {
      // P3: nothing has changed; at most there is something to say.
      if (envelope !== null) this.#collected.answer(envelope, record.s, stepped.handled, replyOf(stepped.ops))
    } else {
      this.#apply(cell, record, definition, stepped, event.type, cause, envelope)
    }
  }

  /** Moves the cell to what the step says, and collects what follows, named after its cause. */
  #apply(
    cell: Cell,
    before: ActorRecord,
    definition: ActorDefinition,
    stepped: Stepped,
    event: string,
    cause: string,
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
    for (const op of stepped.ops) {
      switch (op.op) {
        case 'tell':
        case 'spawn':
          this.#collected.send(cell.actor, cause, op, envelope?.trace)
          break
        case 'reply':
          break
        case 'start':
          if (fx[op.id] !== undefined) stops.push(op.id)
          fx[op.id] = {
            id: idFrom(cause, 'effect', op.id, 0),
            src: op.src,
            gen: n,
            ...(op.input !== undefined && { input: op.input as Json }), // JSON is the chart's duty
          }
          starts.push({ actor: cell.actor, id: op.id, row: fx[op.id] as EffectRow, trace: envelope?.trace })
          break
        case 'stop':
          if (fx[op.id] !== undefined) stops.push(op.id)
          dropStart(starts, op.id)
          delete fx[op.id]
          break
        case 'wait':
          if (tm[op.name] !== undefined) cleared.push(op.name)
          tm[op.name] = {
            id: idFrom(cause, 'timer', op.name, 0),
            gen: n,
            due: now + op.delayMs,
            ...(op.event !== undefined && { event: op.event as Json }),
          }
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
      tm[RETIRE] = { id: RETIRE, gen: n, due: now + definition.policy.retentionMs }
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
    if (envelope !== null) this.#collected.answer(envelope, state, stepped.handled, replyOf(stepped.ops))
    // From here on nothing throws: P1.
    for (const id of stops) {
      const row = before.fx?.[id]
      if (row !== undefined) this.#collected.stop(cell.actor, id, row.gen)
    }
    for (const name of cleared) {
      const row = before.tm?.[name]
      if (row !== undefined) this.#collected.clearTimer({ actor: cell.actor, name, gen: row.gen })
    }
    for (const [name, row] of Object.entries(tm)) {
      if (row.gen === n) this.#collected.setTimer({ actor: cell.actor, name, gen: n, due: row.due })
    }
    this.#collected.start(starts)
    this.#collected.touch(cell)
    cell.record = record
    cell.snapshot = stepped.snapshot
    this.#collected.note({
      actor: cell.actor,
      seq: n,
      event,
      from: before.s.value,
      to: state.value,
      at: now,
      ...(envelope?.trace !== undefined && { trace: envelope.trace }),
    })
  }

  #bury(taken: Taken, fault: Fault, stopsActor: boolean): void {
    const { message, actor } = taken
    if (message.kind === 'timer') this.#collected.clearTimer(message.timer)
    if (message.kind === 'effect') this.#endEffect(message)
    this.#collected.bury(taken, fault)
    if (stopsActor && actor !== null) this.#stopIfPolicySays(actor, fault)
  }

  /** A result that the chart cannot take has ended its effect all the same: a new owner must not run it again. */
  #endEffect({ actor, id, gen }: Message & { kind: 'effect' }): void {
    const cell = this.#cells.get(actor)
    if (cell?.record?.fx?.[id]?.gen !== gen) return
    this.#collected.touch(cell)
    const { fx, ...rest } = cell.record
    const others = without(fx, id)
    cell.record = hasKeys(others) ? { ...rest, fx: others } : rest
  }

  #stopIfPolicySays(actor: ActorAddress, fault: Fault): void {
    const cell = this.#cells.get(actor)
    const definition = definitionOf(this.#definitions, actor)
    if (cell === undefined || cell.record === null || definition.policy.onError !== 'stop') return
    const before = cell.record
    for (const [id, row] of Object.entries(before.fx ?? {})) this.#collected.stop(actor, id, row.gen)
    for (const [name, row] of Object.entries(before.tm ?? {})) this.#collected.clearTimer({ actor, name, gen: row.gen })
    const due = this.#at.now + definition.policy.retentionMs
    const n = before.n + 1
    this.#collected.setTimer({ actor, name: RETIRE, gen: n, due })
    this.#collected.touch(cell)
    const { fx: _fx, ...rest } = before
    cell.record = {
      ...rest,
      n,
      at: this.#at.now,
      s: { ...before.s, status: 'error', error: fault },
      tm: { [RETIRE]: { id: RETIRE, gen: n, due } },
    }
    cell.snapshot = null
  }

  /** A timer or a result for an actor that is no more. */
  #clearStray(message: Message): void {
    if (message.kind === 'timer') this.#collected.clearTimer(message.timer)
  }
}

function isUnreadable({ code }: RuntimeError): boolean {
  return code === 'actor.kind-unknown' || code === 'actor.version-unknown'
}

function replyOf(ops: readonly Op[]): { data: unknown } | undefined {
  return ops.findLast((op) => op.op === 'reply')
}

function dropStart(starts: EffectStart[], id: string): void {
  const index = starts.findIndex((start) => start.id === id)
  if (index !== -1) starts.splice(index, 1)
}

function without<T>(rows: Readonly<Record<string, T>> | undefined, key: string): Readonly<Record<string, T>> {
  const { [key]: _gone, ...rest } = rows ?? {}
  return rest
}
