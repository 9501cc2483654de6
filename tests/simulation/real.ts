/**
 * The scenarios of the simulator on a real Redis, in real time: the same actors, loads and checker; kinder faults, those
 * that a network and a server can be made to have (`grounds.ts`). A node that crashes is one that never reaches the server
 * again.
 */
import type { Cluster, Redis } from 'ioredis'
import type { AnyStateMachine } from 'xstate'
import type { Directory } from '../../runtime/address.ts'
import { openClient } from '../../runtime/client.ts'
import type { Client } from '../../runtime/client.ts'
import { systemClock } from '../../runtime/clock.ts'
import { RuntimeEvents } from '../../runtime/events.ts'
import type { Health } from '../../runtime/health.ts'
import { LIMITS } from '../../runtime/limits.ts'
import type { Limits } from '../../runtime/limits.ts'
import { Node } from '../../runtime/node.ts'
import { SeededRandom } from '../../runtime/testing/seeded-random.ts'
import type { Transport } from '../../runtime/transport.ts'
import { redisTransport } from '../../runtime/transports/redis.ts'
import { simulatedActors } from './actors.ts'
import type { Version } from './actors.ts'
import { automatonOf } from './automaton.ts'
import { check } from './checker.ts'
import { evidenceOf, restless } from './evidence.ts'
import type { Ground, Upset, Way } from './grounds.ts'
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
  readonly way: Way
  readonly transport: Transport
  readonly node: Node | null
}

/** Runs it, and returns what is wrong with what came of it. */
export async function runOnRedis(ground: Ground, seed: number): Promise<readonly string[]> {
  const world = new RealWorld(ground, scenarioOf(seed))
  try {
    return await world.run()
  } finally {
    await world.stop()
  }
}

class RealWorld {
  readonly #ground: Ground
  readonly #scenario: Scenario
  readonly #namespace: string
  readonly #limits: Limits
  readonly #directory: Directory
  readonly #random: SeededRandom
  readonly #history: History
  readonly #members = new Map<string, Member>()
  readonly #gone: Member[] = []
  readonly #lostStations = new Set<string>()
  readonly #look: Redis | Cluster
  readonly #rolledBack = new Set<string>()
  /** The states in which each process has seen its transport, and how it sees it now. */
  readonly #seen = new Map<string, Set<Health['state']>>()
  readonly #health = new Map<string, () => Health>()
  readonly #automaton: AnyStateMachine
  readonly #isUpgrade: boolean
  /** The version of the code that a role runs at present. */
  readonly #versions: Map<string, Version>
  #adoptions = 0
  #lives = 0

