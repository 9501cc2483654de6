/** What a node keeps in memory, and a shard in its journal, does not grow with what has been. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ref, shardOf } from '../../runtime/mod.ts'
import type { Client } from '../../runtime/mod.ts'
import { journalStream } from '../../runtime/transport.ts'
import { Fleet } from '../harness/fleet.ts'
import { member } from './family.ts'

const kind = member('member', { retentionMs: 20 })
/** In one shard. */
const [mortal, neighbour] = [ref(kind, 'a.mortal'), ref(kind, 'a.neighbour')]

let fleet: Fleet
let client: Client
beforeAll(async () => {
  fleet = await Fleet.start('memory', [kind])
  await fleet.node({ limits: { journalBytesMax: 4_000 } })
  client = await fleet.client()
  for (const actor of [mortal, neighbour]) await client.spawn(actor, {})
})
afterAll(() => fleet.stop())

test('an actor that is no more is not in its node either: a message to it looks for its record', async () => {
  await client.ask(mortal, { type: 'finish' })
  await expect.poll(() => client.read(mortal)).toBeNull()
  for (let i = 0; i < 3; i++) await client.ask(neighbour, { type: 'note', text: 'a batch of the shard' })
  let activated = 0
  const off = fleet.events.on('activation', ({ actors }) => (activated += actors))
  await expect(client.ask(mortal, { type: 'note', text: 'too late' })).rejects.toMatchObject({ code: 'actor.unknown' })
  off()
  expect(activated).toBe(1)
})

test('a journal keeps as much as its bytes allow', async () => {
  for (let i = 0; i < 300; i++) await client.ask(neighbour, { type: 'note', text: String(i) })
  const transport = await fleet.connect()
  const rows = await transport.range(journalStream(shardOf(neighbour, fleet.directory)), '0-0', 1_000)
  const bytes = rows.reduce((sum, { body }) => sum + body.length, 0)
  expect(bytes).toBeLessThan(6_000)
  expect(bytes).toBeGreaterThan(2_000)
})
