/** What is over leaves Redis: looked at in its keys, not asked of the runtime. */
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { idOf, LIMITS, numberedShard, ref } from '../../runtime/mod.ts'
import type { ActorAddress, Client } from '../../runtime/mod.ts'
import { Fleet } from '../harness/fleet.ts'
import { has } from '../harness/parts.ts'
import { member } from './family.ts'

const kind = member('member', { retentionMs: 50 })

describe.skipIf(!has('redis'))('on a real Redis', () => {
  let fleet: Fleet
  let client: Client
  let look: Redis
  beforeAll(async () => {
    fleet = await Fleet.start('redis', [kind])
    await fleet.node()
    client = await fleet.client()
    look = new Redis({ path: fleet.redis!.url })
  })
  afterAll(async () => {
    look.disconnect()
    await fleet.stop()
  })

  /** Every key, and every member of sets and sorted sets, that names the actor. */
  const tracesOf = async (actor: ActorAddress): Promise<string[]> => {
    const found = (await look.keys('*')).filter((key) => key.includes(actor))
    for (const key of await look.keys('*')) {
      const type = await look.type(key)
      const members = type === 'set' ? await look.smembers(key) : type === 'zset' ? await look.zrange(key, 0, -1) : []
      const isIt = (each: string): boolean => each.includes(actor) || `${key} ${each}`.endsWith(` ${idOf(actor)}`)
      found.push(...members.filter(isIt).map((each) => `${key} ${each}`))
    }
    return found
  }

  test('a finished actor leaves nothing behind but the history in its journal', async () => {
    const [one, other] = [ref(kind, 'one'), ref(kind, 'other')]
    for (const actor of [one, other]) await client.spawn(actor, {})
    await client.tell(one, { type: 'watch', to: other })
    await client.schedule(one, { id: 'x', delayMs: 1_000_000, event: { type: 'note', text: 'never' } })
    await client.ask(one, { type: 'work' })
    expect((await tracesOf(one)).length).toBeGreaterThan(3)
    await expect.poll(async () => (await client.read(one))?.effects).toEqual(['toil'])
    await client.tell(one, { type: 'note', text: 'before its end' })
    await client.ask(other, { type: 'finish' })
    // The effect runs until its state is left: a failure beyond the intensity ends the actor too.
    for (let i = 0; i < 11; i++) await client.tell(one, { type: 'fail' })
    await expect.poll(() => tracesOf(one), { timeout: 10_000 }).toEqual([])
    expect(await tracesOf(other)).toEqual([])
  })

  test("a client's marks, and streams of telemetry, expire", async () => {
    await client.append('job:one:metrics', [{ loss: 1 }])
    const kept = await look.pttl('{tf:job:one}:metrics')
    expect(kept).toBeGreaterThan(0)
    const marks = (await look.keys('*')).filter((key) => /\}:dd:c/.test(key))
    expect(marks.length).toBeGreaterThan(0)
    for (const mark of marks) expect(await look.ttl(mark)).toBeGreaterThan(0)
  })

  test('what pinned shards have sent is forgotten once they have been silent for long', async () => {
    const transport = await fleet.connect()
    const shard = numberedShard(1_000) // which nobody owns
    const deliver = (source: string, seq: number, lane: 'hi' | 'in' = 'in') =>
      transport.deliver(
        shard,
        lane,
        [{ source, incarnation: 1, seq, id: `${source}${seq}`, lineage: '', body: '{}' }],
        0,
      )
    const marks = () => look.hgetall(`{tf:${shard}}:dd`)
    for (const source of ['s1', 's@worker/old', 's@worker/young']) await deliver(source, 1)
    await deliver('s@worker/young', 1, 'hi')
    const { 's@worker/old:in': mark = '' } = await marks()
    const [incarnation, seq, at] = mark.split(':').map(Number)
    const longAgo = (at ?? 0) - LIMITS.pinnedMarksMs - 1
    await look.hset(`{tf:${shard}}:dd`, 's@worker/old:in', `${incarnation}:${seq}:${longAgo}`, 's1:hi', '1:5')
    await deliver('s@worker/young', 2)
    expect(Object.keys(await marks())).toContain('s@worker/old:in') // nobody new has come
    await deliver('s@worker/new', 1)
    expect(Object.keys(await marks()).toSorted()).toEqual([
      's1:hi',
      's1:in',
      's@worker/new:in',
      's@worker/young:hi',
      's@worker/young:in',
    ])
    const entries = await look.xlen(`{tf:${shard}}:in`)
    for (const source of ['s1', 's@worker/young', 's@worker/new']) await deliver(source, 1)
    expect(await look.xlen(`{tf:${shard}}:in`)).toBe(entries) // those that are known are taken once
  })
})
