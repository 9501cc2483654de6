/**
 * The transport on Redis: the 7.0 command set, one script for each command that must be atomic (`runtime/redis/*.lua`).
 * It turns the contract's words into commands and replies; how Redis is reached, and what happens when it is not, is
 * `redis/connection.ts`'s business.
 *
 * Nothing blocks on a stream: an idle owner *parks*, which makes the next delivery publish on its doorbell, and looks
 * again by itself within `watchdogMs`. A lost signal costs a moment, never a stop.
 */
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { kindOf, parseAddress } from '../address.ts'
import type { ActorAddress, ShardName } from '../address.ts'
import type { Lane } from '../envelope.ts'
import { RuntimeError } from '../errors.ts'
import { LIMITS } from '../limits.ts'
import { commitArguments, commitOutcome, mailOf } from '../redis/commit.ts'
import { amiss, checkVersions } from '../redis/condition.ts'
import { Connection } from '../redis/connection.ts'
import type { Argument, Commands, Script } from '../redis/connection.ts'
import { parseEndpoint } from '../redis/endpoint.ts'
import { Keys, outboxFloor, SHARD_PARTS, timerEntry } from '../redis/keys.ts'
import { listedIn, statesIn } from '../redis/state-index.ts'
import { doorbell, previousId } from '../transport.ts'
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
import { shardsDiffer } from './memory.ts'

export interface RedisTransportOptions {
  /** As `redis/endpoint.ts` reads it: `redis://…`, `rediss://…`, `unix:///path`, `redis+sentinel://…`, `redis+cluster://…`. */
  readonly url: string
  /** Prefix of all keys. */
  readonly namespace?: string
}

/** A client's mark is kept so long after its last message: longer than any retry. */
const CLIENT_MARK_S = 3_600

/**
 * The scripts, and how many keys each has. When Redis is full (maxmemory, noeviction) it refuses those that bring something
 * in, before they begin: nothing is half done. What owners do goes on, since that takes messages out of mailboxes.
 */
const SCRIPTS = {
  claim: script('claim', 2),
  attempt: script('attempt', 1),
  renew: script('renew', 2),
  release: script('release', 2),
  announce: script('announce', 3),
  park: script('park', 4),
  deliver: script('deliver', 6, 'refused when full'),
  append: script('append', 1, 'refused when full'),
  commit: script('commit', null),
  drop: script('drop', null),
  resend: script('resend', 3),
}

/** Throws `redis.address-malformed`. */
export function redisTransport(options: RedisTransportOptions): Transport {
  return new RedisTransport(options)
}

class RedisTransport implements Transport {
  readonly name = 'redis'
  readonly reach: Transport['reach']
  readonly #keys: Keys
  readonly #connection: Connection<keyof typeof SCRIPTS>
  readonly #redis: Commands<keyof typeof SCRIPTS>

  constructor({ url, namespace = 'tf' }: RedisTransportOptions) {
    const endpoint = parseEndpoint(url)
    this.reach = endpoint.kind === 'cluster' ? 'own shard' : 'every shard'
    this.#keys = new Keys(namespace)
    this.#connection = new Connection(endpoint, SCRIPTS)
    this.#redis = this.#connection.commands
  }

