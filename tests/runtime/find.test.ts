import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from 'vitest'
import { assign, setup } from 'xstate'
import { address, defineActor, ref, RuntimeError, vocabulary } from '../../runtime/mod.ts'
import type { ActorRef, Client, StateOf } from '../../runtime/mod.ts'
import { Fleet, transports } from '../harness/fleet.ts'

type Event = { type: 'pack' | 'send' | 'back' | 'end' | 'note' | 'fail' }

const machine = setup({
  types: { context: {} as { notes: number }, events: {} as Event },
  actions: {
    ...vocabulary,
    note: assign({ notes: ({ context }) => context.notes + 1 }),
    fail: assign(() => {
      throw new Error('broken')
    }),
  },
}).createMachine({
  context: { notes: 0 },
  initial: 'open',
  on: { note: { actions: 'note' }, end: '.over', fail: { actions: 'fail' } },
  states: {
    open: { on: { pack: 'packing' } },
    packing: {
      initial: 'boxing',
      states: { boxing: { on: { send: 'sealing' } }, sealing: { on: { back: 'boxing' } } },
      on: { send: 'sending' },
    },
    sending: {
      type: 'parallel',
      states: {
        post: { initial: 'asked', states: { asked: {} } },
        bill: { initial: 'written', states: { written: {} } },
      },
    },
    over: { type: 'final' },
  },
})

const parcel = defineActor({
  kind: 'parcel',
  version: 1,
  machine,
  effects: {},
  policy: { onError: 'stop', retentionMs: 100_000 },
})
const brief = defineActor({ kind: 'brief', version: 1, machine, effects: {}, policy: { retentionMs: 1 } })
const secret = defineActor({ kind: 'secret', version: 1, machine, effects: {}, indexed: false })
const van = defineActor({ kind: 'van', version: 1, machine, effects: {}, pinned: true, policy: { retentionMs: 1 } })

