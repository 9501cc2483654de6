/**
 * The runtime as seen from outside: a gateway, a worker's effects, a command line. A client writes to mailboxes and
 * reads snapshots; it owns no shard and runs no actor.
 */
import { parseAddress, shardOf } from './address.ts'
import type { ActorAddress, Directory, ShardName } from './address.ts'
import { Asks } from './asks.ts'
import { systemClock, systemRandom } from './clock.ts'
import type { Clock, Random } from './clock.ts'
import { Courier } from './courier.ts'
import type { Outcome } from './courier.ts'
import { DeadLetters } from './dead-letters.ts'
import { encodeEnvelope, SCHEDULE, SPAWN, UNSCHEDULE } from './envelope.ts'
import type { Envelope, Lane } from './envelope.ts'
import { RuntimeError } from './errors.ts'
import { RuntimeEvents } from './events.ts'
import { count, find } from './find.ts'
import type { ActorPage, FindQuery, Kind } from './find.ts'
import { follow, watch } from './follow.ts'
import type { Following, ReadFrom } from './follow.ts'
import { HealthWatch } from './health.ts'
import type { Health } from './health.ts'
import type { Json } from './json.ts'
import { LIMITS } from './limits.ts'
import type { Limits } from './limits.ts'
import type { Line, Reply } from './message.ts'
import { actorSnapshot } from './read.ts'
import type { ActorSnapshot } from './read.ts'
import { decodeRecord } from './record.ts'
import type { EventFor, InputFor } from './ref.ts'
import { scheduleData } from './scheduling.ts'
import { journalStream, previousId } from './transport.ts'
import type { StateCount, Transport } from './transport.ts'
import type { Later } from './vocabulary.ts'

export { address } from './address.ts'
export type { ActorAddress } from './address.ts'
export type { ActorPage, FindQuery, FoundActor, Kind, StateOf } from './find.ts'
export type { ReadFrom } from './follow.ts'
export type { ActorSnapshot } from './read.ts'
export type { Health } from './health.ts'
export type { StateCount } from './transport.ts'

/** What an actor's owner says when a message has been taken. */
export interface Answer {
  /** False when the chart has no transition for this event in its present state. */
  readonly handled: boolean
  /** The state value after the message. */
  readonly state: Json
  readonly status: 'active' | 'done' | 'error'
  /** What the chart replied, if it did. */
  readonly reply?: Json
}

/** One transition, as the journal of its shard tells it. */
export interface JournalLine {
  /** Position in the shard's journal; opaque, comparable only by the runtime, good to resume after. */
  readonly position: string
  readonly actor: ActorAddress
  readonly seq: number
  readonly event: string
  readonly from: Json
  readonly to: Json
  readonly at: number
  readonly trace?: string
}

/** A line of a capped stream beside the mailboxes: metrics, logs (telemetry is not mail). */
export interface StreamEntry {
  readonly id: string
  readonly data: Json
}

export interface SendOptions {
  /** Goes before what waits in the mailbox, and past its cap. */
  readonly control?: boolean
  /** W3C traceparent. */
  readonly trace?: string
  readonly signal?: AbortSignal
}

export interface AskOptions extends SendOptions {
  readonly timeoutMs?: number
}

