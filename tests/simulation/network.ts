/**
 * A connection of a simulated process to the server in memory. It stands for the socket and the client library: a
 * command travels, takes effect at its arrival, and its answer travels back; each leg takes virtual time, so the order
 * in which the awaits of all processes end is drawn from the seed. Commands of one connection arrive in their order
 * (transport, T5) unless a fault says otherwise.
 */
import type { ShardName } from '../../runtime/address.ts'
import type { VirtualClock } from '../../runtime/testing/virtual-clock.ts'
import type { Commit, CommitOutcome, Cursor, Delivery, Transport } from '../../runtime/transport.ts'
import type { MemoryServer } from '../../runtime/memory/server.ts'
import type { Fate, Fates } from './faults.ts'
import type { SimProcess } from './process.ts'

export interface ConnectionOptions {
  readonly clock: VirtualClock
  readonly server: MemoryServer
  readonly process: SimProcess
  readonly fates: Fates
  readonly commandTimeoutMs: number
  /** Sees each commit at the moment at which it arrives, before it is tried, and what came of it. */
  readonly onCommit: (commit: Commit, attempt: () => Promise<CommitOutcome>) => Promise<CommitOutcome>
}

interface Call {
  /** Null once it has taken effect for the last time, or never will. */
  arrive: (() => void) | null
  readonly fail: (error: Error) => void
  readonly isRefusal: (answer: unknown) => boolean
}

export class SimConnection implements Transport {
  readonly name = 'simulation'
  readonly #clock: VirtualClock
  readonly #inner: Transport
  readonly #process: SimProcess
  readonly #fates: Fates
  readonly #options: ConnectionOptions
  readonly #underWay = new Set<Call>()
  readonly #subscriptions = new Set<() => Promise<void>>()
  #arrivesAt = 0
  #answersAt = 0
  /** Arrivals and answers that a partition keeps back. */
  #kept: (() => void)[] = []

  constructor(options: ConnectionOptions) {
    this.#options = options
    this.#clock = options.clock
    this.#process = options.process
    this.#fates = options.fates
    this.#inner = options.server.connect()
  }

  get reach(): Transport['reach'] {
    return this.#inner.reach
  }

  /** The partition is over: what it kept back goes on. */
  heal(): void {
    const kept = this.#kept
    this.#kept = []
    for (const work of kept) this.#clock.at(this.#clock.now(), work)
  }

  /** The server is another one now: what is under way reaches nobody. */
  breakDown(): void {
    for (const call of this.#underWay) {
      call.arrive = null
      call.fail(new Error('Connection is closed'))
    }
  }

