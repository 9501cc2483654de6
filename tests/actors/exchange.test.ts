import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { exchangeStream, ExchangePositions, WindowExchange } from '../../actors/exchange.ts'
import type { WindowOptions } from '../../actors/exchange.ts'
import type { SyncMessage } from '../../kernels/mod.ts'
import type { Client } from '../../runtime/mod.ts'
import { Fleet, transports } from '../harness/fleet.ts'
import { House } from './house.ts'

/** Below and above what is published whole. */
const SMALL = new Uint8Array(1_000).fill(7)
const LARGE = new Uint8Array(1_000_000).fill(9)

describe.each(transports)('members of a window on %s', (transport) => {
  let fleet: Fleet
  let house: House
  let client: Client
  let windows = 0
  beforeAll(async () => {
    fleet = await Fleet.start(transport, [])
    client = await fleet.client()
    house = await House.stores()
  })
  afterAll(async () => {
    await fleet.stop()
    await house.stop()
  })

  const optionsOf = (window: string, replica: number): WindowOptions => ({
    job: 'one',
    window,
    member: `member-${replica}`,
    replica,
    positions: new ExchangePositions(),
    moved: { exchangeBytes: 0, stateBytes: 0 },
  })
  const storedBlobs = async (): Promise<number> => (await Array.fromAsync(house.blobs.list())).length
  const opened = async (options: WindowOptions) => {
    const trouble = (_: string, error: unknown) => expect.unreachable(String(error))
    const exchange = await WindowExchange.open({ client, blobs: house.blobs, trouble }, options)
    const heard: SyncMessage[] = []
    exchange.listen((message) => heard.push(message))
    exchange.tell({ kind: 'join', member: options.member, replica: options.replica })
    return { exchange, heard, moved: options.moved, leaf: leafOf(options.member, options.replica) }
  }
  const pair = async () => {
    const window = `w${++windows}`
    const [a, b] = [await opened(optionsOf(window, 0)), await opened(optionsOf(window, 1))]
    await expect.poll(() => [a.heard.length, b.heard.length]).toEqual([1, 1]) // each has heard the other join
    return { window, a, b }
  }

  test.each([
    ['few', SMALL],
    ['many', LARGE],
  ])('hear leaves of %s bytes, whole and counted on both sides', async (_, bytes) => {
    const { a, b } = await pair()
    a.exchange.tell(a.leaf(3, bytes))
    await expect
      .poll(() => b.heard.at(-1))
      .toMatchObject({ kind: 'leaf', member: 'member-0', replica: 0, of: 2, step: 3 })
    const last = b.heard.at(-1)
    expect(last?.kind === 'leaf' && Buffer.compare(last.bytes, bytes)).toBe(0)
    expect([a.moved.exchangeBytes, b.moved.exchangeBytes]).toEqual([bytes.length, bytes.length])
    await Promise.all([a.exchange[Symbol.asyncDispose](), b.exchange[Symbol.asyncDispose]()])
    expect(await storedBlobs()).toBe(0)
  })

  test('hear neither themselves nor another window', async () => {
    const { a, b } = await pair()
    const other = await pair()
    other.a.exchange.tell(other.a.leaf(8, SMALL))
    await expect.poll(() => other.b.heard).toHaveLength(2)
    a.exchange.tell(a.leaf(1, SMALL))
    await expect.poll(() => b.heard.at(-1)).toMatchObject({ kind: 'leaf', step: 1 })
    expect(b.heard).toHaveLength(2)
    expect(a.heard).toHaveLength(1)
    for (const each of [a, b, other.a, other.b]) await each.exchange[Symbol.asyncDispose]()
  })

  test('leave nothing of their leaves in Redis', async () => {
    const { a, b } = await pair()
    a.exchange.tell(a.leaf(0, SMALL))
    await expect.poll(() => b.heard).toHaveLength(2)
    for (const each of [a, b]) await each.exchange[Symbol.asyncDispose]()
    const options = { signal: new AbortController().signal, follow: false }
    const notes = JSON.stringify(await Array.fromAsync(client.stream(exchangeStream('one'), 'oldest', options)))
    expect(notes).toContain('join')
    expect(notes).not.toContain('leaf')
  })

  test('one that comes late hears who is there, and to what the window came', async () => {
    const { window, a, b } = await pair()
    const late = await opened(optionsOf(window, 2))
    expect(late.heard.map(({ kind, member }) => `${kind} ${member}`)).toEqual(['join member-0', 'join member-1'])
    await a.exchange.tellEnd({ loss: 0.5 })
    await expect.poll(() => late.exchange.ended.aborted).toBe(true)
    for (const each of [a, b, late]) await each.exchange[Symbol.asyncDispose]()
    const after = await WindowExchange.open({ client, blobs: house.blobs, trouble: () => {} }, optionsOf(window, 3))
    expect(after.end).toEqual({ loss: 0.5 })
    await after[Symbol.asyncDispose]()
  })
})

function leafOf(member: string, replica: number): (step: number, bytes: Uint8Array) => SyncMessage {
  return (step, bytes) => ({ kind: 'leaf', member, replica, of: 2, step, bytes })
}
