/**
 * The transport on Redis: the 7.0 command set, one script for each command that must be atomic (`runtime/redis/*.lua`).
 * All keys of a shard share a hash tag, so they sit in one slot and fail over together.
 *
 * Two connections: one for commands, which ioredis sends in the order of the calls (T5), and one that listens to
 * doorbells and answers. Nothing blocks on a stream: an idle owner *parks*, which makes the next delivery publish on its
 * doorbell, and looks again by itself within `watchdogMs`. A lost signal costs a moment, never a stop.
 */
import { readFileSync } from 'node:fs'
import { Redis } from 'ioredis'
import type { RedisOptions } from 'ioredis'
import { kindOf, parseAddress } from '../address.ts'
import type { ActorAddress, ShardName } from '../address.ts'
import type { Lane } from '../envelope.ts'
import { RuntimeError } from '../errors.ts'
import { LIMITS } from '../limits.ts'
import { doorbell, journalStream, nextId, previousId } from '../transport.ts'
import type {
  Claim,
  Commit,
  CommitOutcome,
  Cursor,
  Delivery,
  Entry,
  Member,
  Need,
  OutboxEntry,
  StreamRow,
  TimerEntry,
  Transport,
} from '../transport.ts'
import { shardsDiffer } from './memory.ts'

export interface RedisTransportOptions {
  /** `redis://…`, `rediss://…`, `unix:///path`, or the path of a unix socket. */
  readonly url: string
  /** Prefix of all keys. */
  readonly namespace?: string
}

/** A client's mark is kept so long after its last message: longer than any retry. */
const CLIENT_MARK_S = 3_600
const VERSION_MIN = [7, 0] as const

const SCRIPTS = {
  claim: 2,
  renew: 2,
  release: 2,
  announce: 3,
  park: 4,
  deliver: 4,
  commit: null,
  drop: null,
} as const

type ScriptName = keyof typeof SCRIPTS
type Argument = string | number

/** ioredis adds a method for each defined script; their types are ours to state. */
type Scripted = Redis & Record<`tf_${ScriptName}`, (...args: Argument[]) => Promise<unknown>>

export function redisTransport(options: RedisTransportOptions): Transport {
  return new RedisTransport(options)
}

class RedisTransport implements Transport {
  readonly name = 'redis'
  readonly reach = 'every shard'
  readonly #prefix: string
  readonly #redis: Scripted
  readonly #listening: Redis
  readonly #listeners = new Map<string, Set<(body: string) => void>>()
  #lastError: Error | null = null

