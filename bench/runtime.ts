/**
 * What a durable message costs. A fixed number of messages circulates among actors for some seconds: each is read from
 * a mailbox, taken through an XState transition that rewrites a snapshot of about 400 bytes and sends one message to
 * another actor, and committed. One node process; Redis has the other core (and, for `tell_max_per_s`, the same with more
 * processes). Beside it, on the same Redis: BullMQ's jobs through a worker, and a raw loop that moves the same bytes
 * without any actor (XADD, XREAD, one script a batch).
 *
 * Asks come from a process of their own, as from a gateway (`asker.ts` says how they are timed). Three processes then share
 * two cores: `ask_max_per_s` is the most that this set-up sustains, and the latencies are taken at shares of it.
 */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Queue, Worker } from 'bullmq'
import { Redis } from 'ioredis'
import { address, Node, openClient, redisTransport } from '../runtime/mod.ts'
import type { Client } from '../runtime/mod.ts'
import type { Latency, Task } from './asker.ts'
import type { Benchmark } from './bench.ts'
import { pathOf, startRedis } from './redis.ts'
import { directory, NAMESPACE, PAYLOAD, relay, RELAYS } from './relay.ts'

const IN_FLIGHT = 4_096
const WARM_MS = 2_000
const MEASURE_MS = 6_000
const JOBS = 40_000
/** Of the most asks a second; the last is the one that counts. */
const ASK_LOADS = [0.1, 0.25, 0.5] as const

export const run: Benchmark = async (say) => {
  await using redis = await startRedis(say)
  say('raw loop …')
  const raw = await rawLoop(redis.url)
  say('BullMQ …')
  const bullmq = await bullmqLoop(redis.url)
  say('actors, one process …')
  const tell = await tellOne(redis.url)
  say('actors, two processes …')
  const tellTwo = await tellMany(redis.url, 2)
  say('asks …')
  const { maxPerS, curve } = await askLoop(redis.url)
  const half = curve.at(-1)
  return {
    tell_per_s: Math.round(tell),
    bullmq_per_s: Math.round(bullmq),
    raw_per_s: Math.round(raw),
    ask_p50_ms: round(half?.p50Ms ?? NaN),
    ask_p99_ms: round(half?.p99Ms ?? NaN),
    ask_max_per_s: Math.round(maxPerS),
    ask_curve: curve.map(({ perS, p50Ms, p99Ms }) => ({
      asks_per_s: Math.round(perS),
      p50_ms: round(p50Ms),
      p99_ms: round(p99Ms),
    })),
    tell_max_per_s: Math.round(Math.max(tell, tellTwo)),
    tell_max_processes: tellTwo > tell ? 2 : 1,
    tell_to_bullmq: round(tell / bullmq),
    tell_to_raw: round(tell / raw),
  }
}

/** One node, in this process. */
export async function tellOne(url: string): Promise<number> {
  const transport = redisTransport({ url, namespace: NAMESPACE })
  await transport.start({ shards: directory.shards })
  const node = new Node({ transport, actors: [relay], directory, hosts: 'sharded' })
  let messages = 0
  node.events.on('commit', (event) => (messages += event.messages))
  node.events.on('trouble', ({ where, error }) => process.stderr.write(`${where}: ${String(error)}\n`))
  await node.start()
  await kickOff(url)
  const perS = await rateOf(async () => messages)
  await node.stop()
  await transport.stop()
  await emptied(url)
  return perS
}

/** So many node processes, each with its share of the shards. */
export async function tellMany(url: string, processes: number): Promise<number> {
  const nodes = await Promise.all(Array.from({ length: processes }, () => start('./relay.ts', url)))
  await kickOff(url)
  const perS = await rateOf(async () => {
    const counts = await Promise.all(nodes.map((node) => said<number>(node, 'how far?')))
    return counts.reduce((sum, count) => sum + count, 0)
  })
  await Promise.all(nodes.map(end))
  await emptied(url)
  return perS
}

/** Brings the relays to life, if they are not yet. */
async function spawned(url: string): Promise<void> {
  await withClient(url, async (client) => {
    const ids = Array.from({ length: RELAYS }, (_, i) => i)
    await Promise.all(ids.map((self) => client.spawn(address('relay', String(self)), { self }, { timeoutMs: 30_000 })))
  })
}

async function kickOff(url: string): Promise<void> {
  await spawned(url)
  await withClient(url, async (client) => {
    const first = Array.from({ length: IN_FLIGHT }, (_, i) => address('relay', String(i % RELAYS)))
    await Promise.all(first.map((to) => client.tell(to, ball())))
  })
}

async function withClient(url: string, use: (client: Client) => Promise<void>): Promise<void> {
  const transport = redisTransport({ url, namespace: NAMESPACE })
  await transport.start({ shards: directory.shards })
  const client = await openClient({ transport, directory })
  await use(client)
  await client.stop()
  await transport.stop()
}

const ball = (): { type: 'ball'; hop: number } => ({ type: 'ball', hop: 0 })

async function rateOf(count: () => Promise<number>): Promise<number> {
  await sleep(WARM_MS)
  const before = await count()
  const startedAt = performance.now()
  await sleep(MEASURE_MS)
  return (((await count()) - before) / (performance.now() - startedAt)) * 1_000
}

