/**
 * The charts of the simulated loads. Each writes what it takes into its own context, so that the durable state itself
 * is the evidence: a message that was lost is missing there, one that was applied twice stands there twice.
 *
 * A mark is `<sender>|<lane>|<number>`; what a message makes an actor send is numbered below it (`c0:4` → `c0:4.0`).
 */
import { assign, cancel, fromPromise, raise, setup } from 'xstate'
import type { AnyStateMachine } from 'xstate'
import { defineActor } from '../../runtime/actor.ts'
import type { ActorDefinition, Effect } from '../../runtime/actor.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Json } from '../../runtime/json.ts'
import type { ChartState } from '../../runtime/record.ts'
import { RuntimeError } from '../../runtime/errors.ts'
import { vocabulary } from '../../runtime/vocabulary.ts'

/** Where a message goes on to, and from there. */
export interface Hop {
  readonly to: string
  readonly control: boolean
  readonly next: readonly Hop[]
}

export interface Marked {
  readonly n: string
  readonly from: string
  readonly lane: 'hi' | 'in'
}

export type PassEvent = { readonly type: 'pass'; readonly next: readonly Hop[] } & Marked
/** `wrong`: how the transition fails after it has told others. */
export type PoisonEvent = { type: 'poison'; next: readonly Hop[]; wrong: 'throw' | 'bigint' | 'circular' } & Marked
export type BroodEvent = { readonly type: 'brood'; readonly child: string } & Marked
/** A child is born, watched and told to end; or one that was never born is watched. */
export type RearEvent = { readonly type: 'rear'; readonly child: string; readonly fate: Fate } & Marked
export type DoEvent = { readonly type: 'do'; readonly mode: EffectMode } & Marked
export type HaltEvent = { readonly type: 'halt' } & Marked
export type TimerEvent = {
  readonly type: 'arm' | 'disarm' | 'remind' | 'unremind' | 'both'
} & Marked

/** How a reared child ends: it finishes, at once or by a schedule; it fails and escalates; it never was. */
export type Fate = 'done' | 'later' | 'fail' | 'never'

/** How long a schedule of the load is. */
export const LATER_MS = 150

export interface EffectMode {
  readonly ms: number
  /** So many attempts throw before one succeeds. */
  readonly fails: number
  readonly givesUp: boolean
}

interface SelfInput {
  readonly self: string
}

export interface TakerContext {
  readonly self: string
  readonly taken: readonly string[]
  /** The version of the code that brought the actor to life, raised by each migration: always that of its record. */
  readonly era: number
}

/** Actors of which nodes run two versions while a simulated fleet is upgraded. */
export const VERSIONED = ['ledger', 'brittle', 'errand', 'station', 'waiter', 'novice'] as const

export type Version = 1 | 2

/** The charts are the same in both versions; only code of the right one keeps the era. */
function migrate(_from: number, { context, ...state }: ChartState): ChartState {
  const before = context as unknown as TakerContext // every versioned chart has it
  return { ...state, context: { ...before, era: before.era + 1 } as unknown as Json }
}

export const mark = ({ n, from, lane }: Marked): string => `${from}|${lane}|${n}`

function tells(self: string, { n, next }: { readonly n: string; readonly next: readonly Hop[] }) {
  return next.map((hop, i) => {
    const lane = hop.control ? ('hi' as const) : ('in' as const)
    const event: PassEvent = { type: 'pass', n: `${n}.${i}`, from: self, lane, next: hop.next }
    return { to: hop.to, control: hop.control, event }
  })
}

/** What a ledger has heard of those whom it reared: `ended|child|status`, `failed|child`. */
export interface LedgerContext extends TakerContext {
  readonly ends: readonly string[]
}

type EndEvent =
  | { readonly type: 'actor.ended'; readonly actor: string; readonly status: string }
  | { readonly type: 'child.failed'; readonly actor: string }

