/**
 * The server in memory: what stands for Redis where there is none. Each node or client has a connection to it
 * (`transports/memory.ts`); nothing in it outlives the process. Simulations throw it back to an earlier moment, as a
 * failover to a replica that lagged behind does.
 */
import { randomUUID } from 'node:crypto'
import type { ShardName } from '../address.ts'
import { systemClock } from '../clock.ts'
import type { Clock } from '../clock.ts'
import { encodeRing, RING_ENTRIES_MAX } from '../ring.ts'
import { doorbell } from '../transport.ts'
import type { Cursor, Entry, Mail, Member, Need, Transport } from '../transport.ts'
import { MemoryTransport } from '../transports/memory.ts'
import { copyOf, newShard } from './shard-data.ts'
import type { ShardData } from './shard-data.ts'
import { Stream } from './stream.ts'

export class MemoryServer {
  readonly clock: Clock
  readonly shards = new Map<ShardName, ShardData>()
  readonly streams = new Map<string, Stream>()
  readonly nodes = new Map<string, { readonly until: number; readonly reads: Member['reads'] }>()
  /** By shard and kind. */
  readonly needs = new Map<string, Need>()
  readonly listeners = new Map<string, Set<(body: string) => void>>()
  readonly reach: Transport['reach']
  readonly id = randomUUID()
  shardCount: number | null = null

  /** `reach: 'own shard'` behaves as a Redis Cluster does. */
  constructor(options: { readonly clock?: Clock; readonly reach?: Transport['reach'] } = {}) {
    this.clock = options.clock ?? systemClock
    this.reach = options.reach ?? 'every shard'
  }

  connect(): Transport {
    return new MemoryTransport(this)
  }

  shard(name: ShardName): ShardData {
    let shard = this.shards.get(name)
    if (shard === undefined) {
      shard = newShard(this.clock)
      this.shards.set(name, shard)
    }
    return shard
  }

  stream(name: string): Stream {
    let stream = this.streams.get(name)
    if (stream === undefined) {
      stream = new Stream(this.clock)
      this.streams.set(name, stream)
    }
    return stream
  }

  /** What is after the cursor, control lane first. */
  mail(name: ShardName, after: Cursor, limit: number): readonly Entry[] {
    const { lanes } = this.shard(name)
    return (['hi', 'in'] as const).flatMap((lane) =>
      lanes[lane].after(after[lane], limit).map(({ id, body }) => ({ id, lane, body })),
    )
  }

  /** The same; when there is nothing, the next one who brings something rings. */
  look(name: ShardName, after: Cursor, limit: number): Mail {
    const mail = this.mail(name, after, limit)
    if (mail.length > 0) return mail
    this.shard(name).parkedAt = after
    return 'parked'
  }

  /** Rings the doorbell of an owner that sleeps. */
  ring(name: ShardName): void {
    const shard = this.shard(name)
    const after = shard.parkedAt
    if (after === null) return
    shard.parkedAt = null
    const mail = this.mail(name, after, RING_ENTRIES_MAX + 1)
    this.publish(doorbell(name), encodeRing({ epoch: shard.epoch, after, mail }))
  }

  /**
   * Remembers everything, or what `of` says: a shard by its name, what belongs to no shard by null. What it returns puts
   * it back, once: a failover to a replica that stood here.
   */
  checkpoint(of: (shard: ShardName | null) => boolean = () => true): () => void {
    const ofStream = (name: string): boolean => of((/^shard\/(.+)\/\w+$/.exec(name)?.[1] ?? null) as ShardName | null) // as journalStream names it
    const shards = [...this.shards].filter(([name]) => of(name)).map(([name, shard]) => [name, copyOf(shard)] as const)
    const streams = [...this.streams]
      .filter(([name]) => ofStream(name))
      .map(([name, each]) => [name, each.copy()] as const)
    const nodes = [...this.nodes]
    const needs = [...this.needs]
    return () => {
      refill(this.shards, shards, of)
      refill(this.streams, streams, ofStream)
      if (!of(null)) return
      refill(this.nodes, nodes)
      refill(this.needs, needs)
    }
  }

  publish(channel: string, body: string): void {
    for (const listener of this.listeners.get(channel) ?? []) queueMicrotask(() => listener(body))
  }
}

function refill<K, V>(map: Map<K, V>, entries: Iterable<readonly [K, V]>, of: (key: K) => boolean = () => true): void {
  for (const key of map.keys()) if (of(key)) map.delete(key)
  for (const [key, value] of entries) map.set(key, value)
}
