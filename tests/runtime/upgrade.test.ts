/** Two versions of an actor's code side by side: nothing is lost, nothing is taken by code that cannot read it. */
import { beforeEach, describe, expect, test } from 'vitest'
import { assign, setup } from 'xstate'
import { defineActor } from '../../runtime/actor.ts'
import type { ActorDefinition } from '../../runtime/actor.ts'
import { address, pinnedShard, shardOf } from '../../runtime/address.ts'
import type { ActorAddress, Directory } from '../../runtime/address.ts'
import { openClient } from '../../runtime/client.ts'
import type { Client } from '../../runtime/client.ts'
import { CHILD_FAILED, ENDED } from '../../runtime/envelope.ts'
import { RuntimeEvents } from '../../runtime/events.ts'
import type { RuntimeEventOf } from '../../runtime/events.ts'
import type { Limits } from '../../runtime/limits.ts'
import { Node } from '../../runtime/node.ts'
import { SeededRandom, settle, VirtualClock } from '../../runtime/testing/mod.ts'
import { deadLetterStream, heldStream } from '../../runtime/transport.ts'
import { MemoryServer } from '../../runtime/memory/server.ts'
import { vocabulary } from '../../runtime/vocabulary.ts'

interface Context {
  /** Version 1 calls it `seen`, version 2 `entries`. */
  readonly seen?: readonly string[]
  readonly entries?: readonly string[]
}

const machineOf = (field: 'seen' | 'entries') =>
  setup({
    types: { context: {} as Context, events: {} as { type: 'note'; text: string } | { type: 'nap' } },
    actions: {
      ...vocabulary,
      note: assign(({ context, event }) => {
        const before = context[field]
        if (before === undefined) throw new Error(`no ${field} in ${JSON.stringify(context)}`)
        return { [field]: [...before, event.type === 'note' ? event.text : event.type] }
      }),
    },
    delays: { nap: 5_000 },
  }).createMachine({
    context: { [field]: [] },
    initial: 'open',
    on: { note: { actions: 'note' }, nap: '.napping' },
    states: { open: {}, napping: { after: { nap: { target: 'open', actions: 'note' } } } },
  })

const of = (kind: string, pinned = false) => ({
  old: defineActor({ kind, version: 1, machine: machineOf('seen'), effects: {}, pinned }),
  young: defineActor({
    kind,
    version: 2,
    machine: machineOf('entries'),
    effects: {},
    pinned,
    migrate: (_, { context, ...state }) => ({ ...state, context: { entries: (context as Context).seen ?? [] } }),
  }),
})
const diary = of('diary')
const desk = of('desk', true)
const novice = of('novice').young
const OLD = [diary.old, desk.old]
const YOUNG = [diary.young, desk.young, novice]

let world: World
beforeEach(async () => {
  world = new World()
  await world.open()
})

class World {
  readonly clock = new VirtualClock()
  readonly server = new MemoryServer({ clock: this.clock })
  readonly directory: Directory = { shards: 4, pinned: new Set(['desk']) }
  readonly held: RuntimeEventOf<'message.held'>[] = []
  client!: Client
  #random = 1

