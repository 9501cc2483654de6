import { expect, test } from 'vitest'
import { address, numberedShard, shardOf } from '../../runtime/address.ts'
import type { Directory } from '../../runtime/address.ts'
import { openClient } from '../../runtime/client.ts'
import { Courier } from '../../runtime/courier.ts'
import type { Outcome } from '../../runtime/courier.ts'
import { decodeEnvelope } from '../../runtime/envelope.ts'
import type { RuntimeError } from '../../runtime/errors.ts'
import { RuntimeEvents } from '../../runtime/events.ts'
import { LIMITS } from '../../runtime/limits.ts'
import { MemoryServer } from '../../runtime/memory/server.ts'
import { SeededRandom } from '../../runtime/testing/seeded-random.ts'
import { VirtualClock } from '../../runtime/testing/virtual-clock.ts'
import { CURSOR_START } from '../../runtime/transport.ts'
import { empty } from '../contracts/transport.ts'

const CAP = 5
const limits = { ...LIMITS, mailboxMax: CAP, deliveryMax: 4 }

test('a client that tells more than a mailbox takes is refused from the first on that does not fit', async () => {
  const directory: Directory = { shards: 1, pinned: new Set() }
  const transport = new MemoryServer().connect()
  const client = await openClient({ transport, directory, limits })
  const to = address('counter', 'a')
  const tells = await Promise.allSettled(
    Array.from({ length: 12 }, (_, i) => {
      const event: { readonly type: string; readonly i: number } = { type: 'count', i }
      return client.tell(to, event)
    }),
  )
  expect(tells.slice(0, CAP).map(({ status }) => status)).toEqual(Array(CAP).fill('fulfilled'))
  const refusals = tells
    .slice(CAP)
    .map((each) => (each.status === 'rejected' ? each.reason : null) as RuntimeError | null) // a client throws no other
  expect(new Set(refusals.map((error) => error?.code))).toEqual(new Set(['mailbox.full']))
  await client.tell(to, { type: 'stop' }, { control: true })
  const entries = await transport.read(shardOf(to, directory), CURSOR_START, 100)
  const [control, ...waiting] = entries.map(({ body }) => decodeEnvelope(body))
  expect(control?.type).toBe('stop')
  expect(waiting.map(({ data }) => data?.['i'])).toEqual([0, 1, 2, 3, 4])
  await client.stop()
})

test('what a shard sends waits before a full mailbox, and arrives once and in order as room comes', async () => {
  const clock = new VirtualClock()
  const transport = new MemoryServer({ clock }).connect()
  const shard = numberedShard(0)
  const claim = await transport.claim(shard, { owner: 'a', ttlMs: 1e9, nonce: 'n', anew: false, crashWindowMs: 0 })
  const events = new RuntimeEvents()
  const courier = new Courier({ transport, clock, random: new SeededRandom(1), events, limits, onBusy: 'wait' })
  const outcomes: Outcome[] = []
  for (let seq = 1; seq <= 12; seq++) {
    const delivery = { source: 's1', incarnation: 1, seq, id: `i${seq}`, lineage: '1:0', body: `m${seq}` }
    courier.send(shard, 'in', delivery, (outcome) => outcomes.push(outcome))
  }
  const taken: string[] = []
  let cursor = CURSOR_START
  for (let commit = 0; taken.length < 12; commit++) {
    await clock.advanceTo(clock.now() + 5_000)
    const waiting = await transport.read(shard, cursor, 100)
    expect(waiting.length).toBeLessThanOrEqual(CAP)
    expect(outcomes).toHaveLength(taken.length + waiting.length)
    const [first] = waiting
    if (first === undefined) throw new Error('nothing has arrived')
    taken.push(first.body)
    cursor = { hi: '0-0', in: first.id }
    expect(await transport.commit({ ...empty(shard, claim?.epoch ?? '', commit), cursor })).toMatchObject({ ok: true })
  }
  expect(taken).toEqual(Array.from({ length: 12 }, (_, i) => `m${i + 1}`))
  expect(new Set(outcomes)).toEqual(new Set(['ok']))
  courier.stop()
})
