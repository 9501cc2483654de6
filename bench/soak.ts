/**
 * Whether a fleet stays as it is: ten minutes (`--minutes`) of steady load on one node that stays and one that comes each
 * minute and leaves, politely or by `kill -9`. Notes between actors of all shards, asks, effects, timers, actors that are
 * born and end, repeated tells, dead letters, clients that come and go. Every quarter of a minute the memory of the node
 * that stays, and of the client, is taken after a full collection; `heap_slope_mb_per_min` is the least-squares line
 * through the last two thirds of it. Redis is looked at key by key: what a fleet keeps for good would be seen growing.
 *
 * In the end every count is compared with what was sent: a note, a birth or a visit that is missing is lost, one too many
 * is duplicated.
 */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { openClient, redisTransport, ref } from '../runtime/mod.ts'
import type { Client } from '../runtime/mod.ts'
import type { Benchmark } from './bench.ts'
import { pathOf, startRedis } from './redis.ts'
import { resting, SoakLoad } from './soak-load.ts'
import { directory, GUESTBOOK, KEEPERS, keeperAt, memory, NAMESPACE, visitor } from './soak-node.ts'
import type { Sample } from './soak-node.ts'

const WARM_MS = 15_000
const SAMPLE_EVERY_MS = 15_000
const GUEST_EVERY_MS = 60_000
const GUEST_STAYS_MS = 30_000
const REST_MS = 60_000
const PROGRAM = fileURLToPath(new URL('./soak-node.ts', import.meta.url))
const MEGABYTE = 1_048_576

interface Look {
  readonly minute: number
  readonly node: Sample
  readonly client: Omit<Sample, 'messages'>
  readonly redisMb: number
  readonly journalsMb: number
  readonly keys: number
  /** Of the longest stream, and of the longest mailbox, outbox or held stream. */
  readonly streamMax: number
  readonly mailMax: number
}

export const run: Benchmark = async (say, { minutes }) => {
  await using redis = await startRedis(say)
  const transport = redisTransport({ url: redis.url, namespace: NAMESPACE })
  await transport.start({ shards: directory.shards })
  const look = new Redis(pathOf(redis.url))
  const stays = await startNode(redis.url, 'stays')
  const client = await openClient({ transport, directory })
  const over = new AbortController()
  const { signal } = over
  let guestMessages = 0
  try {
    await client.spawn(GUESTBOOK, null, { timeoutMs: 30_000 })
    await Promise.all(
      Array.from({ length: KEEPERS }, (_, self) => client.spawn(keeperAt(self), { self }, { timeoutMs: 30_000 })),
    )
    const load = new SoakLoad({ client, url: redis.url, signal })
    const loading = load.run()
    const guests = comeAndGo(redis.url, client, load, signal, (messages) => (guestMessages += messages), say)
    await sleep(WARM_MS)
    const looks: Look[] = []
    const startedAt = performance.now()
    for (let i = 0; ; i++) {
      await sleep(Math.max(0, startedAt + i * SAMPLE_EVERY_MS - performance.now()))
      const minute = (performance.now() - startedAt) / 60_000
      const now = await lookAround(look, stays, minute)
      looks.push(now)
      say(
        `  ${minute.toFixed(2)} min: ${now.node.messages} messages, node ${now.node.heapMb.toFixed(1)} MB of ${now.node.rssMb.toFixed(0)}, ` +
          `client ${now.client.heapMb.toFixed(1)} MB, Redis ${now.redisMb.toFixed(0)} MB, ${now.keys} keys`,
      )
      if (minute >= minutes - 0.01) break
    }
    over.abort()
    await Promise.all([loading, guests])
    const { lost, duplicated } = await tally(client, load)
    const [first, last] = [looks[0], looks.at(-1)]
    if (first === undefined || last === undefined) throw new Error('nothing was measured')
    const steady = looks.slice(Math.floor(looks.length / 3))
    return {
      minutes,
      messages: last.node.messages + guestMessages,
      rss_start_mb: round(first.node.rssMb),
      rss_end_mb: round(last.node.rssMb),
      heap_start_mb: round(first.node.heapMb),
      heap_end_mb: round(last.node.heapMb),
      heap_slope_mb_per_min: round(
        slope(steady, (each) => each.node.heapMb),
        3,
      ),
      client_heap_slope_mb_per_min: round(
        slope(steady, (each) => each.client.heapMb),
        3,
      ),
      redis_mb_start: round(first.redisMb),
      redis_mb_end: round(last.redisMb),
      redis_journals_mb_start: round(first.journalsMb),
      redis_journals_mb_end: round(last.journalsMb),
      redis_keys_start: first.keys,
      redis_keys_end: last.keys,
      streams_entries_max: Math.max(...looks.map(({ streamMax }) => streamMax)),
      mailbox_entries_max: Math.max(...looks.map(({ mailMax }) => mailMax)),
      asks: load.asks,
      asks_unanswered: load.unanswered,
      dead_letters: load.poisons,
      guests: load.guests,
      uncertain: load.uncertain,
      lost,
      duplicated,
    }
  } finally {
    over.abort()
    stays.kill('SIGKILL')
    await client.stop()
    await transport.stop()
    look.disconnect()
  }
}

