import { describe, expect, test } from 'vitest'
import { assign, fromPromise, setup } from 'xstate'
import { readFile } from 'node:fs/promises'
import { defineActor } from '../../runtime/actor.ts'
import { vocabulary } from '../../runtime/vocabulary.ts'
import { createTestWorld, durationMs } from '../../runtime/testing/mod.ts'

interface Charge {
  readonly amount: number
}

/** An order is paid within half an hour, or it expires. */
const orderMachine = setup({
  types: {
    context: {} as { amount: number; receipt: string | null },
    events: {} as { type: 'checkout' } | { type: 'explode' },
    input: {} as { amount: number },
  },
  actors: { charge: fromPromise<string, Charge>(() => Promise.reject(new Error('the runtime runs the effect'))) },
  actions: {
    ...vocabulary,
    explode: assign(() => {
      throw new Error('kaboom')
    }),
  },
  delays: { patience: 30 * 60_000 },
}).createMachine({
  context: ({ input }) => ({ amount: input.amount, receipt: null }),
  initial: 'open',
  states: {
    open: {
      after: { patience: 'expired' },
      on: { checkout: 'paying', explode: { actions: 'explode' } },
    },
    paying: {
      invoke: {
        id: 'charge',
        src: 'charge',
        input: ({ context }) => ({ amount: context.amount }),
        onDone: { target: 'paid', actions: assign({ receipt: ({ event }) => event.output }) },
        onError: 'open',
      },
    },
    paid: { type: 'final' },
    expired: { type: 'final' },
  },
})

const orderActor = defineActor({
  kind: 'order',
  version: 1,
  machine: orderMachine,
  effects: { charge: async () => (await readFile(new URL(import.meta.url), 'utf8')).slice(0, 6) },
  policy: { effectRetry: { attempts: 3, baseMs: 1_000, maxMs: 60_000 } },
})

describe('a test world', () => {
  test('lets an order time out after thirty minutes that a test does not wait for', async () => {
    await using world = await createTestWorld({ actors: [orderActor] })
    const order = world.actor(orderActor, '42')
    await order.spawn({ amount: 5 })
    await world.advance('29 min')
    expect(await order.read()).toMatchObject({ value: 'open' })
    await world.advance('1 min')
    expect(await order.read()).toMatchObject({ value: 'expired', status: 'done' })
  })

  test('runs an effect of the test in place of the real one, with its retries and their pauses', async () => {
    const attempts: number[] = []
    const charge = async ({ amount }: Charge): Promise<string> => {
      attempts.push(amount)
      if (attempts.length < 3) throw new Error('the bank is closed')
      return 'thanks'
    }
    await using world = await createTestWorld({ actors: [orderActor], effects: { order: { charge } } })
    const order = world.actor(orderActor, '42')
    await order.spawn({ amount: 7 })
    await order.tell({ type: 'checkout' })
    expect(attempts).toEqual([7])
    await world.advance('10 s')
    expect(attempts).toEqual([7, 7, 7])
    expect(await order.read()).toMatchObject({ value: 'paid', context: { receipt: 'thanks' } })
  })

  test('gives an effect of the test time on its clock', async () => {
    const charge = async (): Promise<string> => {
      await world.clock.sleep(60_000)
      return 'slow'
    }
    await using world = await createTestWorld({ actors: [orderActor], effects: { order: { charge } } })
    const order = world.actor(orderActor, '42')
    await order.spawn({ amount: 7 })
    await order.tell({ type: 'checkout' })
    await world.advance('59 s')
    expect(await order.read()).toMatchObject({ value: 'paying' })
    await world.advance('1 s')
    expect(await order.read()).toMatchObject({ value: 'paid' })
  })

  test('holds its clock while a real effect works', async () => {
    await using world = await createTestWorld({ actors: [orderActor] })
    const order = world.actor(orderActor, '42')
    await order.spawn({ amount: 7 })
    await order.tell({ type: 'checkout' })
    expect(await order.read()).toMatchObject({ value: 'paid', context: { receipt: 'import' } })
  })

  test('names the real effect that holds its clock for too long', async () => {
    const hung = defineActor({
      kind: 'order',
      version: 1,
      machine: orderMachine,
      effects: {
        charge: (_, { signal }) =>
          new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('aborted')))),
      },
    })
    await using world = await createTestWorld({ actors: [hung], effectWaitMs: 20 })
    const order = world.actor(hung, '42')
    await order.spawn({ amount: 7 })
    await expect(order.tell({ type: 'checkout' })).rejects.toThrow(/order's effect "charge"/)
  })

  test('tells what each actor did, and what could not be taken', async () => {
    await using world = await createTestWorld({ actors: [orderActor] })
    const order = world.actor(orderActor, '42')
    await order.spawn({ amount: 7 })
    await order.tell({ type: 'explode' })
    await world.advance('1 h')
    expect((await world.journal(order.address)).map(({ from, to }) => [from, to])).toEqual([
      [null, 'open'],
      ['open', 'expired'],
    ])
    expect(await world.deadLetters()).toMatchObject([{ to: 'order/42', fault: { message: 'kaboom' } }])
  })

  test('refuses to replace an effect that there is not', async () => {
    const options = { actors: [orderActor], effects: { order: { chrage: async () => 'typo' } } }
    await expect(createTestWorld(options)).rejects.toThrow('Actor "order" has no effect "chrage" to replace')
  })
})

describe('a duration', () => {
  test('is read as people write it', () => {
    expect([1_500, '250 ms', '1.5 s', '30 min', '2 h', '1 d'].map((text) => durationMs(text as number))).toEqual([
      1_500, 250, 1_500, 1_800_000, 7_200_000, 86_400_000,
    ])
    expect(() => durationMs('2 weeks' as '2 d')).toThrow('Cannot read "2 weeks" as a duration')
  })
})
