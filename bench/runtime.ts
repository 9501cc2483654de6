/**
 * What a durable message costs. A fixed number of messages circulates among actors for some seconds: each is read from
 * a mailbox, taken through an XState transition that rewrites a snapshot of about 400 bytes and sends one message to
 * another actor, and committed. One node process; Redis has the other core. Beside it, on the same Redis: BullMQ's jobs
 * through a worker, and a raw loop that moves the same bytes without any actor (XADD, XREAD, one script a batch).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Queue, Worker } from 'bullmq'
import { Redis } from 'ioredis'
import { assign, setup } from 'xstate'
import { address, defineActor, Node, openClient, redisTransport, SHARDS_DEFAULT, vocabulary } from '../runtime/mod.ts'
import type { Client, Directory } from '../runtime/mod.ts'
import { pathOf, startRedis } from './redis.ts'
import type { Benchmark } from './bench.ts'

const ACTORS = 2_000
const IN_FLIGHT = 4_096
const WARM_MS = 2_000
const MEASURE_MS = 6_000
const JOBS = 40_000
const ASKS = 20_000
const ASKERS = 512
const CAPACITY_MS = 3_000
const PAYLOAD = 'x'.repeat(300)

export const relayMachine = setup({
  types: {
    context: {} as { seen: number; self: number; payload: string },
    events: {} as { type: 'ball'; hop: number } | { type: 'get' },
    input: {} as { self: number },
  },
  actions: {
    ...vocabulary,
    count: assign({ seen: ({ context }) => context.seen + 1 }),
  },
}).createMachine({
  id: 'relay',
  context: ({ input }) => ({ seen: 0, self: input.self, payload: PAYLOAD }),
  initial: 'playing',
  states: {
    playing: {
      on: {
        ball: {
          actions: [
            'count',
            {
              type: 'tell',
              params: ({ context, event }) => ({
                to: `relay/${(context.self * 31 + context.seen * 17 + 1) % ACTORS}`,
                event: { type: 'ball', hop: event.hop + 1 },
              }),
            },
          ],
        },
        get: { actions: { type: 'reply', params: ({ context }) => ({ data: context.seen }) } },
      },
    },
  },
})

const relay = defineActor({ kind: 'relay', version: 1, machine: relayMachine, effects: {} })
const directory: Directory = { shards: SHARDS_DEFAULT, pinned: new Set() }

export const run: Benchmark = async (say) => {
  await using redis = await startRedis(say)
  say('raw loop …')
  const raw = await rawLoop(redis.url)
  say('BullMQ …')
  const bullmq = await bullmqLoop(redis.url)
  say('actors …')
  const actors = await actorLoop(redis.url)
  return {
    tell_per_s: Math.round(actors.tellPerS),
    bullmq_per_s: Math.round(bullmq),
    raw_per_s: Math.round(raw),
    ask_p50_ms: round(actors.askP50Ms),
    ask_p99_ms: round(actors.askP99Ms),
    tell_to_bullmq: round(actors.tellPerS / bullmq),
    tell_to_raw: round(actors.tellPerS / raw),
  }
}

async function actorLoop(url: string): Promise<{ tellPerS: number; askP50Ms: number; askP99Ms: number }> {
  const connect = async () => {
    const transport = redisTransport({ url, namespace: 'bench' })
    await transport.start({ shards: directory.shards })
    return transport
  }
  const transport = await connect()
  const node = new Node({ transport, actors: [relay], directory, hosts: 'sharded' })
  let messages = 0
  node.events.on('commit', (event) => (messages += event.messages))
  node.events.on('trouble', ({ where, error }) => process.stderr.write(`${where}: ${String(error)}\n`))
  await node.start()
  const clientTransport = await connect()
  const client = await openClient({ transport: clientTransport, directory })
  const ids = Array.from({ length: ACTORS }, (_, i) => i)
  await Promise.all(ids.map((self) => client.spawn(address('relay', String(self)), { self }, { timeoutMs: 30_000 })))

  const balls = Array.from({ length: IN_FLIGHT }, (_, i) => i % ACTORS)
  await Promise.all(balls.map((i) => client.tell(address('relay', String(i)), ball())))
  await sleep(WARM_MS)
  const before = messages
  const startedAt = performance.now()
  await sleep(MEASURE_MS)
  const tellPerS = ((messages - before) / (performance.now() - startedAt)) * 1_000
  await node.stop()

  // Asks at half of what this process can ask and answer at most; the client shares its core with the node.
  const second = new Node({ transport, actors: [relay], directory: directory, hosts: 'sharded' })
  await drained(second, client, url)
  const { p50, p99 } = await asks(client, (await askCapacity(client)) / 2)
  await second.stop()
  await client.stop()
  await clientTransport.stop()
  await transport.stop()
  return { tellPerS, askP50Ms: p50, askP99Ms: p99 }
}

const ball = (): { type: 'ball'; hop: number } => ({ type: 'ball', hop: 0 })

/** Empties the mailboxes, so that the asks meet no backlog. */
async function drained(node: Node, client: Client, url: string): Promise<void> {
  const redis = connectRaw(url)
  const keys = await redis.keys('{bench:*}:in')
  const outs = await redis.keys('{bench:*}:out')
  if (keys.length + outs.length > 0) await redis.del(...keys, ...outs)
  redis.disconnect()
  await node.start()
  await client.ask(address('relay', '0'), { type: 'get' }, { timeoutMs: 30_000 })
}

/** The most asks a second, with many waiting at once. */
async function askCapacity(client: Client): Promise<number> {
  let answered = 0
  const startedAt = performance.now()
  const asking = Array.from({ length: ASKERS }, async (_, asker) => {
    for (let i = asker; performance.now() - startedAt < CAPACITY_MS; i += ASKERS) {
      await client.ask(address('relay', String(i % ACTORS)), { type: 'get' }, { timeoutMs: 30_000 })
      answered++
    }
  })
  await Promise.all(asking)
  return (answered * 1_000) / (performance.now() - startedAt)
}

/** Asks arrive evenly at the given rate, whether or not earlier ones were answered (no coordinated omission). */
async function asks(client: Client, perS: number): Promise<{ p50: number; p99: number }> {
  if (process.env['BENCH_VERBOSE'] !== undefined) process.stderr.write(`  asking ${Math.round(perS)} times a second\n`)
  const times: number[] = []
  const pending: Promise<void>[] = []
  const startedAt = performance.now()
  for (let i = 0; i < ASKS;) {
    const due = Math.min(ASKS, Math.floor(((performance.now() - startedAt) / 1_000) * perS))
    for (; i < due; i++) {
      const at = startedAt + (i / perS) * 1_000
      const asked = client.ask(address('relay', String(i % ACTORS)), { type: 'get' }, { timeoutMs: 30_000 })
      pending.push(asked.then(() => void times.push(performance.now() - at)))
    }
    await sleep(1)
  }
  await Promise.all(pending)
  times.sort((a, b) => a - b)
  return { p50: times[Math.floor(times.length * 0.5)] ?? 0, p99: times[Math.floor(times.length * 0.99)] ?? 0 }
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
      commit('{raw}:out', '{raw}:in', cursor, ...rows.flatMap((_, i) => [String((taken + i) % ACTORS), snapshot])),
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