/** Takes notes, hands them on, gives birth, and throws when it is told to. */
const ledgerMachineOf = (era: Version) =>
  setup({
    types: {
      context: {} as LedgerContext & { readonly odd?: unknown },
      events: {} as PassEvent | PoisonEvent | BroodEvent | RearEvent | EndEvent,
      input: {} as SelfInput,
    },
    actions: {
      ...vocabulary,
      take: assign({ taken: ({ context }, params: Marked) => [...context.taken, mark(params)] }),
      fail: assign(({ context }, { wrong }: { wrong: PoisonEvent['wrong'] }) => {
        if (wrong === 'throw') throw new Error('poisoned')
        const loop: Record<string, unknown> = {}
        loop['loop'] = loop
        return { ...context, odd: wrong === 'bigint' ? 1n : loop }
      }),
    },
  }).createMachine({
    context: ({ input }) => ({ self: input.self, taken: [], era, ends: [] }),
    initial: 'open',
    states: {
      open: {
        on: {
          rear: {
            actions: [
              { type: 'take', params: ({ event }) => event },
              {
                type: 'spawn',
                params: ({ event: { child, fate } }) => (fate === 'never' ? [] : { to: child, input: { self: child } }),
              },
              { type: 'watch', params: ({ event }) => ({ to: event.child }) },
              { type: 'tell', params: ({ context, event }) => (isTold(event.fate) ? dying(context.self, event) : []) },
              {
                type: 'schedule',
                params: ({ context, event }) => {
                  const { to, event: die } = dying(context.self, event)
                  return event.fate === 'later' ? { id: event.n, to, event: die, delayMs: LATER_MS } : []
                },
              },
            ],
          },
          'actor.ended': {
            actions: assign({
              ends: ({ context, event }) => [...context.ends, `ended|${event.actor}|${event.status}`],
            }),
          },
          'child.failed': {
            actions: assign({ ends: ({ context, event }) => [...context.ends, `failed|${event.actor}`] }),
          },
          pass: {
            actions: [
              { type: 'take', params: ({ event }) => event },
              { type: 'tell', params: ({ context, event }) => tells(context.self, event) },
              { type: 'reply', params: ({ context }) => ({ data: context.taken.length }) },
            ],
          },
          poison: {
            actions: [
              { type: 'tell', params: ({ context, event }) => tells(context.self, event) },
              { type: 'fail', params: ({ event }) => event },
            ],
          },
          brood: {
            actions: [
              { type: 'take', params: ({ event }) => event },
              { type: 'spawn', params: ({ event }) => ({ to: event.child, input: { self: event.child } }) },
              {
                type: 'tell',
                params: ({ context, event: { n, child } }) =>
                  tells(context.self, { n, next: [{ to: child, control: false, next: [] }] }),
              },
            ],
          },
        },
      },
    },
  })

const isTold = (fate: Fate): boolean => fate === 'done' || fate === 'fail'

function dying(self: string, { n, child, fate }: RearEvent) {
  const event = { type: 'die' as const, n: `${n}.0`, from: self, lane: 'in' as const, fails: fate === 'fail' }
  return { to: child, event }
}

/** Ends when it is told to: it finishes, or it fails, which its policy makes its parent's business. */
const mortalMachine = setup({
  types: {
    context: {} as TakerContext,
    events: {} as { type: 'die'; fails: boolean } & Marked,
    input: {} as SelfInput,
  },
  actions: {
    ...vocabulary,
    take: assign({ taken: ({ context }, params: Marked) => [...context.taken, mark(params)] }),
    fail: assign(() => {
      throw new Error('mortal')
    }),
  },
}).createMachine({
  context: ({ input }) => ({ self: input.self, taken: [], era: 1 }),
  initial: 'alive',
  states: {
    alive: {
      on: {
        die: [
          { guard: ({ event }) => event.fails, actions: 'fail' },
          { target: 'dead', actions: { type: 'take', params: ({ event }) => event } },
        ],
      },
    },
    dead: { type: 'final' },
  },
})

export interface ErrandContext extends TakerContext {
  /** How each errand ended: `done|n|key`, `failed|n`, `halted|n`, `replaced|n`; and `owner.lost`. */
  readonly ends: readonly string[]
  readonly current: string
}

interface WorkInput {
  readonly n: string
  readonly mode: EffectMode
}

/** Runs one effect at a time; a new errand replaces the one under way, `halt` leaves it. */
const errandMachineOf = (era: Version) =>
  setup({
    types: {
      context: {} as ErrandContext,
      events: {} as DoEvent | HaltEvent | PassEvent | { readonly type: 'owner.lost' },
      input: {} as SelfInput,
    },
    actors: { work: fromPromise<string, WorkInput>(() => Promise.reject(new Error('the runtime runs the effect'))) },
    actions: {
      ...vocabulary,
      take: assign({ taken: ({ context }, params: Marked) => [...context.taken, mark(params)] }),
      begin: assign({ current: (_, params: Marked) => params.n }),
      end: assign({
        ends: ({ context }, { how, detail }: { how: string; detail?: string }) => [
          ...context.ends,
          [how, context.current, ...(detail === undefined ? [] : [detail])].join('|'),
        ],
      }),
      orphan: assign({ ends: ({ context }) => [...context.ends, 'owner.lost'] }),
    },
  }).createMachine({
    context: ({ input }) => ({ self: input.self, taken: [], era, ends: [], current: '' }),
    initial: 'idle',
    on: {
      'owner.lost': { actions: 'orphan' },
      halt: { actions: { type: 'take', params: ({ event }) => event } },
      pass: {
        actions: [
          { type: 'take', params: ({ event }) => event },
          { type: 'tell', params: ({ context, event }) => tells(context.self, event) },
        ],
      },
    },
    states: {
      idle: {
        on: {
          do: {
            target: 'running',
            actions: [
              { type: 'take', params: ({ event }) => event },
              { type: 'begin', params: ({ event }) => event },
            ],
          },
        },
      },
      running: {
        invoke: {
          id: 'work',
          src: 'work',
          input: ({ event, context }) => ({
            n: context.current,
            mode: event.type === 'do' ? event.mode : { ms: 0, fails: 0, givesUp: false },
          }),
          onDone: {
            target: 'idle',
            actions: { type: 'end', params: ({ event }) => ({ how: 'done', detail: event.output }) },
          },
          onError: { target: 'idle', actions: { type: 'end', params: { how: 'failed' } } },
        },
        on: {
          do: {
            target: 'running',
            reenter: true,
            actions: [
              { type: 'end', params: { how: 'replaced' } },
              { type: 'take', params: ({ event }) => event },
              { type: 'begin', params: ({ event }) => event },
            ],
          },
          halt: {
            target: 'idle',
            actions: [
              { type: 'end', params: { how: 'halted' } },
              { type: 'take', params: ({ event }) => event },
            ],
          },
        },
      },
    },
  })

