/**
 * Tells for later. A scheduled tell waits at its receiver: it is a timer of the receiver's record, durable and taken once
 * like any other, and it ends with the receiver. Who asked for it, and by which id, is part of its name, so that each
 * sender has names of its own; all clients are one sender.
 */
import { parseAddress } from './address.ts'
import type { ActorAddress } from './address.ts'
import { idFrom } from './cause.ts'
import type { Cell } from './cell.ts'
import type { Consequences } from './consequences.ts'
import type { Envelope } from './envelope.ts'
import { RuntimeError } from './errors.ts'
import { hasKeys, without } from './json.ts'
import type { Json } from './json.ts'
import { LIMITS } from './limits.ts'
import { encodeRecord } from './record.ts'
import type { ActorRecord, TimerRow, Writing } from './record.ts'
import type { Later } from './vocabulary.ts'

const PREFIX = '@tell|'
const ID_LENGTH_MAX = 200

/** What `@schedule` carries. */
export interface ScheduleData {
  readonly id: string
  readonly due: number
  readonly event: Json
  readonly everyMs?: number
  readonly keep?: true
}

/** A scheduled tell, as it waits. */
export interface Scheduled {
  readonly id: string
  /** Null for a client. */
  readonly from: ActorAddress | null
  readonly due: number
  readonly event: Json
  readonly everyMs?: number
  /** It was called off with what was left of its delay, which it goes on with when it is scheduled again. */
  readonly leftMs?: number
}

/** Throws `schedule.invalid`. */
export function scheduleData({ id, event, delayMs, at, everyMs, keep }: Later, now: number): ScheduleData {
  if (typeof id !== 'string' || id === '' || id.length > ID_LENGTH_MAX) {
    throw invalid('id', `a text of 1 to ${ID_LENGTH_MAX} characters`, id)
  }
  if (typeof event?.type !== 'string') throw invalid('event', 'an event with a type', event)
  if ((delayMs === undefined) === (at === undefined)) throw invalid('delayMs', 'either delayMs or at', delayMs)
  const due = at ?? now + (delayMs ?? 0)
  if (!Number.isFinite(at ?? delayMs)) throw invalid(at === undefined ? 'delayMs' : 'at', 'a number', at ?? delayMs)
  if (everyMs !== undefined && !(Number.isFinite(everyMs) && everyMs >= 1)) {
    throw invalid('everyMs', 'a number of at least 1', everyMs)
  }
  // JSON is the sender's duty
  return { id, due, event: event as unknown as Json, ...(everyMs !== undefined && { everyMs }), ...(keep && { keep }) }
}

function scheduleName(from: ActorAddress | undefined, id: string): string {
  return `${PREFIX}${from ?? ''}|${id}`
}

/** A schedule arrives at its receiver. Throws `schedule.too-many`. */
export function schedule(
  collected: Consequences,
  cell: Cell,
  record: ActorRecord,
  envelope: Envelope,
  writing: Writing,
): void {
  const name = nameIn(envelope)
  const { keep } = envelope.data as unknown as ScheduleData // written by scheduleData
  const before = keep ? record.tm?.[name] : undefined
  if (before !== undefined && before.leftMs === undefined) {
    collected.answer(envelope, record.s, true, undefined)
    return
  }
  const row = before === undefined ? scheduleRow(record, name, envelope, cell.actor) : goingOn(before, record, writing)
  rearrange(collected, cell, record, envelope, { name, tm: { ...record.tm, [name]: row } }, writing)
  collected.setTimer({ actor: cell.actor, name, gen: row.gen, due: row.due })
}

export function unschedule(
  collected: Consequences,
  cell: Cell,
  record: ActorRecord,
  envelope: Envelope,
  writing: Writing,
): void {
  const name = nameIn(envelope)
  const { keep } = envelope.data as { readonly keep?: true } // written by apply.ts
  const row = record.tm?.[name]
  if (row === undefined || (keep && row.leftMs !== undefined)) {
    collected.answer(envelope, record.s, false, undefined)
    return
  }
  const others = without(record.tm, name)
  const tm = keep ? { ...others, [name]: calledOff(row, record, writing) } : others
  rearrange(collected, cell, record, envelope, { name, tm }, writing)
}