/** An address made by `ref` types what is sent to it; a plain one takes any event. */
export interface Client {
  /** Resolves once the message is durable in the mailbox. Throws `mailbox.full` (BUSY) when the mailbox is at its cap. */
  tell<To extends ActorAddress>(to: To, event: EventFor<To>, options?: SendOptions): Promise<void>
  /** Resolves once the message's transition is committed. Throws `ask.timeout`, `actor.unknown`, `actor.done`, `mailbox.full`. */
  ask<To extends ActorAddress>(to: To, event: EventFor<To>, options?: AskOptions): Promise<Answer>
  /** Brings an actor to life; `handled` is false when it lived already, and then nothing has changed. */
  spawn<To extends ActorAddress>(to: To, input: InputFor<To>, options?: AskOptions): Promise<Answer>
  /** Reads a snapshot without passing through the mailbox; null when there is no such actor. */
  read(actor: ActorAddress): Promise<ActorSnapshot | null>
  /**
   * A page of actors of a kind, in any state or in one, by how long they have been in it; `find.ts` says what pages
   * promise. Throws `query.invalid`.
   */
  find<K extends Kind>(query: FindQuery<K>): Promise<ActorPage<K>>
  /** How many actors there are, by kind and state; none of kinds that are not indexed. */
  count(kind?: Kind): Promise<readonly StateCount[]>
  /**
   * The actor as it is now, after each change, and last as it ended: then the iteration ends. Several changes in quick
   * succession may be one. No value at all when there is no such actor.
   */
  watch(actor: ActorAddress, options?: { readonly signal?: AbortSignal }): AsyncIterable<ActorSnapshot>
  /**
   * Tells an actor later; resolves once that is durable. Under an id that waits there already it replaces what waited.
   * Throws as `ask` does, and `schedule.invalid`.
   */
  schedule<To extends ActorAddress>(
    to: To,
    schedule: Later & { readonly event: EventFor<To> },
    options?: AskOptions,
  ): Promise<void>
  /** Calls a scheduled tell off; false when none of this id waits there (any more). */
  unschedule(to: ActorAddress, id: string, options?: AskOptions): Promise<boolean>
  /**
   * Transitions of a shard, or of the shard that holds an actor (this actor's and its neighbours': filter what you
   * want), as they happen, until the signal aborts. `gap: true` before the first line when positions after `from` were
   * trimmed.
   */
  journal(
    of: ActorAddress | { readonly shard: ShardName },
    from: ReadFrom,
    signal: AbortSignal,
  ): AsyncIterable<JournalLine | { readonly gap: true }>
  /** Where a journal ends now: what is read after it is what comes. Ask before reading a snapshot, and nothing is missed. */
  journalEnd(of: ActorAddress | { readonly shard: ShardName }): Promise<string>
  /** Appends to a capped stream, e.g. `job:01J…:metrics`. */
  append(stream: string, entries: readonly Json[]): Promise<void>
  /**
   * Follows a capped stream until the signal aborts; with `follow: false` ends at its present end. `gap: true` before
   * the first entry when entries after `from` were trimmed.
   */
  stream(
    stream: string,
    from: ReadFrom,
    options: { readonly signal: AbortSignal; readonly follow: boolean },
  ): AsyncIterable<StreamEntry | { readonly gap: true }>
  /** Tells whoever listens now; lost on everybody else. What must arrive is a message to an actor. */
  publish(channel: string, message: Json): Promise<void>
  /** Hears what is published from now on, until the function that it gives is called. */
  subscribe(channel: string, listener: (message: Json) => void): Promise<() => Promise<void>>
  /** How the transport fares, as this client has seen it lately. Its changes are events. */
  health(): Health & { readonly transport: string }
  /** What could not be taken, and what can be done with it. */
  readonly deadLetters: DeadLetters
  stop(): Promise<void>
}

export interface ClientOptions {
  readonly transport: Transport
  readonly directory: Directory
  readonly clock?: Clock
  readonly random?: Random
  readonly events?: RuntimeEvents
  readonly limits?: Partial<Limits>
}

/** Opens a client on a transport that has been started. */
export async function openClient(options: ClientOptions): Promise<Client> {
  const client = new RuntimeClient(options)
  await client.start()
  return client
}

class RuntimeClient implements Client {
  readonly #id: string
  readonly #transport: Transport
  readonly #directory: Directory
  readonly #clock: Clock
  readonly #limits: Limits
  readonly #courier: Courier
  readonly #asks: Asks
  readonly #health: HealthWatch
  readonly deadLetters: DeadLetters
  readonly #abort = new AbortController()
  #unsubscribe: (() => Promise<void>) | null = null
  #count = 0
  #sent = 0

