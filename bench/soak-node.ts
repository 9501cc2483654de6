/**
 * One node of the `soak` benchmark, and its actors. *Keepers* stay: each takes notes from the driver and passes one on to
 * its neighbour for every note, both numbered, so that a count that jumps or comes again is seen by who takes it. They
 * bring *errands* to life, which run an effect, wait for a timer, end, and leave Redis. A *visitor* is pinned to a node
 * that comes and goes.
 *
 *     node bench/soak-node.ts REDIS_URL NODE_ID [VISITOR]
 *
 * Its parent asks by IPC how far it is and how much memory it holds; it never outlives that parent.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { assign, fromPromise, setup } from 'xstate'
import { address, defineActor, Node, redisTransport, ref, SHARDS_DEFAULT, vocabulary } from '../runtime/mod.ts'
import type { Directory } from '../runtime/mod.ts'

export const KEEPERS = 1_000
export const NAMESPACE = 'soak'
export const directory: Directory = { shards: SHARDS_DEFAULT, pinned: new Set(['visitor']) }

/** How long a finished actor stays readable here: short, so that many come and go. */
const RETENTION_MS = 2_000
const MEGABYTE = 1_048_576

/** Numbers that came from one sender, each one more than the one before. */
export interface Count {
  readonly taken: number
  readonly lost: number
  readonly duplicated: number
}

const NONE: Count = { taken: 0, lost: 0, duplicated: 0 }

function counted(count: Count, n: number): Count {
  if (n <= count.taken) return { ...count, duplicated: count.duplicated + 1 }
  return { ...count, taken: n, lost: count.lost + n - count.taken - 1 }
}

export interface KeeperContext {
  readonly self: number
  readonly notes: Count
  readonly passed: Count
  readonly reared: number
  readonly ended: number
  readonly visited: number
  readonly pulses: number
}

type KeeperEvent =
  | { type: 'note' | 'passed'; n: number }
  | { type: 'rear' | 'visited' | 'pulse' | 'poison' | 'get' }
  | { type: 'actor.ended'; actor: string; status: string }

const errandOf = ({ self, reared }: KeeperContext): string => `errand/${self}.${reared}`

const keeperMachine = setup({
  types: { context: {} as KeeperContext, events: {} as KeeperEvent, input: {} as { self: number } },
  actions: {
    ...vocabulary,
    takeNote: assign({ notes: ({ context }, { n }: { n: number }) => counted(context.notes, n) }),
    takePassed: assign({ passed: ({ context }, { n }: { n: number }) => counted(context.passed, n) }),
    countReared: assign({ reared: ({ context }) => context.reared + 1 }),
    countEnded: assign({ ended: ({ context }) => context.ended + 1 }),
    countVisit: assign({ visited: ({ context }) => context.visited + 1 }),
    countPulse: assign({ pulses: ({ context }) => context.pulses + 1 }),
    fail: assign(() => {
      throw new Error('a note that nobody can take')
    }),
  },
}).createMachine({
  id: 'keeper',
  context: ({ input: { self } }) => ({ self, notes: NONE, passed: NONE, reared: 0, ended: 0, visited: 0, pulses: 0 }),
  on: {
    note: {
      actions: [
        { type: 'takeNote', params: ({ event }) => event },
        {
          type: 'tell',
          params: ({ context: { self }, event: { n } }) => ({
            to: `keeper/${(self + 1) % KEEPERS}`,
            event: { type: 'passed', n },
          }),
        },
      ],
    },
    passed: { actions: { type: 'takePassed', params: ({ event }) => event } },
    rear: {
      actions: [
        'countReared',
        { type: 'spawn', params: ({ context }) => ({ to: errandOf(context), input: null }) },
        { type: 'watch', params: ({ context }) => ({ to: errandOf(context) }) },
      ],
    },
    'actor.ended': { guard: ({ event }) => event.status === 'done', actions: 'countEnded' },
    visited: { actions: 'countVisit' },
    pulse: { actions: 'countPulse' },
    poison: { actions: 'fail' },
    get: { actions: { type: 'reply', params: ({ context }) => ({ data: context.notes.taken }) } },
  },
})

