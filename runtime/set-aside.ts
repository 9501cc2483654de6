/**
 * What becomes of a message that is not taken. One that other code could take is held; any other is a dead letter, and its
 * actor's policy says what its failure means.
 *
 * Invariants (the plan's P1 and P4, seen from here):
 * A1. Whatever happens to a message, who asked is told, or it waits for somebody who will.
 * A2. A timer that fired and an effect that ended over a dead letter have done so for good: no owner comes back to them.
 */
import { kindOf } from './address.ts'
import type { ActorAddress } from './address.ts'
import { idFrom } from './cause.ts'
import { definitionOf } from './cell.ts'
import type { Definitions } from './cell.ts'
import type { Cells } from './cells.ts'
import type { Consequences, Standing } from './consequences.ts'
import { CHILD_FAILED, ENDED, WATCH } from './envelope.ts'
import { faultOf } from './errors.ts'
import type { Fault, RuntimeError } from './errors.ts'
import type { Message, Taken } from './message.ts'
import { isRepeated, nextBeat } from './scheduling.ts'
import { supervise, superviseBirth } from './supervision.ts'
import type { TimerEntry } from './transport.ts'

const OWED: ReadonlySet<string> = new Set([WATCH, ENDED, CHILD_FAILED])

/** Whether it is for code that this process has not got. */
export function isUnreadable({ code }: RuntimeError): boolean {
  return code === 'actor.kind-unknown' || code === 'actor.version-unknown'
}

/** P4. False when nobody can be expected to take it: then it is a dead letter. */
export function hold(
  collected: Consequences,
  cells: Cells,
  at: Standing,
  taken: Taken,
  actor: ActorAddress,
  error: RuntimeError,
): boolean {
  const { message, envelope } = taken
  // What this owner makes of itself, the next owner makes anew.
  if (message.kind !== 'mail' && message.kind !== 'timer') return true
  const kind = kindOf(actor)
  const record = cells.get(actor)?.record ?? null
  const canElsewhere = at.readElsewhere(kind, record?.v ?? 1)
  // Of an actor that is not there, and of a kind that no living node knows, nobody says that it ever will be.
  if (record === null && !canElsewhere) return false
  const unreadable = { to: actor, fault: faultOf(error, error.code) }
  const hasRoom = collected.hasHeldRoom
  if (envelope?.replyTo !== undefined && !(canElsewhere && hasRoom)) {
    // Nobody takes it before its asker gives up: better that they know.
    collected.refuse({ ...envelope, replyTo: envelope.replyTo }, unreadable)
    return true
  }
  // No more timers can come due than were set, and a watch, an end and a failure are told once to one who waits: they need
  // no limit, and no dead letter would make up for one.
  const isOwed = message.kind === 'timer' || (envelope !== null && OWED.has(envelope.type))
  if (!hasRoom && !isOwed && taken.heldId === undefined) return false
  if (message.kind === 'timer' && taken.heldId === undefined) collected.clearTimer(message.timer)
  collected.hold(taken, unreadable)
  return true
}

/** `inChart`: it was the chart that failed over it. */
export function bury(
  collected: Consequences,
  cells: Cells,
  definitions: Definitions,
  now: number,
  { taken, fault, inChart }: { readonly taken: Taken; readonly fault: Fault; readonly inChart: boolean },
): void {
  const { message, actor, envelope } = taken
  if (message.kind === 'timer') endTimer(collected, cells, message.timer, now)
  if (message.kind === 'effect') endEffect(collected, cells, message)
  collected.bury(taken, fault)
  const cell = actor === null ? undefined : cells.get(actor)
  if (cell === undefined || actor === null || !inChart) return
  const definition = definitionOf(definitions, actor)
  const cause = envelope?.id ?? idFrom(actor, message.kind, '', cell.record?.n ?? 0)
  const failure = { definition, fault, now, cause, trace: envelope?.trace }
  if (cell.record !== null) supervise(collected, cell, failure)
  else if (envelope?.from !== undefined) superviseBirth(collected, cell, envelope.from, failure)
}

/** A2. A timer whose event the chart cannot take has fired all the same; one that comes again does so. */
function endTimer(collected: Consequences, cells: Cells, timer: TimerEntry, now: number): void {
  const cell = cells.get(timer.actor)
  const row = cell?.record?.tm?.[timer.name]
  if (cell === undefined || cell.record === null || row?.gen !== timer.gen || !isRepeated(row)) {
    collected.clearTimer(timer)
    return
  }
  const next = nextBeat(row, row.gen, now)
  collected.touch(cell)
  cell.record = { ...cell.record, tm: { ...cell.record.tm, [timer.name]: next } }
  collected.setTimer({ ...timer, due: next.due })
}

/** A2. A result that the chart cannot take has ended its effect all the same: a new owner must not run it again. */
function endEffect(collected: Consequences, cells: Cells, { actor, id, gen }: Message & { kind: 'effect' }): void {
  const cell = cells.get(actor)
  const row = cell?.record?.fx?.[id]
  if (cell === undefined || cell.record === null || row?.gen !== gen) return
  collected.touch(cell)
  cell.record = { ...cell.record, fx: { ...cell.record.fx, [id]: { ...row, ended: true } } }
}
