/**
 * The process that asks, in the `runtime` benchmark: what a gateway is in production. Its owner, another process, has the
 * node; the two share two cores with Redis. Over IPC it is told what to do and says what it saw:
 *
 *     'capacity'        many wait at once, each asks again as soon as it is answered: the most asks a second
 *     asks a second     asks leave at evenly spaced times, whether or not earlier ones are answered (an open loop), and each
 *                       is timed from when it was due, so a stall counts against every ask that it holds up
 *
 * A timer of Node's cannot space asks evenly: it fires each millisecond or later, with a burst. A thread that sleeps on a
 * futex gives the beat instead, twice a millisecond at most (a faster beat costs a core what it wants to measure).
 */
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { address, openClient, redisTransport } from '../runtime/mod.ts'
import type { Client } from '../runtime/mod.ts'
import { directory, NAMESPACE, RELAYS } from './relay.ts'

const ASKERS = 512
const CAPACITY_MS = 3_000
const EVENLY_MS = 4_000
/** Not counted: code is being compiled, shards are waking up. */
const WARM_MS = 1_000
const BEAT_MS = 0.5

export type Task = 'capacity' | number
export interface Latency {
  readonly perS: number
  readonly p50Ms: number
  readonly p99Ms: number
}

async function ask(client: Client, i: number): Promise<void> {
  await client.ask(address('relay', String(i % RELAYS)), { type: 'get' }, { timeoutMs: 30_000 })
}

async function capacity(client: Client): Promise<number> {
  let answered = 0
  let from = 0
  const startedAt = performance.now()
  const asking = Array.from({ length: ASKERS }, async (_, asker) => {
    for (let i = asker; performance.now() - startedAt < WARM_MS + CAPACITY_MS; i += ASKERS) {
      await ask(client, i)
      answered++
    }
  })
  setTimeout(() => (from = answered), WARM_MS)
  await Promise.all(asking)
  return ((answered - from) * 1_000) / (performance.now() - startedAt - WARM_MS)
}

async function evenly(client: Client, perS: number): Promise<Latency> {
  const times: number[] = []
  const pending: Promise<void>[] = []
  const ended = Promise.withResolvers<void>()
  const startedAt = performance.now()
  let sent = 0
  const beat = new Worker(new URL(import.meta.url))
  beat.on('message', () => {
    const elapsed = performance.now() - startedAt
    const due = Math.floor((Math.min(elapsed, WARM_MS + EVENLY_MS) / 1_000) * perS)
    for (; sent < due; sent++) {
      const at = startedAt + (sent / perS) * 1_000
      const counts = at - startedAt > WARM_MS
      pending.push(ask(client, sent).then(() => void (counts && times.push(performance.now() - at))))
    }
    if (elapsed > WARM_MS + EVENLY_MS) ended.resolve()
  })
  await ended.promise
  await beat.terminate()
  await Promise.all(pending)
  times.sort((a, b) => a - b)
  const at = (share: number): number => times[Math.floor(times.length * share)] ?? 0
  return { perS, p50Ms: at(0.5), p99Ms: at(0.99) }
}

async function answer(url: string): Promise<void> {
  const transport = redisTransport({ url, namespace: NAMESPACE })
  await transport.start({ shards: directory.shards })
  const client = await openClient({ transport, directory })
  process.on('message', (task: Task) => {
    void (async () => process.send?.(await (task === 'capacity' ? capacity(client) : evenly(client, task))))()
  })
  process.on('disconnect', () => process.exit())
  process.send?.('ready')
}

if (isMainThread) {
  if (import.meta.main) await answer(process.argv[2] ?? '')
} else {
  const still = new Int32Array(new SharedArrayBuffer(4))
  for (;;) {
    Atomics.wait(still, 0, 0, BEAT_MS)
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- threads have no origin
    parentPort?.postMessage(null)
  }
}
