/**
 * A shard is the unit of single-writer ownership: one mailbox, and all that its actors own. This is its owner's loop:
 * read a batch, load the records it needs, plan, commit, and only then act. What it does beside that stands beside it: its
 * claim and what a failover takes from it (`ownership.ts`), what a new owner finds (`recovery.ts`, `adoption.ts`), what waits
 * for other code (`held.ts`), what leaves for other shards (`outbox.ts`).
 *
 * Invariants:
 * S1. Nothing leaves a shard except through `commit`, and a commit under an old epoch changes nothing.
 * S2. Effects start, asks are answered and the outbox is carried only after the commit that says so.
 * S3. After anything unexpected (a lost answer, a sequence that is not ours) the owner claims anew and starts from what
 *     the transport holds: cells are a cache, never a source.
 * S4. A suspended owner plans nothing. Effects under way go on: their results wait.
 * S5. What a former owner has held, since its code could not take it, is taken before anything newer.
 */
import { pinnedActor } from './address.ts'
import type { Directory, ShardName } from './address.ts'
import { Adoption } from './adoption.ts'
import { Bell } from './bell.ts'
import { Care } from './care.ts'
import type { Trials } from './care.ts'
import { definitionOf } from './cell.ts'
import type { Definitions } from './cell.ts'
import { Cells } from './cells.ts'
import type { Clock, Random } from './clock.ts'
import type { Plan, Standing } from './consequences.ts'
import type { Courier } from './courier.ts'
import { Effects } from './effects.ts'
import { RuntimeError } from './errors.ts'
import type { RuntimeEvents } from './events.ts'
import { Held } from './held.ts'
import type { Limits } from './limits.ts'
import { JournalRoom } from './journal-room.ts'
import { Mailbox } from './mailbox.ts'
import { open } from './message.ts'
import type { Message, Taken } from './message.ts'
import { Outbox } from './outbox.ts'
import { Ownership } from './ownership.ts'
import { plan } from './plan.ts'
import { lookInto, startUnderTrial } from './recovery.ts'
import { Timers } from './timers.ts'
import { doorbell } from './transport.ts'
import type { Claim, CommitOutcome, Cursor, Need, Transport } from './transport.ts'

export interface ShardOptions {
  readonly name: ShardName
  readonly owner: string
  readonly transport: Transport
  readonly courier: Courier
  readonly definitions: Definitions
  readonly directory: Directory
  readonly clock: Clock
  readonly random: Random
  readonly events: RuntimeEvents
  readonly limits: Limits
  readonly trials: Trials
  /** Whether another living node reads records of this kind up to this version. */
  readonly readElsewhere: Standing['readElsewhere']
  /** Told of what this process's code cannot read. */
  readonly onNeed: (need: Need) => void
  /** Told once, when somebody else owns the shard or its pinned actor has left. */
  readonly onEnd: (shard: Shard) => void
}

export class Shard {
  readonly name: ShardName
  readonly #options: ShardOptions
  readonly #cells: Cells
  readonly #effects: Effects
  readonly #bell: Bell
  readonly #mailbox: Mailbox
  readonly #journal: JournalRoom
  readonly #abort = new AbortController()
  /** Results of effects, and what adoption has to say: messages that need no mailbox, since only an owner makes them. */
  #local: Message[] = []
  readonly #ownership: Ownership
  readonly #outbox: Outbox
  readonly #held: Held
  readonly #timers: Timers
  /** Of a pinned shard whose process is gone. */
  readonly #adoption: Adoption | null
  #seq: number
  #cursor: Cursor
  #outSeq: number
  #inFlight: Promise<boolean>[] = []
  #suspended = false
  /** While something kills the shard's owners; null in ordinary life. */
  #care: Care | null
  #loop: Promise<void> = Promise.resolve()
  #ended: Promise<void> = Promise.resolve()
  #unsubscribed: Promise<void> | undefined

