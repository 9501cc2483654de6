import { describe, expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/testing/mod.ts'
import type { TestWorld } from '../../runtime/testing/mod.ts'
import { LIMITS } from '../../runtime/limits.ts'
import { contextOf, member } from './family.ts'

const kind = member('member')
const worldOf = () => createTestWorld({ actors: [kind] })
const one = async (world: TestWorld, id: string) => {
  const actor = world.actor(kind, id)
  await actor.spawn({})
  return { ...actor, heard: async () => contextOf(await actor.read()).heard }
}
const note = (text: string) => ({ type: 'note', text }) as { type: string }

describe('a tell that is scheduled', () => {
  test('comes at its time, once', async () => {
    await using world = await worldOf()
    const [a, b] = [await one(world, 'a'), await one(world, 'b')]
    await a.tell({ type: 'later', to: 'member/b', say: { id: 'x', event: note('hello'), delayMs: 60_000 } })
    expect((await b.read())?.schedules).toMatchObject([{ id: 'x', from: 'member/a', due: world.clock.now() + 60_000 }])
    await world.advance(59_999)
    expect(await b.heard()).toEqual([])
    await world.advance('10 min')
    expect(await b.heard()).toEqual(['hello'])
    expect((await b.read())?.schedules).toEqual([])
  })

  test('comes at a moment that is named, and to its own actor where none is', async () => {
    await using world = await worldOf()
    const a = await one(world, 'a')
    await a.tell({ type: 'later', say: { id: 'x', event: note('self'), at: world.clock.now() + 5_000 } })
    await world.advance(4_999)
    expect(await a.heard()).toEqual([])
    await world.advance(1)
    expect(await a.heard()).toEqual(['self'])
  })

  test('is replaced under the same id, and called off by it; another sender has ids of its own', async () => {
    await using world = await worldOf()
    const [a, b] = [await one(world, 'a'), await one(world, 'b')]
    await a.tell({ type: 'later', say: { id: 'x', event: note('old'), delayMs: 1_000 } })
    await a.tell({ type: 'later', say: { id: 'x', event: note('new'), delayMs: 2_000 } })
    await b.tell({ type: 'later', to: 'member/a', say: { id: 'x', event: note('from b'), delayMs: 3_000 } })
    await a.tell({ type: 'later', say: { id: 'y', event: note('never'), delayMs: 1_500 } })
    await a.tell({ type: 'never', id: 'y' })
    await world.advance('1 min')
    expect(await a.heard()).toEqual(['new', 'from b'])
  })

  test('repeats on the beat of its first time, and takes missed beats together', async () => {
    await using world = await worldOf()
    const a = await one(world, 'a')
    const begun = world.clock.now()
    await a.tell({ type: 'later', say: { id: 'x', event: note('tick'), delayMs: 700, everyMs: 1_000 } })
    await world.advance('5 s')
    const ticks = (await world.journal(a.address)).filter(({ event }) => event === 'note').map(({ at }) => at - begun)
    expect(ticks).toEqual([700, 1_700, 2_700, 3_700, 4_700])
    await a.tell({ type: 'later', say: { id: 'x', event: note('late'), at: begun - 3_500, everyMs: 2_000 } })
    await world.advance(1)
    expect((await a.heard()).filter((text) => text === 'late')).toHaveLength(1)
    expect((await a.read())?.schedules[0]?.due).toBe(begun + 6_500)
    await a.tell({ type: 'never', id: 'x' })
    await world.advance('1 min')
    expect((await a.heard()).filter((text) => text === 'late')).toHaveLength(1)
  })

  test('goes on with what was left of its delay where it was called off with that, whoever owns it then', async () => {
    await using world = await worldOf()
    const a = await one(world, 'a')
    const later = (): Promise<void> =>
      a.tell({ type: 'later', say: { id: 'x', event: note('over'), delayMs: 60_000, keep: true } })
    await later()
    await world.advance('40 s')
    await later() // it waits already, and is left as it is
    await a.tell({ type: 'never', id: 'x', keep: true })
    await a.tell({ type: 'never', id: 'x', keep: true })
    await world.advance('1 h')
    expect([await a.heard(), (await a.read())?.schedules]).toMatchObject([[], [{ id: 'x', leftMs: 20_000 }]])
    await world.stop()
    await world.start()
    await later()
    await world.advance(19_999)
    expect(await a.heard()).toEqual([])
    await world.advance(1)
    expect(await a.heard()).toEqual(['over'])
  })

  test('that was called off with what was left begins anew where nothing is said of that, and ends for good', async () => {
    await using world = await worldOf()
    const a = await one(world, 'a')
    await a.tell({ type: 'later', say: { id: 'x', event: note('old'), delayMs: 60_000 } })
    await a.tell({ type: 'never', id: 'x', keep: true })
    await a.tell({ type: 'later', say: { id: 'x', event: note('new'), delayMs: 1_000 } })
    await world.advance('1 s')
    expect(await a.heard()).toEqual(['new'])
    await a.tell({ type: 'later', say: { id: 'y', event: note('never'), delayMs: 1_000 } })
    await a.tell({ type: 'never', id: 'y', keep: true })
    await a.tell({ type: 'never', id: 'y' })
    await world.advance('1 h')
    expect([await a.heard(), (await a.read())?.schedules]).toEqual([['new'], []])
  })

  test('goes on repeating when a transition throws', async () => {
    await using world = await worldOf()
    const a = await one(world, 'a')
    await a.tell({ type: 'later', say: { id: 'x', event: { type: 'fail' }, delayMs: 100, everyMs: 10_000 } })
    await world.advance('35 s')
    expect(await world.deadLetters()).toHaveLength(4)
    expect((await a.read())?.schedules).toHaveLength(1)
  })

  test('ends with its receiver, and is refused to one that is not there', async () => {
    await using world = await worldOf()
    const [a, b] = [await one(world, 'a'), await one(world, 'b')]
    await a.tell({ type: 'later', to: 'member/b', say: { id: 'x', event: note('too late'), delayMs: 1_000 } })
    await b.tell({ type: 'finish' })
    await world.advance('1 min')
    expect(await world.deadLetters()).toEqual([])
    await a.tell({ type: 'later', to: 'member/nobody', say: { id: 'x', event: note('?'), delayMs: 1_000 } })
    expect(await world.deadLetters()).toMatchObject([{ to: 'member/nobody', fault: { code: 'actor.unknown' } }])
  })

  test.each([
    [{ id: '', event: note(''), delayMs: 1 }, 'id'],
    [{ id: 'x', event: {} as { type: string }, delayMs: 1 }, 'event'],
    [{ id: 'x', event: note(''), delayMs: Number.NaN }, 'delayMs'],
    [{ id: 'x', event: note(''), delayMs: 1, everyMs: 0 }, 'everyMs'],
  ])('is refused when it makes no sense: %o', async (say, field) => {
    await using world = await worldOf()
    const a = await one(world, 'a')
    await a.tell({ type: 'later', say })
    const [letter] = await world.deadLetters()
    expect(letter?.fault).toMatchObject({ code: 'schedule.invalid', data: { field } })
  })

  test('is one too many for a receiver that has as many as it may', async () => {
    await using world = await worldOf()
    const a = await one(world, 'a')
    const say = (i: number) => ({ id: `x${i}`, event: note(''), delayMs: 1_000_000 })
    for (let i = 0; i < LIMITS.schedulesMax; i++) await a.tell({ type: 'later', say: say(i) })
    expect(await world.deadLetters()).toEqual([])
    await a.tell({ type: 'later', say: say(1_000) })
    expect(await world.deadLetters()).toMatchObject([{ fault: { code: 'schedule.too-many' } }])
    await a.tell({ type: 'later', say: say(1) })
    expect(await world.deadLetters()).toHaveLength(1)
  })
})
