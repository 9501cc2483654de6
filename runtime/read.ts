/** An actor as its record shows it to whoever reads: without passing through its mailbox, and as of its last commit. */
import type { ActorAddress } from './address.ts'
import type { Fault } from './errors.ts'
import type { Json } from './json.ts'
import type { ActorRecord } from './record.ts'
import { isSchedule, schedulesOf } from './scheduling.ts'
import type { Scheduled } from './scheduling.ts'

export interface ActorSnapshot {
  readonly actor: ActorAddress
  readonly version: number
  /** How many transitions the actor has made; what was scheduled at it and its stop are counted too. */
  readonly seq: number
  readonly createdAt: number
  readonly changedAt: number
  /** XState's state value: a string, or an object for nested and parallel states. */
  readonly value: Json
  readonly context: Json
  readonly status: 'active' | 'done' | 'error'
  readonly output?: Json
  readonly error?: Fault
  readonly effects: readonly string[]
  readonly timers: readonly { readonly name: string; readonly due: number }[]
  /** Tells that wait for their time here. */
  readonly schedules: readonly Scheduled[]
}

export function actorSnapshot(actor: ActorAddress, record: ActorRecord): ActorSnapshot {
  const { v, n, born, at, s, fx, tm } = record
  return {
    actor,
    version: v,
    seq: n,
    createdAt: born,
    changedAt: at,
    value: s.value,
    context: s.context,
    status: s.status,
    ...(s.output !== undefined && { output: s.output }),
    ...(s.error !== undefined && { error: s.error }),
    effects: Object.entries(fx ?? {}).flatMap(([id, { ended }]) => (ended === true ? [] : [id])),
    timers: Object.entries(tm ?? {}).flatMap(([name, { due }]) => (isSchedule(name) ? [] : [{ name, due }])),
    schedules: schedulesOf(record),
  }
}
