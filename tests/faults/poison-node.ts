/**
 * A process of its own that owns shards and runs actors which may kill it: by an exit, an endless loop or all of its
 * memory within a transition, or by an effect. Arguments: the url of Redis, the id of the node, and after how many ms of
 * standing still it ends itself, if it shall.
 */
import process from 'node:process'
import { assign, fromPromise, setup } from 'xstate'
import { defineActor, Node, redisTransport, vocabulary } from '../../runtime/mod.ts'

export const SHARDS = 2

export type VictimEvent =
  | { type: 'note'; n: number }
  | { type: 'kill'; how: 'exit' | 'loop' | 'memory' }
  | { type: 'go'; deadly: boolean }

const machine = setup({
  types: {
    context: {} as { notes: readonly number[]; end: string; deadly: boolean },
    events: {} as VictimEvent,
    input: null as null,
  },
  actors: {
    run: fromPromise<string, { deadly: boolean }>(() => Promise.reject(new Error('the runtime runs the effect'))),
  },
  actions: {
    ...vocabulary,
    note: assign({ notes: ({ context }, { n }: { n: number }) => [...context.notes, n] }),
    kill: assign((_, { how }: { how: string }) => {
      if (how === 'exit') process.exit(9)
      const hoard: number[][] = []
      for (;;) {
        if (how === 'memory') hoard.push(Array.from({ length: 1e6 }, () => 1))
      }
    }),
  },
}).createMachine({
  context: { notes: [], end: '', deadly: false },
  initial: 'idle',
  on: {
    note: { actions: { type: 'note', params: ({ event }) => event } },
    kill: { actions: { type: 'kill', params: ({ event }) => event } },
  },
  states: {
    idle: { on: { go: { target: 'running', actions: assign({ deadly: ({ event }) => event.deadly }) } } },
    running: {
      invoke: {
        id: 'run',
        src: 'run',
        input: ({ context }) => ({ deadly: context.deadly }),
        onDone: { target: 'idle', actions: assign({ end: ({ event }) => event.output }) },
        onError: { target: 'idle', actions: assign({ end: ({ event }) => (event.error as { code: string }).code }) },
      },
    },
  },
})

export const victim = defineActor({
  kind: 'victim',
  version: 1,
  machine,
  effects: {
    run: async ({ deadly }) => {
      if (deadly) process.exit(9)
      return 'lived'
    },
  },
})

if (import.meta.main) {
  const [, , url = '', id = '', stuckMs] = process.argv
  const transport = redisTransport({ url })
  const directory = { shards: SHARDS, pinned: new Set<string>() }
  await transport.start({ shards: SHARDS })
  await new Node({
    transport,
    directory,
    actors: [victim],
    hosts: 'sharded',
    id,
    ...(stuckMs !== undefined && { stuckMs: Number(stuckMs) }),
  }).start()
}
