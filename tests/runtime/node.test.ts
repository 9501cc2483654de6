import { expect, test } from 'vitest'
import { fromPromise, setup } from 'xstate'
import { address } from '../../runtime/address.ts'
import { defineActor } from '../../runtime/actor.ts'
import { openClient } from '../../runtime/client.ts'
import type { ShardName } from '../../runtime/address.ts'
import { LIMITS } from '../../runtime/limits.ts'
import { Node } from '../../runtime/node.ts'
import { RuntimeEvents } from '../../runtime/events.ts'
import { SeededRandom, VirtualClock } from '../../runtime/testing/mod.ts'
import { MemoryServer } from '../../runtime/memory/server.ts'
import type { Transport } from '../../runtime/transport.ts'

test('a node that is stopped while it starts keeps no shard', async () => {
  const clock = new VirtualClock()
  const server = new MemoryServer({ clock })
  const node = new Node({
    transport: server.connect(),
    actors: [],
    directory: { shards: 4, pinned: new Set() },
    hosts: 'sharded',
    clock,
    random: new SeededRandom(1),
  })
  const starting = node.start()
  await node.stop()
  await starting
  await clock.advanceTo(clock.now() + 60_000)
  expect(node.shards).toEqual([])
  expect([...server.shards.values()].map(({ owner }) => owner)).toEqual([null, null, null, null])
  expect(server.nodes.size).toBe(0)
})

/** Its process is gone at `kill`: nothing that it asks for is answered any more. */
function mortal(transport: Transport): { readonly transport: Transport; readonly kill: () => void } {
  let dead = false
  const handler: ProxyHandler<Transport> = {
    get(target, key) {
      const value: unknown = Reflect.get(target, key)
      if (typeof value !== 'function') return value
      return (...args: unknown[]): unknown => (dead ? new Promise(() => {}) : Reflect.apply(value, target, args))
    },
  }
  return { transport: new Proxy(transport, handler), kill: () => void (dead = true) }
}

/** Cut off, it is refused whatever it asks for. */
function severable(transport: Transport): { transport: Transport; cut: () => void; mend: () => void } {
  let isCut = false
  const handler: ProxyHandler<Transport> = {
    get(target, key) {
      const value: unknown = Reflect.get(target, key)
      if (typeof value !== 'function') return value
      return (...args: unknown[]): unknown =>
        isCut ? Promise.reject(new Error('cut off')) : Reflect.apply(value, target, args)
    },
  }
  return { transport: new Proxy(transport, handler), cut: () => void (isCut = true), mend: () => void (isCut = false) }
}

test.each([0, 137, 490])(
  'the shards of a node that dies %i ms after a look around are taken over within two seconds',
  async (laterMs) => {
    const clock = new VirtualClock()
    const server = new MemoryServer({ clock })
    const directory = { shards: 8, pinned: new Set<string>() }
    const { transport, kill } = mortal(server.connect())
    const make = (own: Transport, seed: number): Node =>
      new Node({ transport: own, actors: [], directory, hosts: 'sharded', clock, random: new SeededRandom(seed) })
    const [dying, staying] = [make(transport, 1), make(server.connect(), 2)]
    await dying.start()
    await clock.advanceTo(clock.now() + laterMs)
    await staying.start()
    await clock.advanceTo(clock.now() + 10_000 + laterMs)
    expect(dying.shards).toHaveLength(4)
    kill()
    await clock.advanceTo(clock.now() + 2_000)
    expect(staying.shards).toHaveLength(8)
  },
)

const worker = defineActor({
  kind: 'worker',
  version: 1,
  machine: setup({ actors: { work: fromPromise<null>(async () => null) } }).createMachine({
    id: 'worker',
    initial: 'working',
    states: { working: { invoke: { id: 'work', src: 'work' } } },
  }),
  effects: { work: () => new Promise<null>(() => {}) }, // hears no signal, and never ends
})

test('a node that leaves gives its shards back at once, whatever their effects do, and the other takes them up at once', async () => {
  const clock = new VirtualClock()
  const server = new MemoryServer({ clock })
  const directory = { shards: 4, pinned: new Set<string>() }
  const events = new RuntimeEvents()
  const make = async (seed: number): Promise<Node> => {
    const random = new SeededRandom(seed)
    const node = new Node({
      transport: server.connect(),
      actors: [worker],
      directory,
      hosts: 'sharded',
      clock,
      random,
      events,
    })
    await node.start()
    return node
  }
  const leaving = await make(1)
  const client = await openClient({ transport: server.connect(), directory, clock, random: new SeededRandom(3) })
  const born = Promise.all(['a', 'b', 'c', 'd', 'e'].map((id) => client.spawn(address('worker', id), null)))
  await clock.advanceTo(clock.now())
  await born
  const staying = await make(2)
  await clock.advanceTo(clock.now() + 10_000)
  expect(leaving.shards).toHaveLength(2)

  const claimed: ShardName[] = []
  events.on('lease.claimed', ({ shard }) => claimed.push(shard))
  const left = [...leaving.shards]
  const troubles: string[] = []
  events.on('trouble', ({ where }) => troubles.push(where))
  let stopped = false
  void leaving.stop().then(() => (stopped = true))
  await clock.advanceTo(clock.now()) // no time passes
  expect(claimed.sort()).toEqual(left.sort())
  expect(staying.shards).toHaveLength(4)
  // It waits for its effects, which never end, though not for ever.
  expect(stopped).toBe(false)
  await clock.advanceTo(clock.now() + LIMITS.effectStopMs)
  expect(stopped).toBe(true)
  expect(troubles).toContainEqual(expect.stringMatching(/^effect worker\/.\|work$/))
})

test('a node that lost a shard, and then stops, waits for the effects that it had there', async () => {
  const clock = new VirtualClock()
  const server = new MemoryServer({ clock })
  const directory = { shards: 1, pinned: new Set<string>() }
  const { transport, cut, mend } = severable(server.connect())
  const make = (own: Transport, seed: number): Node =>
    new Node({ transport: own, actors: [worker], directory, hosts: 'sharded', clock, random: new SeededRandom(seed) })
  const [losing, heir] = [make(transport, 1), make(server.connect(), 2)]
  await losing.start()
  const client = await openClient({ transport: server.connect(), directory, clock, random: new SeededRandom(3) })
  const born = client.spawn(address('worker', 'a'), null)
  await clock.advanceTo(clock.now())
  await born
  cut()
  await heir.start()
  await clock.advanceTo(clock.now() + 2 * LIMITS.leaseMs)
  expect(heir.shards).toHaveLength(1)

  const lost: ShardName[] = []
  losing.events.on('lease.lost', ({ shard }) => lost.push(shard))
  mend()
  await clock.advanceTo(clock.now() + LIMITS.leaseRenewMs)
  expect(lost).toEqual(heir.shards)
  let stopped = false
  void losing.stop().then(() => (stopped = true))
  await clock.advanceTo(clock.now())
  expect(stopped).toBe(false)
  await clock.advanceTo(clock.now() + LIMITS.effectStopMs)
  expect(stopped).toBe(true)
})