  constructor(ground: Ground, scenario: Scenario) {
    this.#ground = ground
    this.#scenario = scenario
    this.#namespace = `sim${scenario.seed}`
    const { batchMax, commitsInFlightMax, deliveryMax, timersDueMax, cellsMax, mailboxMax } = scenario.limits
    this.#limits = { ...LIMITS_REAL, batchMax, commitsInFlightMax, deliveryMax, timersDueMax, cellsMax, mailboxMax }
    this.#automaton = automatonOf(scenario.seed)
    this.#isUpgrade = scenario.isUpgrade && ground.isRolling === true
    this.#versions = new Map(this.#isUpgrade ? Object.entries(scenario.versions) : [])
    this.#directory = { shards: scenario.shards, pinned: new Set(['station']) }
    this.#random = new SeededRandom(scenario.seed, 'real')
    this.#history = new History(() => systemClock.now(), false)
    this.#look = ground.look()
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

    const begun = systemClock.now()
    const faults = this.#disturb()
    const isSeen = (): boolean => this.#unseen().length === 0
    const upheaval = this.#ground.upheaval(this.#namespace, this.#random, begun + LOAD_MS, isSeen)
    for (const operation of operations) {
      const wait = begun + (operation.atMs / healAtMs) * LOAD_MS - systemClock.now()
      if (wait > 0) await systemClock.sleep(wait)
      const client = clients[operation.client]
      if (client !== undefined) perform(this.#history, client, operation)
    }
    await faults
    const upset = await upheaval
    if (this.#isUpgrade) await this.#upgrade()
    const unrest = await this.#peace()
    const evidence = evidenceOf(await remainsInRedis(this.#look, this.#namespace))
    const { sent, runs } = this.#history
    return [
      ...unrest,
      ...this.#unreported(upset),
      ...this.#unseen(),
      ...check({
        sent,
        runs,
        evidence,
        calm: false,
        adoptions: this.#adoptions,
        lostBefore: upset?.lostBefore ?? -Infinity,
        partial: upset?.partial ?? false,
        automaton: this.#automaton,
      }),
    ]
  }

  async stop(): Promise<void> {
    this.#look.disconnect()
    const members = [...this.#members.values(), ...this.#gone]
    for (const { transport } of members) await transport.stop()
    await Promise.all(members.flatMap(({ node }) => (node === null ? [] : [node.stop()])))
    for (const { way } of this.#members.values()) await way.proxy?.stop()
  }

  /** A loss is never silent. */
  #unreported(upset: Upset | null): string[] {
    if (upset === null || upset.lost === null) return []
    if (upset.lost.size === 0) return ['the failover has lost nothing, and so shows nothing']
    return [...upset.lost]
      .filter((shard) => !this.#rolledBack.has(shard))
      .map((shard) => `shard ${shard} has lost acknowledged commits, and nobody said so`)
  }

  /** Nor is trouble. */
  #unseen(): string[] {
    const { fares } = this.#ground
    if (fares === undefined) return []
    return [...this.#seen]
      .filter(([, states]) => !states.has(fares) && !states.has('unreachable'))
      .map(([name, states]) => `${name} has seen its transport ${[...states].join(', ')}, and never ${fares}`)
  }

  #watch(name: string, events: RuntimeEvents): void {
    const states = new Set<Health['state']>()
    this.#seen.set(name, states)
    events.on('health', ({ state }) => states.add(state))
  }

  async #connect(role: string): Promise<{ way: Way; transport: Transport; name: string }> {
    const name = `${role}-${++this.#lives}`
    const way = await this.#ground.way(`${this.#namespace}-${name}`)
    const transport = redisTransport({ url: way.url, namespace: this.#namespace })
    await transport.start({ shards: this.#scenario.shards })
    return { way, transport, name }
  }

  async #startNode(role: string, hosts: 'sharded' | 'pinned' = 'sharded'): Promise<Member> {
    const { way, transport, name } = await this.#connect(role)
    const events = new RuntimeEvents()
    events.on('lease.claimed', ({ adopted }) => {
      if (adopted) this.#adoptions++
    })
    events.on('shard.rolled-back', ({ shard }) => this.#rolledBack.add(shard))
    const node = new Node({
      transport,
      actors: simulatedActors(systemClock, name, this.#history.runs, this.#automaton, this.#versions.get(role)),
      directory: this.#directory,
      hosts,
      id: name,
      events,
      limits: this.#limits,
    })
    this.#watch(name, events)
    await node.start()
    this.#health.set(role, () => node.health)
    const member = { way, transport, node }
    this.#members.set(role, member)
    return member
  }

  async #startClient(role: string): Promise<Client> {
    const { way, transport, name } = await this.#connect(role)
    this.#members.set(role, { way, transport, node: null })
    const events = new RuntimeEvents()
    this.#watch(name, events)
    const client = await openClient({ transport, directory: this.#directory, events, limits: this.#limits })
    this.#health.set(role, () => client.health())
    return client
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

  async #befall(role: string, { way: { proxy, faults }, node }: Member): Promise<void> {
    if (faults.length === 0) return
    const kind = this.#random.pick(faults)
    this.#history.fault(`${role}:${kind}`)
    if (kind === 'cut') proxy?.cut()
    else if (kind === 'answers') {
      proxy?.loseAnswers()
      await systemClock.sleep(this.#random.int(5, 60))
      proxy?.cut()
    } else if (kind === 'stall') {
      proxy?.stall()
      await systemClock.sleep(this.#random.int(50, 900))
      proxy?.resume()
    } else if (node !== null) {
      await this.#lose(role, kind)
    }
  }

  async #lose(role: string, kind: 'crash' | 'leave'): Promise<void> {
    const member = this.#members.get(role)
    if (member === undefined) return
    this.#members.delete(role)
    this.#health.delete(role)
    this.#gone.push(member)
    if (role.startsWith('station')) this.#lostStations.add(role)
    if (kind === 'leave') await member.node?.stop()
    // What is under way may still take effect; nothing comes back, and nothing more goes out.
    member.way.proxy?.loseAnswers()
    await member.transport.stop()
    await member.way.proxy?.stop()
    if (this.#isUpgrade) this.#versions.set(role, 2)
    if (role.startsWith('node')) await this.#startNode(role)
  }

  /** Nodes that still run the older code leave, one after the other, and come back with the newer. */
  async #upgrade(): Promise<void> {
    const roles = Array.from(this.#members.keys()).filter((role) => role.startsWith('node'))
    for (const role of roles) if (this.#versions.get(role) !== 2) await this.#lose(role, 'leave')
  }

  async #unrest(): Promise<readonly string[]> {
    const unwell = [...this.#health].filter(([, health]) => health().state !== 'healthy')
    if (unwell.length > 0) return unwell.map(([role, health]) => `${role} sees its transport ${health().state}`)
    try {
      return restless(await remainsInRedis(this.#look, this.#namespace), [...this.#lostStations])
    } catch (error) {
      return [`nobody can look: ${String(error)}`] // just after a failover
    }
  }

  /** Resolves when all is at rest; what is not, in words, when that takes too long. */
  async #peace(): Promise<readonly string[]> {
    const deadline = systemClock.now() + PEACE_MS
    for (;;) {
      const unrest = await this.#unrest()
      const pending = this.#history.sent.some(({ outcome }) => outcome.kind === 'pending')
      if ((unrest.length === 0 && !pending) || systemClock.now() > deadline) return unrest
      await systemClock.sleep(100)
    }
  }
}