function calledOff(row: TimerRow, record: ActorRecord, { now }: Writing): TimerRow {
  return { ...row, gen: record.n + 1, leftMs: Math.max(0, row.due - now) }
}

function goingOn({ leftMs = 0, ...row }: TimerRow, record: ActorRecord, { now }: Writing): TimerRow {
  return { ...row, gen: record.n + 1, due: now + leftMs }
}

function nameIn({ from, data }: Envelope): string {
  return scheduleName(from, (data as { id: string }).id) // written by scheduleData
}

/** A change that the chart has no part in: what is scheduled at the actor. */
function rearrange(
  collected: Consequences,
  cell: Cell,
  record: ActorRecord,
  envelope: Envelope,
  { name, tm }: { readonly name: string; readonly tm: NonNullable<ActorRecord['tm']> },
  { now, careful }: Writing,
): void {
  const { actor } = cell
  const n = record.n + 1
  const { tm: old, ...rest } = record
  const changed: ActorRecord = { ...rest, n, at: now, ...(hasKeys(tm) && { tm }) }
  if (careful) encodeRecord(changed)
  const row = old?.[name]
  if (row !== undefined) collected.clearTimer({ actor, name, gen: row.gen })
  collected.answer(envelope, record.s, true, undefined)
  collected.touch(cell)
  cell.record = changed
  const { value } = record.s
  collected.note({ actor, seq: n, event: envelope.type, from: value, to: value, at: now })
}

/** The row of a new schedule. Throws `schedule.too-many`. */
function scheduleRow(record: ActorRecord, name: string, envelope: Envelope, actor: ActorAddress): TimerRow {
  const { due, event, everyMs } = envelope.data as unknown as ScheduleData // written by scheduleData
  const others = Object.keys(record.tm ?? {}).filter((each) => each.startsWith(PREFIX) && each !== name)
  if (others.length >= LIMITS.schedulesMax) {
    throw new RuntimeError('schedule.too-many', `${actor} has ${others.length} scheduled tells, and may have no more`, {
      remedy: 'give-up',
      data: { actor, max: LIMITS.schedulesMax },
    })
  }
  const id = idFrom(envelope.id, 'timer', name, 0)
  return { id, gen: record.n + 1, due, event, ...(everyMs !== undefined && { everyMs }) }
}

/** The next beat of a row: the first one that is still to come, so that an owner that was away does not catch up. */
export function nextBeat(row: TimerRow & { readonly everyMs: number }, gen: number, now: number): TimerRow {
  const missed = Math.max(0, Math.floor((now - row.due) / row.everyMs))
  const due = row.due + (missed + 1) * row.everyMs
  return { ...row, id: idFrom(row.id, 'beat', '', 0), gen, due }
}

export function isRepeated(row: TimerRow): row is TimerRow & { readonly everyMs: number } {
  return row.everyMs !== undefined
}

export function isSchedule(name: string): boolean {
  return name.startsWith(PREFIX)
}

/** What is scheduled at an actor, the next first. */
export function schedulesOf(record: ActorRecord): Scheduled[] {
  return Object.entries(record.tm ?? {})
    .filter(([name]) => isSchedule(name))
    .map(([name, { due, event, everyMs, leftMs }]) => {
      const bar = name.indexOf('|', PREFIX.length)
      const from = name.slice(PREFIX.length, bar)
      return {
        id: name.slice(bar + 1),
        from: from === '' ? null : parseAddress(from),
        due,
        event: event ?? null,
        ...(everyMs !== undefined && { everyMs }),
        ...(leftMs !== undefined && { leftMs }),
      }
    })
    .sort((a, b) => a.due - b.due)
}

function invalid(field: string, expected: string, found: unknown): RuntimeError {
  return new RuntimeError('schedule.invalid', `Cannot schedule a tell: expected ${field} to be ${expected}`, {
    remedy: 'fix-request',
    data: { field, expected, found },
  })
}
