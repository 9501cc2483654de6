/**
 * The end of an actor, whichever way it came, and who hears of it. A watch stands in both records: the watcher's says
 * since which of its transitions it waits, the watched one's whom to tell.
 *
 * Invariants:
 * E1. A watcher hears of an end only while its own row for it stands, and the hearing takes the row away: once.
 * E2. Whoever ends, in whatever way, tells its watchers in the commit with which it ends.
 * E3. Who is not there, or has ended, answers a watch at once; a mailbox that is not there is answered for (outbox.ts).
 */
import { kindOf, parseAddress } from './address.ts'
import type { ActorAddress, Directory } from './address.ts'
import type { Cell } from './cell.ts'
import type { Consequences } from './consequences.ts'
import { ENDED, UNWATCH, WATCH } from './envelope.ts'
import type { Envelope } from './envelope.ts'
import { ACTOR_ENDED } from './message.ts'
import type { Message } from './message.ts'
import type { ActorRecord, ChartState } from './record.ts'

export interface Leaving {
  readonly actor: ActorAddress
  readonly watchers: ActorRecord['watchers']
  readonly watches: ActorRecord['watches']
  readonly state: ChartState
  readonly cause: string
  readonly trace: string | undefined
}

/** E2; and those whom it watched itself forget it. */
export function farewell(collected: Consequences, leaving: Leaving): void {
  const { actor, watchers, watches, state, cause, trace } = leaving
  for (const [to, gen] of Object.entries(watchers ?? {})) {
    collected.send(actor, cause, { to, type: ENDED, data: { gen, ...outcomeOf(state) } }, trace)
  }
  for (const [to, gen] of Object.entries(watches ?? {})) {
    collected.send(actor, cause, { to, type: UNWATCH, data: { gen } }, trace)
  }
}

/** E3: a watch arrives at the watched one. */
export function watched(collected: Consequences, cell: Cell, envelope: Envelope): void {
  const { record, actor } = cell
  const { from, id, trace } = envelope
  if (from === undefined) return
  const gen = genOf(envelope)
  if (record === null || record.s.status !== 'active') {
    collected.send(actor, id, { to: from, type: ENDED, data: { gen, ...outcomeOf(record?.s ?? null) } }, trace)
    return
  }
  collected.touch(cell)
  cell.record = { ...record, watchers: { ...record.watchers, [from]: gen } }
}

export function unwatched(collected: Consequences, cell: Cell, envelope: Envelope): void {
  const { record } = cell
  const { from } = envelope
  if (record === null || from === undefined || record.watchers?.[from] !== genOf(envelope)) return
  const { [from]: _gone, ...others } = record.watchers
  const { watchers: _all, ...rest } = record
  collected.touch(cell)
  cell.record = Object.keys(others).length === 0 ? rest : { ...rest, watchers: others }
}

/** E1: the watcher without its row, or null when it does not wait for this end (any more). */
export function heard(record: ActorRecord, of: string, gen: number): ActorRecord | null {
  if (record.watches?.[of] !== gen) return null
  const { [of]: _heard, ...others } = record.watches
  const { watches: _all, ...rest } = record
  return Object.keys(others).length === 0 ? rest : { ...rest, watches: others }
}

/** What the watcher's chart hears. */
export function endedEvent(actor: string, outcome: Readonly<Record<string, unknown>>): { readonly type: string } {
  const { gen: _gen, ...rest } = outcome
  return { ...rest, type: ACTOR_ENDED, actor } as { readonly type: string } // beside its type, an event may carry anything
}

/** E3: what a message comes to whose mailbox is not there. A watch is answered, and who is not there need hear nothing. */
export function withoutMailbox({ type, from, to, data }: Envelope): Message | 'nothing' | 'a dead letter' {
  if (type === UNWATCH || type === ENDED) return 'nothing'
  if (type !== WATCH || from === undefined) return 'a dead letter'
  return { kind: 'ended', actor: from, of: to, gen: (data as { gen: number }).gen } // every word about a watch has it
}

/** That answer is in its owner's memory alone: a new owner asks once more after those whose mailbox may be gone. */
export function watchesAnew({ actor, record }: Cell, { pinned }: Directory): Message[] {
  return Object.entries(record?.watches ?? {}).flatMap(([to, gen]): Message[] => {
    const of = parseAddress(to)
    return pinned.has(kindOf(of)) ? [{ kind: 'rewatch', actor, of, gen }] : []
  })
}

/** `state` is null where there is no such actor. */
export function outcomeOf(state: ChartState | null): Readonly<Record<string, unknown>> {
  if (state === null) return { status: 'gone' }
  if (state.status === 'error') return { status: 'error', fault: state.error }
  return { status: 'done', ...(state.output !== undefined && { output: state.output }) }
}

export function genOf({ data }: Envelope): number {
  return (data as { gen: number }).gen // every word about a watch has it
}