/** How long the two delays of every waiter are: the same, so that both come due in one batch. */
export const NAP_MS = 700

/** Waits in every way: an `after`, a delayed raise, each called off or begun again. Its journal tells when. */
const waiterMachineOf = (era: Version) =>
  setup({
    types: { context: {} as TakerContext, events: {} as TimerEvent | { type: 'ring' }, input: {} as SelfInput },
    actions: {
      ...vocabulary,
      take: assign({
        taken: ({ context, event }) => (event.type === 'ring' ? context.taken : [...context.taken, mark(event)]),
      }),
    },
    delays: { nap: NAP_MS },
  }).createMachine({
    context: ({ input }) => ({ self: input.self, taken: [], era }),
    initial: 'idle',
    on: {
      remind: { actions: ['take', raise({ type: 'ring' }, { id: 'ring', delay: NAP_MS })] },
      unremind: { actions: ['take', cancel('ring')] },
      disarm: { target: '.idle', actions: 'take' },
      arm: { target: '.waiting', reenter: true, actions: 'take' },
      both: {
        target: '.waiting',
        reenter: true,
        actions: ['take', raise({ type: 'ring' }, { id: 'ring', delay: NAP_MS })],
      },
      ring: {},
    },
    states: {
      idle: { on: { ring: { actions: 'take' } } },
      waiting: {
        on: { ring: { target: 'waiting', reenter: true } },
        after: { nap: { target: 'idle' } },
      },
    },
  })

/** Made once for each version: a chart's table is compiled when it is defined. */
const machines = {
  1: { ledger: ledgerMachineOf(1), errand: errandMachineOf(1), waiter: waiterMachineOf(1) },
  2: { ledger: ledgerMachineOf(2), errand: errandMachineOf(2), waiter: waiterMachineOf(2) },
} as const

/** One run of an effect, as the process that ran it saw it. */
export interface EffectRun {
  readonly actor: string
  readonly n: string
  readonly key: string
  readonly process: string
  readonly attempt: number
}

/** The definitions as one process runs them: its clock, and where its effects are written down. */
export function simulatedActors(
  clock: Clock,
  process: string,
  runs: Pick<EffectRun[], 'push'>,
  automaton: AnyStateMachine,
  version: Version = 1,
): readonly ActorDefinition[] {
  const { ledger, errand, waiter } = machines[version]
  const work: Effect<WorkInput, string> = async ({ n, mode }, { key, actor, attempt, signal }) => {
    runs.push({ actor, n, key, process, attempt })
    await clock.sleep(mode.ms, signal)
    signal.throwIfAborted()
    if (mode.givesUp) throw new RuntimeError('effect.failed', 'never', { remedy: 'give-up' })
    if (attempt <= mode.fails) throw new Error('not yet')
    return key
  }
  const effectRetry = { attempts: 3, baseMs: 40, maxMs: 400 }
  const of = { version, migrate }
  const novice = defineActor({ ...of, kind: 'novice', machine: ledger, effects: {} })
  return [
    defineActor({ ...of, kind: 'ledger', machine: ledger, effects: {} }),
    defineActor({ ...of, kind: 'brittle', machine: ledger, effects: {}, policy: { onError: 'stop' } }),
    defineActor({ kind: 'mortal', version: 1, machine: mortalMachine, effects: {}, policy: { onError: 'escalate' } }),
    defineActor({ ...of, kind: 'errand', machine: errand, effects: { work }, policy: { effectRetry } }),
    defineActor({ ...of, kind: 'station', machine: errand, effects: { work }, pinned: true, policy: { effectRetry } }),
    defineActor({ ...of, kind: 'waiter', machine: waiter, effects: {} }),
    defineActor({ kind: 'automaton', version: 1, machine: automaton, effects: {} }),
    ...(version === 2 ? [novice] : []),
  ]
}
