/**
 * A fleet of runtime nodes as processes on a real Redis, under a load whose every message is written down, and the judge of
 * what came of it: the history checker of the simulator, which reads what is durable in the end. Default leases, so what
 * these tests see is what a user's fleet does.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { vi } from 'vitest'
import { address, openClient, redisTransport, systemClock } from '../../runtime/mod.ts'
import type { ActorAddress, Client, RuntimeEvent, RuntimeEventOf, ShardName, Transport } from '../../runtime/mod.ts'
import { SeededRandom } from '../../runtime/testing/mod.ts'
import { Proxy } from '../harness/proxy.ts'
import { TestRedis } from '../harness/redis.ts'
import type { EffectRun, Hop, Version } from '../simulation/actors.ts'
import { automatonOf } from '../simulation/automaton.ts'
import { check } from '../simulation/checker.ts'
import { evidenceOf, restless } from '../simulation/evidence.ts'
import type { Evidence } from '../simulation/evidence.ts'
import { History } from '../simulation/history.ts'
import { remainsInRedis } from '../simulation/redis-remains.ts'
import type { LoadEvent, Operation } from '../simulation/scenario.ts'
import { perform } from '../simulation/simulator.ts'
import { DIRECTORY } from './runtime-node.ts'
import type { NodeSettings, Said } from './runtime-node.ts'

/** Long waits are for hangs alone. */
export const WAIT = { timeout: 60_000, interval: 20 } as const

const PROGRAM = fileURLToPath(new URL('./runtime-node.ts', import.meta.url))
const NAMESPACE = 'tf'
const TICK_MS = 10

const many = (kind: string, count: number): ActorAddress[] =>
  Array.from({ length: count }, (_, i) => address(kind, `${kind[0] ?? ''}${i}`))

export const LEDGERS = many('ledger', 24)
export const ERRANDS = many('errand', 16)
export const WAITERS = many('waiter', 16)

export class NodeProcess {
  readonly id: string
  readonly proxy: Proxy | null
  readonly events: RuntimeEvent[] = []
  readonly #process: ChildProcess
  readonly #exited: Promise<unknown>

  constructor(settings: NodeSettings, proxy: Proxy | null, runs: EffectRun[]) {
    this.id = settings.id
    this.proxy = proxy
    const child = spawn(process.execPath, [PROGRAM, JSON.stringify(settings)], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#process = child
    this.#exited = once(child, 'close')
    createInterface(child.stdout).on('line', (line) => {
      const said = JSON.parse(line) as Said // each line is one
      if ('run' in said) runs.push(said.run)
      else this.events.push(said.event)
    })
  }

  /** What it said of this kind, after so many events. */
  said<T extends RuntimeEvent['type']>(type: T, after = 0): RuntimeEventOf<T>[] {
    return this.events.slice(after).filter((event): event is RuntimeEventOf<T> => event.type === type)
  }

  /** Resolves when it is gone, and all that it had said has been heard. */
  async kill(): Promise<void> {
    this.#process.kill('SIGKILL')
    await this.#exited
  }

  /** Asked to. */
  async leave(): Promise<void> {
    this.#process.kill('SIGTERM')
    await this.#exited
  }

  freeze(): void {
    this.#process.kill('SIGSTOP')
  }

  thaw(): void {
    this.#process.kill('SIGCONT')
  }
}

export interface Load {
  /** Resolves when all that was sent has been answered. */
  stop(): Promise<void>
}

export class RuntimeWorld implements AsyncDisposable {
  readonly redis: TestRedis
  readonly client: Client
  readonly history = new History(() => systemClock.now(), false)
  readonly nodes: NodeProcess[] = []
  readonly #transport: Transport
  readonly #random: SeededRandom
  #sent = 0

  private constructor(redis: TestRedis, transport: Transport, client: Client, seed: number) {
    this.redis = redis
    this.#transport = transport
    this.client = client
    this.#random = new SeededRandom(seed, 'faults')
  }

  /** With so many nodes, over which every shard is spread, and all actors alive. */
  static async start(options: {
    readonly nodes: number
    readonly seed: number
    readonly redis?: readonly string[]
    /** The first node reaches Redis through a proxy. */
    readonly proxied?: boolean
  }): Promise<RuntimeWorld> {
    const redis = await TestRedis.start(...(options.redis ?? []))
    const transport = redisTransport({ url: redis.url })
    await transport.start({ shards: DIRECTORY.shards })
    const client = await openClient({ transport, directory: DIRECTORY })
    const world = new RuntimeWorld(redis, transport, client, options.seed)
    for (let i = 0; i < options.nodes; i++) await world.start(1, i === 0 && options.proxied === true)
    await world.untilAllOwn()
    const spawned = [...LEDGERS, ...ERRANDS, ...WAITERS].map((self) =>
      client.spawn(self, { self }, { timeoutMs: WAIT.timeout }),
    )
    await Promise.all(spawned)
    return world
  }

  /** Starts one more node; it may still be on its way. */
  async start(version: Version = 1, proxied = false): Promise<NodeProcess> {
    const id = `n${this.nodes.length}`
    const proxy = proxied ? await Proxy.start(`${this.redis.url}.${id}`, this.redis.url) : null
    const node = new NodeProcess({ url: proxy?.url ?? this.redis.url, id, version }, proxy, this.history.runs)
    this.nodes.push(node)
    return node
  }

