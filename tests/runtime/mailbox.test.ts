/** How an owner reads its mailbox: what it believes of what it is told, and when it goes and looks (runtime/mailbox.ts). */
import { describe, expect, test } from 'vitest'
import { numberedShard } from '../../runtime/address.ts'
import { LIMITS } from '../../runtime/limits.ts'
import { Mailbox } from '../../runtime/mailbox.ts'
import { encodeRing } from '../../runtime/ring.ts'
import { VirtualClock } from '../../runtime/testing/virtual-clock.ts'
import { CURSOR_START, doorbell } from '../../runtime/transport.ts'
import type { Claim, Entry, Transport } from '../../runtime/transport.ts'
import { MemoryServer } from '../../runtime/memory/server.ts'

const shard = numberedShard(1)

async function house(): Promise<{
  mailbox: Mailbox
  claim: Claim
  clock: VirtualClock
  /** Gives the id under which it stands in the lane. */
  send: (body: string) => Promise<string>
  /** What the owner has asked the transport since this was last called. */
  asked: () => string[]
}> {
  const clock = new VirtualClock()
  const inner = new MemoryServer({ clock }).connect()
  const calls: string[] = []
  const transport = new Proxy<Transport>(inner, {
    get(target, name, receiver) {
      if (name === 'read' || name === 'park') calls.push(name)
      const value: unknown = Reflect.get(target, name, receiver)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  const claim = await transport.claim(shard, { owner: 'me', ttlMs: 60_000, nonce: 'n', anew: false, crashWindowMs: 0 })
  if (claim === null) throw new Error('the shard is taken')
  const mailbox = new Mailbox({ shard, transport, clock, limits: LIMITS })
  mailbox.begin(claim)
  await transport.subscribe(doorbell(shard), (ring) => mailbox.hear(ring))
  let seq = 0
  const send = async (body: string): Promise<string> => {
    await inner.deliver(shard, 'in', [{ source: 's9', incarnation: 1, seq: ++seq, id: body, lineage: '', body }], 1_000)
    await Promise.resolve() // the ring is on its way
    return (await inner.read(shard, CURSOR_START, 1_000)).at(-1)?.id ?? ''
  }
  return { mailbox, claim, clock, send, asked: () => calls.splice(0) }
}

const bodies = (mail: readonly Entry[] | 'fenced'): string[] =>
  mail === 'fenced' ? ['fenced'] : mail.map(({ body }) => body)

describe('an owner', () => {
  test('that parked takes what the ring brings, without a look', async () => {
    const { mailbox, send, asked } = await house()
    expect(await mailbox.take(false, 0)).toEqual([])
    expect(mailbox.restMs).toBe(LIMITS.watchdogMs)
    await send('news')
    expect(asked()).toEqual(['park'])
    expect(mailbox.restMs).toBe(0)
    expect(bodies(await mailbox.take(false, 0))).toEqual(['news'])
    expect(asked()).toEqual([])
  })

  test('makes nothing of a ring from another place or epoch: it looks', async () => {
    const { mailbox, claim, send, asked } = await house()
    const lie = [{ id: '999-0', lane: 'in', body: 'a lie' }] as const
    for (const wrong of [
      { epoch: 'another', after: CURSOR_START },
      { epoch: claim.epoch, after: { hi: '0-0', in: '7-0' } },
    ]) {
      await mailbox.take(false, 0)
      mailbox.hear(encodeRing({ ...wrong, mail: lie }))
      expect(await mailbox.take(false, 0)).toEqual([])
    }
    await send('the truth')
    mailbox.hear('no ring at all')
    asked()
    expect(bodies(await mailbox.take(false, 0))).toEqual(['the truth'])
    expect(asked()).toEqual(['park'])
  })

  test('takes a message once when a commit and a ring tell of it', async () => {
    const { mailbox, send } = await house()
    await mailbox.take(false, 0)
    const id = await send('once')
    mailbox.learn([{ id, lane: 'in', body: 'once' }], CURSOR_START)
    expect(bodies(await mailbox.take(false, 0))).toEqual(['once'])
    expect(await mailbox.take(false, 0)).toEqual([])
  })

  test('learns nothing from a commit that took less than what was read', async () => {
    const { mailbox, send, asked } = await house()
    const one = await send('one')
    const two = await send('two')
    expect(bodies(await mailbox.take(false, 0))).toEqual(['one', 'two'])
    mailbox.learn([{ id: two, lane: 'in', body: 'two' }], { hi: '0-0', in: one })
    asked()
    expect(bodies(await mailbox.take(false, 0))).toEqual([])
    expect(asked()).toEqual(['park'])
  })

  test('looks by itself when no ring comes for long', async () => {
    const { mailbox, clock, asked } = await house()
    await mailbox.take(false, 0)
    await mailbox.take(false, 0)
    expect(asked()).toEqual(['park'])
    await clock.advanceTo(clock.now() + LIMITS.watchdogMs)
    await mailbox.take(false, 0)
    expect(asked()).toEqual(['park'])
  })

  test('reads ahead where mail comes as a stream, and lets its commits look where it does not', async () => {
    const { mailbox, send, asked } = await house()
    expect(mailbox.look).toBe(LIMITS.batchMax)
    for (let i = 0; i < 20; i++) await send(`m${i}`)
    await mailbox.take(false, 0)
    expect(mailbox.look).toBe(0)
    asked()
    await mailbox.take(false, 0)
    expect(asked()).toEqual(['read'])
  })
})