  /** `adopted`: a pinned shard whose process is gone. Its effects cannot be started again, and its actor is told. */
  constructor(options: ShardOptions, claim: Claim, adopted: boolean) {
    this.name = options.name
    this.#options = options
    this.#seq = claim.seq
    this.#cursor = claim.cursor
    this.#outSeq = claim.outSeq
    this.#adoption = adopted ? new Adoption(options.name) : null
    this.#care = Care.after(claim, options.owner, options.limits, options.clock.now())
    this.#cells = new Cells(options.limits.cellsMax)
    this.#bell = new Bell(options.clock)
    this.#mailbox = new Mailbox({ ...options, shard: options.name })
    this.#journal = new JournalRoom(options.limits)
    this.#ownership = new Ownership(options, claim, () => this.#rolledBack())
    this.#outbox = new Outbox({ ...options, report: (message) => this.#report(message) })
    this.#held = new Held(options, this.#cells)
    const { transport, limits } = options
    this.#timers = new Timers((until, max) => transport.due(this.name, until, max), limits)
    this.#effects = new Effects({ ...options, report: (message) => this.#report(message) })
  }

  get epoch(): string {
    return this.#ownership.claim.epoch
  }

  /** The highest commit that was acknowledged. */
  get acknowledged(): number {
    return this.#ownership.acknowledged
  }

  start(): void {
    this.#loop = this.#run()
  }

  /** Ends the loop after the commits under way: from then on another may own the shard. Aborts the effects. */
  async stop(): Promise<void> {
    this.#abort.abort()
    this.#bell.ring()
    this.#ended = this.#effects.stopAll()
    await this.#loop
  }

  /** Once stopped: waits for what may take its time, and holds up nobody who takes over. */
  async ended(): Promise<void> {
    await this.#ended
    await this.#unsubscribed
  }

  /** S4. Told by the lease keeper. */
  suspend(suspended: boolean): void {
    if (this.#suspended === suspended) return
    this.#suspended = suspended
    this.#options.events.emit({ type: suspended ? 'lease.suspended' : 'lease.resumed', shard: this.name })
    this.#bell.ring()
  }

  /** Told where the shard stands; `known` is what had been acknowledged at the time of the question. */
  stands(seq: number, known: number): void {
    this.#ownership.stands(seq, known)
  }

  /** Generations come again: no result of a lost run may be taken for that of a new one. */
  #rolledBack(): void {
    this.#local = []
    this.#effects.keepOnly([])
    this.#bell.ring()
  }

  /** Somebody else owns the shard: forget everything, act on nothing more. */
  lose(): void {
    if (this.#abort.signal.aborted) return
    this.#abort.abort()
    this.#bell.ring()
    this.#options.events.emit({ type: 'lease.lost', shard: this.name, epoch: this.epoch })
    this.#ended = this.#effects.stopAll()
    this.#options.onEnd(this)
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort
    const { transport, events } = this.#options
    let unsubscribe: (() => Promise<void>) | null = null
    let standing = false
    while (!signal.aborted) {
      try {
        unsubscribe ??= await transport.subscribe(doorbell(this.name), (ring) => this.#rung(ring))
        if (!standing) await this.#recover()
        standing = true
        await this.#turn(signal)
      } catch (error) {
        if (signal.aborted) break
        events.emit({ type: 'trouble', where: `shard ${this.name}`, error })
        await Promise.all(this.#inFlight)
        this.#inFlight = []
        standing = false
        await this.#claimAnew(signal)
      }
    }
    this.#bell.stop()
    await Promise.allSettled(this.#inFlight)
    this.#unsubscribed = unsubscribe?.().catch(() => {}) // the transport may be gone; a subscription dies with its connection
  }

  #rung(ring: string): void {
    this.#mailbox.hear(ring)
    this.#bell.ring()
  }

  /** S3. */
  async #claimAnew(signal: AbortSignal): Promise<void> {
    const claimed = await this.#ownership.claimAnew(signal)
    if (claimed === null) this.lose()
    else if (claimed.rolledBack) this.#outbox.recall(claimed.claim.outSeq)
  }

  /** Fenced: by another owner, or by a failover that has lost our claim, and maybe more. */
  async #loseFenced(): Promise<void> {
    await this.#ownership.look()
    this.lose()
  }

  /** Takes up what the transport holds: position, outbox, timers, effects. */
  async #recover(): Promise<void> {
    const { transport, definitions } = this.#options
    const { claim } = this.#ownership
    this.#cells.clear()
    this.#seq = claim.seq
    this.#cursor = claim.cursor
    this.#outSeq = claim.outSeq
    this.#outbox.begin(claim)
    this.#mailbox.begin(claim)
    this.#timers.forget()
    const [, outbox, actors] = await Promise.all([
      this.#held.begin(),
      transport.outbox(this.name),
      transport.active(this.name),
    ])
    this.#outbox.carry(outbox)
    const { starts, watches } = await lookInto(actors, this.#cells, this.#held, this.#options)
    const { own, words } = this.#adoption?.sort(starts, this.#seq) ?? { own: starts, words: this.#local }
    this.#local = [...words, ...watches]
    this.#effects.keepOnly(own)
    if (this.#care === null) {
      for (const start of own) void this.#effects.start(definitionOf(definitions, start.actor), start)
      return
    }
    const { signal } = this.#abort
    const { epoch } = claim
    const trying = {
      care: this.#care,
      epoch,
      signal,
      isOurs: () => !signal.aborted && epoch === this.epoch,
      effects: this.#effects,
      report: (message: Message) => this.#report(message),
    }
    void startUnderTrial(own, trying, this.#options)
  }

  #report(message: Message): void {
    this.#local.push(message)
    this.#bell.ring()
  }

  /** One batch, or one rest. */
  async #turn(signal: AbortSignal): Promise<void> {
    if (this.#ownership.rolledBack) {
      throw new RuntimeError('shard.fenced', `Shard ${this.name} has lost acknowledged commits`, { remedy: 'retry' })
    }
    if (this.#suspended) {
      await this.#bell.wait(this.#options.limits.watchdogMs, signal)
      return
    }
    // S5
    if (this.#held.isAhead) {
      const held = await this.#held.next()
      if (held.length > 0) await this.#take(held)
      return
    }
    const batch = await this.#ownWork()
    const mail = await this.#mailbox.take(batch.length > 0, this.#outbox.trimmed)
    if (mail === 'fenced') {
      await this.#loseFenced()
      return
    }
    for (const entry of mail) batch.push({ kind: 'mail', entry })
    if (batch.length > 0) await this.#take(batch.map(open))
    else if (this.#mailbox.restMs > 0) {
      await this.#settle(0)
      await this.#bell.wait(Math.min(this.#mailbox.restMs, this.#timers.next - this.#options.clock.now()), signal)
    }
  }

