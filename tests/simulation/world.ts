/**
 * The simulated world: the server, the processes on it, and the faults that befall them. It knows how to bring a node to
 * life and how to let it die; what is sent and what is expected of it are the business of others.
 */
import type { AnyStateMachine } from 'xstate'
import { pinnedShard } from '../../runtime/address.ts'
import type { ActorAddress, Directory, ShardName } from '../../runtime/address.ts'
import { openClient } from '../../runtime/client.ts'
import type { Client } from '../../runtime/client.ts'
import { RuntimeEvents } from '../../runtime/events.ts'
import { Node } from '../../runtime/node.ts'
import { decodeRecord } from '../../runtime/record.ts'
import { SeededRandom } from '../../runtime/testing/seeded-random.ts'
import { VirtualClock } from '../../runtime/testing/virtual-clock.ts'
import { MemoryServer } from '../../runtime/memory/server.ts'
import type { Commit, CommitOutcome } from '../../runtime/transport.ts'
import { simulatedActors } from './actors.ts'
import type { Version } from './actors.ts'
import { automatonOf } from './automaton.ts'
import { Fates } from './faults.ts'
import type { ProcessFault } from './faults.ts'
import { History } from './history.ts'
import { SimConnection } from './network.ts'
import { SimProcess } from './process.ts'
import { isThrownBack, reachOf } from './scenario.ts'
import type { Scenario } from './scenario.ts'

export interface Rollback {
  readonly at: number
  readonly lost: Map<string, number>
  readonly reported: Set<string>
}

interface Member {
  /** The role that it plays: `node0`, `station1`. Its process changes when it crashes. */
  readonly role: string
  readonly id: string
  readonly process: SimProcess
  readonly connection: SimConnection
  readonly node: Node | null
}

export class World {
  readonly scenario: Scenario
  readonly clock = new VirtualClock()
  readonly server: MemoryServer
  readonly history: History
  readonly directory: Directory
  /** Roles whose process has crashed or left at least once. */
  readonly lost = new Set<string>()
  readonly automaton: AnyStateMachine
  adoptions = 0
  /** The failover that lost something: when, which shards lost how many commits, and which of them were reported. */
  rollback: Rollback | null = null
  readonly #only: ReadonlySet<string> | null
  readonly #members = new Map<string, Member>()
  readonly #startMs: number
  /** The version of the code that a role runs at present. */
  readonly #versions: Map<string, Version>
  readonly #random: SeededRandom
  #lives = 0
  #faulty = false

