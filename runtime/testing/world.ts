/**
 * A test world: one node with all the actors, one client, and a clock that stands still until `advance` moves it.
 *
 * Time and effects. What needs no time happens at once: after any `await` on the world, mailboxes are empty and timers
 * that are due have fired. An effect that you replaced is yours: let it wait on `world.clock` if it shall take time. An
 * effect that you did not replace may do real work (files, the network), of which nobody can say how long it takes in
 * the world's time: the clock stands until it has ended, and a test that waits for it too long is told which one it is.
 */
import type { ActorDefinition, Effect, EventOf, InputOf } from '../actor.ts'
import { address, kindOf, pinnedShard } from '../address.ts'
import type { ActorAddress, Directory } from '../address.ts'
import { openClient } from '../client.ts'
import type {
  ActorPage,
  ActorSnapshot,
  Answer,
  AskOptions,
  Client,
  FindQuery,
  JournalLine,
  Kind,
  SendOptions,
  StateCount,
} from '../client.ts'
import { systemClock } from '../clock.ts'
import { RuntimeEvents } from '../events.ts'
import type { Line } from '../message.ts'
import { LIMITS } from '../limits.ts'
import type { Limits } from '../limits.ts'
import { Node } from '../node.ts'
import { deadLetterStream, journalStream } from '../transport.ts'
import { MemoryServer } from '../memory/server.ts'
import { durationMs } from './duration.ts'
import type { Duration } from './duration.ts'
import { SeededRandom } from './seeded-random.ts'
import { settle, VirtualClock } from './virtual-clock.ts'

export interface TestWorldOptions {
  readonly actors: readonly ActorDefinition[]
  /** Effects to run instead of the actors' own: by kind, then by name. What is not named here runs for real. */
  readonly effects?: Readonly<Record<string, Readonly<Record<string, Effect<never, unknown>>>>>
  /** Decides all that is random: jitter of retries, ids of nodes. */
  readonly seed?: number
  readonly shards?: number
  /** When the world's time begins, in milliseconds since 1970. */
  readonly startMs?: number
  readonly limits?: Partial<Limits>
  /** How long a real effect may hold the clock, in real milliseconds. */
  readonly effectWaitMs?: number
}

/** One actor of the world, with its own events and input: a wrong one does not compile. */
export interface TestActor<A extends ActorDefinition> {
  readonly address: ActorAddress
  tell(event: EventOf<A>, options?: SendOptions): Promise<void>
  ask(event: EventOf<A>, options?: AskOptions): Promise<Answer>
  spawn(input: InputOf<A>): Promise<Answer>
  read(): Promise<ActorSnapshot | null>
}

/** Leases and watchdogs are for processes that die; here none does, and a day without events should cost nothing. */
const QUIET_LIMITS: Limits = {
  ...LIMITS,
  leaseMs: 30 * 86_400_000,
  stuckMs: 31 * 86_400_000,
  leaseRenewMs: 10 * 86_400_000,
  leaseSuspendMs: 20 * 86_400_000,
  orphanMs: 30 * 86_400_000,
  watchdogMs: 86_400_000,
  timersGrainMs: 0,
}

export async function createTestWorld(options: TestWorldOptions): Promise<TestWorld> {
  const world = new TestWorld(options)
  await world.start()
  return world
}

export class TestWorld {
  readonly clock: VirtualClock
  /** What the runtime tells of itself. */
  readonly events = new RuntimeEvents()
  readonly #server: MemoryServer
  readonly #directory: Directory
  readonly #actors: readonly ActorDefinition[]
  readonly #random: SeededRandom
  readonly #limits: Limits
  readonly #effectWaitMs: number
  /** Real effects under way, by what they are called. */
  readonly #working = new Map<Promise<unknown>, string>()
  #nodes: Node[] = []
  #client: Client | null = null

  constructor(options: TestWorldOptions) {
    this.clock = new VirtualClock(options.startMs)
    this.#server = new MemoryServer({ clock: this.clock })
    this.#random = new SeededRandom(options.seed ?? 1)
    this.#limits = { ...QUIET_LIMITS, ...options.limits }
    this.#effectWaitMs = options.effectWaitMs ?? 2_000
    this.#actors = options.actors.map((actor) => this.#withEffects(actor, options.effects?.[actor.kind] ?? {}))
    const pinned = options.actors.filter((actor) => actor.pinned).map((actor) => actor.kind)
    this.#directory = { shards: options.shards ?? 4, pinned: new Set(pinned) }
  }

