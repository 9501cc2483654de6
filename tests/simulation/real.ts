/**
 * The scenarios of the simulator on a real Redis, in real time: the same actors, loads and checker; kinder faults, those
 * that a network can be made to have. Each node and client reaches the server through a proxy of its own, which breaks
 * connections, loses answers and stalls; a node that crashes is one that never reaches the server again.
 */
import { join } from 'node:path'
import { Redis } from 'ioredis'
import type { AnyStateMachine } from 'xstate'
import type { Directory } from '../../runtime/address.ts'
import { openClient } from '../../runtime/client.ts'
import type { Client } from '../../runtime/client.ts'
import { systemClock } from '../../runtime/clock.ts'
import { RuntimeEvents } from '../../runtime/events.ts'
import { LIMITS } from '../../runtime/limits.ts'
import type { Limits } from '../../runtime/limits.ts'
import { Node } from '../../runtime/node.ts'
import { SeededRandom } from '../../runtime/testing/seeded-random.ts'
import type { Transport } from '../../runtime/transport.ts'
import { redisTransport } from '../../runtime/transports/redis.ts'
import { Proxy } from '../harness/proxy.ts'
import type { TestRedis } from '../harness/redis.ts'
import { simulatedActors } from './actors.ts'
import { automatonOf } from './automaton.ts'
import { check } from './checker.ts'
import { evidenceOf, restless } from './evidence.ts'
import { History } from './history.ts'
import { remainsInRedis } from './redis-remains.ts'
import { scenarioOf } from './scenario.ts'
import type { Scenario } from './scenario.ts'
import { perform } from './simulator.ts'

const LOAD_MS = 3_000
const PEACE_MS = 20_000
/** Shorter leases than in production, so that a takeover fits into a test. */
const LIMITS_REAL: Limits = {
  ...LIMITS,
  leaseMs: 600,
  leaseRenewMs: 150,
  leaseSuspendMs: 400,
  orphanMs: 800,
  watchdogMs: 300,
}

interface Member {
  readonly proxy: Proxy
  readonly transport: Transport
  readonly node: Node | null
}

export async function runOnRedis(redis: TestRedis, folder: string, seed: number): Promise<readonly string[]> {
  const world = new RealWorld(redis, folder, scenarioOf(seed))
  try {
    return await world.run()
  } finally {
    await world.stop()
  }
}

class RealWorld {
  readonly #redis: TestRedis
  readonly #folder: string
  readonly #scenario: Scenario
  readonly #namespace: string
  readonly #limits: Limits
  readonly #directory: Directory
  readonly #random: SeededRandom
  readonly #history: History
  readonly #members = new Map<string, Member>()
  readonly #gone: Member[] = []
  readonly #lostStations = new Set<string>()
  readonly #look: Redis
  readonly #automaton: AnyStateMachine
  #adoptions = 0
  #lives = 0

  constructor(redis: TestRedis, folder: string, scenario: Scenario) {
    this.#redis = redis
    this.#folder = folder
    this.#scenario = scenario
    this.#namespace = `sim${scenario.seed}`
    const { batchMax, commitsInFlightMax, deliveryMax, timersDueMax, cellsMax, mailboxMax } = scenario.limits
    this.#limits = { ...LIMITS_REAL, batchMax, commitsInFlightMax, deliveryMax, timersDueMax, cellsMax, mailboxMax }
    this.#automaton = automatonOf(scenario.seed)
    this.#directory = { shards: scenario.shards, pinned: new Set(['station']) }
    this.#random = new SeededRandom(scenario.seed, 'real')
    this.#history = new History(() => systemClock.now(), false)
    this.#look = new Redis({ path: redis.url, maxRetriesPerRequest: null })
  }

