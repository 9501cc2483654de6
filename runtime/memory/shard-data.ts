/**
 * What the server in memory holds of a shard: the counterpart of the keys under one hash tag. It is copied whole, since
 * those fail over together.
 */
import type { ActorAddress } from '../address.ts'
import type { Clock } from '../clock.ts'
import type { Lane } from '../envelope.ts'
import { CURSOR_START } from '../transport.ts'
import type { Cursor, OutboxEntry, TimerEntry } from '../transport.ts'
import { Stream } from './stream.ts'

export interface ShardData {
  epoch: string
  epochs: number
  owner: string | null
  leaseUntil: number
  seq: number
  cursor: Cursor
  outSeq: number
  incarnation: number
  claimedAt: number
  claimedSeq: number
  crashes: number
  released: boolean
  trial: string
  /** Where its owner fell asleep; null while it is awake. */
  parkedAt: Cursor | null
  readonly lanes: Record<Lane, Stream>
  outbox: OutboxEntry[]
  readonly records: Map<ActorAddress, string>
  /** Actors by kind and state, as `kind:state`, with the time of their entry. */
  readonly index: Map<string, Map<ActorAddress, number>>
  readonly timers: Map<string, TimerEntry>
  readonly effects: Set<ActorAddress>
  lineage: string
  readonly seen: Map<string, { incarnation: number; seq: number }>
  /** What other shards sent and this one took: the latest. */
  taken: { readonly source: string; readonly incarnation: number; readonly seq: number; readonly id: string }[]
  /** What was taken and its source no longer knows: `source id`. */
  readonly orphans: Set<string>
}

export function newShard(clock: Clock): ShardData {
  return {
    epoch: '',
    epochs: 0,
    owner: null,
    leaseUntil: 0,
    seq: 0,
    cursor: CURSOR_START,
    outSeq: 0,
    incarnation: 0,
    lineage: '',
    claimedAt: -Infinity,
    claimedSeq: 0,
    crashes: 0,
    released: false,
    trial: '',
    parkedAt: null,
    lanes: { hi: new Stream(clock), in: new Stream(clock) },
    outbox: [],
    records: new Map(),
    index: new Map(),
    timers: new Map(),
    effects: new Set(),
    seen: new Map(),
    taken: [],
    orphans: new Set(),
  }
}

export function copyOf(shard: ShardData): ShardData {
  const { lanes, outbox, records, index, timers, effects, seen, taken, orphans } = shard
  return {
    ...shard,
    lanes: { hi: lanes.hi.copy(), in: lanes.in.copy() },
    outbox: [...outbox],
    records: new Map(records),
    index: new Map(Array.from(index, ([state, actors]) => [state, new Map(actors)])),
    timers: new Map(timers),
    effects: new Set(effects),
    seen: new Map(seen),
    taken: [...taken],
    orphans: new Set(orphans),
  }
}
