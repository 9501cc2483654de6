/**
 * What a dead owner costs. Two node processes share the shards under load; one is killed with `kill -9`, twenty times. A
 * takeover has ended when an actor in every shard answers again. In the end the relays' counts tell, hop by hop, whether
 * any message was lost or taken twice.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { address, openClient, redisTransport, shardOf } from '../runtime/mod.ts'
import type { ActorAddress, Client } from '../runtime/mod.ts'
import type { Benchmark } from './bench.ts'
import { directory, HOPS, RELAYS, relay } from './recovery-node.ts'
import type { RelayContext } from './recovery-node.ts'
import { startRedis } from './redis.ts'

const KILLS = 20
const BALLS = 256
/** Between a takeover and the next kill, so that the replacement has its share of the shards again. */
const CALM_MS = 1_000
const FINISH_MS = 120_000

const PROGRAM = fileURLToPath(new URL('./recovery-node.ts', import.meta.url))

export const run: Benchmark = async (say) => {
  await using redis = await startRedis(say)
  const transport = redisTransport({ url: redis.url, namespace: 'recovery' })
  await transport.start({ shards: directory.shards })
  const nodes = await Promise.all([startNode(redis.url), startNode(redis.url)])
  const client = await openClient({ transport, directory })
  try {
    const relays = Array.from({ length: RELAYS }, (_, i) => address(relay.kind, String(i)))
    await Promise.all(relays.map((to, self) => client.spawn(to, { self }, { timeoutMs: 30_000 })))
    await Promise.all(Array.from({ length: BALLS }, (_, i) => client.tell(relays[i % RELAYS] ?? relays[0]!, ball())))
    const takeovers: number[] = []
    for (let kill = 1; kill <= KILLS; kill++) {
      await sleep(CALM_MS)
      const victim = nodes.shift()
      const killedAt = performance.now()
      victim?.kill('SIGKILL')
      await Promise.all(onePerShard(relays).map((actor) => answered(client, actor)))
      takeovers.push(performance.now() - killedAt)
      say(`  kill ${kill}: ${Math.round(takeovers.at(-1) ?? 0)} ms`)
      nodes.push(await startNode(redis.url))
    }
    say('  waiting for the balls to finish their hops …')
    const { hops, finished } = await tally(client, relays)
    const expected = BALLS * (HOPS + 1)
    takeovers.sort((a, b) => a - b)
    return {
      kills: KILLS,
      takeover_p50_ms: Math.round(takeovers[Math.floor(KILLS / 2)] ?? 0),
      takeover_max_ms: Math.round(takeovers.at(-1) ?? 0),
      lost: Math.max(0, expected - hops),
      duplicated: Math.max(0, hops - expected) + Math.max(0, finished - BALLS),
      messages: hops,
    }
  } finally {
    for (const node of nodes) node.kill('SIGKILL')
    await client.stop()
    await transport.stop()
  }
}

const ball = (): { type: 'ball'; hop: number } => ({ type: 'ball', hop: 0 })

async function startNode(url: string): Promise<ChildProcess> {
  const node = spawn(process.execPath, [PROGRAM, url], { stdio: ['pipe', 'pipe', 'ignore'] })
  await once(node.stdout, 'data')
  return node
}

function onePerShard(actors: readonly ActorAddress[]): readonly ActorAddress[] {
  return [...new Map(actors.map((actor) => [shardOf(actor, directory), actor])).values()]
}

/** Asks again until there is an answer: an ask that died with its owner is nobody's fault. */
async function answered(client: Client, actor: ActorAddress): Promise<void> {
  for (;;) {
    try {
      await client.ask(actor, { type: 'get' }, { timeoutMs: 250, control: true })
      return
    } catch {
      // not yet
    }
  }
}

/** What all relays have counted, once every ball has made its last hop, or nothing has moved for long. */
async function tally(client: Client, relays: readonly ActorAddress[]): Promise<{ hops: number; finished: number }> {
  const until = performance.now() + FINISH_MS
  for (;;) {
    const contexts = await Promise.all(relays.map(async (actor) => (await client.read(actor))?.context))
    const sum = { hops: 0, finished: 0 }
    for (const { hops, finished } of contexts as unknown as readonly RelayContext[]) {
      sum.hops += hops
      sum.finished += finished
    }
    if (sum.finished >= BALLS || performance.now() > until) return sum
    await sleep(500)
  }
}
