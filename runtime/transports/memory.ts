/**
 * The transport in memory: one `MemoryServer` stands for Redis, and each node or client has a connection to it. It
 * serves tests, simulation and `--transport memory`; nothing in it outlives the process. Its rules are those of
 * `runtime/redis/*.lua`, and one contract suite holds both to them.
 */
import type { ActorAddress, ShardName } from '../address.ts'
import { systemClock } from '../clock.ts'
import type { Clock } from '../clock.ts'
import type { Lane } from '../envelope.ts'
import { RuntimeError } from '../errors.ts'
import { LIMITS } from '../limits.ts'
import { extended, isForgotten } from '../lineage.ts'
import { encodeRing, RING_ENTRIES_MAX } from '../ring.ts'
import {
  compareIds,
  CURSOR_START,
  deadLetterStream,
  doorbell,
  heldStream,
  journalStream,
  nextId,
} from '../transport.ts'
import type {
  Claim,
  ClaimRequest,
  Commit,
  CommitOutcome,
  Cursor,
  Delivery,
  Entry,
  Mail,
  Member,
  Need,
  OutboxEntry,
  Send,
  StreamRow,
  TimerEntry,
  Transport,
} from '../transport.ts'

/**
 * A stream of rows with rising ids, of which the oldest are trimmed. Ids are times, as Redis's are: after a rollback none
 * comes again, which an owner may still have in its cursor.
 */
class Stream {
  readonly #clock: Clock
  rows: StreamRow[] = []
  newest = '0-0'
  trimmed = '0-0'

  constructor(clock: Clock) {
    this.#clock = clock
  }

  add(body: string): void {
    const fresh = `${Math.floor(this.#clock.now())}-0`
    this.newest = compareIds(fresh, this.newest) > 0 ? fresh : nextId(this.newest)
    this.rows.push({ id: this.newest, body })
  }

  after(id: string, limit: number): StreamRow[] {
    if (compareIds(this.newest, id) <= 0) return []
    let [from, to] = [0, this.rows.length]
    while (from < to) {
      const middle = (from + to) >> 1
      if (compareIds(this.rows[middle]?.id ?? id, id) > 0) to = middle
      else from = middle + 1
    }
    return this.rows.slice(from, from + limit)
  }

  trimTo(id: string): void {
    let gone = 0
    for (const row of this.rows) {
      if (compareIds(row.id, id) > 0) break
      gone++
    }
    this.#drop(gone)
  }

  /** Whether any of them was there. */
  remove(...ids: readonly string[]): boolean {
    if (ids.length === 0) return false
    const before = this.rows.length
    this.rows = this.rows.filter((row) => !ids.includes(row.id))
    return this.rows.length < before
  }

  copy(): Stream {
    const copy = new Stream(this.#clock)
    copy.rows = [...this.rows]
    copy.newest = this.newest
    copy.trimmed = this.trimmed
    return copy
  }

  cap(max: number): void {
    this.#drop(Math.max(0, this.rows.length - max))
  }

  #drop(count: number): void {
    if (count === 0) return
    this.trimmed = this.rows[count - 1]?.id ?? this.trimmed
    this.rows = this.rows.slice(count)
  }
}

interface ShardData {
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
  readonly timers: Map<string, TimerEntry>
  readonly effects: Set<ActorAddress>
  lineage: string
  readonly seen: Map<string, { incarnation: number; seq: number }>
  /** What other shards sent and this one took: the latest. */
  taken: { readonly source: string; readonly incarnation: number; readonly seq: number; readonly id: string }[]
  /** What was taken and its source no longer knows: `source id`. */
  readonly orphans: Set<string>
}

export class MemoryServer {
  readonly clock: Clock
  readonly shards = new Map<ShardName, ShardData>()
  readonly streams = new Map<string, Stream>()
  readonly nodes = new Map<string, { readonly until: number; readonly reads: Member['reads'] }>()
  /** By shard and kind. */
  readonly needs = new Map<string, Need>()
  readonly listeners = new Map<string, Set<(body: string) => void>>()
  readonly reach: Transport['reach']
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
      shard = {
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
        lanes: { hi: new Stream(this.clock), in: new Stream(this.clock) },
        outbox: [],
        records: new Map(),
        timers: new Map(),
        effects: new Set(),
        seen: new Map(),
        taken: [],
        orphans: new Set(),
      }
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

class MemoryTransport implements Transport {
  readonly name = 'memory'
  readonly reach: Transport['reach']
  readonly #server: MemoryServer
  #stopped = false

  constructor(server: MemoryServer) {
    this.#server = server
    this.reach = server.reach
  }

