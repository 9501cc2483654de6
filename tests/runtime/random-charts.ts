/**
 * Charts by chance, for holding two engines to the same. A chart is drawn as plain data (so that fast-check can shrink
 * and print it) and then built with named guards, actions, delays and effects of every kind that XState knows, those
 * included that throw, that cannot be durable, and that only XState can take. Numbers in the data stand for states and
 * are taken modulo, so that every drawing is a chart.
 */
import fc from 'fast-check'
import {
  and,
  assign,
  cancel,
  emit,
  fromPromise,
  log,
  not,
  or,
  raise,
  sendTo,
  setup,
  spawnChild,
  stateIn,
  stopChild,
} from 'xstate'
import type { AnyEventObject, AnyStateMachine } from 'xstate'
import { vocabulary } from '../../runtime/vocabulary.ts'
import { fault, resultOf, timer } from './both-engines.ts'
import type { Happening } from './both-engines.ts'

interface RandomContext {
  readonly n: number
  readonly m: number
  readonly trail: string
}
interface Args {
  readonly context: RandomContext
  readonly event: AnyEventObject
}

interface TransitionPlan {
  readonly target: number | null
  readonly guard: string | null
  readonly actions: readonly string[]
  readonly reenter: boolean
}

export interface StatePlan {
  readonly type: 'atomic' | 'final' | 'parallel' | 'history'
  readonly states: readonly StatePlan[]
  readonly initial: number
  readonly initialActions: readonly string[]
  readonly entry: readonly string[]
  readonly exit: readonly string[]
  readonly on: readonly (readonly [event: string, transitions: readonly TransitionPlan[]])[]
  readonly always: readonly TransitionPlan[]
  readonly after: readonly TransitionPlan[]
  readonly invoke: 'none' | 'own' | 'shared'
  readonly ended: readonly TransitionPlan[]
  readonly output: boolean
}

export interface ChartPlan {
  readonly root: StatePlan
  readonly isContextStatic: boolean
}

const EVENTS = ['a', 'b', 'd.x', 'd.x.y', 'e']
const DESCRIPTORS = [
  ...EVENTS,
  ...EVENTS,
  '*',
  'd',
  'd.*',
  'd.x.*',
  'd.*.y',
  'xstate.done.actor.*',
  'xstate.error.actor.*',
  'late',
]

const GUARDS: Readonly<Record<string, unknown>> = {
  isEven: 'isEven',
  atLeast2: { type: 'atLeast', params: { min: 2 } },
  atLeastM: { type: 'atLeast', params: ({ context }: Args) => ({ min: context.m }) },
  alias: 'alias',
  inline: ({ context, event }: Args) => (context.n + event.type.length) % 3 !== 0,
  not: not('isEven'),
  both: and(['isEven', { type: 'atLeast', params: { min: 1 } } as never]),
  either: or([not('isEven'), 'explodes']),
  inState: stateIn('#s1'),
  inValue: stateIn('s1'),
  explodes: 'explodes',
  missing: 'missing',
}

const tell = (tag: string) => ({
  type: 'tell',
  params: ({ context, event }: Args) => ({
    to: `x/${tag}`,
    event: { type: event.type, n: context.n, trail: context.trail, output: event['output'] },
    control: context.n % 2 === 0,
  }),
})

const ACTIONS: Readonly<Record<string, unknown>> = {
  bump: 'bump',
  swap: 'swap',
  note: { type: 'note', params: ({ context, event }: Args) => ({ tag: `${event.type}${context.n}` }) },
  noteX: { type: 'note', params: { tag: 'x' } },
  inline: assign({ m: ({ context, event }: Args) => context.n + Number(event['n'] ?? 1) }),
  tellA: tell('a'),
  tellB: tell('b'),
  tellMany: {
    type: 'tell',
    params: ({ context }: Args) =>
      Array.from({ length: context.n % 3 }, (_, i) => ({ to: `x/${i}`, event: { type: 'm' } })),
  },
  tellStatic: { type: 'tell', params: { to: 'x/s', event: { type: 's' } } },
  spawn: { type: 'spawn', params: ({ context }: Args) => ({ to: 'x/new', input: { ...context } }) },
  reply: { type: 'reply', params: ({ context }: Args) => ({ data: context.n }) },
  raiseE: raise({ type: 'e' }),
  raiseN: raise(({ context }: Args) => ({ type: 'a', n: context.n })),
  later: 'later',
  laterFn: raise({ type: 'late' }, { id: 'late2', delay: ({ context }: Args) => context.n * 3 }),
  hush: cancel('late'),
  hire: 'hire',
  fire: stopChild(({ context }: Args) => `w${context.n % 2}`),
  burst: 'burst',
  shout: emit(({ context }: Args) => ({ type: 'shout', n: context.n })),
  log: log('said'),
  tellNothing: 'tell',
  explode: 'explode',
  send: 'send',
  custom: 'custom',
  laterNameless: raise({ type: 'late' }, { delay: 5 }),
}