const errandMachine = setup({
  types: { context: {} as { key: string }, input: null as null, output: {} as string },
  actors: { run: fromPromise<string, null>(() => Promise.reject(new Error('the runtime runs the effect'))) },
  actions: { ...vocabulary, keep: assign({ key: (_, { key }: { key: string }) => key }) },
  delays: { rest: 200 },
}).createMachine({
  id: 'errand',
  context: { key: '' },
  output: ({ context }) => context.key,
  initial: 'running',
  states: {
    running: {
      invoke: {
        id: 'run',
        src: 'run',
        input: null,
        onDone: { target: 'resting', actions: { type: 'keep', params: ({ event }) => ({ key: event.output }) } },
      },
    },
    resting: { after: { rest: 'over' } },
    over: { type: 'final' },
  },
})

export interface GuestbookContext {
  /** What visitors that have left said they had visited. */
  readonly visits: number
  readonly guests: number
}

const guestbookMachine = setup({
  types: {
    context: {} as GuestbookContext,
    events: {} as { type: 'left'; visits: number },
    input: null as null,
  },
  actions: { ...vocabulary },
}).createMachine({
  id: 'guestbook',
  context: { visits: 0, guests: 0 },
  on: {
    left: {
      actions: assign({
        visits: ({ context, event }) => context.visits + event.visits,
        guests: ({ context }) => context.guests + 1,
      }),
    },
  },
})

const visitorMachine = setup({
  types: {
    context: {} as { visits: number },
    events: {} as { type: 'visit'; keeper: number } | { type: 'leave' | 'owner.lost' },
    input: null as null,
  },
  actions: { ...vocabulary, count: assign({ visits: ({ context }) => context.visits + 1 }) },
}).createMachine({
  id: 'visitor',
  context: { visits: 0 },
  initial: 'here',
  states: {
    here: {
      on: {
        visit: {
          actions: [
            'count',
            { type: 'tell', params: ({ event }) => ({ to: `keeper/${event.keeper}`, event: { type: 'visited' } }) },
          ],
        },
        leave: 'gone',
        'owner.lost': 'gone',
      },
    },
    gone: {
      type: 'final',
      entry: {
        type: 'tell',
        params: ({ context }) => ({ to: 'guestbook/all', event: { type: 'left', visits: context.visits } }),
      },
    },
  },
})

const untiring = { intensity: { failuresMax: Infinity, periodMs: 1_000 } } as const

export const keeper = defineActor({ kind: 'keeper', version: 1, machine: keeperMachine, effects: {}, policy: untiring })
export const guestbook = defineActor({ kind: 'guestbook', version: 1, machine: guestbookMachine, effects: {} })
export const visitor = defineActor({
  kind: 'visitor',
  version: 1,
  machine: visitorMachine,
  effects: {},
  pinned: true,
  policy: { retentionMs: RETENTION_MS },
})
const errand = defineActor({
  kind: 'errand',
  version: 1,
  machine: errandMachine,
  effects: {
    run: async (_, { key, signal }) => {
      await sleep(20, null, { signal })
      return key
    },
  },
  policy: { retentionMs: RETENTION_MS },
})

export const keeperAt = (index: number) => ref(keeper, String(index))
export const GUESTBOOK = ref(guestbook, 'all')

export interface Sample {
  readonly messages: number
  readonly rssMb: number
  /** After a full collection. */
  readonly heapMb: number
}

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void // what the flag exposes

/** How much memory this process holds. */
export function memory(): Omit<Sample, 'messages'> {
  collectGarbage()
  const { rss, heapUsed } = process.memoryUsage()
  return { rssMb: rss / MEGABYTE, heapMb: heapUsed / MEGABYTE }
}

if (import.meta.main) {
  const [, , url = '', id = '', guest] = process.argv
  const transport = redisTransport({ url, namespace: NAMESPACE })
  await transport.start({ shards: directory.shards })
  const node = new Node({
    transport,
    directory,
    actors: [keeper, errand, guestbook, visitor],
    hosts: 'sharded',
    id,
  })
  node.events.on('trouble', ({ where, error }) => process.stderr.write(`${id}: ${where}: ${String(error)}\n`))
  let messages = 0
  node.events.on('commit', (event) => (messages += event.messages))
  await node.start()
  if (guest !== undefined) await node.host(address('visitor', guest))
  process.on('message', () => process.send?.({ messages, ...memory() } satisfies Sample))
  process.on('disconnect', () => process.exit())
  process.on('SIGTERM', () => void node.stop().then(() => process.exit()))
  process.send?.('ready')
}