  async start({ shards }: { readonly shards: number }): Promise<void> {
    this.#server.shardCount ??= shards
    if (this.#server.shardCount !== shards) throw shardsDiffer(this.#server.shardCount, shards)
  }

  async stop(): Promise<void> {
    this.#stopped = true
  }

  async probe(): Promise<null> {
    if (this.#stopped) throw new RuntimeError('redis.unreachable', 'This transport was stopped', { remedy: 'give-up' })
    return null
  }

  async announce(
    { id: node, reads }: Member,
    found: readonly Need[],
    ttlMs: number,
  ): Promise<{ readonly members: readonly Member[]; readonly needs: readonly Need[] }> {
    const { nodes, needs, clock } = this.#server
    nodes.set(node, { until: clock.now() + ttlMs, reads })
    for (const [id, { until }] of nodes) if (until <= clock.now()) nodes.delete(id)
    for (const need of found) {
      const key = `${need.shard}|${need.kind}`
      if (need.version > (needs.get(key)?.version ?? 0)) needs.set(key, need)
    }
    return { members: Array.from(nodes, ([id, member]) => ({ id, reads: member.reads })), needs: [...needs.values()] }
  }

  async withdraw(node: string): Promise<void> {
    this.#server.nodes.delete(node)
  }

  async claim(name: ShardName, request: ClaimRequest): Promise<Claim | null> {
    const { owner, ttlMs, nonce, anew, crashWindowMs } = request
    const shard = this.#server.shard(name)
    const now = this.#server.clock.now()
    if (shard.owner !== null && shard.owner !== owner && shard.leaseUntil > now) return null
    shard.epoch = `${++shard.epochs}-${nonce}`
    shard.owner = owner
    shard.leaseUntil = now + ttlMs
    shard.parkedAt = null
    shard.incarnation = Math.max(Math.floor(now), shard.incarnation + 1)
    shard.lineage = extended(shard.lineage, shard.incarnation, shard.outSeq)
    const { epoch, seq, cursor, outSeq, incarnation, lineage } = shard
    if (anew) return { epoch, seq, cursor, outSeq, incarnation, lineage, crashes: 0, trial: '', made: 0 }
    const hasCrashed = !shard.released && now - shard.claimedAt < crashWindowMs
    shard.crashes = hasCrashed ? shard.crashes + 1 : 0
    const made = hasCrashed ? Math.max(0, seq - shard.claimedSeq) : 0
    shard.claimedAt = now
    shard.claimedSeq = seq
    shard.released = false
    const { crashes } = shard
    return { epoch, seq, cursor, outSeq, incarnation, lineage, crashes, trial: hasCrashed ? shard.trial : '', made }
  }

  async attempt(name: ShardName, epoch: string, trial: string): Promise<void> {
    const shard = this.#server.shards.get(name)
    if (shard?.epoch === epoch) shard.trial = trial
  }

  async renew(name: ShardName, epoch: string, owner: string, ttlMs: number): Promise<number | null> {
    const shard = this.#server.shards.get(name)
    if (shard === undefined || shard.epoch !== epoch) return null
    shard.owner = owner
    shard.leaseUntil = this.#server.clock.now() + ttlMs
    return shard.seq
  }

  async release(name: ShardName, epoch: string): Promise<void> {
    const shard = this.#server.shards.get(name)
    if (shard === undefined || shard.epoch !== epoch) return
    shard.owner = null
    shard.released = true
    shard.trial = ''
  }

  async pinned(): Promise<readonly { readonly shard: ShardName; readonly leased: boolean }[]> {
    const now = this.#server.clock.now()
    return [...this.#server.shards]
      .filter(([name]) => name.startsWith('@'))
      .map(([shard, { owner, leaseUntil }]) => ({ shard, leased: owner !== null && leaseUntil > now }))
  }

  async drop(name: ShardName, epoch: string): Promise<void> {
    const { shards, needs } = this.#server
    if (shards.get(name)?.epoch !== epoch) return
    shards.delete(name)
    for (const [key, { shard }] of needs) if (shard === name) needs.delete(key)
  }

  async read(name: ShardName, after: Cursor, limit: number): Promise<readonly Entry[]> {
    return this.#server.mail(name, after, limit)
  }

  async park(name: ShardName, epoch: string, after: Cursor, limit: number, outTrim: number): Promise<Mail | 'fenced'> {
    const shard = this.#server.shards.get(name)
    if (shard === undefined || shard.epoch !== epoch) return 'fenced'
    shard.outbox = shard.outbox.filter((entry) => entry.seq > outTrim)
    return this.#server.look(name, after, limit)
  }

  async load(name: ShardName, actors: readonly ActorAddress[]): Promise<readonly (string | null)[]> {
    const records = this.#server.shards.get(name)?.records // whoever reads brings no shard to life
    return actors.map((actor) => records?.get(actor) ?? null)
  }

  async commit(commit: Commit): Promise<CommitOutcome> {
    const shard = this.#server.shard(commit.shard)
    if (shard.epoch !== commit.epoch) return { ok: false, why: 'fenced', seq: shard.seq }
    if (shard.seq !== commit.seq) return { ok: false, why: 'seq', seq: shard.seq }
    const isAhead = (lane: Lane): boolean => compareIds(commit.cursor[lane], shard.lanes[lane].newest) > 0
    if (isAhead('hi') || isAhead('in')) return { ok: false, why: 'seq', seq: shard.seq }
    shard.seq++
    shard.cursor = commit.cursor
    shard.outSeq = commit.outSeq
    for (const { actor, body } of commit.records) {
      if (body === null) shard.records.delete(actor)
      else shard.records.set(actor, body)
    }
    const gone: number[] = []
    const others = new Set<ShardName>()
    for (const [i, { shard: to, lane, body }] of commit.sends.entries()) {
      if (to.startsWith('@') && !this.#server.shards.has(to)) {
        gone.push(i)
        continue
      }
      this.#server.shard(to).lanes[lane].add(body)
      if (to !== commit.shard) others.add(to)
    }
    for (const entry of commit.outbox) shard.outbox.push({ ...entry, incarnation: commit.incarnation })
    shard.outbox = shard.outbox.filter((entry) => entry.seq > commit.outTrim)
    for (const timer of commit.timersSet) shard.timers.set(timerKey(timer), timer)
    for (const timer of commit.timersCleared) shard.timers.delete(timerKey(timer))
    for (const { actor, active } of commit.effects) {
      if (active) shard.effects.add(actor)
      else shard.effects.delete(actor)
    }
    for (const lane of ['hi', 'in'] as const) shard.lanes[lane].trimTo(commit.cursor[lane])
    const journal = this.#server.stream(journalStream(commit.shard))
    if (commit.journal !== null) {
      journal.add(commit.journal)
      journal.cap(LIMITS.journalCommitsMax)
      this.#server.publish(journalStream(commit.shard), '')
    }
    const letters = this.#server.stream(deadLetterStream(commit.shard))
    for (const letter of commit.dead) letters.add(letter)
    letters.cap(LIMITS.deadLettersMax)
    const held = this.#server.stream(heldStream(commit.shard))
    for (const body of commit.held) held.add(body)
    held.remove(...commit.heldTaken)
    for (const { channel, body } of commit.replies) this.#server.publish(channel, body)
    for (const other of others) this.#server.ring(other)
    return {
      ok: true,
      gone,
      mail: commit.look === 0 ? null : this.#server.look(commit.shard, commit.cursor, commit.look),
    }
  }

  async position(name: ShardName): Promise<{ readonly epoch: string; readonly seq: number } | null> {
    const shard = this.#server.shards.get(name)
    return shard === undefined || shard.epoch === '' ? null : { epoch: shard.epoch, seq: shard.seq }
  }

  async active(name: ShardName): Promise<readonly ActorAddress[]> {
    return [...this.#server.shard(name).effects]
  }

  async due(
    name: ShardName,
    until: number,
    limit: number,
  ): Promise<{ readonly timers: readonly TimerEntry[]; readonly next: number | null }> {
    const sorted = [...this.#server.shard(name).timers.values()].sort((a, b) => a.due - b.due)
    const timers = sorted.filter((timer) => timer.due <= until).slice(0, limit)
    return { timers, next: sorted[timers.length]?.due ?? null }
  }

  async outbox(name: ShardName): Promise<readonly OutboxEntry[]> {
    return [...this.#server.shard(name).outbox]
  }

  async deliver(name: ShardName, lane: Lane, batch: readonly Delivery[], cap: number): Promise<'ok' | 'busy' | 'gone'> {
    if (name.startsWith('@') && !this.#server.shards.has(name)) return 'gone'
    const shard = this.#server.shard(name)
    const stream = shard.lanes[lane]
    let added = 0
    for (const { source, incarnation, seq, id, lineage, body } of batch) {
      const key = `${source}:${lane}`
      const seen = shard.seen.get(key)
      if (
        seen !== undefined &&
        (incarnation < seen.incarnation || (incarnation === seen.incarnation && seq <= seen.seq))
      ) {
        continue
      }
      if (seen !== undefined && incarnation > seen.incarnation && isForgotten(lineage, seen)) {
        orphan(shard, source, lineage)
      }
      const returned = shard.orphans.has(`${source} ${id}`)
      // Only what is new can be refused: a delivery that is repeated since its answer was lost has been taken.
      if (!returned && added === 0 && lane === 'in' && stream.rows.length >= cap) return 'busy'
      shard.seen.set(key, { incarnation, seq })
      shard.orphans.delete(`${source} ${id}`)
      if (returned) continue
      stream.add(body)
      if (lineage !== '') shard.taken.push({ source, incarnation, seq, id })
      added++
    }
    if (shard.taken.length > 2 * LIMITS.takenRememberedMax) {
      shard.taken = shard.taken.slice(-LIMITS.takenRememberedMax)
    }
    if (added > 0) this.#server.ring(name)
    return 'ok'
  }

  async departed(): Promise<readonly ShardName[]> {
    const names = [...this.#server.streams].flatMap(([name, { rows }]) => {
      const [, shard] = /^shard\/(@.+)\/dlq$/.exec(name) ?? []
      return shard === undefined || rows.length === 0 ? [] : [shard as ShardName] // as deadLetterStream names it
    })
    return names.filter((name) => !this.#server.shards.has(name))
  }

  async resend(shard: ShardName, letter: string, { shard: to, lane, body }: Send): Promise<'sent' | 'absent' | 'gone'> {
    const letters = this.#server.stream(deadLetterStream(shard))
    if (!letters.rows.some(({ id }) => id === letter)) return 'absent'
    if (to.startsWith('@') && !this.#server.shards.has(to)) return 'gone'
    this.#server.shard(to).lanes[lane].add(body)
    this.#server.ring(to)
    letters.remove(letter)
    return 'sent'
  }

  async dropLetter(shard: ShardName, letter: string): Promise<boolean> {
    return this.#server.stream(deadLetterStream(shard)).remove(letter)
  }

  async append(name: string, bodies: readonly string[], max: number): Promise<void> {
    const stream = this.#server.stream(name)
    for (const body of bodies) stream.add(body)
    stream.cap(max)
    this.#server.publish(name, '')
  }

  async range(name: string, after: string, limit: number): Promise<readonly StreamRow[]> {
    return this.#server.stream(name).after(after, limit)
  }

  async ends(name: string): Promise<{ readonly trimmed: string; readonly newest: string }> {
    const { trimmed, newest } = this.#server.stream(name)
    return { trimmed, newest }
  }

  async publish(channel: string, body: string): Promise<void> {
    this.#server.publish(channel, body)
  }

  async subscribe(channel: string, listener: (body: string) => void): Promise<() => Promise<void>> {
    const listeners = this.#server.listeners.get(channel) ?? new Set()
    this.#server.listeners.set(channel, listeners)
    const heard = (body: string): void => listener(body) // each subscription is its own
    listeners.add(heard)
    return async () => {
      listeners.delete(heard)
    }
  }
}

/** T6. What was taken from a source that no longer knows it must not be taken again. */
function orphan(shard: ShardData, source: string, lineage: string): void {
  for (const each of shard.taken) {
    if (each.source === source && isForgotten(lineage, each)) shard.orphans.add(`${source} ${each.id}`)
  }
  for (const oldest of shard.orphans) {
    if (shard.orphans.size <= LIMITS.takenRememberedMax) break
    shard.orphans.delete(oldest)
  }
}

function copyOf(shard: ShardData): ShardData {
  const { lanes, outbox, records, timers, effects, seen, taken, orphans } = shard
  return {
    ...shard,
    lanes: { hi: lanes.hi.copy(), in: lanes.in.copy() },
    outbox: [...outbox],
    records: new Map(records),
    timers: new Map(timers),
    effects: new Set(effects),
    seen: new Map(seen),
    taken: [...taken],
    orphans: new Set(orphans),
  }
}

function refill<K, V>(map: Map<K, V>, entries: Iterable<readonly [K, V]>, of: (key: K) => boolean = () => true): void {
  for (const key of map.keys()) if (of(key)) map.delete(key)
  for (const [key, value] of entries) map.set(key, value)
}

function timerKey({ actor, name, gen }: Omit<TimerEntry, 'due'>): string {
  return `${actor}|${name}|${gen}`
}

export function shardsDiffer(found: number, expected: number): RuntimeError {
  return new RuntimeError(
    'redis.unreachable',
    `This namespace has ${found} shards, and this process expects ${expected}: the number is fixed when a namespace is first used`,
    { remedy: 'fix-request', data: { found, expected } },
  )
}
