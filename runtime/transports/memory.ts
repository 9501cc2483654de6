/**
 * The transport in memory: a connection to a `MemoryServer`, which stands for Redis. It serves tests, simulation and
 * `--transport memory`. Its rules are those of `runtime/redis/*.lua`, and one contract suite holds both to them.
 */
import type { ActorAddress, ShardName } from '../address.ts'
import type { Lane } from '../envelope.ts'
import { RuntimeError } from '../errors.ts'
import { LIMITS } from '../limits.ts'
import { extended } from '../lineage.ts'
import { deliver } from '../memory/deliver.ts'
import type { MemoryServer } from '../memory/server.ts'
import { listedIn, moveIn, statesOf } from '../memory/state-index.ts'
import { deadLetterStream, heldStream, journalStream } from '../transport.ts'
import type {
  Claim,
  ClaimRequest,
  Commit,
  CommitOutcome,
  Cursor,
  Delivery,
  Entry,
  Listed,
  Mail,
  Member,
  Need,
  OutboxEntry,
  Send,
  StateCount,
  StreamRow,
  TimerEntry,
  Transport,
} from '../transport.ts'

export class MemoryTransport implements Transport {
  readonly name = 'memory'
  readonly reach: Transport['reach']
  readonly #server: MemoryServer
  #stopped = false

  constructor(server: MemoryServer) {
    this.#server = server
    this.reach = server.reach
  }

  async start({ shards }: { readonly shards: number }): Promise<{ readonly id: string }> {
    this.#server.shardCount ??= shards
    if (this.#server.shardCount !== shards) throw shardsDiffer(this.#server.shardCount, shards)
    return { id: this.#server.id }
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
    const isLost = (lane: Lane): boolean =>
      commit.cursor[lane] !== shard.cursor[lane] && !shard.lanes[lane].has(commit.cursor[lane])
    if (isLost('hi') || isLost('in')) return { ok: false, why: 'seq', seq: shard.seq }
    shard.seq++
    shard.cursor = commit.cursor
    shard.outSeq = commit.outSeq
    for (const { actor, body } of commit.records) {
      if (body === null) shard.records.delete(actor)
      else shard.records.set(actor, body)
    }
    for (const move of commit.moves) moveIn(shard, move, commit.at)
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
      journal.cap(commit.journalMax)
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

  async states(name: ShardName): Promise<readonly StateCount[]> {
    const shard = this.#server.shards.get(name)
    return shard === undefined ? [] : statesOf(shard)
  }

  async listed(
    name: ShardName,
    kind: string,
    state: string,
    after: { readonly since: number; readonly id: string } | null,
    limit: number,
  ): Promise<readonly Listed[]> {
    const shard = this.#server.shards.get(name)
    return shard === undefined ? [] : listedIn(shard, kind, state, after).slice(0, limit)
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

  async deliver(name: ShardName, lane: Lane, batch: readonly Delivery[], cap: number): Promise<number | 'gone'> {
    if (name.startsWith('@') && !this.#server.shards.has(name)) return 'gone'
    const { taken, added } = deliver(this.#server.shard(name), lane, batch, cap)
    if (added > 0) this.#server.ring(name)
    return taken
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
