/**
 * An actor's record: the one JSON document that is its durable state, at `{tf:<shard>}:st:<actor>`.
 * Beside the chart's own state it holds what the runtime owes the actor: effects under way and timers that wait.
 */
import type { Fault } from './errors.ts'
import type { Json } from './json.ts'

/** The chart's state as XState needs it to go on: nothing in it belongs to a process. */
export interface ChartState {
  readonly value: Json
  readonly context: Json
  readonly status: 'active' | 'done' | 'error'
  readonly history?: Json
  readonly output?: Json
  readonly error?: Fault
}

/** An invoked effect that has not ended. `gen` tells its result from that of an earlier run of the same id. */
export interface EffectRow {
  /** Derived from what asked for it: its idempotency key's last part, and the cause of what its result brings about. */
  readonly id: string
  readonly src: string
  readonly input?: Json
  readonly gen: number
  /** It has ended, and the chart could not take its result, which lies in the dead letters. It runs no more. */
  readonly ended?: true
}

/** A timer that waits. `event` is absent for an `after`, whose event is found by its delay's name. */
export interface TimerRow {
  /** Derived from what set it: the cause of what it brings about. */
  readonly id: string
  readonly gen: number
  readonly due: number
  readonly event?: Json
  /** Of a scheduled tell that comes again and again. */
  readonly everyMs?: number
  /** Of a scheduled tell that was called off, for it to go on with: until then it does not wait. */
  readonly leftMs?: number
}

export interface ActorRecord {
  /** The version of the definition that wrote it. */
  readonly v: number
  /** How many transitions the actor has made. */
  readonly n: number
  readonly born: number
  readonly at: number
  readonly s: ChartState
  readonly fx?: Readonly<Record<string, EffectRow>>
  readonly tm?: Readonly<Record<string, TimerRow>>
  /** It was born outside the index of states. */
  readonly unindexed?: true
  /** Who spawned it. */
  readonly by?: string
  /** Who hears when this actor ends, and by which of its watches. */
  readonly watchers?: Readonly<Record<string, number>>
  /** Whose end this actor waits to hear of, and since which of its own transitions. */
  readonly watches?: Readonly<Record<string, number>>
  /** When its latest transitions threw, as far back as its policy's intensity looks. */
  readonly failures?: readonly number[]
}

/** How a new record is written. */
export interface Writing {
  readonly now: number
  /** At once, and not with the batch, so that the message which spoils it is found. */
  readonly careful: boolean
}

export function encodeRecord(record: ActorRecord): string {
  return JSON.stringify(record)
}

export function decodeRecord(text: string): ActorRecord {
  return JSON.parse(text) as ActorRecord // written by encodeRecord; its version is checked by who reads it
}