async function startNode(url: string, id: string, ...guest: string[]): Promise<ChildProcess> {
  const child = fork(PROGRAM, [url, id, ...guest], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  await once(child, 'message')
  return child
}

async function sampleOf(node: ChildProcess): Promise<Sample> {
  const said = once(node, 'message')
  node.send('how much?')
  const [sample] = (await said) as [Sample] // as soak-node.ts answers
  return sample
}

/** One guest after the other: a node with a pinned visitor, which leaves in one way or the other. */
async function comeAndGo(
  url: string,
  client: Client,
  load: SoakLoad,
  signal: AbortSignal,
  onMessages: (count: number) => void,
  say: (line: string) => void,
): Promise<void> {
  for (let guest = 1; !signal.aborted; guest++) {
    const cameAt = performance.now()
    const node = await startNode(url, `guest-${guest}`, String(guest))
    const at = ref(visitor, String(guest))
    await client.spawn(at, null, { timeoutMs: 10_000 })
    load.guest = at
    await resting(GUEST_STAYS_MS, signal)
    load.guest = null
    load.guests++
    onMessages((await sampleOf(node)).messages)
    const exited = once(node, 'exit')
    if (guest % 2 === 1) {
      await client.tell(at, { type: 'leave' })
      node.kill('SIGTERM')
    } else node.kill('SIGKILL')
    await exited
    say(`  guest ${guest} has ${guest % 2 === 1 ? 'left' : 'been killed'}`)
    await resting(GUEST_EVERY_MS - (performance.now() - cameAt), signal)
  }
}

async function lookAround(redis: Redis, stays: ChildProcess, minute: number): Promise<Look> {
  const node = await sampleOf(stays)
  const used = Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1])
  const streams = new Set<string>()
  let cursor = '0'
  do {
    const [next, keys] = await redis.scan(cursor, 'COUNT', 1_000, 'TYPE', 'stream')
    cursor = next
    for (const key of keys) streams.add(key)
  } while (cursor !== '0')
  let [streamMax, mailMax, journals] = [0, 0, 0]
  for (const key of streams) {
    const entries = await redis.xlen(key)
    streamMax = Math.max(streamMax, entries)
    if (/\}:(hi|in|out|held)$/.test(key)) mailMax = Math.max(mailMax, entries)
    if (key.endsWith('}:ev')) journals += (await redis.memory('USAGE', key)) ?? 0
  }
  return {
    minute,
    node,
    client: memory(),
    redisMb: used / MEGABYTE,
    journalsMb: journals / MEGABYTE,
    keys: await redis.dbsize(),
    streamMax,
    mailMax,
  }
}

/** Once all that was sent has been taken, or nothing has moved for long. */
async function tally(client: Client, load: SoakLoad): Promise<{ lost: number; duplicated: number }> {
  const until = performance.now() + REST_MS
  for (;;) {
    const result = await load.compare(client)
    if ((result.lost === 0 && result.duplicated === 0) || performance.now() > until) return result
    await sleep(500)
  }
}

/** Of the line of least squares, per minute. */
function slope(looks: readonly Look[], of: (look: Look) => number): number {
  const mean = (values: readonly number[]): number => values.reduce((sum, each) => sum + each, 0) / values.length
  const [x, y] = [mean(looks.map(({ minute }) => minute)), mean(looks.map(of))]
  const over = looks.reduce((sum, look) => sum + (look.minute - x) * (of(look) - y), 0)
  const under = looks.reduce((sum, look) => sum + (look.minute - x) ** 2, 0)
  return under === 0 ? 0 : over / under
}

function round(value: number, digits = 1): number {
  return Number(value.toFixed(digits))
}