  /** Every shard is owned, and each of these nodes (all, where none are named) owns some. */
  async untilAllOwn(nodes: readonly NodeProcess[] = this.nodes): Promise<void> {
    await vi.waitUntil(async () => {
      const owners = await this.owners()
      return owners.size === DIRECTORY.shards && nodes.every(({ id }) => [...owners.values()].includes(id))
    }, WAIT)
  }

  /** Who holds the lease of each shard now. */
  async owners(): Promise<Map<ShardName, string>> {
    const { admin } = this.redis
    const names = Array.from({ length: DIRECTORY.shards }, (_, i) => String(i) as ShardName) // as numberedShard makes them
    const held = await Promise.all(names.map((name) => admin.get(`{${NAMESPACE}:${name}}:lease`)))
    return new Map(names.flatMap((name, i) => (typeof held[i] === 'string' ? [[name, held[i]] as const] : [])))
  }

  async shardsOf({ id }: NodeProcess): Promise<ShardName[]> {
    return [...(await this.owners())].flatMap(([shard, owner]) => (owner === id ? [shard] : []))
  }

  /** At which commit each shard stands. */
  async standing(): Promise<Map<ShardName, number>> {
    const { admin } = this.redis
    const names = Array.from({ length: DIRECTORY.shards }, (_, i) => String(i) as ShardName) // likewise
    const seqs = await Promise.all(names.map((name) => admin.hget(`{${NAMESPACE}:${name}}:meta`, 'seq')))
    return new Map(names.map((name, i) => [name, Number(seqs[i] ?? 0)]))
  }

  /** Each of these shards has made so many commits more. */
  async untilGoesOn(shards: Iterable<ShardName>, commits = 3): Promise<void> {
    const names = [...shards]
    const before = await this.standing()
    await vi.waitUntil(async () => {
      const now = await this.standing()
      return names.every((name) => (now.get(name) ?? 0) >= (before.get(name) ?? 0) + commits)
    }, WAIT)
  }

  /** Does one thing and writes it down. */
  send(to: ActorAddress, event: Unmarked, how: 'tell' | 'ask' = 'tell'): void {
    const n = `m${this.#sent++}`
    const marked = { ...event, n, from: 'c0', lane: 'in' } as LoadEvent // whole by the mark
    perform(this.history, this.client, { atMs: 0, client: 0, how, to, event: marked } satisfies Operation)
  }

  /** Notes that are handed on, asks, effects and timers, some hundred a second, until it is stopped. */
  load(): Load {
    const over = new AbortController()
    const running = (async () => {
      while (!over.signal.aborted) {
        for (let i = 0; i < 3; i++) this.#one()
        await systemClock.sleep(TICK_MS)
      }
      await vi.waitUntil(() => this.history.sent.every(({ outcome }) => outcome.kind !== 'pending'), WAIT)
    })()
    return {
      async stop() {
        over.abort()
        await running
      },
    }
  }

  #one(): void {
    const random = this.#random
    const chance = random.next()
    if (chance < 0.08) {
      const mode = { ms: random.pick([0, 20, 300]), fails: random.pick([0, 0, 0, 1]), givesUp: false }
      this.send(random.pick(ERRANDS), { type: 'do', mode })
    } else if (chance < 0.1) this.send(random.pick(ERRANDS), { type: 'halt' })
    else if (chance < 0.18) {
      this.send(random.pick(WAITERS), { type: random.pick(['arm', 'both', 'remind', 'unremind', 'disarm'] as const) })
    } else {
      const next = (depth: number): Hop[] =>
        depth === 0 || random.chance(0.3)
          ? []
          : [{ to: random.pick(LEDGERS), control: random.chance(0.1), next: next(depth - 1) }]
      this.send(random.pick(LEDGERS), { type: 'pass', next: next(2) }, random.chance(0.2) ? 'ask' : 'tell')
    }
  }

  /** What is wrong, once all is at rest. What was sent until `lostBefore` may be lost, not doubled. */
  async judge(lostBefore = -Infinity): Promise<readonly string[]> {
    let unrest: readonly string[] = ['nobody has looked yet']
    await vi
      .waitUntil(async () => {
        unrest = restless(await remainsInRedis(this.redis.admin, NAMESPACE), [])
        return unrest.length === 0
      }, WAIT)
      .catch(() => {}) // then `unrest` says why
    const { sent, runs } = this.history
    const evidence = await this.evidence()
    const matter = { sent, runs, evidence, calm: false, adoptions: 0, lostBefore, partial: false }
    return [...unrest, ...check({ ...matter, automaton: automatonOf(1) })]
  }

  async evidence(): Promise<Evidence> {
    return evidenceOf(await remainsInRedis(this.redis.admin, NAMESPACE))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.stop()
    await this.#transport.stop()
    for (const node of this.nodes) {
      await node.kill()
      await node.proxy?.stop()
    }
    await this.redis.stop()
  }
}

/** A message of the load before it is numbered. */
type Unmarked = LoadEvent extends infer E ? (E extends LoadEvent ? Omit<E, 'n' | 'from' | 'lane'> : never) : never
