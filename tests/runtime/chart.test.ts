import { describe, expect, test } from 'vitest'
import { assign, createMachine, fromPromise, setup } from 'xstate'
import { defineActor } from '../../runtime/actor.ts'
import { vocabulary } from '../../runtime/vocabulary.ts'

const effect = fromPromise<number>(() => Promise.reject(new Error('run by the runtime')))

describe('a chart that cannot be durable is refused when it is defined', () => {
  const refusal = (machine: Parameters<typeof defineActor>[0]['machine']) => () =>
    defineActor({ kind: 'x', version: 1, machine, effects: {} })

  test('an invoke without an id', () => {
    const machine = setup({ actors: { effect } }).createMachine({ invoke: { src: 'effect' } })
    expect(refusal(machine)).toThrow(/an invoke has no id/)
  })

  test('an invoke of an inline source', () => {
    const machine = createMachine({ invoke: { id: 'e', src: effect } })
    expect(refusal(machine)).toThrow(/source of invoke "e" has no name/)
  })

  test('a delay without a name', () => {
    const machine = setup({}).createMachine({ initial: 'a', states: { a: { after: { 100: 'b' } }, b: {} } })
    expect(refusal(machine)).toThrow(/delay "100" has no name/)
  })

  test('a delay that two states share', () => {
    const machine = setup({ delays: { pause: 1 } }).createMachine({
      initial: 'a',
      states: { a: { after: { pause: 'b' } }, b: { after: { pause: 'a' } } },
    })
    expect(refusal(machine)).toThrow(/delay "pause" is used by/)
  })

  test('an action that is neither XState’s nor of the vocabulary', () => {
    const machine = setup({ actions: { print: () => {} } }).createMachine({ entry: 'print' })
    expect(refusal(machine)).toThrow(/action "print"/)
  })

  test('all of its faults are named at once', () => {
    const machine = setup({ actors: { effect }, actions: { print: () => {} } }).createMachine({
      invoke: { src: 'effect' },
      entry: 'print',
    })
    expect(refusal(machine)).toThrow(/an invoke has no id.*action "print"/)
  })
})

test('a delay whose end has several guarded ways out is one delay', () => {
  const machine = setup({ delays: { pause: 1 }, guards: { never: () => false } }).createMachine({
    initial: 'a',
    states: { a: { after: { pause: [{ guard: 'never', target: 'b' }, { target: 'c' }] } }, b: {}, c: {} },
  })
  expect(defineActor({ kind: 'x', version: 1, machine, effects: {} }).kind).toBe('x')
})

test('a chart that tells, invokes and waits by name is accepted', () => {
  const machine = setup({
    actors: { effect },
    delays: { pause: 1 },
    actions: { ...vocabulary, note: assign({}) },
  }).createMachine({
    initial: 'a',
    states: {
      a: { entry: ['note', { type: 'tell', params: { to: 'x/y', event: { type: 'hi' } } }], after: { pause: 'b' } },
      b: { invoke: { id: 'effect', src: 'effect' } },
    },
  })
  const actor = defineActor({ kind: 'x', version: 1, machine, effects: { effect: async () => 1 } })
  expect(actor).toMatchObject({ kind: 'x', version: 1, pinned: false })
})

test('an effect that is missing, extra or mistyped does not compile', () => {
  const machine = setup({ actors: { effect } }).createMachine({ invoke: { id: 'effect', src: 'effect' } })
  // @ts-expect-error the effect "effect" is missing
  expect(defineActor({ kind: 'x', version: 1, machine, effects: {} }).kind).toBe('x')
  const mistyped = async (): Promise<string> => 'not a number'
  // @ts-expect-error the effect must return a number
  expect(defineActor({ kind: 'x', version: 1, machine, effects: { effect: mistyped } }).kind).toBe('x')
  const effects = { effect: async () => 1, other: async () => 2 }
  // @ts-expect-error "other" is no effect of this chart
  expect(defineActor({ kind: 'x', version: 1, machine, effects: { ...effects, other: effects.other } }).kind).toBe('x')
})