  async start({ shards }: { readonly shards: number }): Promise<{ readonly id: string }> {
    try {
      await this.#connection.start()
      checkVersions(await this.#connection.reports())
      const key = this.#keys.global('namespace')
      await this.#redis.hsetnx(key, 'shards', shards)
      const found = Number(await this.#redis.hget(key, 'shards'))
      if (found !== shards) throw shardsDiffer(found, shards)
      await this.#redis.hsetnx(key, 'id', randomUUID())
      return { id: (await this.#redis.hget(key, 'id')) ?? '' }
    } catch (error) {
      await this.stop()
      throw error instanceof RuntimeError ? error : unreachable(this.#connection.lastError ?? error)
    }
  }

  async stop(): Promise<void> {
    this.#connection.stop()
  }

  async probe(): Promise<string | null> {
    const [reports, deaf] = await Promise.all([
      this.#connection.reports(),
      this.#connection.hears().then(
        () => null,
        (error: Error) => `no signals arrive: ${error.message}`,
      ),
    ])
    return amiss(reports) ?? deaf
  }

  async announce(
    member: Member,
    found: readonly Need[],
    ttlMs: number,
  ): Promise<{ readonly members: readonly Member[]; readonly needs: readonly Need[] }> {
    const keys = (['nodes', 'reads', 'needs'] as const).map((part) => this.#keys.global(part))
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
    await this.#redis.zrem(this.#keys.global('nodes'), node)
    await this.#redis.hdel(this.#keys.global('reads'), node)
  }

  async claim(shard: ShardName, request: ClaimRequest): Promise<Claim | null> {
    const { owner, ttlMs, nonce, anew, crashWindowMs } = request
    if (shard.startsWith('@')) await this.#redis.sadd(this.#keys.global('pinned'), shard)
    const keys = [this.#keys.of(shard, 'meta'), this.#keys.of(shard, 'lease')]
    const settings = [LIMITS.lineageMax, anew ? '1' : '0', crashWindowMs]
    const reply = await this.#redis.tf_claim(...keys, owner, ttlMs, nonce, ...settings)
    const [epoch, seq, hi, normal, outSeq, incarnation, lineage = '', crashes, trial, made] = reply as string[]
    if (epoch === undefined) return null
    return {
      epoch,
      seq: Number(seq),
      cursor: { hi: hi ?? '0-0', in: normal ?? '0-0' },
      outSeq: Number(outSeq),
      incarnation: Number(incarnation),
      lineage,
      crashes: Number(crashes),
      trial: trial ?? '',
      made: Number(made),
    }
  }

  async attempt(shard: ShardName, epoch: string, trial: string): Promise<void> {
    await this.#redis.tf_attempt(this.#keys.of(shard, 'meta'), epoch, trial)
  }

  async renew(shard: ShardName, epoch: string, owner: string, ttlMs: number): Promise<number | null> {
    const seq = await this.#redis.tf_renew(
      this.#keys.of(shard, 'meta'),
      this.#keys.of(shard, 'lease'),
      epoch,
      owner,
      ttlMs,
    )
    return seq === -1 ? null : Number(seq)
  }

  async release(shard: ShardName, epoch: string): Promise<void> {
    await this.#redis.tf_release(this.#keys.of(shard, 'meta'), this.#keys.of(shard, 'lease'), epoch)
  }

  async pinned(): Promise<readonly { readonly shard: ShardName; readonly leased: boolean }[]> {
    const shards = (await this.#redis.smembers(this.#keys.global('pinned'))) as ShardName[] // put there by claim
    return Promise.all(
      shards.map(async (shard) => ({ shard, leased: (await this.#redis.exists(this.#keys.of(shard, 'lease'))) === 1 })),
    )
  }

  async drop(shard: ShardName, epoch: string): Promise<void> {
    const keys = SHARD_PARTS.map((part) => this.#keys.of(shard, part))
    const departed = this.#keys.global('departed')
    // First, so that a process which dies in between leaves no letters that nobody finds.
    if ((await this.#redis.exists(this.#keys.of(shard, 'dlq'))) === 1) await this.#redis.sadd(departed, shard)
    if ((await this.#redis.tf_drop(keys.length, ...keys, epoch, LIMITS.departedLettersMs)) === 1) {
      await this.#redis.srem(this.#keys.global('pinned'), shard)
      await this.#redis.hdel(this.#keys.global('needs'), `${shard}|${kindOf(shard.slice(1) as ActorAddress)}`) // as pinned
    }
  }

  async read(shard: ShardName, after: Cursor, limit: number): Promise<readonly Entry[]> {
    const hi = this.#keys.of(shard, 'hi')
    const reply = await this.#redis.xread('COUNT', limit, 'STREAMS', hi, this.#keys.of(shard, 'in'), after.hi, after.in)
    if (reply === null) return []
    const entries: Entry[] = []
    for (const [key, rows] of reply) {
      const lane = key === hi ? 'hi' : 'in'
      for (const [id, fields] of rows) entries.push({ id, lane, body: fields[1] ?? '' })
    }
    return entries
  }

  async park(shard: ShardName, epoch: string, after: Cursor, limit: number, outTrim: number): Promise<Mail | 'fenced'> {
    const keys = (['meta', 'hi', 'in', 'out'] as const).map((part) => this.#keys.of(shard, part))
    const reply = await this.#redis.tf_park(...keys, epoch, after.hi, after.in, limit, outboxFloor(outTrim))
    return reply === 'fenced' ? reply : mailOf(reply)
  }

  async load(shard: ShardName, actors: readonly ActorAddress[]): Promise<readonly (string | null)[]> {
    if (actors.length === 0) return []
    return this.#redis.mget(actors.map((actor) => this.#keys.record(shard, actor)))
  }

  async commit(commit: Commit): Promise<CommitOutcome> {
    return commitOutcome(await this.#redis.tf_commit(...commitArguments(commit, this.#keys)))
  }

  async position(shard: ShardName): Promise<{ readonly epoch: string; readonly seq: number } | null> {
    const [epoch, seq] = await this.#redis.hmget(this.#keys.of(shard, 'meta'), 'epoch', 'seq')
    return epoch === null || epoch === undefined ? null : { epoch, seq: Number(seq ?? 0) }
  }

  async active(shard: ShardName): Promise<readonly ActorAddress[]> {
    return (await this.#redis.smembers(this.#keys.of(shard, 'fx'))).map(parseAddress)
  }

  states(shard: ShardName): Promise<readonly StateCount[]> {
    return statesIn(this.#redis, this.#keys, shard)
  }

  listed(
    shard: ShardName,
    kind: string,
    state: string,
    after: { readonly since: number; readonly id: string } | null,
    limit: number,
  ): Promise<readonly Listed[]> {
    return listedIn(this.#redis, this.#keys.state(shard, `${kind}:${state}`), state, after, limit)
  }

  async due(
    shard: ShardName,
    until: number,
    limit: number,
  ): Promise<{ readonly timers: readonly TimerEntry[]; readonly next: number | null }> {
    const key = this.#keys.of(shard, 'tm')
    const [rows, later] = await Promise.all([
      this.#redis.zrange(key, '-inf', until, 'BYSCORE', 'LIMIT', 0, limit + 1, 'WITHSCORES'),
      this.#redis.zrange(key, `(${until}`, '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES'),
    ])
    const entries: TimerEntry[] = []
    for (let i = 0; i < rows.length; i += 2) entries.push(timerEntry(rows[i] ?? '', Number(rows[i + 1])))
    const next = entries[limit]?.due ?? (later[1] === undefined ? null : Number(later[1]))
    return { timers: entries.slice(0, limit), next }
  }

  async outbox(shard: ShardName): Promise<readonly OutboxEntry[]> {
    const rows = await this.#redis.xrange(this.#keys.of(shard, 'out'), '-', '+')
    return rows.map(([id, fields]) => {
      const [seq, incarnation] = id.split('-').map(Number)
      const [, of = '', , to = '', , lane = '', , body = ''] = fields
      return {
        seq: seq ?? 0,
        incarnation: incarnation ?? 0,
        id: of,
        shard: to as ShardName, // written by commit
        lane: lane as Lane,
        body,
      }
    })
  }

  async deliver(shard: ShardName, lane: Lane, batch: readonly Delivery[], cap: number): Promise<number | 'gone'> {
    const source = batch[0]?.source ?? ''
    const client = !source.startsWith('s')
    const lineages = new Map(batch.map((each) => [each.source, each.lineage]))
    const places = new Map([...lineages.keys()].map((name, i) => [name, i + 1]))
    const values: Argument[] = []
    for (const { source: from, incarnation, seq, id, body } of batch) {
      values.push(places.get(from) ?? 0, incarnation, seq, id, body)
    }
    const reply = await this.#redis
      .tf_deliver(
        this.#keys.of(shard, 'meta'),
        this.#keys.of(shard, lane),
        this.#keys.of(shard, 'dd'),
        client ? this.#keys.clientMark(shard, source, lane) : this.#keys.of(shard, 'dd'),
        this.#keys.of(shard, 'tk'),
        this.#keys.of(shard, 'or'),
        lane === 'in' ? cap : 0,
        shard.startsWith('@') ? '1' : '0',
        this.#keys.channel(doorbell(shard)),
        client ? '1' : '0',
        lane,
        CLIENT_MARK_S,
        LIMITS.takenRememberedMax,
        lineages.size,
        LIMITS.pinnedMarksMs,
        ...[...lineages].flat(),
        ...values,
      )
      .catch(noneWhenFull)
    return reply as number | 'gone' // the script's replies
  }

  async departed(): Promise<readonly ShardName[]> {
    const key = this.#keys.global('departed')
    const shards = (await this.#redis.smembers(key)) as ShardName[] // put there by drop
    const kept = await Promise.all(shards.map((shard) => this.#redis.exists(this.#keys.of(shard, 'dlq'))))
    const over = shards.filter((_, i) => kept[i] === 0)
    if (over.length > 0) await this.#redis.srem(key, ...over)
    return shards.filter((_, i) => kept[i] === 1)
  }

  async resend(shard: ShardName, letter: string, send: Send): Promise<'sent' | 'absent' | 'gone'> {
    const letters = this.#keys.of(shard, 'dlq')
    const { shard: to, lane, body } = send
    if (to === shard || this.reach === 'every shard') {
      return (await this.#redis.tf_resend(
        letters,
        this.#keys.of(to, 'meta'),
        this.#keys.of(to, lane),
        letter,
        body,
        to.startsWith('@') ? '1' : '0',
        this.#keys.channel(doorbell(to)),
      )) as 'sent' | 'absent' | 'gone' // the script's replies
    }
    // Two slots of a Cluster: delivered under the letter's own name, it is taken once however often that is tried.
    if ((await this.#redis.xrange(letters, letter, letter)).length === 0) return 'absent'
    const delivery = { source: `d${shard}|${letter}`, incarnation: 1, seq: 1, id: letter, lineage: '', body }
    if ((await this.deliver(to, lane, [delivery], 0)) === 'gone') return 'gone'
    return (await this.dropLetter(shard, letter)) ? 'sent' : 'absent'
  }

  async dropLetter(shard: ShardName, letter: string): Promise<boolean> {
    return (await this.#redis.xdel(this.#keys.of(shard, 'dlq'), letter)) === 1
  }

  async append(stream: string, bodies: readonly string[], max: number): Promise<void> {
    const keepMs = stream.startsWith('shard/') ? 0 : LIMITS.streamKeepMs // a shard's own streams live as long as it does
    await this.#redis.tf_append(this.#keys.stream(stream), max, this.#keys.channel(stream), keepMs, ...bodies)
  }

  async range(stream: string, after: string, limit: number): Promise<readonly StreamRow[]> {
    const rows = await this.#redis.xrange(this.#keys.stream(stream), `(${after}`, '+', 'COUNT', limit)
    return rows.map(([id, fields]) => ({ id, body: fields[1] ?? '' }))
  }

  async ends(stream: string): Promise<{ readonly trimmed: string; readonly newest: string }> {
    try {
      const info = (await this.#redis.xinfo('STREAM', this.#keys.stream(stream))) as unknown[]
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
    await this.#redis.publish(this.#keys.channel(channel), body)
  }

  subscribe(channel: string, listener: (body: string) => void): Promise<() => Promise<void>> {
    return this.#connection.subscribe(this.#keys.channel(channel), listener)
  }
}

/** A full server has refused the script before it began. */
function noneWhenFull(error: Error): number {
  if (error.message.startsWith('OOM')) return 0
  throw error
}

/** A flat list of names and values, as Redis answers. */
function pairs(list: readonly string[]): (readonly [string, string])[] {
  return Array.from({ length: list.length / 2 }, (_, i) => [list[2 * i] ?? '', list[2 * i + 1] ?? ''] as const)
}

function script(name: string, keys: number | null, full: 'refused when full' | 'goes on' = 'goes on'): Script {
  const head = full === 'goes on' ? '#!lua flags=allow-oom\n' : '#!lua\n'
  return { lua: head + textOf('mailbox') + textOf(name), keys }
}

function textOf(file: string): string {
  return readFileSync(new URL(`../redis/${file}.lua`, import.meta.url), 'utf8')
}

function unreachable(cause: unknown): RuntimeError {
  const detail = cause instanceof Error ? cause.message : String(cause)
  return new RuntimeError('redis.unreachable', `Redis does not answer: ${detail}`, { remedy: 'retry', cause })
}
