/**
 * One node of the `recovery` benchmark, to be killed: hosts relays until its process ends. A ball goes from relay to relay
 * for a fixed number of hops; every hop is one message, so what the relays have counted tells what was lost or doubled.
 *
 *     node bench/recovery-node.ts REDIS_URL
 *
 * Told to leave (SIGTERM) it hands its shards over. It says on stdout, a JSON value a line, when it is ready, at which shard
 * it has committed for the first time since it got it, and, leaving, when it did so for the last time.
 */
import { assign, setup } from 'xstate'
import { defineActor, Node, redisTransport, SHARDS_DEFAULT, vocabulary } from '../runtime/mod.ts'
import type { Directory, ShardName } from '../runtime/mod.ts'

export const RELAYS = 512
export const HOPS = 10_000
export const directory: Directory = { shards: SHARDS_DEFAULT, pinned: new Set() }

export interface RelayContext {
  readonly self: number
  readonly hops: number
  readonly finished: number
}

const machine = setup({
  types: {
    context: {} as RelayContext,
    events: {} as { type: 'ball'; hop: number } | { type: 'get' },
    input: {} as { self: number },
  },
  guards: { isLast: ({ event }) => event.type === 'ball' && event.hop >= HOPS },
  actions: {
    ...vocabulary,
    count: assign({ hops: ({ context }) => context.hops + 1 }),
    finish: assign({ finished: ({ context }) => context.finished + 1 }),
  },
}).createMachine({
  id: 'relay',
  context: ({ input }) => ({ self: input.self, hops: 0, finished: 0 }),
  on: {
    ball: [
      { guard: 'isLast', actions: ['count', 'finish'] },
      {
        actions: [
          'count',
          {
            type: 'tell',
            params: ({ context, event }) => ({
              to: `relay/${(context.self * 31 + context.hops * 17 + 1) % RELAYS}`,
              event: { type: 'ball', hop: event.hop + 1 },
            }),
          },
        ],
      },
    ],
    get: { actions: { type: 'reply', params: ({ context }) => ({ data: context.hops }) } },
  },
})

export const relay = defineActor({ kind: 'relay', version: 1, machine, effects: {} })

export type Said =
  | { readonly ready: true }
  | { readonly first: ShardName; readonly at: number }
  | { readonly last: readonly (readonly [ShardName, number])[] }

if (import.meta.main) {
  const say = (what: Said): void => void process.stdout.write(`${JSON.stringify(what)}\n`)
  const transport = redisTransport({ url: process.argv[2] ?? '', namespace: 'recovery' })
  await transport.start({ shards: directory.shards })
  const node = new Node({ transport, directory, actors: [relay], hosts: 'sharded' })
  node.events.on('trouble', ({ where, error }) => process.stderr.write(`${where}: ${String(error)}\n`))
  /** When each of its shards committed last. */
  const commits = new Map<ShardName, number>()
  node.events.on('lease.claimed', ({ shard }) => commits.delete(shard))
  node.events.on('commit', ({ shard }) => {
    const at = Date.now()
    if (!commits.has(shard)) say({ first: shard, at })
    commits.set(shard, at)
  })
  await node.start()
  say({ ready: true })
  process.on('SIGTERM', () => {
    void node.stop().then(() => {
      say({ last: [...commits] })
      process.exit()
    })
  })
  process.stdin.resume().on('end', () => process.exit()) // never outlives the benchmark
}
