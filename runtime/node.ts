/**
 * A node is one process's part in the runtime: it says that it lives, claims the shards that fall to it, renews their
 * leases, hands them over when it leaves, and adopts pinned shards whose process is gone. All of that is about who
 * should own a shard; that only one owner can commit is the transport's business (T1, T2), not the node's.
 */
import type { ActorDefinition } from './actor.ts'
import { kindOf, pinnedActor, pinnedShard } from './address.ts'
import type { ActorAddress, Directory, ShardName } from './address.ts'
import { Bell } from './bell.ts'
import type { Definitions } from './cell.ts'
import { Trials } from './care.ts'
import { systemClock, systemRandom } from './clock.ts'
import type { Clock, Random } from './clock.ts'
import { Courier } from './courier.ts'
import { RuntimeError } from './errors.ts'
import { RuntimeEvents } from './events.ts'
import { HealthWatch } from './health.ts'
import type { Health } from './health.ts'
import { checkLimits, LIMITS } from './limits.ts'
import type { Limits } from './limits.ts'
import { canRead, placement } from './placement.ts'
import { service } from './service.ts'
import type { Service } from './service.ts'
import { Shard } from './shard.ts'
import type { Member, Need, Transport } from './transport.ts'
import { Watchdog } from './watchdog.ts'

export interface NodeOptions {
  readonly transport: Transport
  readonly actors: readonly ActorDefinition[]
  readonly directory: Directory
  /** `sharded`: takes its share of the numbered shards and adopts orphans. `pinned`: hosts its own pinned actors only. */
  readonly hosts: 'sharded' | 'pinned'
  readonly id?: string
  readonly clock?: Clock
  readonly random?: Random
  readonly events?: RuntimeEvents
  readonly limits?: Partial<Limits>
  /**
   * Ends the process, with a word on stderr, when its event loop has stood still for so long (`watchdog.ts`): for processes
   * that somebody starts anew. Absent: nobody watches.
   */
  readonly stuckMs?: number
}

const MEMBERS_CHANNEL = 'members'

export class Node {
  readonly id: string
  readonly events: RuntimeEvents
  readonly #transport: Transport
  readonly #definitions: Definitions
  readonly #directory: Directory
  readonly #hosts: 'sharded' | 'pinned'
  readonly #clock: Clock
  readonly #random: Random
  readonly #limits: Limits
  readonly #courier: Courier
  readonly #health: HealthWatch
  readonly #trials = new Trials()
  readonly #stuckMs: number | undefined
  #watchdog: Watchdog | null = null
  readonly #shards = new Map<ShardName, Shard>()
  readonly #renewedAt = new Map<ShardName, number>()
  readonly #orphanSince = new Map<ShardName, number>()
  readonly #leaving = new Set<Promise<void>>()
  /** What this node's code reads: of each kind, records up to its version. */
  readonly #reads: Member['reads']
  /** What its shards hold that it cannot read, not yet announced. */
  readonly #found = new Map<string, Need>()
  /** As the last announcement told. */
  #members: readonly Member[] = []
  #needs: readonly Need[] = []
  #services: Service[] = []
  #starting: Promise<void> = Promise.resolve()
  #stopped = false
  #unsubscribe: (() => Promise<void>) | null = null
  /** Somebody came, left, or gave a shard back. A ring during a placement is remembered, and leads to another. */
  readonly #news: Bell

