/**
 * Whether timers fire in time when many are due: ten thousand a second, for twenty seconds, spread over actors whose charts
 * each wait for one `after` after another. Each is a durable timer, a transition, and a record with the next timer. One node
 * process; how late a timer is, is measured where its transition has been committed.
 *
 * In the end each actor's record is looked at: one that waits for no timer, or for one long past, has lost it for good; one
 * that has ticked more often than there was time for has had one twice.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { assign, setup } from 'xstate'
import { address, defineActor, Node, openClient, redisTransport, SHARDS_DEFAULT, vocabulary } from '../runtime/mod.ts'
import type { ActorSnapshot, Directory } from '../runtime/mod.ts'
import type { Benchmark } from './bench.ts'
import { startRedis } from './redis.ts'

const ACTORS = 20_000
/** Each actor's time from one timer to the next: together they make ten thousand a second. */
const PERIOD_MS = 2_000
const WARM_MS = 5_000
const MEASURE_MS = 20_000
const SPAWNS_AT_ONCE = 500
const SPAWN_EVERY_MS = 50
const LONG_PAST_MS = 2_000

interface Context {
  readonly ticks: number
  readonly firstMs: number
}

const machine = setup({
  types: { context: {} as Context, events: {} as { type: 'stop' }, input: {} as { firstMs: number } },
  actions: { ...vocabulary, count: assign({ ticks: ({ context }) => context.ticks + 1 }) },
  delays: { first: ({ context }) => context.firstMs, period: PERIOD_MS },
}).createMachine({
  id: 'clock',
  context: ({ input }) => ({ ticks: 0, firstMs: input.firstMs }),
  initial: 'waiting',
  states: {
    waiting: { after: { first: 'ticking' } },
    ticking: {
      entry: 'count',
      after: { period: { target: 'ticking', reenter: true } },
      on: { stop: 'stopped' },
    },
    stopped: {},
  },
})

const clock = defineActor({ kind: 'clock', version: 1, machine, effects: {} })
const directory: Directory = { shards: SHARDS_DEFAULT, pinned: new Set() }
const clockAt = (index: number) => address('clock', String(index))

export const run: Benchmark = async (say) => {
  await using redis = await startRedis(say)
  const transport = redisTransport({ url: redis.url, namespace: 'timers' })
  await transport.start({ shards: directory.shards })
  const node = new Node({ transport, directory, actors: [clock], hosts: 'sharded' })
  node.events.on('trouble', ({ where, error }) => process.stderr.write(`${where}: ${String(error)}\n`))
  /** How late each timer was; null while nobody measures. */
  let late: number[] | null = null
  node.events.on('timer.fired', ({ lateMs }) => late?.push(lateMs))
  await node.start()
  const client = await openClient({ transport, directory })

  say(`  bringing ${ACTORS} clocks to life …`)
  for (let i = 0; i < ACTORS; i += SPAWNS_AT_ONCE) {
    const some = Array.from({ length: SPAWNS_AT_ONCE }, (_, k) => i + k)
    // Their first timers spread them over the period, wherever the spawns fall.
    await Promise.all(
      some.map((k) =>
        client.spawn(clockAt(k), { firstMs: WARM_MS + Math.random() * PERIOD_MS }, { timeoutMs: 30_000 }),
      ),
    )
    await sleep(SPAWN_EVERY_MS)
  }
  await sleep(WARM_MS + PERIOD_MS)
  say('  measuring …')
  late = []
  const startedAt = performance.now()
  await sleep(MEASURE_MS)
  const seconds = (performance.now() - startedAt) / 1_000
  const times = late.sort((a, b) => a - b)
  late = null
  const longPast = Date.now() - LONG_PAST_MS
  const snapshots = await Promise.all(Array.from({ length: ACTORS }, (_, i) => client.read(clockAt(i))))
  const lost = snapshots.filter((each) => !each?.timers.some(({ due }) => due > longPast)).length
  const twice = snapshots.reduce((sum, each) => sum + (each === null ? 0 : tooMany(each)), 0)

  await client.stop()
  await node.stop()
  await transport.stop()
  return {
    timers_per_s: Math.round(times.length / seconds),
    late_p50_ms: times[Math.floor(times.length * 0.5)] ?? 0,
    late_p99_ms: times[Math.floor(times.length * 0.99)] ?? 0,
    late_max_ms: times.at(-1) ?? 0,
    lost,
    twice,
  }
}

/** Ticks that a clock has made beyond those that there was time for. */
function tooMany({ context, createdAt, changedAt }: ActorSnapshot): number {
  const { ticks, firstMs } = context as unknown as Context // the chart's own
  const possible = Math.floor((changedAt - createdAt - firstMs) / PERIOD_MS) + 1
  return Math.max(0, ticks - possible)
}
