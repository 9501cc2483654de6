import { expect, test } from 'vitest'
import { Node } from '../../runtime/node.ts'
import { SeededRandom, VirtualClock } from '../../runtime/testing/mod.ts'
import { MemoryServer } from '../../runtime/transports/memory.ts'

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