  async open(): Promise<void> {
    this.client = await openClient({
      transport: this.server.connect(),
      directory: this.directory,
      clock: this.clock,
      random: new SeededRandom(this.#random++),
    })
  }

  async node(actors: readonly ActorDefinition[], limits: Partial<Limits> = {}, hosts?: 'pinned'): Promise<Node> {
    const events = new RuntimeEvents()
    events.on('message.held', (event) => this.held.push(event))
    const node = new Node({
      transport: this.server.connect(),
      actors,
      directory: this.directory,
      hosts: hosts ?? 'sharded',
      clock: this.clock,
      random: new SeededRandom(this.#random++),
      events,
      limits,
    })
    await this.driven(node.start())
    return node
  }

  async driven<T>(work: Promise<T>): Promise<T> {
    let ended = false
    const end = (): void => void (ended = true)
    work.then(end, end)
    for (;;) {
      await settle()
      if (ended || !(await this.clock.turn(Infinity))) return work
    }
  }

  async pass(ms: number): Promise<void> {
    await this.clock.advanceTo(this.clock.now() + ms)
  }

  spawn = (actor: ActorAddress) => this.driven(this.client.spawn(actor, null))
  note = (actor: ActorAddress, text: string) => this.driven(this.client.tell(actor, { type: 'note', text } as never)) // an event of the charts above
  ask = (actor: ActorAddress, text: string) => this.driven(this.client.ask(actor, { type: 'note', text } as never)) // likewise
  nap = (actor: ActorAddress) => this.driven(this.client.tell(actor, { type: 'nap' }))
  read = (actor: ActorAddress) => this.driven(this.client.read(actor))
  stop = (node: Node) => this.driven(node.stop())

  record(actor: ActorAddress): string | undefined {
    return this.server.shard(shardOf(actor, this.directory)).records.get(actor)
  }

  waiting(actor: ActorAddress): number {
    return this.server.stream(heldStream(shardOf(actor, this.directory))).rows.length
  }

  letters(): number {
    const shards = [...this.server.shards.keys()]
    return shards.reduce((sum, shard) => sum + this.server.stream(deadLetterStream(shard)).rows.length, 0)
  }
}

describe('code that is older than a record', () => {
  const actor = address('diary', 'a')
  const written = async (): Promise<void> => {
    const young = await world.node(YOUNG)
    await world.spawn(actor)
    await world.note(actor, 'one')
    await world.nap(actor)
    await world.pass(100)
    await world.stop(young)
  }

  test('touches nothing: what is meant for it is held, and who asks is told why', async () => {
    await written()
    const before = world.record(actor)
    const first = await world.node(OLD)
    await world.note(actor, 'two')
    await expect(world.ask(actor, 'refused')).rejects.toMatchObject({
      code: 'actor.version-unknown',
      message: 'diary/a was written by version 2 of "diary"; this process has version 1',
    })
    await world.pass(10_000)
    await world.stop(first)
    await world.node(OLD) // which holds them again, and no more of them
    await world.pass(1_000)
    expect(world.record(actor)).toBe(before)
    expect(world.letters()).toBe(0)
    expect(world.waiting(actor)).toBe(2) // a tell, and a timer that came due
    expect(world.held.map(({ fault }) => fault.code)).toContain('actor.version-unknown')
  })

  test('goes on with the other actors of the shard', async () => {
    await written()
    await world.node(OLD)
    const neighbour = address('diary', 'a.b')
    expect(shardOf(neighbour, world.directory)).toBe(shardOf(actor, world.directory))
    await world.note(actor, 'two')
    await world.spawn(neighbour)
    await world.ask(neighbour, 'hello')
    expect(await world.read(neighbour)).toMatchObject({ version: 1, context: { seen: ['hello'] } })
  })

  test('gives the shard to newer code as soon as there is some, which takes all that was held, in its order and once', async () => {
    await written()
    const old = await world.node(OLD)
    await world.note(actor, 'two')
    await world.note(actor, 'three')
    await world.pass(10_000)
    await world.node(YOUNG)
    await world.pass(3_000)
    expect(await world.ask(actor, 'four')).toMatchObject({ handled: true })
    expect(await world.read(actor)).toMatchObject({
      value: 'open',
      version: 2,
      context: { entries: ['one', 'two', 'three', 'xstate.after.nap.(machine).napping', 'four'] },
    })
    expect(old.shards).not.toContain(shardOf(actor, world.directory))
    expect(world.waiting(actor)).toBe(0)
    expect(world.letters()).toBe(0)
    const held = world.held.length
    await world.pass(60_000)
    expect(old.shards).not.toContain(shardOf(actor, world.directory)) // and it does not come back to be held again
    expect(world.held).toHaveLength(held)
  })

  test('holds an ask too while newer code lives, and newer code answers it in time', async () => {
    const old = await world.node(OLD)
    const young = await world.node(YOUNG)
    await world.pass(3_000)
    const [shard] = old.shards
    const inOldHands = Array.from({ length: 50 }, (_, i) => address('novice', `n${i}`)).find(
      (each) => shardOf(each, world.directory) === shard,
    )!
    expect(young.shards).not.toContain(shard)
    expect(await world.spawn(inOldHands)).toMatchObject({ handled: true, state: 'open' })
    expect(await world.read(inOldHands)).toMatchObject({ version: 2 })
    expect(world.letters()).toBe(0)
  })

  test('makes dead letters of what is for a kind that nobody knows', async () => {
    await world.node(OLD)
    await expect(world.spawn(address('nonsense', 'a'))).rejects.toMatchObject({ code: 'actor.kind-unknown' })
    await world.note(address('nonsense', 'a'), 'lost?')
    await world.pass(100)
    expect(world.letters()).toBe(2)
  })

  test('makes dead letters of what there is no room to hold', async () => {
    await written()
    await world.node(OLD, { mailboxMax: 3, batchMax: 2 })
    for (const text of ['a', 'b', 'c', 'd', 'e']) {
      await world.note(actor, text)
      await world.pass(50)
    }
    expect(world.waiting(actor)).toBe(3)
    expect(world.letters()).toBe(2)
    // But not of what an actor waits to hear, and hears once: its watch would wait for ever.
    for (const type of [ENDED, CHILD_FAILED]) await world.driven(world.client.tell(actor, { type, gen: 1 } as never))
    await world.pass(50)
    expect(world.waiting(actor)).toBe(5)
    expect(world.letters()).toBe(2)
  })

  test('does not keep a pinned actor that it has adopted and cannot read', async () => {
    const at = address('desk', 'd')
    const old = await world.node(OLD)
    const process = await world.node(YOUNG, {}, 'pinned')
    await world.driven(process.host(at))
    await world.spawn(at)
    await world.stop(process)
    await world.note(at, 'while nobody reads it')
    await world.pass(10_000)
    expect(old.shards).not.toContain(pinnedShard(at))
    const young = await world.node(YOUNG)
    await world.pass(10_000)
    expect(young.shards).toContain(pinnedShard(at))
    expect(await world.read(at)).toMatchObject({ context: { entries: ['while nobody reads it'] } })
  })
})

describe('code that is newer than a record', () => {
  const actor = address('diary', 'a')

  test('migrates it when the actor is next used, and not before', async () => {
    const old = await world.node(OLD)
    await world.spawn(actor)
    await world.note(actor, 'one')
    await world.pass(100)
    await world.stop(old)
    await world.node(YOUNG)
    await world.pass(3_000)
    expect(await world.read(actor)).toMatchObject({ version: 1 })
    await world.ask(actor, 'two')
    expect(await world.read(actor)).toMatchObject({ version: 2, context: { entries: ['one', 'two'] } })
  })

  test('whose migrate fails stops that actor alone, and code that is mended goes on with it', async () => {
    const old = await world.node(OLD)
    await world.spawn(actor)
    await world.note(actor, 'one')
    await world.pass(100)
    await world.stop(old)
    const migrate = (): never => {
      throw new Error('of this I know nothing')
    }
    const broken = await world.node([{ ...diary.young, migrate }])
    await expect(world.ask(actor, 'refused')).rejects.toThrow('whose migrate failed: of this I know nothing')
    await world.note(actor, 'two')
    await world.pass(1_000)
    expect(await world.read(actor)).toMatchObject({ version: 1, context: { seen: ['one'] } })
    await world.stop(broken)
    await world.node(YOUNG)
    await world.pass(3_000)
    expect(await world.read(actor)).toMatchObject({ version: 2, context: { entries: ['one', 'two'] } })
  })
})