const USUAL_ACTIONS = Object.keys(ACTIONS).slice(0, -5)
const USUAL_GUARDS = Object.keys(GUARDS).slice(0, -2)

const actions = fc.array(
  fc.oneof({ weight: 40, arbitrary: fc.constantFrom(...USUAL_ACTIONS) }, fc.constantFrom(...Object.keys(ACTIONS))),
  { maxLength: 3 },
)
const guard = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom(...USUAL_GUARDS) },
  fc.constantFrom(...Object.keys(GUARDS)),
)
const transition = (isGuarded: boolean): fc.Arbitrary<TransitionPlan> =>
  fc.record({
    target: fc.option(fc.nat(30), { freq: 4 }),
    guard: isGuarded ? guard : fc.option(guard, { freq: 2 }),
    actions,
    reenter: fc.oneof({ weight: 3, arbitrary: fc.constant(false) }, fc.constant(true)),
  })
const transitions = (isGuarded: boolean, maxLength: number) =>
  fc.array(transition(isGuarded), { minLength: 0, maxLength })

const seldom = <T>(usual: T, ...others: T[]): fc.Arbitrary<T> =>
  fc.oneof({ weight: 5, arbitrary: fc.constant(usual) }, fc.constantFrom(...others))

const state = (depth: number, isComplex: boolean): fc.Arbitrary<StatePlan> =>
  fc.record({
    type: isComplex
      ? seldom<StatePlan['type']>('atomic', 'atomic', 'final', 'parallel', 'history')
      : seldom<StatePlan['type']>('atomic', 'final'),
    states:
      depth === 0
        ? fc.constant([])
        : fc.oneof(
            { weight: depth === 3 ? 0 : 2, arbitrary: fc.constant([]) },
            { weight: 3, arbitrary: fc.array(state(depth - 1, isComplex), { minLength: 1, maxLength: 3 }) },
          ),
    initial: fc.nat(5),
    initialActions: fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, actions),
    entry: actions,
    exit: actions,
    on: fc.array(fc.tuple(fc.constantFrom(...DESCRIPTORS), transitions(false, 3)), { minLength: 1, maxLength: 5 }),
    always: fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, transitions(true, 2)),
    after: fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, transitions(false, 2)),
    invoke: seldom<StatePlan['invoke']>('none', 'own', 'own', 'shared'),
    ended: transitions(false, 2),
    output: fc.boolean(),
  })

export const chartPlan: fc.Arbitrary<ChartPlan> = fc.record({
  root: fc.oneof({ weight: 2, arbitrary: state(3, false) }, state(3, true)),
  isContextStatic: fc.boolean(),
})

export const happening: fc.Arbitrary<Happening> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('event' as const),
      event: fc.record({
        type: fc.oneof({ weight: 40, arbitrary: fc.constantFrom(...EVENTS) }, fc.constantFrom('nobody', 'xstate.stop')),
        n: fc.nat(4),
      }),
    }),
  },
  timer,
  fault,
  resultOf(fc.nat(5)),
)

/** Builds the chart that a plan says. */
export function chartOf({ root, isContextStatic }: ChartPlan): AnyStateMachine {
  const ids = idsOf(root)
  const delays = Object.fromEntries(
    ids.map((id, i) => [`wait_${id}`, i % 2 === 0 ? 10 * i : ({ context }: Args) => context.n * 10 + i]),
  )
  const initial: RandomContext = { n: 0, m: 1, trail: '' }
  const config = {
    ...configOf(root, 's0', ids, true),
    id: 's0',
    options: { maxIterations: 20 },
    context: isContextStatic ? initial : ({ input }: { input: { n: number } }) => contextFor(input),
  }
  // The types of a chart that is drawn are drawn too.
  return base
    .extend({ delays: { ...delays, slow: 50 } } as never)
    .createMachine(config as never) as unknown as AnyStateMachine
}

function contextFor({ n }: { n: number }): RandomContext {
  if (n === 9) throw new Error('no such input')
  return { n, m: 1, trail: '' }
}