  constructor(scenario: Scenario, traced = false) {
    this.scenario = scenario
    this.#startMs = this.clock.now()
    this.#versions = new Map(Object.entries(scenario.versions))
    this.#random = new SeededRandom(scenario.seed, 'world')
    this.server = new MemoryServer({ clock: this.clock, reach: reachOf(scenario.seed) })
    this.history = new History(() => this.clock.now() - this.#startMs, traced)
    this.automaton = automatonOf(scenario.seed)
    this.directory = { shards: scenario.shards, pinned: new Set(['station']) }
    this.#only = scenario.only === null ? null : new Set(scenario.only)
  }

  get elapsedMs(): number {
    return this.clock.now() - this.#startMs
  }

  /** From now on commands meet faults. */
  beginFaults(): void {
    this.#faulty = true
    for (const fault of this.scenario.processFaults) {
      if (this.#only !== null && !this.#only.has(fault.id)) continue
      if (fault.kind === 'rollback') this.#rollBackAt(this.clock.now() + fault.atMs, fault)
      else this.clock.at(this.clock.now() + fault.atMs, () => this.#befall(fault))
    }
  }

  /** No more faults; everything that was cut off or stopped comes back. */
  heal(): void {
    this.#faulty = false
    for (const member of this.#members.values()) this.#restore(member)
    for (let i = 0; i < this.scenario.nodes; i++) if (!this.#members.has(`node${i}`)) this.startNode(`node${i}`)
    this.history.note('healed')
    if (this.scenario.isUpgrade) this.#upgrade()
  }

  /** One node after the other leaves, and comes back with the newer code. */
  #upgrade(): void {
    const old = [...this.#members.values()].filter(
      ({ role }) => role.startsWith('node') && this.#versions.get(role) === 1,
    )
    for (const [i, member] of old.entries()) {
      this.clock.at(this.clock.now() + 700 * i, () => {
        if (this.#members.get(member.role)?.process !== member.process) return
        this.#members.delete(member.role)
        void member.node?.stop()
        this.#versions.set(member.role, 2)
        this.startNode(member.role)
      })
    }
  }

  /** `sameId`: a restarted node may come back under the id of the one that died. */
  startNode(role: string, sameId?: string): void {
    const name = `${role}-${++this.#lives}`
    const id = sameId ?? name
    const { process, connection } = this.#connect(name)
    const node = this.#node(process, connection, id, 'sharded', this.#versionOf(role))
    this.#members.set(role, { role, id, process, connection, node })
    this.history.note(`start ${process.name} as ${id}, version ${this.#versionOf(role)}`)
    const begin = async (): Promise<void> => {
      await connection.start({ shards: this.scenario.shards })
      await node.start()
    }
    // A process that cannot start ends, and its supervisor starts another.
    begin().catch(() => {
      this.#kill(process, connection)
      this.clock.at(this.clock.now() + 300, () => {
        if (this.#members.get(role)?.process === process) this.startNode(role)
      })
    })
  }

  startStation(role: string, actor: ActorAddress): void {
    const { process, connection } = this.#connect(`${role}-${++this.#lives}`)
    const node = this.#node(process, connection, process.name, 'pinned', this.#versionOf(role))
    this.#members.set(role, { role, id: process.name, process, connection, node })
    const begin = async (): Promise<void> => {
      await connection.start({ shards: this.scenario.shards })
      await node.start()
      await node.host(actor)
    }
    begin().catch((error: unknown) => this.history.violation(`a station did not start: ${String(error)}`))
  }

  async startClient(role: string): Promise<{ readonly client: Client; readonly process: SimProcess }> {
    const { process, connection } = this.#connect(role)
    this.#members.set(role, { role, id: role, process, connection, node: null })
    await connection.start({ shards: this.scenario.shards })
    const client = await openClient({
      transport: connection,
      directory: this.directory,
      clock: process,
      random: new SeededRandom(this.scenario.seed, role),
      limits: this.scenario.limits,
    })
    return { client, process }
  }

  stationHosted(actor: ActorAddress): boolean {
    return this.server.shards.has(pinnedShard(actor))
  }

  #versionOf(role: string): Version {
    return this.#versions.get(role) ?? 1
  }

  #node(
    process: SimProcess,
    connection: SimConnection,
    id: string,
    hosts: 'sharded' | 'pinned',
    version: Version,
  ): Node {
    const events = new RuntimeEvents()
    events.on('*', (event) => {
      this.history.count(event.type === 'effect.ended' ? `effect ${event.outcome}` : event.type)
      if (event.type === 'lease.claimed' && event.adopted) {
        this.adoptions++
        this.history.count('adoption')
      }
      if (event.type === 'shard.rolled-back') {
        this.rollback?.reported.add(event.shard)
        this.history.note(`${process.name} ${JSON.stringify(event)}`)
        if (this.rollback === null) this.history.violation(`shard ${event.shard} was reported rolled back, and was not`)
      }
      if (event.type === 'trouble') this.history.note(`${process.name} trouble ${event.where}: ${String(event.error)}`)
      else if (event.type.startsWith('lease')) this.history.note(`${process.name} ${JSON.stringify(event)}`)
    })
    return new Node({
      transport: connection,
      actors: simulatedActors(process, process.name, this.history.runs, this.automaton, version),
      directory: this.directory,
      hosts,
      id,
      clock: process,
      random: new SeededRandom(this.scenario.seed, process.name),
      events,
      limits: this.scenario.limits,
    })
  }

  #connect(name: string): { process: SimProcess; connection: SimConnection } {
    const process = new SimProcess(name, this.clock)
    const fates = new Fates({
      seed: this.scenario.seed,
      connection: name,
      probability: () => (this.#faulty ? this.scenario.commandFaults : 0),
      only: this.#only,
      happened: (id, at) => this.history.fault(id, at),
    })
    const connection = new SimConnection({
      clock: this.clock,
      server: this.server,
      process,
      fates,
      commandTimeoutMs: this.scenario.limits.commandTimeoutMs,
      onCommit: (commit, attempt) => this.#commit(name, commit, attempt),
    })
    return { process, connection }
  }

  /** No commit by a stale owner, none out of its turn: seen at the server itself. */
  async #commit(process: string, commit: Commit, attempt: () => Promise<CommitOutcome>): Promise<CommitOutcome> {
    const before = this.server.shards.get(commit.shard)
    const { epoch, seq } = before ?? { epoch: '', seq: 0 }
    const versions = commit.records.map(({ actor }) => versionIn(before?.records.get(actor)))
    const outcome = await attempt()
    this.history.commit(process, commit, outcome)
    if (outcome.ok && epoch !== commit.epoch) {
      this.history.violation(`${process} committed to shard ${commit.shard} under the stale epoch ${commit.epoch}`)
    }
    for (const [i, { actor, body }] of commit.records.entries()) {
      if (!outcome.ok || body === null || versionIn(body) >= (versions[i] ?? 0)) continue
      this.history.violation(`${process} wrote over ${actor}, which newer code had written`)
    }
    if (outcome.ok && seq !== commit.seq) {
      this.history.violation(`${process} committed to shard ${commit.shard} at ${commit.seq}, which stood at ${seq}`)
    }
    return outcome
  }

  #kill(process: SimProcess, connection: SimConnection): void {
    process.kill()
    void connection.die()
  }

  #befall({ id, process: role, kind, forMs, sameName }: ProcessFault): void {
    const member = this.#members.get(role)
    if (member === undefined || !member.process.alive || !this.#faulty) return
    const { process, connection, node } = member
    const after = (work: () => void): void => void this.clock.at(this.clock.now() + forMs, work)
    if (kind === 'pause' && !process.paused) {
      this.history.fault(id)
      process.paused = true
      after(() => this.#restore(member))
    } else if (kind === 'partition' && !process.partitioned) {
      this.history.fault(id)
      process.partitioned = true
      after(() => this.#restore(member))
    } else if (kind === 'crash') {
      this.history.fault(id)
      this.#kill(process, connection)
      this.#members.delete(role)
      this.lost.add(role)
      if (role.startsWith('node')) after(() => this.#return(role, sameName ? member.id : undefined))
    } else if (kind === 'leave' && node !== null && !process.paused) {
      this.history.fault(id)
      this.#members.delete(role)
      this.lost.add(role)
      void node.stop()
      if (role.startsWith('node')) after(() => this.#return(role, undefined))
    }
  }

  /** A failover to a replica that lagged: its shards are again as they were a while ago, and all connections break. */
  #rollBackAt(timeMs: number, { id, forMs }: ProcessFault): void {
    this.clock.at(timeMs - forMs, () => {
      const isOf = (shard: ShardName | null): boolean => isThrownBack(this.scenario.seed, shard)
      const putBack = this.server.checkpoint(isOf)
      this.clock.at(timeMs, () => {
        const before = new Map([...this.server.shards].map(([name, { seq }]) => [name, seq]))
        this.history.fault(id)
        putBack()
        this.rollback = { at: this.elapsedMs, reported: new Set(), lost: new Map() }
        for (const [name, seq] of before) {
          const lost = seq - (this.server.shards.get(name)?.seq ?? 0)
          if (lost > 0) this.rollback.lost.set(name, lost)
        }
        for (const { connection } of this.#members.values()) connection.breakDown()
      })
    })
  }

  #return(role: string, id: string | undefined): void {
    if (this.#members.has(role)) return
    if (this.scenario.isUpgrade && this.#random.chance(0.6)) this.#versions.set(role, 2)
    this.startNode(role, id)
  }

  #restore({ process, connection }: Member): void {
    if (process.paused) process.resume()
    if (!process.partitioned) return
    process.partitioned = false
    connection.heal()
  }
}

function versionIn(record: string | undefined): number {
  return record === undefined ? 0 : decodeRecord(record).v
}