/** Empties the mailboxes, so that what comes next meets no backlog. */
async function emptied(url: string): Promise<void> {
  const redis = connectRaw(url)
  const lanes = await redis.keys(`{${NAMESPACE}:*}:in`)
  if (lanes.length > 0) await redis.del(...lanes)
  redis.disconnect()
}

/** A node here and the one who asks in another process: the most asks a second, and the latency below that. */
export async function askLoop(url: string): Promise<{ readonly maxPerS: number; readonly curve: readonly Latency[] }> {
  const node = await start('./relay.ts', url)
  await spawned(url)
  const asker = await start('./asker.ts', url)
  const maxPerS = await said<number>(asker, 'capacity' satisfies Task)
  const curve: Latency[] = []
  for (const share of ASK_LOADS) curve.push(await said<Latency>(asker, (maxPerS * share) satisfies Task))
  await Promise.all([end(asker), end(node)])
  return { maxPerS, curve }
}

/** A process of this benchmark; it has said that it is ready. */
async function start(program: string, url: string): Promise<ChildProcess> {
  const child = fork(new URL(program, import.meta.url), [url])
  await once(child, 'message')
  return child
}

/** What a process answers. */
async function said<T>(child: ChildProcess, task: string | number): Promise<T> {
  child.send(task)
  const [answer] = (await once(child, 'message')) as [T] // each program says what it answers to what
  return answer
}

async function end(child: ChildProcess): Promise<void> {
  child.disconnect()
  await once(child, 'exit')
}

/** XADD, XREAD, and one script a batch that writes a snapshot and a send for each message; three batches in flight. */
async function rawLoop(url: string): Promise<number> {
  const redis = connectRaw(url)
  const producer = connectRaw(url)
  redis.defineCommand('rawCommit', {
    numberOfKeys: 2,
    lua: `for i = 2, #ARGV, 2 do
        redis.call('SET', '{raw}:st:' .. ARGV[i], ARGV[i + 1])
        redis.call('XADD', KEYS[1], 'MAXLEN', '~', 10000, '*', 'e', ARGV[i])
      end
      redis.call('XTRIM', KEYS[2], 'MINID', '~', ARGV[1])
      return 'ok'`,
  })
  const commit = (redis as unknown as { rawCommit: (...args: string[]) => Promise<unknown> }).rawCommit.bind(redis) // defined above
  const snapshot = JSON.stringify({ value: 'playing', context: { seen: 1, self: 1, payload: PAYLOAD } })
  const body = JSON.stringify({ id: 'x', to: 'relay/1', type: 'ball', data: { hop: 1 }, sentAt: Date.now() })
  let taken = 0
  const stop = new AbortController()
  const produce = async (): Promise<void> => {
    let backlog = 0
    while (!stop.signal.aborted) {
      if (backlog - taken > 20_000) {
        await new Promise((resolve) => void setImmediate(resolve))
        continue
      }
      const pipeline = producer.pipeline()
      for (let i = 0; i < 256; i++) pipeline.xadd('{raw}:in', '*', 'e', body)
      await pipeline.exec()
      backlog += 256
    }
  }
  const producing = produce()
  let cursor = '0-0'
  const inFlight: Promise<unknown>[] = []
  const startedAt = performance.now()
  while (performance.now() - startedAt < MEASURE_MS) {
    const reply = await redis.xread('COUNT', 256, 'STREAMS', '{raw}:in', cursor)
    const rows = reply?.[0]?.[1] ?? []
    if (rows.length === 0) continue
    cursor = rows.at(-1)?.[0] ?? cursor
    inFlight.push(
      commit('{raw}:out', '{raw}:in', cursor, ...rows.flatMap((_, i) => [String((taken + i) % RELAYS), snapshot])),
    )
    if (inFlight.length >= 3) await inFlight.shift()
    taken += rows.length
  }
  const perS = (taken / (performance.now() - startedAt)) * 1_000
  stop.abort()
  await Promise.all([producing, ...inFlight])
  redis.disconnect()
  producer.disconnect()
  return perS
}

/** BullMQ's own best: jobs added in bulk beforehand, one worker in this process, high concurrency. */
async function bullmqLoop(url: string): Promise<number> {
  const connection = { ...pathOf(url), maxRetriesPerRequest: null }
  const queue = new Queue('bench', { connection, defaultJobOptions: { removeOnComplete: true } })
  const jobs = Array.from({ length: 1_000 }, () => ({ name: 'ball', data: { hop: 1, payload: PAYLOAD } }))
  for (let i = 0; i < JOBS / jobs.length; i++) await queue.addBulk(jobs)
  const done = Promise.withResolvers<void>()
  let count = 0
  const startedAt = performance.now()
  const worker = new Worker(
    'bench',
    async () => {
      if (++count === JOBS) done.resolve()
    },
    { connection, concurrency: 200 },
  )
  await done.promise
  const perS = (JOBS / (performance.now() - startedAt)) * 1_000
  await worker.close()
  await queue.close()
  return perS
}

function connectRaw(url: string): Redis {
  return new Redis({ ...pathOf(url), maxRetriesPerRequest: null })
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}
