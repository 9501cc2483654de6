/**
 * What an idle actor costs: bytes in Redis and in its node's memory, the time to wake it, and whether actors that are
 * silent slow down those that are not. The same figures at ten thousand and at a million actors.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Redis } from 'ioredis'
import { assign, setup } from 'xstate'
import { address, defineActor, Node, openClient, redisTransport, SHARDS_DEFAULT, vocabulary } from '../runtime/mod.ts'
import type { Client, Directory } from '../runtime/mod.ts'
import type { Benchmark } from './bench.ts'
import { pathOf, startRedis } from './redis.ts'

const FEW = 10_000
const MANY = 1_000_000
/** Actors that receive while the rest is silent. */
const RECEIVING = 1_000
const MESSAGES = 100_000
const WAKES = 500
const SPAWNS_AT_ONCE = 2_000
const PAYLOAD = 'x'.repeat(300)

const machine = setup({
  types: {
    context: {} as { seen: number; payload: string },
    events: {} as { type: 'poke' } | { type: 'get' },
  },
  actions: { ...vocabulary, count: assign({ seen: ({ context }) => context.seen + 1 }) },
}).createMachine({
  id: 'idler',
  context: { seen: 0, payload: PAYLOAD },
  on: {
    poke: { actions: 'count' },
    get: { actions: { type: 'reply', params: ({ context }) => ({ data: context.seen }) } },
  },
})

const idler = defineActor({ kind: 'idler', version: 1, machine, effects: {} })
const directory: Directory = { shards: SHARDS_DEFAULT, pinned: new Set() }
const idlerAt = (index: number) => address('idler', String(index))

export const run: Benchmark = async (say) => {
  await using redis = await startRedis(say)
  const transport = redisTransport({ url: redis.url, namespace: 'idle' })
  await transport.start({ shards: directory.shards })
  const asking = redisTransport({ url: redis.url, namespace: 'idle' })
  await asking.start({ shards: directory.shards })
  const info = new Redis(pathOf(redis.url))
  const node = new Node({ transport, directory, actors: [idler], hosts: 'sharded' })
  await node.start()
  const client = await openClient({ transport: asking, directory })

  const redisBefore = await usedBytes(info)
  await spawnUpTo(client, 0, FEW)
  const few = await measure(client, FEW)
  say(`  at ${FEW} actors: ${few.pokesPerS} messages a second, woken in ${few.activateP99Ms} ms (p99)`)
  const heapBefore = heapBytes()
  await spawnUpTo(client, FEW, MANY)
  // Journals are capped; what a million spawns left there is no cost of an idle actor.
  await dropJournals(info)
  const heapAfter = heapBytes()
  const indexBytes = await indexedBytes(info)
  const redisBytes = (await usedBytes(info)) - redisBefore
  const many = await measure(client, MANY)
  say(`  at ${MANY} actors: ${many.pokesPerS} messages a second, woken in ${many.activateP99Ms} ms (p99)`)

  await client.stop()
  await node.stop()
  info.disconnect()
  await Promise.all([transport.stop(), asking.stop()])
  return {
    redis_bytes_per_actor: Math.round(redisBytes / MANY),
    index_bytes_per_actor: Math.round(indexBytes / MANY),
    heap_bytes_per_idle_actor: Math.max(0, Math.round((heapAfter - heapBefore) / (MANY - FEW))),
    activate_p99_ms: many.activateP99Ms,
    pokes_per_s_few: few.pokesPerS,
    pokes_per_s_many: many.pokesPerS,
    activate_p99_ms_few: few.activateP99Ms,
  }
}

async function spawnUpTo(client: Client, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i += SPAWNS_AT_ONCE) {
    const batch = Array.from({ length: Math.min(SPAWNS_AT_ONCE, to - i) }, (_, k) => idlerAt(i + k))
    await Promise.all(batch.map((actor) => client.spawn(actor, null, { timeoutMs: 30_000 })))
  }
}

async function measure(client: Client, actors: number): Promise<{ pokesPerS: number; activateP99Ms: number }> {
  const startedAt = performance.now()
  for (let sent = 0; sent < MESSAGES; sent += RECEIVING) {
    await Promise.all(Array.from({ length: RECEIVING }, (_, i) => client.tell(idlerAt(i), { type: 'poke' })))
  }
  await Promise.all(Array.from({ length: RECEIVING }, (_, i) => client.ask(idlerAt(i), { type: 'get' })))
  const pokesPerS = Math.round((MESSAGES * 1_000) / (performance.now() - startedAt))
  const times: number[] = []
  for (let i = 0; i < WAKES; i++) {
    const sleeper = idlerAt(RECEIVING + Math.floor(Math.random() * (actors - RECEIVING)))
    const at = performance.now()
    await client.ask(sleeper, { type: 'get' })
    times.push(performance.now() - at)
    await sleep(1)
  }
  times.sort((a, b) => a - b)
  return { pokesPerS, activateP99Ms: Math.round((times[Math.floor(WAKES * 0.99)] ?? 0) * 100) / 100 }
}

async function usedBytes(redis: Redis): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1])
}

/** Of these, what the index of states takes: a kind may do without. */
async function indexedBytes(redis: Redis): Promise<number> {
  let bytes = 0
  for (let shard = 0; shard < directory.shards; shard++) {
    bytes += Number(await redis.memory('USAGE', `{idle:${shard}}:ix:idler:`, 'SAMPLES', 0))
  }
  return bytes
}

async function dropJournals(redis: Redis): Promise<void> {
  for (let shard = 0; shard < directory.shards; shard++) await redis.del(`{idle:${shard}}:ev`)
}

function heapBytes(): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void // what the flag has just made
  collect()
  collect()
  return process.memoryUsage().heapUsed
}