  async start(): Promise<void> {
    const { clock, events } = this
    const at = { directory: this.#directory, clock, events, random: this.#random, limits: this.#limits }
    for (const hosts of ['sharded', 'pinned'] as const) {
      const node = new Node({ ...at, transport: this.#server.connect(), actors: this.#actors, hosts })
      this.#nodes.push(node)
      await this.#driven(node.start())
    }
    this.#client = await this.#driven(openClient({ ...at, transport: this.#server.connect() }))
  }

  /** A handle on one actor, typed by its definition. */
  actor<A extends ActorDefinition>(definition: A, id: string): TestActor<A> {
    const to = address(definition.kind, id)
    return {
      address: to,
      tell: (event, options) => this.tell(to, event as { type: string }, options), // EventOf is an event of a chart
      ask: (event, options) => this.ask(to, event as { type: string }, options),
      spawn: (input) => this.spawn(to, input),
      read: () => this.read(to),
    }
  }

  async tell(to: ActorAddress, event: { readonly type: string }, options?: SendOptions): Promise<void> {
    await this.#driven(this.#running.tell(to, event, options))
    await this.settled()
  }

  ask(to: ActorAddress, event: { readonly type: string }, options?: AskOptions): Promise<Answer> {
    return this.#driven(this.#running.ask(to, event, options))
  }

  /** Brings an actor to life; a pinned one is hosted here first. */
  async spawn(to: ActorAddress, input: unknown): Promise<Answer> {
    const [, host] = this.#nodes
    if (this.#directory.pinned.has(kindOf(to)) && !this.#server.shards.has(pinnedShard(to))) {
      await this.#driven(host?.host(to) ?? Promise.resolve())
    }
    return this.#driven(this.#running.spawn(to, input))
  }

  async read(actor: ActorAddress): Promise<ActorSnapshot | null> {
    await this.settled()
    return this.#driven(this.#running.read(actor))
  }

  async find<K extends Kind>(query: FindQuery<K>): Promise<ActorPage<K>> {
    await this.settled()
    return this.#driven(this.#running.find(query))
  }

  async count(kind?: Kind): Promise<readonly StateCount[]> {
    await this.settled()
    return this.#driven(this.#running.count(kind))
  }

  /** Every transition that an actor has made, oldest first. */
  async journal(actor: ActorAddress): Promise<readonly Omit<JournalLine, 'position'>[]> {
    await this.settled()
    return this.#rows(journalStream)
      .flatMap((body) => JSON.parse(body) as Line[]) // written by a commit
      .filter((line) => line.actor === actor)
  }

  /** Messages that could not be taken, with the fault of each. */
  async deadLetters(): Promise<readonly { readonly to: string; readonly fault: { readonly message: string } }[]> {
    await this.settled()
    return this.#rows(deadLetterStream).map((body) => JSON.parse(body) as { to: string; fault: { message: string } })
  }

  /** Lets time pass: all that is due until then happens, in its order and at its time. */
  async advance(duration: Duration): Promise<void> {
    const until = this.clock.now() + durationMs(duration)
    await this.settled()
    while (await this.clock.turn(until)) await this.settled()
    await this.clock.advanceTo(until)
  }

  /** Resolves when nothing more can happen without time: mailboxes are empty, and no real effect is under way. */
  async settled(): Promise<void> {
    await settle()
    while (this.#working.size > 0) await this.#worked()
  }

  async stop(): Promise<void> {
    const nodes = this.#nodes
    this.#nodes = []
    await this.#client?.stop()
    for (const node of nodes) await this.#driven(node.stop())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  get #running(): Client {
    if (this.#client === null)
      throw new TypeError('A test world must be started before it is used: createTestWorld() does')
    return this.#client
  }

  #rows(stream: typeof journalStream): string[] {
    return [...this.#server.shards.keys()].flatMap((shard) =>
      (this.#server.streams.get(stream(shard))?.rows ?? []).map((row) => row.body),
    )
  }

  /** Lets time pass only as far as this needs it: mostly not at all. */
  async #driven<T>(work: Promise<T>): Promise<T> {
    let ended = false
    const end = (): void => void (ended = true)
    work.then(end, end)
    for (;;) {
      await settle()
      if (ended) return work
      if (this.#working.size > 0) await this.#worked()
      else if (!(await this.clock.turn(Infinity))) return work
    }
  }

  /** Waits, in real time, until one of the real effects has ended. */
  async #worked(): Promise<void> {
    const over = new AbortController()
    const patience = systemClock.sleep(this.#effectWaitMs, over.signal).then(() => 'late' as const)
    const first = await Promise.race([...this.#working.keys(), patience])
    over.abort()
    if (first === 'late') {
      const names = [...new Set(this.#working.values())].join(', ')
      throw new Error(
        `The clock stands still for ${names}, which has run for ${this.#effectWaitMs} ms of real time: replace it in createTestWorld({ effects })`,
      )
    }
    await settle()
  }

  #withEffects(actor: ActorDefinition, replaced: Readonly<Record<string, Effect<never, unknown>>>): ActorDefinition {
    const unknown = Object.keys(replaced).filter((name) => !(name in actor.effects))
    if (unknown.length > 0)
      throw new TypeError(`Actor "${actor.kind}" has no effect "${unknown.join('", "')}" to replace`)
    const effects = Object.entries(actor.effects).map(([name, effect]) => {
      const own = replaced[name]
      return [name, own ?? this.#tracked(`${actor.kind}'s effect "${name}"`, effect)] as const
    })
    return { ...actor, effects: Object.fromEntries(effects) }
  }

  /** A real effect, of which the world knows whether it is under way. */
  #tracked(name: string, effect: Effect<never, unknown>): Effect<never, unknown> {
    return (input, context) => {
      const run = effect(input, context)
      const ended = run.then(
        () => undefined,
        () => undefined,
      )
      this.#working.set(ended, name)
      void ended.then(() => this.#working.delete(ended))
      return run
    }
  }
}