  /** The process is dead: of what it had under way, some arrives and some does not. */
  async die(): Promise<void> {
    for (const call of this.#underWay) if (this.#fates.next('death').choice < 0.5) call.arrive = null
    for (const unsubscribe of this.#subscriptions) await unsubscribe()
    this.#subscriptions.clear()
  }

  #call<T>(
    command: string,
    execute: () => Promise<T>,
    isRefusal: (answer: unknown) => boolean = () => false,
  ): Promise<T> {
    const clock = this.#clock
    const fate = this.#fates.next(command)
    const issuedAt = clock.now()
    this.#arrivesAt = Math.max(this.#arrivesAt, issuedAt + fate.requestMs + (fate.fault === 'slow' ? fate.laterMs : 0))
    return new Promise<T>((resolve, reject) => {
      let settled = false
      const call: Call = {
        arrive: () => this.#arrive(call, fate, execute, answer),
        fail: (error) => settle(() => reject(error)),
        isRefusal,
      }
      const settle = (how: () => void): void => {
        if (settled) return
        settled = true
        this.#underWay.delete(call)
        callOff?.()
        this.#process.run(how)
      }
      const answer = (value: T): void => {
        this.#answersAt = Math.max(this.#answersAt, clock.now() + fate.answerMs)
        clock.at(this.#answersAt, () => this.#receive(() => settle(() => resolve(value))))
      }
      this.#underWay.add(call)
      clock.at(this.#arrivesAt, () => this.#reach(call))
      const timeoutAt = issuedAt + this.#options.commandTimeoutMs
      const callOff = clock.at(timeoutAt, () => call.fail(new Error('Command timed out')))
      if (fate.fault === 'reset') this.#reset(fate)
      if (fate.fault === 'late') {
        const { arrive } = call
        call.arrive = null
        clock.at(issuedAt + fate.laterMs + fate.requestMs, () => arrive?.())
        clock.at(issuedAt + fate.requestMs, () => call.fail(new Error('Connection is closed')))
      }
    })
  }

  /** The request is at the server's door. */
  #reach(call: Call): void {
    if (!this.#process.partitioned) call.arrive?.()
    else if (call.arrive !== null) this.#kept.push(() => this.#reach(call))
  }

  #receive(work: () => void): void {
    if (this.#process.partitioned) this.#kept.push(() => this.#receive(work))
    else work()
  }

  #arrive<T>(call: Call, fate: Fate, execute: () => Promise<T>, answer: (value: T) => void): void {
    call.arrive = null
    const { fault } = fate
    if (fault === 'refused') {
      this.#clock.at(this.#clock.now() + fate.answerMs, () => call.fail(new Error('OOM command not allowed')))
      return
    }
    let outcome = execute()
    if (fault === 'resent') outcome = outcome.then(execute)
    if (fault === 'repeated') {
      void outcome.then((value) => {
        // Nobody sends a delivery again that was answered with a refusal.
        if (call.isRefusal(value)) return
        this.#clock.at(this.#clock.now() + fate.laterMs, () => void execute().catch(ignore))
      }, ignore)
    }
    outcome.then(fault === 'lost-answer' ? ignore : answer, (error: Error) => call.fail(error))
    if (fault === 'lost-answer') {
      this.#clock.at(this.#clock.now() + fate.laterMs, () => call.fail(new Error('Connection is closed')))
    }
  }

  /** What is under way is cut in two: the first part takes effect, the rest never, or much later and in order. */
  #reset(fate: Fate): void {
    const calls = [...this.#underWay]
    const cut = Math.floor(fate.choice * (calls.length + 1))
    for (const [i, call] of calls.entries()) {
      const { arrive } = call
      if (i >= cut) {
        call.arrive = null
        if (fate.requestMs < 0.4) this.#clock.at(this.#clock.now() + fate.laterMs, () => arrive?.())
      }
      this.#clock.at(this.#clock.now() + fate.answerMs, () => call.fail(new Error('Connection is closed')))
    }
  }

  start(namespace: { readonly shards: number }): Promise<{ readonly id: string }> {
    return this.#inner.start(namespace)
  }
  async stop(): Promise<void> {
    await this.#inner.stop()
  }
  probe = () => this.#call('probe', () => this.#inner.probe())
  announce = (...args: Parameters<Transport['announce']>) => this.#call('announce', () => this.#inner.announce(...args))
  withdraw = (node: string) => this.#call('withdraw', () => this.#inner.withdraw(node))
  claim = (...args: Parameters<Transport['claim']>) => this.#call('claim', () => this.#inner.claim(...args))
  departed = () => this.#call('departed', () => this.#inner.departed())
  resend = (...args: Parameters<Transport['resend']>) => this.#call('resend', () => this.#inner.resend(...args))
  dropLetter = (...args: Parameters<Transport['dropLetter']>) =>
    this.#call('dropLetter', () => this.#inner.dropLetter(...args))
  attempt = (...args: Parameters<Transport['attempt']>) => this.#call('attempt', () => this.#inner.attempt(...args))
  renew = (...args: Parameters<Transport['renew']>) => this.#call('renew', () => this.#inner.renew(...args))
  release = (shard: ShardName, epoch: string) => this.#call('release', () => this.#inner.release(shard, epoch))
  pinned = () => this.#call('pinned', () => this.#inner.pinned())
  drop = (shard: ShardName, epoch: string) => this.#call('drop', () => this.#inner.drop(shard, epoch))
  read = (shard: ShardName, after: Cursor, limit: number) =>
    this.#call('read', () => this.#inner.read(shard, after, limit))
  park = (...args: Parameters<Transport['park']>) => this.#call('park', () => this.#inner.park(...args))
  load = (...args: Parameters<Transport['load']>) => this.#call('load', () => this.#inner.load(...args))
  commit = (commit: Commit) =>
    this.#call('commit', () => this.#options.onCommit(commit, () => this.#inner.commit(commit)))
  position = (shard: ShardName) => this.#call('position', () => this.#inner.position(shard))
  active = (shard: ShardName) => this.#call('active', () => this.#inner.active(shard))
  states = (shard: ShardName) => this.#call('states', () => this.#inner.states(shard))
  listed = (...args: Parameters<Transport['listed']>) => this.#call('listed', () => this.#inner.listed(...args))
  due = (shard: ShardName, until: number, limit: number) =>
    this.#call('due', () => this.#inner.due(shard, until, limit))
  outbox = (shard: ShardName) => this.#call('outbox', () => this.#inner.outbox(shard))
  deliver = (shard: ShardName, lane: 'hi' | 'in', batch: readonly Delivery[], cap: number) =>
    this.#call(
      'deliver',
      () => this.#inner.deliver(shard, lane, batch, cap),
      (taken) => taken !== batch.length,
    )
  append = (...args: Parameters<Transport['append']>) => this.#call('append', () => this.#inner.append(...args))
  range = (...args: Parameters<Transport['range']>) => this.#call('range', () => this.#inner.range(...args))
  ends = (stream: string) => this.#call('ends', () => this.#inner.ends(stream))
  publish = (channel: string, body: string) => this.#call('publish', () => this.#inner.publish(channel, body))

  /** A subscription lives as long as the process; single messages may get lost. */
  async subscribe(channel: string, listener: (body: string) => void): Promise<() => Promise<void>> {
    const fate = this.#fates.next('subscribe')
    await this.#process.sleep(fate.requestMs + fate.answerMs)
    const unsubscribe = await this.#inner.subscribe(channel, (body) => {
      const { fault, answerMs } = this.#fates.next('signal')
      if (fault === 'refused' || fault === 'lost-answer' || this.#process.partitioned) return
      this.#clock.at(this.#clock.now() + answerMs, () => this.#process.run(() => listener(body)))
    })
    this.#subscriptions.add(unsubscribe)
    return async () => {
      this.#subscriptions.delete(unsubscribe)
      await unsubscribe()
    }
  }
}

function ignore(): void {}
