/**
 * A chart that the seed makes up: states, some of them nested, with transitions, guards, entries, history and delays by
 * chance. What it should have done is known from XState itself: its journal is run through `transition()` once more, and
 * must end where the durable record stands.
 */
import { assign, initialTransition, setup, transition } from 'xstate'
import type { AnyEventObject, AnyStateMachine } from 'xstate'
import type { Line } from '../../runtime/message.ts'
import type { ActorRecord } from '../../runtime/record.ts'
import { SeededRandom } from '../../runtime/testing/seeded-random.ts'
import { vocabulary } from '../../runtime/vocabulary.ts'
import type { Marked } from './actors.ts'

export const AUTOMATON_EVENTS = ['e0', 'e1', 'e2'] as const

export type AutomatonEvent = { readonly type: (typeof AUTOMATON_EVENTS)[number] } & Marked

interface AutomatonContext {
  readonly self: string
  readonly taken: readonly string[]
  readonly path: string
}

export function automatonOf(seed: number): AnyStateMachine {
  const random = new SeededRandom(seed, 'automaton')
  const count = random.int(2, 6)
  const names = Array.from({ length: count }, (_, i) => `s${i}`)
  const delays = Object.fromEntries(names.map((name) => [`after-${name}`, random.int(20, 900)]))
  const moves = () => {
    const target = `#${random.pick(names)}`
    const guards = [undefined, undefined, 'even', 'odd'] as const
    const guard = random.pick(guards)
    return { target, reenter: random.chance(0.5), actions: ['take', 'step'], ...(guard !== undefined && { guard }) }
  }
  const states = names.map((name, i) => {
    const on = Object.fromEntries(AUTOMATON_EVENTS.filter(() => random.chance(0.6)).map((type) => [type, moves()]))
    // Delays lead to states with a lower number only, so that every chart comes to rest.
    const after = i > 0 && random.chance(0.5) ? { [`after-${name}`]: { target: `#s${random.int(0, i - 1)}` } } : {}
    const leaf = { id: name, on, after, entry: random.chance(0.4) ? 'step' : [] }
    return [name, leaf] as const
  })
  const half = Math.ceil(count / 2)
  const inner = Object.fromEntries(states.slice(half))
  const nested = states.length > half ? { group: { initial: states[half]?.[0], states: inner } } : {}
  const config = {
    context: ({ input }: { input: { self: string } }) => ({ self: input.self, taken: [], path: '' }),
    initial: 's0',
    on: Object.fromEntries(AUTOMATON_EVENTS.map((type) => [type, { actions: 'take' }])),
    states: { ...Object.fromEntries(states.slice(0, half)), ...nested },
  }
  const machine = setup({
    types: { context: {} as AutomatonContext, events: {} as AutomatonEvent, input: {} as { self: string } },
    guards: {
      even: ({ context }) => context.taken.length % 2 === 0,
      odd: ({ context }) => context.taken.length % 2 === 1,
    },
    actions: {
      ...vocabulary,
      take: assign({
        taken: ({ context, event }) => [...context.taken, `${event.from}|${event.lane}|${event.n}`],
      }),
      step: assign({ path: ({ context }) => `${context.path}.` }),
    },
    delays,
  }).createMachine(config as never) // drawn as data: its literal types are not known
  return machine as unknown as AnyStateMachine // XState's own type of any machine refuses one without children
}

/** What is wrong with the record, in words; null when XState comes to the same. */
export function replayed(machine: AnyStateMachine, record: ActorRecord, lines: readonly Line[]): string | null {
  const context = record.s.context as unknown as AutomatonContext // the chart above wrote it
  const marks = context.taken.map((text) => text.split('|'))
  let [snapshot] = initialTransition(machine, { self: context.self } as never)
  for (const { event: type, seq, to } of lines.slice(1)) {
    const isMail = (AUTOMATON_EVENTS as readonly string[]).includes(type)
    const [from, lane, n] = isMail ? (marks.shift() ?? []) : []
    const event: AnyEventObject = isMail ? { type, from, lane, n } : { type }
    ;[snapshot] = transition(machine, snapshot, event)
    const expected = JSON.stringify(snapshot.value)
    if (expected !== JSON.stringify(to))
      return `transition ${seq} (${type}) led to ${JSON.stringify(to)}, not ${expected}`
  }
  const expected = JSON.stringify(snapshot.context)
  return expected === JSON.stringify(context) ? null : `its context is ${JSON.stringify(context)}, not ${expected}`
}