  constructor({ url, namespace = 'tf' }: RedisTransportOptions) {
    this.#prefix = namespace
    this.#redis = new Redis(connection(url)) as Scripted // its script methods are defined below
    this.#listening = new Redis({ ...connection(url), autoResubscribe: true })
    for (const [name, keys] of Object.entries(SCRIPTS)) {
      const lua = readFileSync(new URL(`../redis/${name}.lua`, import.meta.url), 'utf8')
      this.#redis.defineCommand(`tf_${name}`, { lua, ...(keys !== null && { numberOfKeys: keys }) })
    }
    for (const redis of [this.#redis, this.#listening]) {
      redis.on('error', (error: Error) => (this.#lastError = error))
      redis.on('ready', () => (this.#lastError = null))
    }
    this.#listening.on('message', (channel: string, body: string) => {
      for (const listener of this.#listeners.get(channel) ?? []) listener(body)
    })
  }

  async start({ shards }: { readonly shards: number }): Promise<void> {
    try {
      await Promise.all([this.#redis.connect(), this.#listening.connect()])
      checkVersion(await this.#redis.info('server'))
      const key = `{${this.#prefix}}:namespace`
      await this.#redis.hsetnx(key, 'shards', shards)
      const found = Number(await this.#redis.hget(key, 'shards'))
      if (found !== shards) throw shardsDiffer(found, shards)
    } catch (error) {
      await this.stop()
      throw error instanceof RuntimeError ? error : unreachable(this.#lastError ?? error)
    }
  }

  async stop(): Promise<void> {
    for (const redis of [this.#redis, this.#listening]) {
      // Stopped while it reconnects, ioredis would keep later commands for their whole deadline instead of refusing them.
      redis.options.enableOfflineQueue = false
      redis.disconnect()
    }
  }

  async health(): Promise<{ readonly ok: boolean; readonly detail?: string }> {
    try {
      await this.#redis.ping()
      return { ok: true }
    } catch (error) {
      return { ok: false, detail: (this.#lastError ?? (error as Error)).message }
    }
  }

  async announce(
    member: Member,
    found: readonly Need[],
    ttlMs: number,
  ): Promise<{ readonly members: readonly Member[]; readonly needs: readonly Need[] }> {
    const keys = ['nodes', 'reads', 'needs'].map((part) => this.#global(part))
    const news = found.flatMap(({ shard, kind, version }) => [`${shard}|${kind}`, version])
    const reply = await this.#redis.tf_announce(...keys, member.id, JSON.stringify(member.reads), ttlMs, ...news)
    const [members, needs] = reply as [string[], string[]] // the script's reply
    return {
      members: pairs(members).map(([id, reads]) => ({ id, reads: JSON.parse(reads) as Member['reads'] })),
      needs: pairs(needs).map(([name, version]) => {
        const [shard = '', kind = ''] = name.split('|')
        return { shard: shard as ShardName, kind, version: Number(version) } // as they were found
      }),
    }
  }

  async withdraw(node: string): Promise<void> {
    await this.#redis.zrem(this.#global('nodes'), node)
    await this.#redis.hdel(this.#global('reads'), node)
  }

  async claim(shard: ShardName, owner: string, ttlMs: number, nonce: string): Promise<Claim | null> {
    if (shard.startsWith('@')) await this.#redis.sadd(this.#global('pinned'), shard)
    const reply = await this.#redis.tf_claim(this.#key(shard, 'meta'), this.#key(shard, 'lease'), owner, ttlMs, nonce)
    const [epoch, seq, hi, normal, outSeq, incarnation] = reply as string[]
    if (epoch === undefined) return null
    return {
      epoch,
      seq: Number(seq),
      cursor: { hi: hi ?? '0-0', in: normal ?? '0-0' },
      outSeq: Number(outSeq),
      incarnation: Number(incarnation),
    }
  }

  async renew(shard: ShardName, epoch: string, owner: string, ttlMs: number): Promise<number | null> {
    const seq = await this.#redis.tf_renew(this.#key(shard, 'meta'), this.#key(shard, 'lease'), epoch, owner, ttlMs)
    return seq === -1 ? null : Number(seq)
  }

  async release(shard: ShardName, epoch: string): Promise<void> {
    await this.#redis.tf_release(this.#key(shard, 'meta'), this.#key(shard, 'lease'), epoch)
  }

  async pinned(): Promise<readonly { readonly shard: ShardName; readonly leased: boolean }[]> {
    const shards = (await this.#redis.smembers(this.#global('pinned'))) as ShardName[] // put there by claim
    return Promise.all(
      shards.map(async (shard) => ({ shard, leased: (await this.#redis.exists(this.#key(shard, 'lease'))) === 1 })),
    )
  }

  async drop(shard: ShardName, epoch: string): Promise<void> {
    const rest = ['lease', 'hi', 'in', 'ev', 'out', 'tm', 'dlq', 'fx', 'held', 'dd'].map((part) =>
      this.#key(shard, part),
    )
    const keys = [this.#key(shard, 'meta'), ...rest]
    if ((await this.#redis.tf_drop(keys.length, ...keys, epoch)) === 1) {
      await this.#redis.srem(this.#global('pinned'), shard)
      await this.#redis.hdel(this.#global('needs'), `${shard}|${kindOf(shard.slice(1) as ActorAddress)}`) // as pinned
    }
  }

  async read(shard: ShardName, after: Cursor, limit: number): Promise<readonly Entry[]> {
    const hi = this.#key(shard, 'hi')
    const reply = await this.#redis.xread('COUNT', limit, 'STREAMS', hi, this.#key(shard, 'in'), after.hi, after.in)
    if (reply === null) return []
    const entries: Entry[] = []
    for (const [key, rows] of reply) {
      const lane = key === hi ? 'hi' : 'in'
      for (const [id, fields] of rows) entries.push({ id, lane, body: fields[1] ?? '' })
    }
    return entries
  }

  async park(
    shard: ShardName,
    epoch: string,
    after: Cursor,
    limit: number,
    outTrim: number,
  ): Promise<'parked' | 'fenced' | readonly Entry[]> {
    const keys = ['meta', 'hi', 'in', 'out'].map((part) => this.#key(shard, part))
    const reply = await this.#redis.tf_park(...keys, epoch, after.hi, after.in, limit, outboxFloor(outTrim))
    if (typeof reply === 'string') return reply as 'parked' | 'fenced' // the script's replies
    const [control, ...rest] = reply as readonly [number, ...string[]]
    const entries: Entry[] = []
    for (let i = 0; i < rest.length; i += 2) {
      entries.push({ id: rest[i] ?? '', lane: i / 2 < control ? 'hi' : 'in', body: rest[i + 1] ?? '' })
    }
    return entries
  }

  async load(shard: ShardName, actors: readonly ActorAddress[]): Promise<readonly (string | null)[]> {
    if (actors.length === 0) return []
    return this.#redis.mget(actors.map((actor) => this.#record(shard, actor)))
  }

  async commit(commit: Commit): Promise<CommitOutcome> {
    const { shard, records } = commit
    const keys = COMMIT_KEYS.map((part) => this.#key(shard, part))
    const values: Argument[] = []
    // Where each shard's lanes stand among KEYS: `hi` there, `in` behind it.
    const lanes = new Map<ShardName, number>([[shard, 2]])
    const others: Argument[] = []
    for (const { shard: to } of commit.sends) {
      if (lanes.has(to)) continue
      keys.push(this.#key(to, 'meta'), this.#key(to, 'hi'), this.#key(to, 'in'))
      lanes.set(to, keys.length - 1)
      others.push(to.startsWith('@') ? '1' : '0', this.#channel(doorbell(to)))
    }
    const gone: string[] = []
    let set = 0
    for (const { actor, body } of records) {
      if (body === null) gone.push(this.#record(shard, actor))
      else {
        keys.push(this.#record(shard, actor))
        values.push(body)
        set++
      }
    }
    keys.push(...gone)
    for (const { shard: to, lane, body } of commit.sends) {
      values.push((lanes.get(to) ?? 0) + (lane === 'hi' ? 0 : 1), body)
    }
    for (const { seq, shard: to, lane, body } of commit.outbox)
      values.push(`${seq}-${commit.incarnation}`, to, lane, body)
    for (const timer of commit.timersSet) values.push(timer.due, timerMember(timer))
    for (const timer of commit.timersCleared) values.push(timerMember(timer))
    const begun = commit.effects.filter(({ active }) => active)
    const over = commit.effects.filter(({ active }) => !active)
    for (const { actor } of begun) values.push(actor)
    for (const { actor } of over) values.push(actor)
    for (const letter of commit.dead) values.push(letter)
    for (const { channel, body } of commit.replies) values.push(this.#channel(channel), body)
    values.push(...commit.held)
    const reply = (await this.#redis.tf_commit(
      keys.length,
      ...keys,
      commit.epoch,
      commit.seq,
      commit.cursor.hi,
      commit.cursor.in,
      commit.outSeq,
      outboxFloor(commit.outTrim),
      commit.journal ?? '',
      LIMITS.journalCommitsMax,
      LIMITS.deadLettersMax,
      this.#channel(journalStream(shard)),
      set,
      gone.length,
      commit.sends.length,
      commit.outbox.length,
      commit.timersSet.length,
      commit.timersCleared.length,
      begun.length,
      over.length,
      commit.dead.length,
      others.length / 2,
      commit.replies.length,
      commit.held.length,
      nextId(commit.heldTrim),
      ...values,
      ...others,
    )) as readonly ['ok' | 'fenced' | 'seq', ...(number | string)[]] // the script's replies
    const [outcome, ...rest] = reply
    if (outcome === 'ok') return { ok: true, gone: rest.map(Number) }
    return { ok: false, why: outcome, seq: Number(rest[0]) }
  }

  async position(shard: ShardName): Promise<{ readonly epoch: string; readonly seq: number } | null> {
    const [epoch, seq] = await this.#redis.hmget(this.#key(shard, 'meta'), 'epoch', 'seq')
    return epoch === null || epoch === undefined ? null : { epoch, seq: Number(seq ?? 0) }
  }

  async active(shard: ShardName): Promise<readonly ActorAddress[]> {
    return (await this.#redis.smembers(this.#key(shard, 'fx'))).map(parseAddress)
  }

  async due(
    shard: ShardName,
    until: number,
    limit: number,
  ): Promise<{ readonly timers: readonly TimerEntry[]; readonly next: number | null }> {
    const rows = await this.#redis.zrange(this.#key(shard, 'tm'), 0, limit, 'WITHSCORES')
    const timers: TimerEntry[] = []
    for (let i = 0; i < rows.length; i += 2) timers.push(timerEntry(rows[i] ?? '', Number(rows[i + 1])))
    const late = timers.filter((timer) => timer.due <= until).slice(0, limit)
    return { timers: late, next: timers[late.length]?.due ?? null }
  }

  async outbox(shard: ShardName): Promise<readonly OutboxEntry[]> {
    const rows = await this.#redis.xrange(this.#key(shard, 'out'), '-', '+')
    return rows.map(([id, fields]) => {
      const [seq, incarnation] = id.split('-').map(Number)
      const [, to = '', , lane = '', , body = ''] = fields
      return {
        seq: seq ?? 0,
        incarnation: incarnation ?? 0,
        shard: to as ShardName, // written by commit
        lane: lane as Lane,
        body,
      }
    })
  }

  async deliver(
    shard: ShardName,
    lane: Lane,
    batch: readonly Delivery[],
    cap: number,
  ): Promise<'ok' | 'busy' | 'gone'> {
    const source = batch[0]?.source ?? ''
    const client = !source.startsWith('s')
    const values: Argument[] = []
    for (const { source: from, incarnation, seq, body } of batch) values.push(from, incarnation, seq, body)
    const reply = await this.#redis.tf_deliver(
      this.#key(shard, 'meta'),
      this.#key(shard, lane),
      this.#key(shard, 'dd'),
      this.#key(shard, client ? `dd:${source}:${lane}` : 'dd'),
      lane === 'in' ? cap : 0,
      shard.startsWith('@') ? '1' : '0',
      this.#channel(doorbell(shard)),
      client ? '1' : '0',
      lane,
      CLIENT_MARK_S,
      ...values,
    )
    return reply as 'ok' | 'busy' | 'gone' // the script's replies
  }

  async append(stream: string, bodies: readonly string[], max: number): Promise<void> {
    const pipeline = this.#redis.pipeline()
    for (const body of bodies) pipeline.xadd(this.#stream(stream), 'MAXLEN', '~', max, '*', 'e', body)
    pipeline.publish(this.#channel(stream), '')
    for (const [error] of (await pipeline.exec()) ?? []) if (error !== null) throw error
  }

  async range(stream: string, after: string, limit: number): Promise<readonly StreamRow[]> {
    const rows = await this.#redis.xrange(this.#stream(stream), `(${after}`, '+', 'COUNT', limit)
    return rows.map(([id, fields]) => ({ id, body: fields[1] ?? '' }))
  }

  async ends(stream: string): Promise<{ readonly trimmed: string; readonly newest: string }> {
    try {
      const info = (await this.#redis.xinfo('STREAM', this.#stream(stream))) as unknown[]
      const value = (field: string): unknown => info[info.indexOf(field) + 1]
      const first = value('first-entry') as [string] | null
      const newest = value('last-generated-id') as string // a field of every stream
      const added = Number(value('entries-added'))
      const trimmed = added > Number(value('length')) ? (first === null ? newest : previousId(first[0])) : '0-0'
      return { trimmed, newest }
    } catch (error) {
      if (error instanceof Error && error.message.includes('no such key')) return { trimmed: '0-0', newest: '0-0' }
      throw error
    }
  }

  async publish(channel: string, body: string): Promise<void> {
    await this.#redis.publish(this.#channel(channel), body)
  }

  async subscribe(channel: string, listener: (body: string) => void): Promise<() => Promise<void>> {
    const name = this.#channel(channel)
    const heard = (body: string): void => listener(body) // each subscription is its own
    let listeners = this.#listeners.get(name)
    if (listeners === undefined) {
      listeners = new Set()
      this.#listeners.set(name, listeners)
    }
    listeners.add(heard)
    await this.#listening.subscribe(name)
    return async () => {
      listeners.delete(heard)
      if (listeners.size > 0 || this.#listeners.get(name) !== listeners) return
      this.#listeners.delete(name)
      await this.#listening.unsubscribe(name)
    }
  }

  #key(shard: ShardName, part: string): string {
    return `{${this.#prefix}:${shard}}:${part}`
  }

  #record(shard: ShardName, actor: ActorAddress): string {
    return `{${this.#prefix}:${shard}}:st:${actor}`
  }

  #global(part: string): string {
    return `{${this.#prefix}}:${part}`
  }

  /** `shard/17/ev` is the shard's own key; any other name is a stream beside the mailboxes. */
  #stream(name: string): string {
    const [, shard, part] = /^shard\/(.+)\/(ev|dlq|held)$/.exec(name) ?? []
    if (shard !== undefined && part !== undefined) return this.#key(shard as ShardName, part) // made by journalStream and its like
    const colon = name.lastIndexOf(':')
    return `{${this.#prefix}:${name.slice(0, colon)}}:${name.slice(colon + 1)}`
  }

  #channel(name: string): string {
    return `${this.#prefix}:${name}`
  }
}

const COMMIT_KEYS = ['meta', 'hi', 'in', 'ev', 'out', 'tm', 'dlq', 'fx', 'held'] as const

/** The smallest id that the outbox must keep. Seqs go first in an id, so that trimming by seq is trimming by id. */
function outboxFloor(outTrim: number): string {
  return `${outTrim + 1}-0`
}

/** A flat list of names and values, as Redis answers. */
function pairs(list: readonly string[]): (readonly [string, string])[] {
  return Array.from({ length: list.length / 2 }, (_, i) => [list[2 * i] ?? '', list[2 * i + 1] ?? ''] as const)
}

function timerMember({ actor, name, gen }: Omit<TimerEntry, 'due'>): string {
  return `${actor}|${gen}|${name}`
}

function timerEntry(member: string, due: number): TimerEntry {
  const [actor = '', gen = '', ...name] = member.split('|')
  return { actor: parseAddress(actor), gen: Number(gen), name: name.join('|'), due }
}

function connection(url: string): RedisOptions {
  const common: RedisOptions = {
    lazyConnect: true,
    // A command waits for a reconnection for as long as its deadline, and then fails: the callers decide what follows.
    maxRetriesPerRequest: null,
    commandTimeout: LIMITS.commandTimeoutMs,
    connectTimeout: LIMITS.commandTimeoutMs,
    socketTimeout: LIMITS.commandTimeoutMs * 3,
    keepAlive: 5_000,
    enableAutoPipelining: false,
    retryStrategy: (attempt) => Math.min(50 * 2 ** Math.min(attempt, 5), 1_000),
  }
  if (url.startsWith('/')) return { ...common, path: url }
  if (url.startsWith('unix://')) return { ...common, path: decodeURIComponent(url.slice('unix://'.length)) }
  const { hostname, port, username, password, pathname, protocol } = new URL(url)
  return {
    ...common,
    host: hostname === '' ? '127.0.0.1' : hostname,
    port: port === '' ? 6_379 : Number(port),
    ...(username !== '' && { username: decodeURIComponent(username) }),
    ...(password !== '' && { password: decodeURIComponent(password) }),
    ...(pathname.length > 1 && { db: Number(pathname.slice(1)) }),
    ...(protocol === 'rediss:' && { tls: {} }),
  }
}

function checkVersion(info: string): void {
  const found = /^redis_version:(.+)$/m.exec(info)?.[1]?.trim() ?? 'unknown'
  const [major = 0, minor = 0] = found.split('.').map(Number)
  if (major > VERSION_MIN[0] || (major === VERSION_MIN[0] && minor >= VERSION_MIN[1])) return
  throw new RuntimeError(
    'redis.too-old',
    `Redis ${VERSION_MIN.join('.')} or newer is needed; this server is ${found}`,
    {
      remedy: 'give-up',
      data: { expected: VERSION_MIN.join('.'), found },
    },
  )
}

function unreachable(cause: unknown): RuntimeError {
  const detail = cause instanceof Error ? cause.message : String(cause)
  return new RuntimeError('redis.unreachable', `Redis does not answer: ${detail}`, { remedy: 'retry', cause })
}
