/**
 * One node of the `recovery` benchmark, to be killed: hosts relays until its process ends. A ball goes from relay to relay
 * for a fixed number of hops; every hop is one message, so what the relays have counted tells what was lost or doubled.
 *
 *     node bench/recovery-node.ts REDIS_URL
 */
import { assign, setup } from 'xstate'
import { defineActor, Node, redisTransport, SHARDS_DEFAULT, vocabulary } from '../runtime/mod.ts'
import type { Directory } from '../runtime/mod.ts'

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

if (import.meta.main) {
  const transport = redisTransport({ url: process.argv[2] ?? '', namespace: 'recovery' })
  await transport.start({ shards: directory.shards })
  const node = new Node({ transport, directory, actors: [relay], hosts: 'sharded' })
  node.events.on('trouble', ({ where, error }) => process.stderr.write(`${where}: ${String(error)}\n`))
  await node.start()
  process.stdout.write('ready\n')
  process.stdin.resume().on('end', () => process.exit()) // never outlives the benchmark
}
