/** What the compiler refuses is checked by `tsc`, which reads this file too: a line that is not refused is an error. */
import { expect, expectTypeOf, test } from 'vitest'
import { address, ref, telling } from '../../runtime/mod.ts'
import type { Client, EventFor, Tell } from '../../runtime/mod.ts'
import { createTestWorld } from '../../runtime/testing/mod.ts'
import { member } from './family.ts'
import type { MemberEvent } from './family.ts'

const kind = member('member')

test('an address that knows its actor is a plain one when it runs', () => {
  expect(ref(kind, 'a')).toBe('member/a')
  expect(() => ref(kind, 'no spaces')).toThrow('Cannot use "member/no spaces"')
})

test('events and input are those of the chart; a plain address takes any', () => {
  const typed = ref(kind, 'a')
  const plain = address('member', 'a')
  expectTypeOf<EventFor<typeof typed>['type']>().toEqualTypeOf<MemberEvent['type']>()
  expectTypeOf<EventFor<typeof plain>>().toEqualTypeOf<{ readonly type: string }>()
  const checked = async (client: Client) => {
    await client.tell(typed, { type: 'note', text: 'right' })
    // @ts-expect-error the chart knows no such event
    await client.tell(typed, { type: 'nonsense' })
    // @ts-expect-error a note has a text
    await client.ask(typed, { type: 'note' })
    // @ts-expect-error whose type is another
    await client.ask(typed, { type: 'note', text: 1 })
    await client.spawn(typed, { cares: true })
    // @ts-expect-error the input is the chart's
    await client.spawn(typed, { cares: 'yes' })
    await client.schedule(typed, { id: 'x', delayMs: 1, event: { type: 'finish' } })
    // @ts-expect-error a schedule says when
    await client.schedule(typed, { id: 'x', event: { type: 'finish' } })
    // @ts-expect-error at a time or after a delay, not both
    await client.schedule(typed, { id: 'x', delayMs: 1, at: 1, event: { type: 'finish' } })
    // @ts-expect-error and what the chart knows
    await client.schedule(typed, { id: 'x', delayMs: 1, event: { type: 'nonsense' } })
    await client.tell(plain, { type: 'nonsense' })
    await client.spawn(plain, 'whatever')
  }
  expect(checked).toBeTypeOf('function')
})

test("a chart's tell is typed by its receiver", () => {
  const tell: Tell = telling(ref(kind, 'a'), { type: 'note', text: 'right' })
  expect(tell).toEqual({ to: 'member/a', event: { type: 'note', text: 'right' } })
  // @ts-expect-error the receiver's chart knows no such event
  telling(ref(kind, 'a'), { type: 'nonsense' })
})

test('the test world is typed by the definition too', async () => {
  await using world = await createTestWorld({ actors: [kind] })
  const one = world.actor(kind, 'a')
  await one.spawn({})
  await one.tell({ type: 'note', text: 'right' })
  // @ts-expect-error no such event
  await one.tell({ type: 'nonsense' })
  expect(await one.read()).toMatchObject({ context: { heard: ['right'] } })
})
