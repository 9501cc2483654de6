/**
 * The connections to Redis, whatever stands behind the address: one server, the master that Sentinels name, a Cluster.
 * It is the only file that knows the client library.
 *
 * Two connections each: `commands`, which sends in the order of the calls (transport, T5; to each node of a Cluster), and
 * one that listens to doorbells and answers. How they behave when Redis is in trouble:
 *
 * - A connection that breaks is made again, at first after 50 ms and at most each second. What was under way is sent
 *   again; a script that took effect already says so (T1, T3).
 * - A command that is not answered within `commandTimeoutMs` fails, wherever it waits. The callers decide what follows.
 * - A connection that hears nothing for `silenceMs`, though it asked something, is hung up on: a half-open socket would
 *   never tell. The listening connection asks nothing by itself, so `hears` makes it ask.
 * - READONLY and MASTERDOWN say that we speak to what is a replica now: hang up and look for the master. Sentinels tell
 *   of a failover by themselves.
 * - MOVED, ASK, TRYAGAIN and CLUSTERDOWN are followed, or tried again, until the command's time is over. So commands of a
 *   shard whose slot moves may overtake each other; `seq` then refuses the later one, and its owner starts anew.
 */
import { connect as connectNet } from 'node:net'
import type { Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { AbstractConnector, Cluster, Redis } from 'ioredis'
import type { RedisOptions } from 'ioredis'
import { systemClock } from '../clock.ts'
import { LIMITS } from '../limits.ts'
import { parseEndpoint } from './endpoint.ts'
import type { Endpoint, HostPort, Tls } from './endpoint.ts'

export type Argument = string | number

/** A script's text, and how many keys it has; null when the caller says so in the first argument. */
export interface Script {
  readonly lua: string
  readonly keys: number | null
}

/** What a server says of itself, or why it says nothing. */
export type ServerReport = { readonly place: string } & (
  | { readonly info: Readonly<Record<string, string>> }
  | { readonly error: Error }
)

/** The library adds a method for each defined script; their types are ours to state. A Cluster has the same commands. */
export type Commands<S extends string> = Redis & Record<`tf_${S}`, (...args: Argument[]) => Promise<unknown>>

/** Writes what one turn of the event loop sends with one system call: a call for each command costs more than the rest of it. */
class TurnwiseRedis extends Redis {
  #corked = false

  override sendCommand(...args: Parameters<Redis['sendCommand']>): unknown {
    if (!this.#corked && this.status === 'ready') {
      const { stream } = this
      this.#corked = true
      stream.cork()
      setImmediate(() => {
        this.#corked = false
        stream.uncork()
      })
    }
    return super.sendCommand(...args)
  }
}

export class Connection<S extends string> {
  readonly commands: Commands<S>
  readonly #cluster: Cluster | null
  readonly #listening: Redis
  readonly #listeners = new Map<string, Set<(body: string) => void>>()
  #lastError: Error | null = null

  constructor(endpoint: Endpoint, scripts: Readonly<Record<S, Script>>) {
    const client = endpoint.kind === 'cluster' ? openCluster(endpoint) : new TurnwiseRedis(optionsOf(endpoint))
    this.#cluster = client instanceof Cluster ? client : null
    this.commands = client as unknown as Commands<S> // its script methods are defined below
    const nodes = (): readonly HostPort[] => [
      ...(this.#cluster?.nodes('master') ?? []).map(({ options: { host = '', port = 0 } }) => ({ host, port })),
      ...(endpoint.kind === 'cluster' ? endpoint.at : []),
    ]
    this.#listening = new Redis({
      ...(endpoint.kind === 'cluster'
        ? { ...accessOf(endpoint), ...SERVER, Connector: anyOf(nodes, endpoint.tls) }
        : optionsOf(endpoint)),
      autoResubscribe: false, // the library leaves nobody to hear that it failed; `#listenAnew`
    })
    this.#listening.on('ready', () => this.#listenAnew())
    for (const [name, { lua, keys }] of Object.entries<Script>(scripts)) {
      client.defineCommand(`tf_${name}`, { lua, ...(keys !== null && { numberOfKeys: keys }) })
    }
    for (const each of [client, this.#listening]) {
      each.on('error', (error: Error & { readonly lastNodeError?: Error }) => {
        this.#lastError = error.lastNodeError ?? error // of a Cluster, the library's own words say nothing
      })
      each.on('ready', () => (this.#lastError = null))
    }
    this.#listening.on('message', (channel: string, body: string) => {
      for (const listener of this.#listeners.get(channel) ?? []) listener(body)
    })
  }

  /** Why the connection does not work, as far as anything said so. */
  get lastError(): Error | null {
    return this.#lastError
  }

  /** Throws when there is no connection in time: the library would go on trying. */
  async start(): Promise<void> {
    const connected = Promise.all([(this.#cluster ?? this.commands).connect(), this.#listening.connect()])
    const over = new AbortController()
    const late = systemClock.sleep(LIMITS.commandTimeoutMs, over.signal).then(() => {
      throw this.#lastError ?? new Error(`no connection within ${LIMITS.commandTimeoutMs} ms`)
    })
    try {
      await Promise.race([connected, late])
    } finally {
      late.catch(() => {}) // it lost the race
      over.abort()
    }
  }

  stop(): void {
    // Stopped while it reconnects, the library would keep later commands for their whole deadline instead of refusing them.
    for (const redis of [this.commands, this.#listening]) redis.options.enableOfflineQueue = false
    ;(this.#cluster ?? this.commands).disconnect()
    this.#listening.disconnect()
  }

  /**
   * What every server that may be written to says of itself; of a Cluster, one that is silent for `partSilentMs` says
   * nothing. Throws when none says anything.
   */
  async reports(): Promise<readonly ServerReport[]> {
    const masters = this.#cluster?.nodes('master')
    const reports =
      masters === undefined
        ? [await reportOf(this.commands)]
        : await Promise.all(masters.map((each) => within(LIMITS.partSilentMs, reportOf(each), placeOf(each))))
    if (reports.some((each) => 'info' in each)) return reports
    const silent = reports.flatMap((each) => ('error' in each ? [each.error] : []))[0]
    throw this.#lastError ?? silent ?? new Error('no node of the Cluster answers')
  }

  /** Rejects when the listening connection hears nothing. */
  async hears(): Promise<void> {
    await this.#listening.ping()
  }

  /**
   * A new connection listens to what the last one did. Where that fails on a connection that stands, it is hung up on: it
   * would be deaf, and nobody would know.
   */
  #listenAnew(): void {
    const channels = [...this.#listeners.keys()]
    if (channels.length === 0) return
    this.#listening.subscribe(...channels).catch(() => {
      if (this.#listening.status === 'ready') this.#listening.disconnect(true)
    })
  }

  async subscribe(channel: string, listener: (body: string) => void): Promise<() => Promise<void>> {
    const heard = (body: string): void => listener(body) // each subscription is its own
    let listeners = this.#listeners.get(channel)
    if (listeners === undefined) {
      listeners = new Set()
      this.#listeners.set(channel, listeners)
    }
    listeners.add(heard)
    await this.#listening.subscribe(channel)
    return async () => {
      listeners.delete(heard)
      if (listeners.size > 0 || this.#listeners.get(channel) !== listeners) return
      this.#listeners.delete(channel)
      await this.#listening.unsubscribe(channel)
    }
  }
}

/** What stands behind an address, before anything is trusted to it; and which of the commands it lacks. */
export async function inspectRedis(
  url: string,
  commands: readonly string[],
): Promise<{ readonly servers: readonly ServerReport[]; readonly missing: readonly string[] }> {
  const connection = new Connection(parseEndpoint(url), {})
  try {
    await connection.start()
    const servers = await connection.reports()
    const known = (await connection.commands.call('COMMAND', 'INFO', ...commands)) as unknown[] // null for what it lacks
    return { servers, missing: commands.filter((_, i) => known[i] === null || known[i] === undefined) }
  } catch (error) {
    throw connection.lastError ?? error
  } finally {
    connection.stop()
  }
}

/** For each connection to a server. */
const SERVER: RedisOptions = {
  lazyConnect: true,
  // A command waits for a reconnection for as long as its deadline, and then fails.
  maxRetriesPerRequest: null,
  commandTimeout: LIMITS.commandTimeoutMs,
  connectTimeout: LIMITS.commandTimeoutMs,
  socketTimeout: LIMITS.silenceMs,
  keepAlive: 5_000,
  enableAutoPipelining: false,
  retryStrategy,
  reconnectOnError: ({ message }) => /^(READONLY|MASTERDOWN)/.test(message),
}

function retryStrategy(attempt: number): number {
  return Math.min(50 * 2 ** Math.min(attempt, 5), 1_000)
}

function accessOf({ username, password, tls }: Endpoint): RedisOptions {
  return {
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(tls !== undefined && { tls }),
  }
}

function optionsOf(endpoint: Exclude<Endpoint, { kind: 'cluster' }>): RedisOptions {
  const common = { ...SERVER, ...accessOf(endpoint), db: endpoint.db }
  if (endpoint.kind === 'server') return { ...common, ...endpoint.at }
  const { at, master, sentinelUser, sentinelPassword, tls } = endpoint
  return {
    ...common,
    sentinels: [...at],
    name: master,
    failoverDetector: true,
    sentinelRetryStrategy: retryStrategy,
    sentinelReconnectStrategy: retryStrategy,
    sentinelCommandTimeout: 1_000,
    ...(tls !== undefined && { sentinelTLS: tls, enableTLSForSentinelMode: true }),
    ...(sentinelUser !== undefined && { sentinelUsername: sentinelUser }),
    ...(sentinelPassword !== undefined && { sentinelPassword }),
  }
}

function openCluster(endpoint: Endpoint & { kind: 'cluster' }): Cluster {
  const { retryStrategy: _ofServers, ...redisOptions } = { ...SERVER, ...accessOf(endpoint) }
  return new Cluster([...endpoint.at], {
    lazyConnect: true,
    redisOptions,
    clusterRetryStrategy: retryStrategy,
    // Without a deadline of its own, what waits for a Cluster would wait for ever.
    enableOfflineQueue: false,
    maxRedirections: 200, // the command's deadline comes first
    retryDelayOnTryAgain: 50,
    retryDelayOnFailover: 100,
    retryDelayOnClusterDown: 100,
    slotsRefreshTimeout: 1_000,
    slotsRefreshInterval: 2_000,
  })
}

/** Connects to one of the nodes, and to another one the next time: any of them hears what is published in a Cluster. */
function anyOf(nodes: () => readonly HostPort[], tls: Tls | undefined): NonNullable<RedisOptions['Connector']> {
  let turn = 0
  return class extends AbstractConnector {
    constructor() {
      super(2_000)
    }

    async connect(): Promise<Socket> {
      this.connecting = true
      const all = nodes()
      const at = all[turn++ % all.length]
      if (at === undefined) throw new Error('no node of the Cluster is known')
      this.stream = tls === undefined ? connectNet({ ...at }) : connectTls({ ...at, ...tls })
      return this.stream
    }
  }
}

function placeOf({ options: { host, port, path } }: Redis): string {
  return path ?? `${host}:${port}`
}

/** The report, or that there was none in time. */
async function within(ms: number, report: Promise<ServerReport>, place: string): Promise<ServerReport> {
  const over = new AbortController()
  const late = systemClock.sleep(ms, over.signal).then(() => ({ place, error: new Error(`silent for ${ms} ms`) }))
  try {
    return await Promise.race([report, late])
  } finally {
    over.abort()
  }
}

async function reportOf(redis: Redis): Promise<ServerReport> {
  const place = placeOf(redis)
  try {
    return { place, info: fieldsOf(await redis.info('server', 'memory', 'persistence', 'replication')) }
  } catch (error) {
    return { place, error: error instanceof Error ? error : new Error(String(error)) }
  }
}

function fieldsOf(info: string): Record<string, string> {
  const lines = info.split('\r\n').filter((line) => line.includes(':'))
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]))
}
