/**
 * Two engines, one meaning. XState's is the law here, so a change of XState shows as a failure of this test. That the
 * comparison has teeth is shown too: each of the faults planted in the table below is found by it.
 */
import fc from 'fast-check'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { assign, createMachine } from 'xstate'
import type { AnyStateMachine } from 'xstate'
import { tableOf } from '../../runtime/compile.ts'
import { Run } from '../../runtime/compiled/run.ts'
import type { Candidate, Leaf } from '../../runtime/compiled/run.ts'
import { freeze, start, step, thaw } from '../../runtime/step.ts'
import { agree, definitionOf, scriptOf } from './both-engines.ts'
import type { Tally } from './both-engines.ts'
import { chartOf, chartPlan, happening } from './random-charts.ts'
import { REAL_CHARTS } from './real-charts.ts'

const RUNS = 1_500

/** `spoil` plants a fault in a chart's table. */
function anyChart(tally: Tally, spoil: (machine: AnyStateMachine) => void = () => {}): fc.IProperty<unknown> {
  return fc.property(chartPlan, fc.nat(9), scriptOf(happening), (plan, n, script) => {
    const machine = chartOf(plan)
    spoil(machine)
    agree(machine, { n }, script, tally)
  }) as unknown as fc.IProperty<unknown> // what it draws is nobody's business but its own
}

describe('the compiled table and XState alone', () => {
  test('agree on charts drawn by chance', () => {
    const tally: Tally = { compiled: 0, left: 0 }
    fc.assert(anyChart(tally), { numRuns: RUNS })
    expect(tally.compiled).toBeGreaterThan(2 * RUNS)
    expect(tally.left).toBeGreaterThan(RUNS / 10)
  })

  test.each(REAL_CHARTS)('agree on the chart of $kind, which is compiled whole', ({ machine, input, happenings }) => {
    const tally: Tally = { compiled: 0, left: 0 }
    fc.assert(
      fc.property(scriptOf(happenings, 40), (script) => agree(machine, input, script, tally)),
      { numRuns: 300 },
    )
    expect(tally.compiled).toBeGreaterThan(1_000)
    const { transitions, compiled } = tableOf(machine).coverage
    expect(compiled).toBe(transitions)
  })
})

test('a crash changes nothing of what follows, also where parallel states were entered in another order', () => {
  const isReady = ({ context }: { context: { isReady?: boolean } }) => context.isReady === true
  const definition = definitionOf(
    createMachine({
      id: 'x',
      type: 'parallel',
      context: {},
      on: { ready: { actions: assign({ isReady: true }) } },
      states: {
        left: {
          initial: 'a',
          states: { a: { on: { move: 'b' } }, b: { always: { guard: isReady, target: '#x.right.c' } }, c: {} },
        },
        right: { initial: 'a', states: { a: { always: { guard: isReady, target: '#x.left.c' } }, c: {} } },
      },
    }),
  )
  const { snapshot } = step(definition, start(definition, undefined).snapshot, { type: 'move' })
  const revived = thaw(definition, structuredClone(freeze(snapshot)), [])
  const [lived, died] = [snapshot, revived].map((each) => freeze(step(definition, each, { type: 'ready' }).snapshot))
  expect(lived).toEqual(died)
})

describe('a fault in the compiled engine is found', () => {
  const found = (spoil?: (machine: AnyStateMachine) => void): boolean => {
    const tally: Tally = { compiled: 0, left: 0 }
    return fc.check(anyChart(tally, spoil), { numRuns: RUNS, endOnFailure: true }).failed
  }
  /** Replaces a getter or method of `Run` for one test. */
  const replaced = (name: keyof Run, make: (original: PropertyDescriptor) => PropertyDescriptor): void => {
    const original = Object.getOwnPropertyDescriptor(Run.prototype, name)
    if (original === undefined) throw new Error(`Run has no ${name}`)
    Object.defineProperty(Run.prototype, name, { ...original, ...make(original) })
    onTestFinished(() => void Object.defineProperty(Run.prototype, name, original))
  }

  test('params that see the context as it was before the transition', () => {
    const seen = new WeakMap<Run, unknown>()
    replaced('args', (original) => ({
      get(this: Run) {
        if (!seen.has(this)) seen.set(this, original.get?.call(this))
        return seen.get(this)
      },
    }))
    expect(found()).toBe(true)
  })

  test('states entered before others are left', () => {
    expect(found((machine) => respell(machine, (acts) => acts.toReversed()))).toBe(true)
  })

  test('a lost last action', () => {
    expect(found((machine) => respell(machine, (acts) => acts.slice(0, -1)))).toBe(true)
  })

  test('a raised event that waits for the next message', () => {
    replaced('raise', () => ({ value: () => {} }))
    expect(found()).toBe(true)
  })

  test('an effect stopped that does not run', () => {
    vi.spyOn(Run.prototype, 'stopEffect').mockReturnValue(true)
    onTestFinished(() => void vi.restoreAllMocks())
    expect(found()).toBe(true)
  })

  test('an eventless transition overlooked', () => {
    expect(found((machine) => eachLeaf(machine, (leaf) => void ((leaf as { always: unknown }).always = [])))).toBe(true)
  })

  test('a guard overlooked', () => {
    const open = (candidate: Candidate): void => void ((candidate as { guard: unknown }).guard = null)
    expect(found((machine) => eachCandidate(machine, open))).toBe(true)
  })

  test('a transition said to be none', () => {
    replaced('stepped', ({ value }) => ({
      value(this: Run, ...args: Parameters<Run['stepped']>) {
        const stepped = (value as Run['stepped']).apply(this, args)
        return { ...stepped, handled: stepped.handled && stepped.ops.length > 0 }
      },
    }))
    expect(found()).toBe(true)
  })
})

function respell(machine: AnyStateMachine, change: (acts: readonly unknown[]) => readonly unknown[]): void {
  eachCandidate(machine, (candidate) => {
    if (candidate.acts !== null) (candidate as { acts: unknown }).acts = change(candidate.acts)
  })
}

/** A table cannot be changed, except by who wants to see it wrong. */
function eachCandidate(machine: AnyStateMachine, change: (candidate: Candidate) => void): void {
  const seen = new Set<Candidate>()
  eachLeaf(machine, ({ on, always, wild }) => {
    const all = [...on.values(), always, ...wild.map(({ candidates }) => candidates)].flat()
    for (const candidate of all) if (!seen.has(candidate)) seen.add(candidate)
  })
  for (const candidate of seen) change(candidate)
}

/** The leaves that can be reached from the initial one. */
function eachLeaf(machine: AnyStateMachine, change: (leaf: Leaf) => void): void {
  const { initial } = tableOf(machine)
  const reached = new Set<Leaf>(initial.target === null ? [] : [initial.target])
  for (const { on, always, wild } of reached) {
    const all = [...on.values(), always, ...wild.map(({ candidates }) => candidates)].flat()
    for (const { target } of all) if (target !== null) reached.add(target)
  }
  for (const leaf of reached) change(leaf)
}