  /** Results of effects, and timers that are due. */
  async #ownWork(): Promise<Message[]> {
    const { clock, limits } = this.#options
    const batch = this.#local.splice(0, limits.batchMax)
    for (const timer of await this.#timers.due(clock.now())) batch.push({ kind: 'timer', timer })
    return batch
  }

  async #take(batch: readonly Taken[]): Promise<void> {
    const { clock, trials, transport } = this.#options
    let rest = batch
    while (this.#care !== null && rest.length > 0) {
      if (this.#care.isOver(clock.now())) {
        this.#care = null
        break
      }
      const { portion, trial } = this.#care.next(rest)
      if (trial === null) break
      const judged = portion.map((taken) => this.#care?.judged(taken) ?? taken)
      rest = rest.slice(portion.length)
      await trials.run(true, async () => {
        await transport.attempt(this.name, this.epoch, trial)
        await this.#takeWhole(judged)
        await this.#settle(0)
      })
    }
    if (rest.length > 0) await this.#takeWhole(rest)
  }

  async #takeWhole(batch: readonly Taken[]): Promise<void> {
    const { definitions, directory, transport, clock, readElsewhere } = this.#options
    await this.#load(batch)
    this.#cells.nextBatch()
    const standing: Standing = {
      shard: this.name,
      epoch: this.epoch,
      seq: this.#seq,
      cursor: this.#cursor,
      outSeq: this.#outSeq,
      outTrim: this.#outbox.trimmed,
      journalMax: this.#journal.commits,
      incarnation: this.#ownership.claim.incarnation,
      reach: transport.reach,
      look: this.#mailbox.look,
      now: clock.now(),
      heldRoom: this.#held.room,
      readElsewhere,
    }
    const planned = plan(batch, this.#cells, definitions, directory, standing)
    this.#journal.add(planned.commit.journal)
    this.#seq++
    this.#cursor = planned.commit.cursor
    this.#outSeq = planned.commit.outSeq
    this.#timers.follow(planned.commit.timersSet, planned.commit.timersCleared)
    this.#held.grow(planned.heldMore)
    this.#adoption?.taking(batch, this.#seq)
    for (const cell of planned.touched) cell.inFlight++
    const committing = transport.commit(planned.commit)
    const former = this.#inFlight.at(-1)
    this.#inFlight.push(this.#afterCommit(planned, batch.length, standing.now, committing, former))
    // Who looks with a commit waits for what it finds.
    await this.#settle(standing.look > 0 ? 0 : this.#options.limits.commitsInFlightMax - 1)
  }

