/**
 * The actor of the `runtime` benchmark, and a process that hosts it. A relay takes a ball, rewrites its snapshot of about
 * 400 bytes and sends the ball on to another relay, so a fixed number of balls keeps a fixed number of messages under way;
 * asked, it says how many it has seen.
 *
 *     node bench/relay.ts REDIS_URL
 */
import { assign, setup } from 'xstate'
import { defineActor, Node, redisTransport, SHARDS_DEFAULT, vocabulary } from '../runtime/mod.ts'
import type { Directory } from '../runtime/mod.ts'

export const RELAYS = 2_000
export const NAMESPACE = 'bench'
/** What a message and a snapshot carry beside what they mean. */
export const PAYLOAD = 'x'.repeat(300)
export const directory: Directory = { shards: SHARDS_DEFAULT, pinned: new Set() }

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
                to: `relay/${(context.self * 31 + context.seen * 17 + 1) % RELAYS}`,
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

export const relay = defineActor({ kind: 'relay', version: 1, machine: relayMachine, effects: {} })

if (import.meta.main) {
  const transport = redisTransport({ url: process.argv[2] ?? '', namespace: NAMESPACE })
  await transport.start({ shards: directory.shards })
  const node = new Node({ transport, actors: [relay], directory, hosts: 'sharded' })
  node.events.on('trouble', ({ where, error }) => process.stderr.write(`${where}: ${String(error)}\n`))
  let messages = 0
  node.events.on('commit', (event) => (messages += event.messages))
  await node.start()
  // Whoever started it asks how far it is, and it never outlives them.
  process.on('message', () => process.send?.(messages))
  process.on('disconnect', () => void node.stop().then(() => process.exit()))
  process.send?.(messages)
}