  constructor(options: ClientOptions) {
    const random = options.random ?? systemRandom
    this.#id = `c${random.word()}`
    this.#transport = options.transport
    this.#directory = options.directory
    this.#clock = options.clock ?? systemClock
    this.#limits = { ...LIMITS, ...options.limits }
    this.#asks = new Asks(this.#clock)
    this.deadLetters = new DeadLetters(this.#transport, this.#directory, this.#clock)
    const events = options.events ?? new RuntimeEvents()
    this.#health = new HealthWatch({ transport: this.#transport, clock: this.#clock, events, limits: this.#limits })
    this.#courier = new Courier({
      transport: this.#transport,
      clock: this.#clock,
      random,
      events,
      limits: this.#limits,
      onBusy: 'refuse',
    })
  }

  async start(): Promise<void> {
    this.#health.start()
    this.#unsubscribe = await this.#transport.subscribe(this.#channel, (body) => {
      const replies = JSON.parse(body) as readonly Reply[] // written by the plan of an owner
      for (const reply of replies) this.#asks.settle(reply)
    })
  }

  async stop(): Promise<void> {
    this.#abort.abort()
    this.#courier.stop()
    this.#asks.stop()
    await this.#health.stop()
    await this.#unsubscribe?.().catch(() => {}) // a subscription dies with its connection
  }

  async tell(to: ActorAddress, event: { readonly type: string }, options: SendOptions = {}): Promise<void> {
    const envelope = this.#envelope(to, event, options)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const done = (outcome: Outcome): void => {
      if (outcome === 'ok') resolve()
      else reject(outcome === 'gone' ? gone(to) : outcome)
    }
    const { signal } = options
    this.#send(envelope, options, done, signal === undefined ? undefined : () => !signal.aborted)
    return promise
  }

  async ask(to: ActorAddress, event: { readonly type: string }, options: AskOptions = {}): Promise<Answer> {
    const timeoutMs = options.timeoutMs ?? this.#limits.askTimeoutMs
    const deadline = this.#clock.now() + timeoutMs
    const envelope: Envelope = { ...this.#envelope(to, event, options), replyTo: this.#channel, deadline }
    const { id, type } = envelope
    const answered = this.#asks.open({ id, to, type, timeoutMs, signal: options.signal })
    this.#send(
      envelope,
      options,
      (outcome) => {
        if (outcome !== 'ok') this.#asks.fail(id, outcome === 'gone' ? gone(to) : outcome)
      },
      () => this.#asks.isOpen(id),
    )
    return answered
  }

  spawn(to: ActorAddress, input: unknown, options: AskOptions = {}): Promise<Answer> {
    const event: { readonly type: string } & Record<string, unknown> = { type: SPAWN, input }
    return this.ask(to, event, options)
  }

  watch(actor: ActorAddress, options: { readonly signal?: AbortSignal } = {}): AsyncIterable<ActorSnapshot> {
    return watch(parseAddress(actor), this.#directory, this.#following(options.signal ?? this.#abort.signal))
  }

  async schedule(to: ActorAddress, schedule: Later, options: AskOptions = {}): Promise<void> {
    const event = { type: SCHEDULE, ...scheduleData(schedule, this.#clock.now()) }
    const { status } = await this.ask(to, event, options)
    if (status !== 'active') throw done(to, status)
  }

  async unschedule(to: ActorAddress, id: string, options: AskOptions = {}): Promise<boolean> {
    const event: { readonly type: string; readonly id: string } = { type: UNSCHEDULE, id }
    return (await this.ask(to, event, options)).handled
  }

  async read(actor: ActorAddress): Promise<ActorSnapshot | null> {
    const [body] = await this.#transport.load(shardOf(parseAddress(actor), this.#directory), [actor])
    if (body === null || body === undefined) return null
    return actorSnapshot(actor, decodeRecord(body))
  }

  find<K extends Kind>(query: FindQuery<K>): Promise<ActorPage<K>> {
    return find(this.#transport, this.#directory, query)
  }

  count(kind?: Kind): Promise<readonly StateCount[]> {
    return count(this.#transport, this.#directory, kind)
  }

  async *journal(
    of: ActorAddress | { readonly shard: ShardName },
    from: ReadFrom,
    signal: AbortSignal,
  ): AsyncIterable<JournalLine | { readonly gap: true }> {
    const stream = this.#journalOf(of)
    // A position is `<commit's id>.<line in it>`: the lines of one commit share a stream entry.
    const [commitId = '0-0', line = ''] = typeof from === 'object' ? from.after.split('.') : []
    const start = typeof from === 'object' ? { after: previousId(commitId) } : from
    for await (const row of follow(stream, start, this.#following(signal), true)) {
      if ('gap' in row) {
        yield row
        continue
      }
      for (const [i, each] of (JSON.parse(row.body) as Line[]).entries()) {
        if (row.id === commitId && i <= Number(line)) continue
        yield { position: `${row.id}.${i}`, ...each }
      }
    }
  }

  async journalEnd(of: ActorAddress | { readonly shard: ShardName }): Promise<string> {
    const { newest } = await this.#transport.ends(this.#journalOf(of))
    return `${newest}.${Number.MAX_SAFE_INTEGER}` // behind every line of the newest commit
  }

  async append(stream: string, entries: readonly Json[]): Promise<void> {
    const bodies = entries.map((entry) => JSON.stringify(entry))
    await this.#transport.append(stream, bodies, this.#limits.streamEntriesMax)
  }

  async *stream(
    stream: string,
    from: ReadFrom,
    { signal, follow: onward }: { readonly signal: AbortSignal; readonly follow: boolean },
  ): AsyncIterable<StreamEntry | { readonly gap: true }> {
    for await (const row of follow(stream, from, this.#following(signal), onward)) {
      yield 'gap' in row ? row : { id: row.id, data: JSON.parse(row.body) as Json }
    }
  }

  publish(channel: string, message: Json): Promise<void> {
    return this.#transport.publish(`said/${channel}`, JSON.stringify(message))
  }

  subscribe(channel: string, listener: (message: Json) => void): Promise<() => Promise<void>> {
    return this.#transport.subscribe(`said/${channel}`, (body) => listener(JSON.parse(body) as Json))
  }

  health(): Health & { readonly transport: string } {
    return { ...this.#health.now, transport: this.#transport.name }
  }

  #journalOf(of: ActorAddress | { readonly shard: ShardName }): string {
    return journalStream(typeof of === 'object' ? of.shard : shardOf(of, this.#directory))
  }

  get #channel(): string {
    return `answers/${this.#id}`
  }

  #following(signal: AbortSignal): Following {
    const stop = AbortSignal.any([signal, this.#abort.signal])
    return { transport: this.#transport, clock: this.#clock, limits: this.#limits, signal: stop }
  }

  #envelope(to: ActorAddress, event: { readonly type: string }, options: SendOptions): Envelope {
    if (this.#abort.signal.aborted) {
      throw new RuntimeError('client.stopped', 'This client has been stopped', { remedy: 'give-up' })
    }
    const { type, ...data } = event
    return {
      id: `${this.#id}:${++this.#count}`,
      to: parseAddress(to),
      type,
      data,
      sentAt: this.#clock.now(),
      ...(options.trace !== undefined && { trace: options.trace }),
    }
  }

  #send(envelope: Envelope, options: SendOptions, done: (outcome: Outcome) => void, wanted?: () => boolean): void {
    const body = encodeEnvelope(envelope)
    const lane: Lane = options.control === true ? 'hi' : 'in'
    const delivery = { source: this.#id, incarnation: 1, seq: ++this.#sent, id: envelope.id, lineage: '', body }
    this.#courier.send(shardOf(envelope.to, this.#directory), lane, delivery, done, wanted)
  }
}

function gone(to: ActorAddress): RuntimeError {
  return new RuntimeError('actor.unknown', `There is no actor ${to}`, { remedy: 'fix-request', data: { actor: to } })
}

function done(to: ActorAddress, status: string): RuntimeError {
  const data = { actor: to, status }
  return new RuntimeError('actor.done', `${to} has ended and takes no tell for later`, { remedy: 'give-up', data })
}