  constructor(options: NodeOptions) {
    this.#transport = options.transport
    this.#definitions = new Map(options.actors.map((definition) => [definition.kind, definition]))
    this.#reads = Object.fromEntries(options.actors.map(({ kind, version }) => [kind, version]))
    this.#directory = options.directory
    this.#hosts = options.hosts
    this.#stuckMs = options.stuckMs
    this.#clock = options.clock ?? systemClock
    this.#random = options.random ?? systemRandom
    this.#limits = checkLimits({ ...LIMITS, ...options.limits })
    this.events = options.events ?? new RuntimeEvents()
    this.id = options.id ?? `node-${this.#random.word()}`
    this.#news = new Bell(this.#clock)
    this.#courier = new Courier({
      transport: this.#transport,
      clock: this.#clock,
      random: this.#random,
      events: this.events,
      limits: this.#limits,
      onBusy: 'wait',
    })
    this.#health = new HealthWatch({
      transport: this.#transport,
      clock: this.#clock,
      events: this.events,
      limits: this.#limits,
    })
  }

  /** How the transport fares, as this node sees it. Its changes are events. */
  get health(): Health {
    return this.#health.now
  }

  get shards(): readonly ShardName[] {
    return [...this.#shards.keys()]
  }

  /** The transport must have been started. */
  start(): Promise<void> {
    this.#starting = this.#begin()
    return this.#starting
  }

  async #begin(): Promise<void> {
    const at = { clock: this.#clock, events: this.events }
    if (this.#stuckMs !== undefined) this.#watchdog = new Watchdog(`Node ${this.id}`, this.#stuckMs)
    this.#health.start()
    const renewing = service('lease renewal', at, () => this.#renewAll())
    this.#services.push(renewing)
    if (this.#hosts === 'sharded') {
      await this.#place()
      this.#services.push(service('placement', at, (signal) => this.#placeTurn(signal)))
      this.#services.push(service('orphans', at, () => this.#adoptOrphans()))
      this.#unsubscribe = await this.#transport.subscribe(MEMBERS_CHANNEL, () => this.#news.ring())
    }
    this.events.emit({ type: 'node.started', node: this.id })
  }

  /** Hands its shards over, each after the batch under way, and leaves. Nothing of an effect runs on after it, also of a shard it has lost. */
  async stop(): Promise<void> {
    this.#stopped = true
    // What a start under way has still to claim would belong to nobody who renews it.
    await Promise.allSettled([this.#starting])
    const services = this.#services
    this.#services = []
    await Promise.all([this.#health.stop(), ...services.map((each) => each.stop())])
    await this.#unsubscribe?.().catch(() => {}) // a subscription dies with its connection
    if (this.#hosts === 'sharded') await this.#quietly('leaving', this.#transport.withdraw(this.id))
    await Promise.all([...this.#shards.values()].map((shard) => this.#handOver(shard)))
    await Promise.all(this.#leaving)
    this.#courier.stop()
    await this.#watchdog?.stop()
    this.events.emit({ type: 'node.stopped', node: this.id })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  /** Becomes the owner of a pinned actor's shard. Throws `shard.fenced` while another process has it. */
  async host(actor: ActorAddress): Promise<void> {
    if (!this.#directory.pinned.has(kindOf(actor))) {
      throw new RuntimeError('shard.fenced', `Cannot host ${actor}: its kind is not a pinned one`, {
        remedy: 'fix-request',
        data: { actor },
      })
    }
    if (await this.#claim(pinnedShard(actor), false)) return
    throw new RuntimeError('shard.fenced', `Cannot host ${actor}: another process does`, {
      remedy: 'retry',
      data: { actor },
    })
  }

  async #placeTurn(signal: AbortSignal): Promise<number> {
    await this.#news.wait(this.#limits.leaseRenewMs, signal)
    if (!signal.aborted) await this.#place()
    return 0
  }

  async #place(): Promise<void> {
    const found = [...this.#found]
    const self = { id: this.id, reads: this.#reads }
    const { members, needs } = await this.#transport.announce(
      self,
      Array.from(found, ([, need]) => need),
      this.#limits.leaseMs,
    )
    for (const [key, need] of found) if (this.#found.get(key) === need) this.#found.delete(key)
    this.#members = members
    this.#needs = needs
    const owners = placement(members, this.#directory.shards, needs)
    const claims: Promise<boolean>[] = []
    for (const [shard, node] of owners) {
      const owned = this.#shards.get(shard)
      if (node === this.id && owned === undefined) claims.push(this.#claim(shard, false))
      if (node !== this.id && owned !== undefined) this.#track(this.#handOver(owned))
    }
    // All of them, also when one fails: a claim that is answered after this node has stopped would go unnoticed.
    for (const claim of await Promise.allSettled(claims)) if (claim.status === 'rejected') throw claim.reason
  }

  async #claim(name: ShardName, adopted: boolean): Promise<boolean> {
    const claim = await this.#transport.claim(name, {
      owner: this.id,
      ttlMs: this.#limits.leaseMs,
      nonce: this.#random.word(),
      anew: false,
      crashWindowMs: this.#limits.crashWindowMs,
    })
    if (claim === null || this.#shards.has(name)) return false
    if (this.#stopped) {
      await this.#transport.release(name, claim.epoch)
      return false
    }
    const shard = new Shard(
      {
        name,
        owner: this.id,
        transport: this.#transport,
        courier: this.#courier,
        definitions: this.#definitions,
        directory: this.#directory,
        clock: this.#clock,
        random: this.#random,
        events: this.events,
        limits: this.#limits,
        trials: this.#trials,
        readElsewhere: (kind, version) =>
          this.#members.some(({ id, reads }) => id !== this.id && (reads[kind] ?? 0) >= version),
        onNeed: (need) => this.#need(need),
        onEnd: (ended) => {
          this.#forget(ended)
          this.#track(ended.ended())
        },
      },
      claim,
      adopted,
    )
    this.#shards.set(name, shard)
    this.#renewedAt.set(name, this.#clock.now())
    this.events.emit({ type: 'lease.claimed', shard: name, epoch: claim.epoch, adopted })
    shard.start()
    return true
  }

  /** A shard holds what this node cannot read: whoever can shall have it. A pinned one is of no use here any more. */
  #need(need: Need): void {
    const pinned = need.shard.startsWith('@') ? this.#shards.get(need.shard) : undefined
    if (pinned !== undefined) {
      pinned.lose()
      this.#track(this.#quietly(`release of shard ${pinned.name}`, this.#transport.release(pinned.name, pinned.epoch)))
    }
    if (this.#hosts === 'pinned') return
    const key = `${need.shard}|${need.kind}`
    const known = [this.#found.get(key), ...this.#needs.filter(({ shard, kind }) => `${shard}|${kind}` === key)]
    if (known.some((other) => other !== undefined && other.version >= need.version)) return
    this.#found.set(key, need)
    this.#news.ring()
  }

  #forget(shard: Shard): void {
    if (this.#shards.get(shard.name) !== shard) return
    this.#shards.delete(shard.name)
    this.#renewedAt.delete(shard.name)
  }

  /** The shard's heir is told at once, and waits for no effect that will not end. */
  async #handOver(shard: Shard): Promise<void> {
    this.#forget(shard)
    await shard.stop()
    await this.#quietly(`release of shard ${shard.name}`, this.#transport.release(shard.name, shard.epoch))
    this.events.emit({ type: 'lease.released', shard: shard.name })
    await this.#quietly('handover', this.#transport.publish(MEMBERS_CHANNEL, ''))
    await shard.ended()
  }

  async #renewAll(): Promise<number> {
    await Promise.all([...this.#shards.values()].map((shard) => this.#renew(shard)))
    return this.#limits.leaseRenewMs
  }

  async #renew(shard: Shard): Promise<void> {
    const { leaseMs, leaseSuspendMs } = this.#limits
    const asked = this.#clock.now()
    if (asked - (this.#renewedAt.get(shard.name) ?? 0) > leaseSuspendMs) shard.suspend(true)
    // An answer that takes longer than the lease is worth nothing; the loop must come round to suspend the shard.
    const known = shard.acknowledged
    const renewal = this.#transport.renew(shard.name, shard.epoch, this.id, leaseMs)
    const timeout = this.#clock.sleep(this.#limits.leaseRenewMs).then(() => 'late' as const)
    const outcome = await Promise.race([renewal.catch(() => 'late' as const), timeout])
    if (this.#shards.get(shard.name) !== shard || outcome === 'late') return
    if (outcome !== null) {
      shard.stands(outcome, known)
      this.#renewedAt.set(shard.name, asked)
      shard.suspend(false)
    } else if (!(await this.#claimedAnew(shard, known))) shard.lose()
  }

  /** A renewal that raced with the shard's own new claim is not a loss. */
  async #claimedAnew(shard: Shard, known: number): Promise<boolean> {
    const position = await this.#transport.position(shard.name).catch(() => null)
    if (position !== null) shard.stands(position.seq, known)
    return position === null || position.epoch === shard.epoch
  }

  /** Pinned shards that nobody has renewed for a while, as seen by this node, come here and hear `owner.lost`. */
  async #adoptOrphans(): Promise<number> {
    const { orphanMs, leaseRenewMs } = this.#limits
    const now = this.#clock.now()
    const seen = new Set<ShardName>()
    for (const { shard, leased } of await this.#transport.pinned()) {
      if (leased || this.#shards.has(shard) || !this.#knows(shard)) continue
      if (!canRead(this.#reads, shard, [...this.#needs, ...this.#found.values()])) continue
      seen.add(shard)
      const since = this.#orphanSince.get(shard)
      if (since === undefined) this.#orphanSince.set(shard, now)
      else if (now - since >= orphanMs) await this.#claim(shard, true)
    }
    for (const shard of this.#orphanSince.keys()) if (!seen.has(shard)) this.#orphanSince.delete(shard)
    return leaseRenewMs
  }

  #knows(shard: ShardName): boolean {
    const actor = pinnedActor(shard)
    return actor !== null && this.#definitions.has(kindOf(actor))
  }

  #track(work: Promise<void>): void {
    this.#leaving.add(work)
    void work.finally(() => this.#leaving.delete(work))
  }

  async #quietly(where: string, work: Promise<void>): Promise<void> {
    try {
      await work
    } catch (error) {
      this.events.emit({ type: 'trouble', where, error })
    }
  }
}
