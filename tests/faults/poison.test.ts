/** Messages and effects that kill the process of whoever takes them: found, put aside, and everything else goes on. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { address, numberedShard, openClient, redisTransport, shardOf } from '../../runtime/mod.ts'
import type { Client } from '../../runtime/mod.ts'
import { TestRedis } from '../harness/redis.ts'
import { SHARDS } from './poison-node.ts'
import type { VictimEvent } from './poison-node.ts'

const PROGRAM = fileURLToPath(new URL('poison-node.ts', import.meta.url))
const WAIT = { timeout: 60_000, interval: 50 } as const
const directory = { shards: SHARDS, pinned: new Set<string>() }
const [patient, neighbour] = [address('victim', 'a'), address('victim', 'a.b')] // in one shard
const shard = shardOf(patient, directory)
const elsewhere = [0, 1].map(numberedShard).find((name) => name !== shard)

let redis: TestRedis
let look: Redis
let client: Client
let stopClient: () => Promise<void>
let children: ChildProcess[] = []

beforeEach(async () => {
  redis = await TestRedis.start()
  look = new Redis({ path: redis.url })
  const transport = redisTransport({ url: redis.url })
  await transport.start({ shards: SHARDS })
  client = await openClient({ transport, directory })
  stopClient = async () => {
    await client.stop()
    await transport.stop()
  }
})
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL')
  children = []
  await stopClient()
  look.disconnect()
  await redis.stop()
})

function startNode(...more: string[]): string {
  const id = `n${children.length + 1}`
  const args = ['--max-old-space-size=80', PROGRAM, redis.url, id, ...more]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  child.stderr.resume()
  children.push(child)
  return id
}

const letters = async (): Promise<
  readonly { fault: { code: string; data: { owners: string[] } }; message: string }[]
> => (await look.xrange(`{tf:${shard}}:dlq`, '-', '+')).map(([, fields]) => JSON.parse(fields[1] ?? '') as never)
const owns = async (id: string) =>
  (await look.hget(`{tf:${shard}}:meta`, 'owner')) === id && (await look.exists(`{tf:${shard}}:lease`)) === 1

/** Starts one node after the other, each when the one before has died or lost its lease, until the condition holds. */
async function replaceUntil(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) {
    const id = startNode()
    await vi.waitUntil(() => owns(id), WAIT)
    await vi.waitUntil(async () => (await condition()) || !(await owns(id)), WAIT)
  }
}

const tell = (to: typeof patient, event: VictimEvent) => client.tell(to, event)
const contextOf = async (actor: typeof patient) =>
  (await client.read(actor))?.context as unknown as { notes: number[]; end: string }

test.each(['exit', 'loop', 'memory'] as const)(
  'a message that ends its process by %s is put aside after some owners, and all else is taken once, in order',
  { timeout: 150_000 },
  async (how) => {
    const first = startNode()
    await vi.waitUntil(() => owns(first), WAIT)
    for (const actor of [patient, neighbour]) await client.spawn(actor, null, { timeoutMs: 30_000 })
    for (let n = 0; n < 60; n++) {
      if (n === 30) await tell(patient, { type: 'kill', how })
      for (const actor of [patient, neighbour]) await tell(actor, { type: 'note', n })
    }
    await vi.waitUntil(async () => !(await owns(first)), WAIT)
    await replaceUntil(async () => (await letters()).length > 0)
    const notes = Array.from({ length: 60 }, (_, n) => n)
    for (const actor of [patient, neighbour]) {
      await expect.poll(async () => (await contextOf(actor)).notes, WAIT).toEqual(notes)
    }
    const [letter, ...more] = await letters()
    expect(more).toEqual([])
    expect(letter).toMatchObject({ fault: { code: 'message.poisonous', data: { attempts: 3 } } })
    expect(new Set(letter?.fault.data.owners).size).toBe(3)
    expect(JSON.parse(letter?.message ?? '')).toMatchObject({ to: patient, type: 'kill' })
    expect(children.length).toBeLessThanOrEqual(7)
    // The last owner goes on, in every shard.
    expect(await client.ask(patient, { type: 'note', n: 60 } as VictimEvent)).toMatchObject({ handled: true })
    expect(await look.xlen(`{tf:${elsewhere}}:dlq`)).toBe(0)
  },
)

test(
  'a process that is stuck in a transition ends itself and says why, and one that was frozen for longer does not',
  { timeout: 150_000 },
  async () => {
    const first = startNode('3000')
    const [child] = children as [ChildProcess]
    let said = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (said += text))
    await vi.waitUntil(() => owns(first), WAIT)
    await client.spawn(patient, null, { timeoutMs: 30_000 })

    child.kill('SIGSTOP')
    const frozenAt = performance.now() // it must be longer than what counts as stuck
    await vi.waitUntil(() => performance.now() - frozenAt > 6_000, WAIT)
    expect(await owns(first)).toBe(false)
    child.kill('SIGCONT')
    await vi.waitUntil(() => owns(first), WAIT)
    await client.ask(patient, { type: 'note', n: 1 } as VictimEvent, { timeoutMs: 30_000 })
    expect(child.exitCode ?? child.signalCode).toBeNull()

    const exit = once(child, 'exit')
    await tell(patient, { type: 'kill', how: 'loop' })
    expect(await exit).toEqual([null, 'SIGKILL'])
    expect(said).toMatch(/^Node n1 is stuck: for 3 s its event loop has not turned/)
  },
)

test(
  'an effect that ends its process fails after some owners, and its neighbours live',
  { timeout: 150_000 },
  async () => {
    const first = startNode()
    await vi.waitUntil(() => owns(first), WAIT)
    for (const actor of [patient, neighbour]) await client.spawn(actor, null, { timeoutMs: 30_000 })
    await tell(patient, { type: 'go', deadly: true })
    await vi.waitUntil(async () => !(await owns(first)), WAIT)
    await tell(neighbour, { type: 'go', deadly: false })
    await replaceUntil(async () => (await contextOf(patient)).end !== '')
    expect(await contextOf(patient)).toMatchObject({ end: 'effect.poisonous' })
    await expect.poll(() => contextOf(neighbour), WAIT).toMatchObject({ end: 'lived' })
    expect(children.length).toBeLessThanOrEqual(7)
    expect(await letters()).toEqual([])
  },
)