const base0 = setup({
  types: { context: {} as RandomContext, events: {} as AnyEventObject },
  actors: { work: fromPromise<number, unknown>(() => Promise.reject(new Error('run by the runtime'))) },
  guards: {
    isEven: ({ context }) => context.n % 2 === 0,
    atLeast: ({ context }, { min }: { min: number }) => context.n >= min,
    alias: and(['isEven', not('explodes')]) as never,
    explodes: ({ context }) => {
      if (context.n === 5) throw new Error('guard exploded')
      return context.n > 2
    },
  },
  actions: {
    ...vocabulary,
    bump: assign({ n: ({ context }) => (context.n + 1) % 8 }),
    swap: assign(({ context }) => ({ n: context.m % 8, m: context.n })),
    note: assign({
      trail: ({ context, event }, { tag }: { tag: string }) => `${context.trail}${tag}${event.type.at(-1)}`.slice(-24),
    }),
    explode: assign(({ context }) => {
      if (context.n % 4 === 3) throw new Error('action exploded')
      return {}
    }),
    later: raise({ type: 'late', from: 'later' } as never, { id: 'late', delay: 'slow' as never }),
    hire: spawnChild('work' as never, {
      id: (({ context }: Args) => `w${context.n % 2}`) as never,
      input: ({ context, event }: Args) => ({ n: context.n, by: event.type }),
    }),
    send: sendTo('nobody', { type: 'a' }),
    custom: () => {},
  },
})

const base = base0.extend({
  actions: {
    burst: base0.enqueueActions(({ context, event, enqueue, check }) => {
      if (check('isEven')) enqueue('bump')
      enqueue.assign({ m: ({ context: now }: Args) => now.n })
      enqueue({ type: 'note', params: ({ context: now }: Args) => ({ tag: `${now.m}` }) } as never)
      if (context.n === 1) enqueue.raise({ type: 'b' })
      if (context.n === 2) enqueue.spawnChild('work', { id: 'w1', input: event.type })
      if (context.n === 3) enqueue.stopChild('w1')
      if (context.n === 4) enqueue.cancel('late')
      if (context.n === 6) enqueue.sendTo('nobody', { type: 'a' })
      if (check(stateIn('#s1'))) enqueue(tell('burst') as never)
    }),
  },
})

/** In document order; a state's id is its path. */
function idsOf(plan: StatePlan, id = 's0'): string[] {
  return [id, ...childrenOf(plan).flatMap((child, i) => idsOf(child, childId(id, i)))]
}

function childId(parent: string, index: number): string {
  return parent === 's0' ? `s${index + 1}` : `${parent}_${index}`
}

/** Final and history states have none, and history alone is no place to be. */
function childrenOf({ type, states }: StatePlan): readonly StatePlan[] {
  if (type === 'final' || type === 'history') return []
  return states.every((state) => state.type === 'history') ? [] : states
}

function configOf(plan: StatePlan, id: string, ids: readonly string[], isRoot = false): Record<string, unknown> {
  const children = childrenOf(plan)
  if (plan.type === 'history' && !isRoot) return { id, type: 'history', history: plan.output ? 'deep' : 'shallow' }
  const keys = children.map((_, i) => childId(id, i))
  const isParallel = plan.type === 'parallel' && keys.length > 0
  const places = keys.filter((_, i) => children[i]?.type !== 'history')
  const initial = places[plan.initial % places.length]
  const one = (transition: TransitionPlan) => transitionOf(transition, ids)
  const invokeId = plan.invoke === 'own' ? `effect_${id}` : 'shared'
  return {
    id,
    ...(plan.type === 'final' && !isRoot && { type: 'final' }),
    ...(isParallel && { type: 'parallel' }),
    ...(plan.output && {
      output: ({ context, event }: Args) => ({ n: context.n, by: event.type, of: event['output'] }),
    }),
    ...(keys.length > 0 && {
      states: Object.fromEntries(children.map((child, i) => [childId(id, i), configOf(child, childId(id, i), ids)])),
      ...(!isParallel && { initial: initialOf(initial, plan.initialActions) }),
      ...(plan.ended.length > 0 && { onDone: plan.ended.map(one) }),
    }),
    entry: plan.entry.map((name) => ACTIONS[name]),
    exit: plan.exit.map((name) => ACTIONS[name]),
    on: Object.fromEntries(plan.on.map(([event, transitions]) => [event, transitions.map(one)])),
    ...(plan.always.length > 0 && { always: plan.always.map(one) }),
    ...(plan.after.length > 0 && { after: { [`wait_${id}`]: plan.after.map(one) } }),
    ...(plan.invoke !== 'none' && {
      invoke: {
        id: invokeId,
        src: 'work',
        input: ({ context, event }: Args) => ({ n: context.n, by: event.type }),
        ...(plan.ended[0] && { onDone: one(plan.ended[0]) }),
        ...(plan.ended[1] && { onError: one(plan.ended[1]) }),
      },
    }),
  }
}

function initialOf(target: string | undefined, names: readonly string[]): unknown {
  return names.length === 0 ? target : { target, actions: names.map((name) => ACTIONS[name]) }
}

function transitionOf(
  { target, guard: name, actions: names, reenter }: TransitionPlan,
  ids: readonly string[],
): object {
  return {
    ...(target !== null && { target: `#${ids[target % ids.length]}` }),
    ...(name !== null && { guard: GUARDS[name] }),
    ...(names.length > 0 && { actions: names.map((each) => ACTIONS[each]) }),
    ...(reenter && { reenter }),
  }
}
