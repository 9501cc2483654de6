import { beforeEach, expect, test } from 'vitest'
import { orderActor } from '../../examples/order.ts'
import type { Bank } from '../../examples/order.ts'
import { RuntimeError } from '../../runtime/mod.ts'
import { createTestWorld } from '../../runtime/testing/mod.ts'

let refunds: string[] = []
const bank: Bank = {
  charge: async ({ cents }) => `receipt for ${cents}`,
  async refund({ receipt }) {
    refunds.push(receipt)
    return null
  },
}
beforeEach(() => (refunds = []))

const placed = async (with_: Bank = bank) => {
  const definition = orderActor(with_)
  const world = await createTestWorld({ actors: [definition] })
  const order = world.actor(definition, 'A-1')
  await order.spawn({ order: 'A-1', cents: 4_200 })
  return { world, order }
}

test('an order that is packed in time is shipped and not paid back', async () => {
  const { world, order } = await placed()
  await world.advance('29 min')
  expect(await order.ask({ type: 'packed' })).toMatchObject({ state: 'shipped', status: 'done' })
  await world.advance('2 h')
  expect(refunds).toEqual([])
  await world.stop()
})

test('an order that nobody packs within half an hour is paid back', async () => {
  const { world, order } = await placed()
  await world.advance('31 min')
  const ended = await order.read()
  expect(ended).toMatchObject({ value: 'cancelled', context: { reason: 'nobody packed it in time' } })
  expect(refunds).toEqual(['receipt for 4200'])
  await world.stop()
})

test('a payment that fails for good cancels the order, and there is nothing to pay back', async () => {
  const refusing = async (): Promise<string> => {
    throw new RuntimeError('effect.failed', 'the card is blocked', { remedy: 'give-up' })
  }
  const { world, order } = await placed({ ...bank, charge: refusing })
  await world.settled()
  expect(await order.read()).toMatchObject({ value: 'cancelled', context: { reason: 'the payment failed' } })
  expect(refunds).toEqual([])
  await world.stop()
})