  /** Waits until at most `max` commits are in flight. Throws when one of them did not take effect. */
  async #settle(max: number): Promise<void> {
    while (this.#inFlight.length > max) {
      const ok = await this.#inFlight.shift()
      if (ok === false && !this.#abort.signal.aborted) {
        throw new RuntimeError('shard.fenced', `Shard ${this.name}: a commit did not take effect`, { remedy: 'retry' })
      }
    }
  }

  /**
   * S2, and in the order of commits: when the answer to the former one is lost, this one's sends must not be carried
   * before the former's, or the receiver would take those for old ones. Never throws: false says that the owner must
   * start anew.
   */
  async #afterCommit(
    planned: Plan,
    messages: number,
    startedAt: number,
    committing: Promise<CommitOutcome>,
    former: Promise<boolean> | undefined,
  ): Promise<boolean> {
    const { events, definitions, clock } = this.#options
    const known = this.#ownership.acknowledged
    try {
      const outcome = await committing
      if (!outcome.ok) {
        this.stands(outcome.seq, known)
        if (outcome.why === 'fenced') this.lose()
        return false
      }
      this.#ownership.acknowledge(planned.commit.seq + 1, planned.lines)
      this.#mailbox.learn(outcome.mail, planned.commit.cursor)
      for (const i of outcome.gone) {
        const send = planned.commit.sends[i]
        if (send !== undefined) this.#outbox.undeliverable(send)
      }
    } catch (error) {
      events.emit({ type: 'trouble', where: `commit of shard ${this.name}`, error })
      return false
    } finally {
      for (const cell of planned.touched) cell.inFlight--
    }
    if ((await former) === false) return false
    this.#tell(planned, messages, clock.now() - startedAt)
    if (this.#abort.signal.aborted) return true // a new owner starts the effects; the outbox is in the transport
    const { commit } = planned
    for (const { actor, id, gen } of planned.stops) this.#effects.stop(actor, id, gen)
    for (const start of planned.starts) void this.#effects.start(definitionOf(definitions, start.actor), start)
    this.#outbox.carry(commit.outbox.map((entry) => ({ ...entry, incarnation: commit.incarnation })))
    if (commit.sends.some(({ shard }) => shard === this.name)) this.#bell.ring()
    if (!(await this.#dropIfLeft(planned))) return false
    this.#cells.settle(planned.touched)
    const passivated = this.#cells.passivate()
    if (passivated > 0) events.emit({ type: 'passivation', actors: passivated })
    return true
  }

  #tell(planned: Plan, messages: number, ms: number): void {
    const { events, clock } = this.#options
    const { commit, lines, oldest, dead, held } = planned
    const ageMs = oldest === Infinity ? 0 : Math.max(0, clock.now() - oldest)
    const sends = commit.sends.length + commit.outbox.length
    events.emit({ type: 'commit', shard: this.name, seq: commit.seq + 1, messages, sends, ms, ageMs, lines })
    for (const { to, fault } of dead) events.emit({ type: 'dead-letter', shard: this.name, to, fault })
    this.#held.tell(held)
    for (const timer of planned.fired) {
      events.emit({ type: 'timer.fired', actor: timer.actor, timer: timer.name, lateMs: clock.now() - timer.due })
    }
  }

  /** A pinned shard ends with its actor. False when it should have ended and could not. */
  async #dropIfLeft(planned: Plan): Promise<boolean> {
    const actor = pinnedActor(this.name)
    if (actor === null || !planned.commit.records.some((row) => row.actor === actor && row.body === null)) return true
    try {
      await this.#options.transport.drop(this.name, this.epoch)
    } catch (error) {
      this.#options.events.emit({ type: 'trouble', where: `end of shard ${this.name}`, error })
      return false
    }
    this.#abort.abort()
    this.#options.onEnd(this)
    return true
  }

  async #load(batch: readonly Taken[]): Promise<void> {
    const { transport, events } = this.#options
    const wanted = batch.map(({ actor }) => actor)
    const activated = await this.#cells.load(this.name, transport, wanted)
    for (const [kind, actors] of activated) events.emit({ type: 'activation', kind, actors })
  }
}
