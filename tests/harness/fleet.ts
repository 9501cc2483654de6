/** Nodes and clients of the runtime in the test's own process, on a transport of the test's choice. */
import type { ActorDefinition } from '../../runtime/actor.ts'
import { SHARDS_DEFAULT } from '../../runtime/address.ts'
import type { Directory } from '../../runtime/address.ts'
import { openClient } from '../../runtime/client.ts'
import type { Client } from '../../runtime/client.ts'
import { RuntimeEvents } from '../../runtime/events.ts'
import type { Limits } from '../../runtime/limits.ts'
import { Node } from '../../runtime/node.ts'
import { MemoryServer } from '../../runtime/memory/server.ts'
import { redisTransport } from '../../runtime/transports/redis.ts'
import type { Transport } from '../../runtime/transport.ts'
import { has } from './parts.ts'
import { TestRedis } from './redis.ts'

export type TransportName = 'memory' | 'redis'

/** Those that this machine can have. */
export const transports: readonly TransportName[] = has('redis') ? ['memory', 'redis'] : ['memory']

export class Fleet {
  readonly events = new RuntimeEvents()
  readonly directory: Directory
  readonly redis: TestRedis | null
  readonly #memory: MemoryServer | null
  readonly #actors: readonly ActorDefinition[]
  readonly #stops: (() => Promise<void>)[] = []

  private constructor(actors: readonly ActorDefinition[], memory: MemoryServer | null, redis: TestRedis | null) {
    this.#actors = actors
    this.#memory = memory
    this.redis = redis
    const pinned = actors.filter((actor) => actor.pinned).map((actor) => actor.kind)
    this.directory = { shards: SHARDS_DEFAULT, pinned: new Set(pinned) }
  }

  static async start(name: TransportName, actors: readonly ActorDefinition[]): Promise<Fleet> {
    if (name === 'memory') return new Fleet(actors, new MemoryServer(), null)
    return new Fleet(actors, null, await TestRedis.start())
  }

  async connect(): Promise<Transport> {
    const transport = this.#memory?.connect() ?? redisTransport({ url: this.redis?.url ?? '' })
    await transport.start({ shards: SHARDS_DEFAULT })
    this.#stops.unshift(() => transport.stop())
    return transport
  }

  async node(options: { hosts?: 'sharded' | 'pinned'; limits?: Partial<Limits>; id?: string } = {}): Promise<Node> {
    const node = new Node({
      transport: await this.connect(),
      actors: this.#actors,
      directory: this.directory,
      hosts: options.hosts ?? 'sharded',
      events: this.events,
      ...(options.limits !== undefined && { limits: options.limits }),
      ...(options.id !== undefined && { id: options.id }),
    })
    await node.start()
    this.#stops.unshift(() => node.stop())
    return node
  }

  async client(limits: Partial<Limits> = {}): Promise<Client> {
    const client = await openClient({
      transport: await this.connect(),
      directory: this.directory,
      events: this.events,
      limits,
    })
    this.#stops.unshift(() => client.stop())
    return client
  }

  async stop(): Promise<void> {
    for (const stop of this.#stops) await stop()
    await this.redis?.stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}
