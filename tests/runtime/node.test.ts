import { expect, test } from 'vitest'
import { fromPromise, setup } from 'xstate'
import { address } from '../../runtime/address.ts'
import { defineActor } from '../../runtime/actor.ts'
import { openClient } from '../../runtime/client.ts'
import type { ShardName } from '../../runtime/address.ts'
import { Node } from '../../runtime/node.ts'
import { RuntimeEvents } from '../../runtime/events.ts'
import { SeededRandom, VirtualClock } from '../../runtime/testing/mod.ts'
import { MemoryServer } from '../../runtime/memory/server.ts'

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
  void leaving.stop() // never ends: its effects don't
  await clock.advanceTo(clock.now()) // no time passes
  expect(claimed.sort()).toEqual(left.sort())
  expect(staying.shards).toHaveLength(4)
})
