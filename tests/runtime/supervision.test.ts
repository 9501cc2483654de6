import { expect, test } from 'vitest'
import type { ActorAddress } from '../../runtime/address.ts'
import { createTestWorld } from '../../runtime/testing/mod.ts'
import type { TestWorld } from '../../runtime/testing/mod.ts'
import { contextOf, member } from './family.ts'

/** A real effect would hold the world's clock. */
const idle = { toil: () => new Promise<null>(() => {}) }
const worldOf = (...actors: ReturnType<typeof member>[]) =>
  createTestWorld({ actors, effects: Object.fromEntries(actors.map(({ kind }) => [kind, idle])) })
const heard = async (world: TestWorld, actor: { address: ActorAddress }) =>
  contextOf(await world.read(actor.address)).heard

test('an actor that resumes goes on as if the message had never come, and the letter says why', async () => {
  const kind = member('child')
  await using world = await worldOf(kind)
  const child = world.actor(kind, 'c')
  await child.spawn({})
  await child.tell({ type: 'note', text: 'before' })
  const before = await child.read()
  await child.tell({ type: 'fail', why: 'on purpose' })
  expect(await child.read()).toEqual(before)
  await child.tell({ type: 'note', text: 'after' })
  expect(await heard(world, child)).toEqual(['before', 'after'])
  expect(await world.deadLetters()).toMatchObject([
    { to: 'child/c', fault: { code: 'transition.failed', message: 'on purpose' } },
  ])
})

test('an actor that fails more often than its intensity allows within the period stops', async () => {
  const kind = member('child', { intensity: { failuresMax: 2, periodMs: 1_000 } })
  await using world = await worldOf(kind)
  const child = world.actor(kind, 'c')
  await child.spawn({})
  for (let i = 0; i < 6; i++) {
    await child.tell({ type: 'fail' })
    await world.advance(501)
  }
  expect(await child.read()).toMatchObject({ status: 'active' }) // never more than two in a second
  await world.advance('1 s')
  for (let i = 0; i < 3; i++) await child.tell({ type: 'fail', why: `failure ${i}` })
  expect(await child.read()).toMatchObject({ status: 'error', error: { message: 'failure 2' } })
})

test('an actor whose intensity has no end goes on whatever happens', async () => {
  const kind = member('child', { intensity: { failuresMax: Infinity, periodMs: 1_000 } })
  await using world = await worldOf(kind)
  const child = world.actor(kind, 'c')
  await child.spawn({})
  for (let i = 0; i < 50; i++) await child.tell({ type: 'fail' })
  expect(await child.read()).toMatchObject({ status: 'active' })
})

test('an actor that stops runs nothing more, waits for nothing, and leaves after its retention', async () => {
  const kind = member('child', { onError: 'stop', retentionMs: 5_000 })
  await using world = await createTestWorld({
    actors: [kind],
    effects: {
      child: { toil: (_: never, { signal }) => new Promise((_r, no) => signal.addEventListener('abort', no)) },
    },
  })
  const child = world.actor(kind, 'c')
  await child.spawn({})
  await child.tell({ type: 'work' })
  expect(await child.read()).toMatchObject({ effects: ['toil'], timers: [{ name: 'boredom' }] })
  const aborted = world.events.once('effect.ended', ({ outcome }) => outcome === 'aborted')
  await child.tell({ type: 'fail' })
  expect(await child.read()).toMatchObject({ status: 'error', effects: [], timers: [{ name: '@retire' }] })
  expect((await aborted).actor).toBe('child/c')
  expect((await world.journal(child.address)).at(-1)).toMatchObject({ event: '@stopped', from: 'working' })
  await world.advance(5_000)
  expect(await child.read()).toBeNull()
})

test('a failure that escalates is heard by the parent', async () => {
  const [parentKind, childKind] = [member('parent'), member('child', { onError: 'escalate' })]
  await using world = await worldOf(parentKind, childKind)
  const parent = world.actor(parentKind, 'p')
  await parent.spawn({ cares: true })
  await parent.tell({ type: 'bear', child: 'child/c' })
  await world.actor(childKind, 'c').tell({ type: 'fail', why: 'too much' })
  expect(await world.actor(childKind, 'c').read()).toMatchObject({ status: 'error' })
  expect(await heard(world, parent)).toEqual(['child/c failed: too much'])
})

test('a fault climbs the tree over parents that do not know what to do, to one that does', async () => {
  const [root, branch] = [member('root'), member('branch', { onError: 'escalate' })]
  const leaf = member('leaf', { onError: 'escalate' })
  await using world = await worldOf(root, branch, leaf)
  const top = world.actor(root, 'r')
  await top.spawn({ cares: true })
  await top.tell({ type: 'bear', child: 'branch/b' })
  await world.actor(branch, 'b').tell({ type: 'bear', child: 'leaf/l' })
  await world.actor(leaf, 'l').tell({ type: 'fail', why: 'deep' })
  expect(await world.actor(branch, 'b').read()).toMatchObject({ status: 'error', error: { code: 'child.failed' } })
  expect(await heard(world, top)).toEqual(['branch/b failed: leaf/l has failed: deep'])
})

test('a root that does not know what to do fails by its own policy', async () => {
  const [root, leaf] = [member('root', { onError: 'stop' }), member('leaf', { onError: 'escalate' })]
  await using world = await worldOf(root, leaf)
  const top = world.actor(root, 'r')
  await top.spawn({})
  await top.tell({ type: 'bear', child: 'leaf/l' })
  await world.actor(leaf, 'l').tell({ type: 'fail' })
  expect(await top.read()).toMatchObject({ status: 'error', error: { code: 'child.failed' } })
})

test('what a chart throws fits into a dead letter, whatever it is', async () => {
  const kind = member('child')
  await using world = await worldOf(kind)
  const child = world.actor(kind, 'c')
  await child.spawn({})
  await child.tell({ type: 'fail', why: 'x'.repeat(400_000) })
  const [letter] = await world.deadLetters()
  expect(letter?.fault.message).toHaveLength(4_000)
})
