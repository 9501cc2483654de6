/**
 * A shard is the unit of single-writer ownership: one mailbox, and all that its actors own. This is its owner's loop:
 * read a batch, load the records it needs, plan, commit, and only then act.
 *
 * Invariants:
 * S1. Nothing leaves a shard except through `commit`, and a commit under an old epoch changes nothing.
 * S2. Effects start, asks are answered and the outbox is carried only after the commit that says so.
 * S3. After anything unexpected (a lost answer, a sequence that is not ours) the owner claims anew and starts from what
 *     the transport holds: cells are a cache, never a source.
 * S4. A suspended owner plans nothing. Effects under way go on: their results wait.
 * S5. What a former owner has held, since its code could not take it, is taken before anything newer.
 */
import { kindOf, parseAddress, pinnedActor } from './address.ts'
import type { ActorAddress, Directory, ShardName } from './address.ts'
import { Bell } from './bell.ts'
import type { Cell, Definitions } from './cell.ts'
import { Cells, definitionOf, readerOf } from './cell.ts'
import { Care } from './care.ts'
import type { Trials } from './care.ts'
import type { Clock, Random } from './clock.ts'
import type { Courier } from './courier.ts'
import { Effects } from './effects.ts'
import { CommitLog } from './commit-log.ts'
import { watchesAnew, withoutMailbox } from './ending.ts'
import { decodeEnvelope } from './envelope.ts'
import { faultOf, RuntimeError } from './errors.ts'
import type { RuntimeEvents } from './events.ts'
import type { Limits } from './limits.ts'
import type { EffectStart, Plan, Standing, Unreadable } from './consequences.ts'
import { Mailbox } from './mailbox.ts'
import { open, openHeld } from './message.ts'
import type { Message, Taken } from './message.ts'
import { plan } from './plan.ts'
import { Outbox } from './outbox.ts'
import { decodeRecord } from './record.ts'
import { Timers } from './timers.ts'
import { compareIds, deadLetterStream, doorbell, heldStream } from './transport.ts'
import type { Claim, CommitOutcome, Cursor, Need, OutboxEntry, Send, Transport } from './transport.ts'

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
  readonly #abort = new AbortController()
  /** Results of effects, and what adoption has to say: messages that need no mailbox, since only an owner makes them. */
  #local: Message[] = []
  #claim: Claim
  #seq: number
  #cursor: Cursor
  #outSeq: number
  #outbox: Outbox
  readonly #log: CommitLog
  #rolledBack = false
  readonly #timers: Timers
  /** S5. Where the owner is in the held stream, and where it will be through with it; null once it is. */
  #heldAhead: { after: string; readonly until: string } | null = null
  /** Messages that this owner has held. */
  #heldCount = 0
  #inFlight: Promise<boolean>[] = []
  #suspended = false
  readonly #adopted: boolean
  /** Of an adopted shard: the runs of effects that died with its process; null until it has been looked at. */
  #lostRuns: ReadonlySet<string> | null = null
  /** Of an adopted shard: where it stands once its actor has heard that its owner is lost. */
  #orphanTold = Infinity
  /** While something kills the shard's owners; null in ordinary life. */
  #care: Care | null
  #loop: Promise<void> = Promise.resolve()
  #ended: Promise<void> = Promise.resolve()
  #unsubscribed: Promise<void> | undefined

  /** `adopted`: a pinned shard whose process is gone. Its effects cannot be started again, and its actor is told. */
  constructor(options: ShardOptions, claim: Claim, adopted: boolean) {
    this.name = options.name
    this.#options = options
    this.#claim = claim
    this.#seq = claim.seq
    this.#cursor = claim.cursor
    this.#outSeq = claim.outSeq
    this.#outbox = new Outbox(claim.outSeq)
    this.#log = new CommitLog(claim.seq, options.limits.commitsRememberedMax)
    this.#adopted = adopted
    this.#care = Care.after(claim, options.owner, options.limits, options.clock.now())
    this.#cells = new Cells(options.limits.cellsMax)
    this.#bell = new Bell(options.clock)
    this.#mailbox = new Mailbox({ ...options, shard: options.name })
    const { transport, limits } = options
    this.#timers = new Timers((until, max) => transport.due(this.name, until, max), limits)
    this.#effects = new Effects({
      clock: options.clock,
      random: options.random,
      events: options.events,
      report: (message) => this.#report(message),
    })
  }

  get epoch(): string {
    return this.#claim.epoch
  }

  /** The highest commit that was acknowledged. */
  get acknowledged(): number {
    return this.#log.newest
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

  /**
   * Told where the shard stands. Lower than a commit that had been acknowledged (`known`, at the time of the question)
   * means that a failover has lost the rest: that is told by actor, and the owner starts anew from what there is.
   */
  stands(seq: number, known: number): void {
    if (seq >= known || seq >= this.#log.newest) return
    const from = this.#log.newest
    this.#options.events.emit({ type: 'shard.rolled-back', shard: this.name, from, to: seq, ...this.#log.cutTo(seq) })
    // Generations come again: no result of a lost run may be taken for that of a new one.
    this.#local = []
    this.#effects.keepOnly([])
    this.#rolledBack = true
    this.#bell.ring()
  }

  /** Somebody else owns the shard: forget everything, act on nothing more. */
  lose(): void {
    if (this.#abort.signal.aborted) return
    this.#abort.abort()
    this.#bell.ring()
    this.#options.events.emit({ type: 'lease.lost', shard: this.name, epoch: this.#claim.epoch })
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

  /**
   * S3. A new epoch makes every command of ours that may still be on its way a stale one. Only an answered claim will
   * do: under an older one, a commit planned from where the shard no longer stands could meet its seq by chance.
   */
  async #claimAnew(signal: AbortSignal): Promise<void> {
    const { transport, courier, owner, limits, random, events, clock } = this.#options
    for (;;) {
      await clock.sleep(100, signal)
      if (signal.aborted) return
      try {
        const { leaseMs: ttlMs, crashWindowMs } = limits
        const request = { owner, ttlMs, nonce: random.word(), anew: true, crashWindowMs }
        const claim = await transport.claim(this.name, request)
        if (claim === null) await this.#loseFenced()
        else {
          this.#claim = claim
          this.stands(claim.seq, this.#log.newest)
          if (this.#rolledBack) courier.recall(`s${this.name}`, claim.outSeq)
          this.#rolledBack = false
        }
        return
      } catch (error) {
        events.emit({ type: 'trouble', where: `claim of shard ${this.name}`, error })
      }
    }
  }

  /** Fenced: by another owner, or by a failover that has lost our claim, and maybe more. */
  async #loseFenced(): Promise<void> {
    const known = this.#log.newest
    const position = await this.#options.transport.position(this.name)
    this.stands(position?.seq ?? 0, known)
    this.lose()
  }

  /** Takes up what the transport holds: position, outbox, timers, effects. */
  async #recover(): Promise<void> {
    const { transport, definitions, directory } = this.#options
    const claim = this.#claim
    this.#cells.clear()
    this.#seq = claim.seq
    this.#cursor = claim.cursor
    this.#outSeq = claim.outSeq
    this.#outbox = new Outbox(claim.outSeq)
    this.#mailbox.begin(claim)
    this.#timers.forget()
    this.#heldCount = 0
    const [held, outbox, actors] = await Promise.all([
      transport.ends(heldStream(this.name)),
      transport.outbox(this.name),
      transport.active(this.name),
    ])
    this.#heldAhead = { after: '0-0', until: held.newest }
    this.#carry(outbox)
    const starts: EffectStart[] = []
    const watches: Message[] = []
    const bodies = await transport.load(this.name, actors)
    for (const [i, actor] of actors.entries()) {
      const body = bodies[i]
      if (body === null || body === undefined) continue
      const cell = this.#cells.put(actor, decodeRecord(body))
      if (!this.#canRead(cell)) continue // they run where their actor can be read
      for (const [id, row] of Object.entries(cell.record?.fx ?? {})) {
        if (row.ended !== true) starts.push({ actor, id, row, trace: undefined })
      }
      watches.push(...watchesAnew(cell, directory))
    }
    const own = this.#adopted ? this.#orphan(starts) : starts
    this.#local.push(...watches)
    this.#effects.keepOnly(own)
    if (this.#care !== null) void this.#startWithCare(own, this.#care)
    else for (const start of own) void this.#effects.start(definitionOf(definitions, start.actor), start)
  }

  /** One by one, each under a trial until it has lived for a while. Never throws. */
  async #startWithCare(starts: readonly EffectStart[], care: Care): Promise<void> {
    const { trials, definitions, clock, limits } = this.#options
    const { signal } = this.#abort
    const { epoch } = this.#claim
    for (const start of starts) {
      const { actor, id, row } = start
      const fault = care.verdictOnEffect(start)
      if (fault !== null) {
        this.#report({ kind: 'effect', actor, id, gen: row.gen, result: { ok: false, fault } })
        continue
      }
      await trials.run(false, async () => {
        if (!(await this.#writeTrial(epoch, care.trialOfEffect(start)))) return
        const ended = this.#effects.start(definitionOf(definitions, actor), start)
        await Promise.race([ended, clock.sleep(limits.effectTrialMs, signal)])
        await this.#writeTrial(epoch, '')
      })
    }
  }

  /**
   * Nothing is tried that could not be written down, and nothing is left out for that. False when the shard is no longer
   * ours, or was claimed anew: that begins with its effects again.
   */
  async #writeTrial(epoch: string, trial: string): Promise<boolean> {
    const { transport, events, clock } = this.#options
    const { signal } = this.#abort
    for (;;) {
      if (signal.aborted || epoch !== this.#claim.epoch) return false
      try {
        await transport.attempt(this.name, epoch, trial)
        return true
      } catch (error) {
        events.emit({ type: 'trouble', where: `trial of an effect of shard ${this.name}`, error })
        await clock.sleep(100, signal)
      }
    }
  }

  #report(message: Message): void {
    this.#local.push(message)
    this.#bell.ring()
  }

  #canRead(cell: Cell): boolean {
    try {
      readerOf(this.#options.definitions, cell)
      return true
    } catch {
      this.#need(cell.actor)
      return false
    }
  }

  /** Says which code the shard needs, where another version would help. */
  #need(actor: ActorAddress): void {
    const kind = kindOf(actor)
    const version = this.#cells.get(actor)?.record?.v ?? 1
    if (version > (this.#options.definitions.get(kind)?.version ?? 0)) {
      this.#options.onNeed({ shard: this.name, kind, version })
    }
  }

  /** What died with the former process is told to its actors, once; returns the effects that have begun since. */
  #orphan(starts: readonly EffectStart[]): readonly EffectStart[] {
    this.#lostRuns ??= new Set(starts.map(runOf))
    const lostRuns = this.#lostRuns
    const lost = starts.filter((start) => lostRuns.has(runOf(start)))
    const fault = faultOf(
      new RuntimeError('effect.lost', 'The process that ran this effect is gone', { remedy: 'retry-elsewhere' }),
      'effect.lost',
    )
    this.#local = lost.map(({ actor, id, row }) => ({
      kind: 'effect',
      actor,
      id,
      gen: row.gen,
      result: { ok: false, fault },
    }))
    const actor = pinnedActor(this.name)
    if (actor !== null && this.#seq < this.#orphanTold) this.#local.push({ kind: 'orphaned', actor })
    return starts.filter((start) => !lostRuns.has(runOf(start)))
  }

  /** One batch, or one rest. */
  async #turn(signal: AbortSignal): Promise<void> {
    if (this.#rolledBack) {
      throw new RuntimeError('shard.fenced', `Shard ${this.name} has lost acknowledged commits`, { remedy: 'retry' })
    }
    if (this.#suspended) {
      await this.#bell.wait(this.#options.limits.watchdogMs, signal)
      return
    }
    if (this.#heldAhead !== null) {
      await this.#takeHeld(this.#heldAhead)
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

  /** S5. */
  async #takeHeld(ahead: { after: string; readonly until: string }): Promise<void> {
    const { transport, limits } = this.#options
    const rows = ahead.until === '0-0' ? [] : await transport.range(heldStream(this.name), ahead.after, limits.batchMax)
    const own = rows.filter(({ id }) => compareIds(id, ahead.until) <= 0)
    ahead.after = own.at(-1)?.id ?? ahead.after
    if (own.length < limits.batchMax) this.#heldAhead = null
    if (own.length > 0) await this.#take(own.map(openHeld))
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
        await transport.attempt(this.name, this.#claim.epoch, trial)
        await this.#takeWhole(judged)
        await this.#settle(0)
      })
    }
    if (rest.length > 0) await this.#takeWhole(rest)
  }

  async #takeWhole(batch: readonly Taken[]): Promise<void> {
    const { definitions, directory, transport, clock, limits, readElsewhere } = this.#options
    await this.#load(batch)
    this.#cells.nextBatch()
    const standing: Standing = {
      shard: this.name,
      epoch: this.#claim.epoch,
      seq: this.#seq,
      cursor: this.#cursor,
      outSeq: this.#outSeq,
      outTrim: this.#outbox.trimmed,
      incarnation: this.#claim.incarnation,
      reach: transport.reach,
      look: this.#mailbox.look,
      now: clock.now(),
      heldRoom: limits.mailboxMax - this.#heldCount,
      readElsewhere,
    }
    const planned = plan(batch, this.#cells, definitions, directory, standing)
    this.#seq++
    this.#cursor = planned.commit.cursor
    this.#outSeq = planned.commit.outSeq
    this.#timers.follow(planned.commit.timersSet, planned.commit.timersCleared)
    this.#heldCount += planned.heldMore
    if (this.#adopted && batch.some(({ message }) => message.kind === 'orphaned')) this.#orphanTold = this.#seq
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
    const known = this.#log.newest
    try {
      const outcome = await committing
      if (!outcome.ok) {
        this.stands(outcome.seq, known)
        if (outcome.why === 'fenced') this.lose()
        return false
      }
      this.#log.add(planned.commit.seq + 1, planned.lines)
      this.#mailbox.learn(outcome.mail, planned.commit.cursor)
      for (const i of outcome.gone) this.#undeliverable(planned.commit.sends[i])
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
    this.#carry(commit.outbox.map((entry) => ({ ...entry, incarnation: commit.incarnation })))
    if (commit.sends.some(({ shard }) => shard === this.name)) this.#bell.ring()
    if (!(await this.#dropIfLeft(planned))) return false
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
    for (const unreadable of held) this.#tellHeld(unreadable)
    for (const timer of planned.fired) {
      events.emit({ type: 'timer.fired', actor: timer.actor, timer: timer.name, lateMs: clock.now() - timer.due })
    }
  }

  #tellHeld({ to, fault }: Unreadable): void {
    this.#options.events.emit({ type: 'message.held', shard: this.name, to, fault })
    this.#need(to)
  }

  /** A pinned shard ends with its actor. False when it should have ended and could not. */
  async #dropIfLeft(planned: Plan): Promise<boolean> {
    const actor = pinnedActor(this.name)
    if (actor === null || !planned.commit.records.some((row) => row.actor === actor && row.body === null)) return true
    try {
      await this.#options.transport.drop(this.name, this.#claim.epoch)
    } catch (error) {
      this.#options.events.emit({ type: 'trouble', where: `end of shard ${this.name}`, error })
      return false
    }
    this.#abort.abort()
    this.#options.onEnd(this)
    return true
  }

  #carry(entries: readonly OutboxEntry[]): void {
    const { courier } = this.#options
    const outbox = this.#outbox
    const { lineage } = this.#claim
    for (const { seq, incarnation, id, shard, lane, body } of entries) {
      outbox.add(seq)
      courier.send(shard, lane, { source: `s${this.name}`, incarnation, seq, id, lineage, body }, (outcome) => {
        outbox.delivered(seq)
        if (outcome !== 'ok') this.#undeliverable({ shard, lane, body })
      })
    }
  }

  /** The mailbox is no more: what was sent there becomes a dead letter of the sender's shard. */
  #undeliverable(send: Send | undefined): void {
    if (send === undefined) return
    const { events, transport, clock, limits } = this.#options
    const { shard, body } = send
    const word = withoutMailbox(decodeEnvelope(body))
    if (word === 'nothing') return
    if (word !== 'a dead letter') {
      this.#report(word)
      return
    }
    const fault = faultOf(
      new RuntimeError('shard.gone', `There is no mailbox ${shard} any more`, { remedy: 'give-up', data: { shard } }),
      'shard.gone',
    )
    events.emit({ type: 'dead-letter', shard: this.name, to: shard, fault })
    const letter = JSON.stringify({ to: shard, at: clock.now(), fault, message: body })
    transport.append(deadLetterStream(this.name), [letter], limits.deadLettersMax).catch((error: unknown) => {
      events.emit({ type: 'trouble', where: `dead letter of shard ${this.name}`, error })
    })
  }

  async #load(batch: readonly Taken[]): Promise<void> {
    const missing = new Set<ActorAddress>()
    for (const { actor } of batch) {
      if (actor !== null && this.#cells.get(actor) === undefined) missing.add(actor)
    }
    if (missing.size === 0) return
    const actors = [...missing]
    const bodies = await this.#options.transport.load(this.name, actors)
    const activated = new Map<string, number>()
    for (const [i, actor] of actors.entries()) {
      const body = bodies[i]
      this.#cells.put(parseAddress(actor), body === null || body === undefined ? null : decodeRecord(body))
      const kind = actor.slice(0, actor.indexOf('/'))
      activated.set(kind, (activated.get(kind) ?? 0) + 1)
    }
    for (const [kind, count] of activated) this.#options.events.emit({ type: 'activation', kind, actors: count })
  }
}

function runOf({ actor, id, row }: EffectStart): string {
  return `${actor}|${id}|${row.gen}`
}