  async run(): Promise<readonly string[]> {
    const { nodes, clients: users, actors, operations, healAtMs } = this.#scenario
    for (let i = 0; i < Math.max(2, nodes); i++) await this.#startNode(`node${i}`)
    const stations = actors.filter((actor) => actor.startsWith('station/'))
    for (const [i, actor] of stations.entries()) {
      const { node } = await this.#startNode(`station${i}`, 'pinned')
      await node?.host(actor)
    }
    const clients: Client[] = []
    for (let i = 0; i < users; i++) clients.push(await this.#startClient(`client${i}`))
    const [first] = clients
    for (const actor of actors) await first?.spawn(actor, { self: actor }, { timeoutMs: 10_000 })

    const faults = this.#disturb()
    const begun = systemClock.now()
    for (const operation of operations) {
      const wait = begun + (operation.atMs / healAtMs) * LOAD_MS - systemClock.now()
      if (wait > 0) await systemClock.sleep(wait)
      const client = clients[operation.client]
      if (client !== undefined) perform(this.#history, client, operation)
    }
    await faults
    const unrest = await this.#peace()
    const evidence = evidenceOf(await remainsInRedis(this.#look, this.#namespace))
    const { sent, runs } = this.#history
    return [
      ...unrest,
      ...check({
        sent,
        runs,
        evidence,
        calm: false,
        adoptions: this.#adoptions,
        lostBefore: -Infinity,
        partial: false,
        automaton: this.#automaton,
      }),
    ]
  }

  async stop(): Promise<void> {
    this.#look.disconnect()
    const members = [...this.#members.values(), ...this.#gone]
    for (const { transport } of members) await transport.stop()
    await Promise.all(members.flatMap(({ node }) => (node === null ? [] : [node.stop()])))
    for (const { proxy } of this.#members.values()) await proxy.stop()
  }

  async #connect(role: string): Promise<{ proxy: Proxy; transport: Transport; name: string }> {
    const name = `${role}-${++this.#lives}`
    const proxy = await Proxy.start(join(this.#folder, `${this.#namespace}-${name}.sock`), this.#redis.url)
    const transport = redisTransport({ url: proxy.url, namespace: this.#namespace })
    await transport.start({ shards: this.#scenario.shards })
    return { proxy, transport, name }
  }

  async #startNode(role: string, hosts: 'sharded' | 'pinned' = 'sharded'): Promise<Member> {
    const { proxy, transport, name } = await this.#connect(role)
    const events = new RuntimeEvents()
    events.on('lease.claimed', ({ adopted }) => {
      if (adopted) this.#adoptions++
    })
    const node = new Node({
      transport,
      actors: simulatedActors(systemClock, name, this.#history.runs, this.#automaton),
      directory: this.#directory,
      hosts,
      id: name,
      events,
      limits: this.#limits,
    })
    await node.start()
    const member = { proxy, transport, node }
    this.#members.set(role, member)
    return member
  }

  async #startClient(role: string): Promise<Client> {
    const { proxy, transport } = await this.#connect(role)
    this.#members.set(role, { proxy, transport, node: null })
    return openClient({ transport, directory: this.#directory, limits: this.#limits })
  }

  /** One fault after the other, until the load is over. */
  async #disturb(): Promise<void> {
    const until = systemClock.now() + LOAD_MS
    while (systemClock.now() < until) {
      await systemClock.sleep(this.#random.int(50, 400))
      const roles = [...this.#members.keys()]
      const role = this.#random.pick(roles)
      const member = this.#members.get(role)
      if (member !== undefined) await this.#befall(role, member)
    }
  }

  async #befall(role: string, { proxy, node }: Member): Promise<void> {
    const kind = this.#random.pick(['cut', 'cut', 'answers', 'answers', 'stall', 'crash', 'leave'] as const)
    this.#history.fault(`${role}:${kind}`)
    if (kind === 'cut') proxy.cut()
    else if (kind === 'answers') {
      proxy.loseAnswers()
      await systemClock.sleep(this.#random.int(5, 60))
      proxy.cut()
    } else if (kind === 'stall') {
      proxy.stall()
      await systemClock.sleep(this.#random.int(50, 900))
      proxy.resume()
    } else if (node !== null) {
      await this.#lose(role, kind)
    }
  }

  async #lose(role: string, kind: 'crash' | 'leave'): Promise<void> {
    const member = this.#members.get(role)
    if (member === undefined) return
    this.#members.delete(role)
    this.#gone.push(member)
    if (role.startsWith('station')) this.#lostStations.add(role)
    if (kind === 'leave') await member.node?.stop()
    // What is under way may still take effect; nothing comes back, and nothing more goes out.
    member.proxy.loseAnswers()
    await member.transport.stop()
    await member.proxy.stop()
    if (role.startsWith('node')) await this.#startNode(role)
  }

  /** Resolves when all is at rest; what is not, in words, when that takes too long. */
  async #peace(): Promise<readonly string[]> {
    const deadline = systemClock.now() + PEACE_MS
    for (;;) {
      const remains = await remainsInRedis(this.#look, this.#namespace)
      const unrest = restless(remains, [...this.#lostStations])
      const pending = this.#history.sent.some(({ outcome }) => outcome.kind === 'pending')
      if ((unrest.length === 0 && !pending) || systemClock.now() > deadline) return unrest
      await systemClock.sleep(100)
    }
  }
}