describe.each(transports)('looking for actors on %s', (transport) => {
  let fleet: Fleet
  let client: Client
  beforeAll(async () => {
    fleet = await Fleet.start(transport, [parcel, brief, secret, van])
    await fleet.node()
    client = await fleet.client()
  })
  afterAll(() => fleet.stop())

  const found = async (state?: StateOf<typeof parcel>): Promise<string[]> => {
    const { items } = await client.find({ kind: parcel, ...(state !== undefined && { state }) })
    return items.map(({ actor, state: is }) => `${actor} ${is}`).sort()
  }
  const after = async (id: string, ...types: Event['type'][]) => {
    await client.spawn(ref(parcel, id), {})
    for (const type of types) await client.ask(ref(parcel, id), { type })
  }

  describe('in the course of a life', () => {
    beforeAll(async () => {
      await after('a')
      await after('b', 'note', 'note')
      await after('c', 'pack')
      await after('d', 'pack', 'send')
      await after('e', 'end')
    })

    test('finds those of a state, and of the states within it', async () => {
      expect(await found('open')).toEqual(['parcel/a open', 'parcel/b open'])
      expect(await found('packing')).toEqual(['parcel/c packing.boxing', 'parcel/d packing.sealing'])
      expect(await found('packing.sealing')).toEqual(['parcel/d packing.sealing'])
      expect(await found('over')).toEqual(['parcel/e over'])
      expect(await found('pack' as 'packing')).toEqual([])
      expect(await found()).toHaveLength(5)
    })

    test('counts them by kind and state', async () => {
      await client.spawn(ref(brief, 'one'), {})
      expect(await client.count(parcel)).toEqual([
        { kind: 'parcel', state: 'open', actors: 2 },
        { kind: 'parcel', state: 'over', actors: 1 },
        { kind: 'parcel', state: 'packing.boxing', actors: 1 },
        { kind: 'parcel', state: 'packing.sealing', actors: 1 },
      ])
      expect(await client.count()).toEqual([
        { kind: 'brief', state: 'open', actors: 1 },
        ...(await client.count('parcel')),
      ])
      expect(await client.count('nobody')).toEqual([])
    })

    test('a state that is parallel is where its path ends, and who is stopped is in a state of its own', async () => {
      await after('p', 'pack', 'send', 'send')
      expect(await found('sending')).toEqual(['parcel/p sending'])
      await after('s', 'pack')
      await client.ask(ref(parcel, 's'), { type: 'fail' }).catch(() => {})
      expect(await found('@stopped')).toEqual(['parcel/s @stopped'])
    })

    test('who is asked says since when', async () => {
      const at = Date.now()
      await after('t')
      const { items } = await client.find({ kind: 'parcel', state: 'open' })
      const since = items.find(({ actor }) => actor === 'parcel/t')?.since ?? 0
      expect(Math.abs(since - at)).toBeLessThan(60_000)
      await client.ask(ref(parcel, 't'), { type: 'note' })
      const again = await client.find({ kind: 'parcel', state: 'open' })
      expect(again.items.find(({ actor }) => actor === 'parcel/t')?.since).toBe(since)
    })
  })

  test('an actor that leaves Redis leaves the index, and so does a pinned one with its shard', async () => {
    const host = await fleet.node({ hosts: 'pinned' })
    await host.host(address('van', 'v1'))
    await client.spawn(ref(van, 'v1'), {})
    await client.spawn(ref(brief, 'gone'), {})
    const vans = async () => (await client.find({ kind: van })).items.map(({ actor }) => actor)
    const briefs = async () => (await client.find({ kind: brief })).items.map(({ actor }) => actor)
    expect(await vans()).toEqual(['van/v1'])
    expect(await briefs()).toContain('brief/gone')
    await client.ask(ref(van, 'v1'), { type: 'end' })
    await client.ask(ref(brief, 'gone'), { type: 'end' })
    await expect.poll(vans).toEqual([])
    await expect.poll(briefs).not.toContain('brief/gone')
    expect(await client.count(van)).toEqual([])
  })

  test('a kind that is not indexed costs nothing and is not found', async () => {
    await client.spawn(ref(secret, 'x'), {})
    await client.ask(ref(secret, 'x'), { type: 'pack' })
    expect((await client.find({ kind: secret })).items).toEqual([])
    expect(await client.count(secret)).toEqual([])
  })

  test.each([
    [{ kind: 'Parcel' }, 'kind'],
    [{ kind: 'parcel', limit: 0 }, 'limit'],
    [{ kind: 'parcel', limit: 1.5 }, 'limit'],
    [{ kind: 'parcel', limit: 1_001 }, 'limit'],
    [{ kind: 'parcel', after: 'x' }, 'after'],
    [{ kind: 'parcel', after: '5~a/b' }, 'after'],
  ])('what is malformed is refused: %j', async (query, field) => {
    const refused = client.find(query)
    await expect(refused).rejects.toBeInstanceOf(RuntimeError)
    await expect(refused).rejects.toMatchObject({ code: 'query.invalid', data: { field } })
  })

  describe('page by page', () => {
    const COUNT = 230
    beforeAll(async () => {
      const many = Array.from({ length: COUNT }, (_, i) => ref(brief, `m${i}`))
      await Promise.all(many.map((actor) => client.spawn(actor, {})))
    })

    const pages = async (limit: number, between: (page: number) => Promise<void> = async () => {}) => {
      const all: { actor: string; state: string }[] = []
      let after: string | undefined
      for (let page = 0; ; page++) {
        const { items, next } = await client.find({ kind: brief, limit, ...(after !== undefined && { after }) })
        expect(items.length).toBeLessThanOrEqual(limit)
        all.push(...items)
        if (next === undefined) return all
        expect(items).toHaveLength(limit)
        after = next
        await between(page)
      }
    }

    test.each([3, 7, 100, 1_000])('each actor is on one page, by the time of entry, %i to a page', async (limit) => {
      const all = await pages(limit)
      expect(new Set(all.map(({ actor }) => actor)).size).toBe(all.length)
      expect(all.filter(({ actor }) => actor.startsWith('brief/m'))).toHaveLength(COUNT)
      const { items } = await client.find({ kind: brief, limit: 1_000 })
      expect(items.map(({ since }) => since)).toEqual(items.map(({ since }) => since).sort((a, b) => a - b))
      expect(all.map(({ actor }) => actor)).toEqual(items.map(({ actor }) => actor))
    })

    test('nobody is missed who moves meanwhile, and nobody who stays is there twice', async () => {
      const movers = Array.from({ length: 40 }, (_, i) => ref(brief, `m${i * 5}`))
      const all = await pages(20, async (page) => {
        const now = movers.slice(page * 8, page * 8 + 8)
        await Promise.all(now.map((actor) => client.ask(actor, { type: 'pack' })))
      })
      const times = new Map<string, number>()
      for (const { actor } of all) times.set(actor, (times.get(actor) ?? 0) + 1)
      const missed = Array.from({ length: COUNT }, (_, i) => `brief/m${i}`).filter((actor) => !times.has(actor))
      expect(missed).toEqual([])
      const moving = new Set<string>(movers)
      expect([...times].filter(([actor, count]) => count > 1 && !moving.has(actor))).toEqual([])
    })
  })
})

test('states and addresses have the types of the chart', () => {
  const anyone = async (client: Client) => client.find({ kind: parcel, state: 'packing.boxing' })
  expectTypeOf<Awaited<ReturnType<typeof anyone>>['items'][number]['actor']>().toEqualTypeOf<ActorRef<typeof parcel>>()
  expectTypeOf<'packing' | 'over' | 'packing.sealing' | '@stopped'>().toExtend<StateOf<typeof parcel>>()
  expectTypeOf<'packing.nowhere'>().not.toExtend<StateOf<typeof parcel>>()
  expectTypeOf<StateOf<string>>().toEqualTypeOf<string>()
})
