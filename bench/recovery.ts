/**
 * What an owner costs that leaves, and one that dies. Two node processes share the shards under load. Twenty times one is
 * told to leave: for each of its shards, the time from the last commit of its old owner to the first of the new one. Then,
 * twenty times, one is killed with `kill -9`: a takeover has ended when an actor in every shard answers again. In the end
 * the relays' counts tell, hop by hop, whether any message was lost or taken twice.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { address, openClient, redisTransport, shardOf } from '../runtime/mod.ts'
import type { ActorAddress, Client, ShardName } from '../runtime/mod.ts'
import type { Benchmark } from './bench.ts'
import { directory, HOPS, RELAYS, relay } from './recovery-node.ts'
import type { RelayContext, Said } from './recovery-node.ts'
import { startRedis } from './redis.ts'

const LEAVES = 20
const KILLS = 20
const BALLS = 256
/** Between a takeover and the next kill, so that the replacement has its share of the shards again. */
const CALM_MS = 1_000
const FINISH_MS = 60_000
/** A shard that has not been taken up by then counts as so long without an owner. */
const TAKEN_UP_MS = 5_000

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
    const handovers: number[] = []
    for (let leave = 1; leave <= LEAVES; leave++) {
      await sleep(CALM_MS)
      const gaps = await handedOver(nodes)
      handovers.push(...gaps)
      say(`  leave ${leave}: ${Math.max(...gaps)} ms at most`)
      nodes.push(await startNode(redis.url))
    }
    const takeovers: number[] = []
    for (let kill = 1; kill <= KILLS; kill++) {
      await sleep(CALM_MS)
      const victim = nodes.shift()
      const killedAt = performance.now()
      victim?.process.kill('SIGKILL')
      await Promise.all(onePerShard(relays).map((actor) => answered(client, actor)))
      takeovers.push(performance.now() - killedAt)
      say(`  kill ${kill}: ${Math.round(takeovers.at(-1) ?? 0)} ms`)
      nodes.push(await startNode(redis.url))
    }
    say('  waiting for the balls to finish their hops …')
    const { hops, finished } = await tally(client, relays)
    const expected = BALLS * (HOPS + 1)
    takeovers.sort((a, b) => a - b)
    handovers.sort((a, b) => a - b)
    return {
      kills: KILLS,
      takeover_p50_ms: Math.round(takeovers[Math.floor(KILLS / 2)] ?? 0),
      takeover_max_ms: Math.round(takeovers.at(-1) ?? 0),
      leaves: LEAVES,
      handover_p50_ms: handovers[Math.floor(handovers.length / 2)] ?? 0,
      handover_max_ms: handovers.at(-1) ?? 0,
      lost: Math.max(0, expected - hops),
      duplicated: Math.max(0, hops - expected) + Math.max(0, finished - BALLS),
      messages: hops,
    }
  } finally {
    for (const node of nodes) node.process.kill('SIGKILL')
    await client.stop()
    await transport.stop()
  }
}

const ball = (): { type: 'ball'; hop: number } => ({ type: 'ball', hop: 0 })

interface NodeProcess {
  readonly process: ChildProcess
  /** First commits since it got a shard, in order. */
  readonly firsts: { readonly shard: ShardName; readonly at: number }[]
  /** Its last commits, once it has left. */
  last: readonly (readonly [ShardName, number])[]
}

async function startNode(url: string): Promise<NodeProcess> {
  const child = spawn(process.execPath, [PROGRAM, url], { stdio: ['pipe', 'pipe', 'ignore'] })
  const node: NodeProcess = { process: child, firsts: [], last: [] }
  const ready = Promise.withResolvers<void>()
  createInterface(child.stdout).on('line', (line) => {
    const said = JSON.parse(line) as Said // each line is one
    if ('first' in said) node.firsts.push({ shard: said.first, at: said.at })
    else if ('last' in said) node.last = said.last
    else ready.resolve()
  })
  await ready.promise
  return node
}

/** The oldest node leaves; for each of its shards, how long nobody committed. The balls keep every shard busy. */
async function handedOver(nodes: NodeProcess[]): Promise<readonly number[]> {
  const leaver = nodes.shift()
  const [heir] = nodes
  if (leaver === undefined || heir === undefined) throw new Error('two nodes are needed')
  const left = once(leaver.process.stdout ?? leaver.process, 'close')
  leaver.process.kill('SIGTERM')
  await left
  const until = performance.now() + TAKEN_UP_MS
  for (;;) {
    const gaps = leaver.last.flatMap(([shard, at]) => {
      const first = heir.firsts.find((each) => each.shard === shard && each.at >= at)
      return first === undefined ? [] : [first.at - at]
    })
    if (gaps.length === leaver.last.length) return gaps
    if (performance.now() > until) return [...gaps, TAKEN_UP_MS]
    await sleep(10)
  }
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
