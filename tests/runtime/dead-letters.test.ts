import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { assign, fromPromise, setup } from 'xstate'
import { defineActor } from '../../runtime/actor.ts'
import { address } from '../../runtime/address.ts'
import type { ActorAddress } from '../../runtime/address.ts'
import type { Client } from '../../runtime/client.ts'
import { vocabulary } from '../../runtime/vocabulary.ts'
import { Fleet, transports } from '../harness/fleet.ts'
import { contextOf, member } from './family.ts'

/** Takes its timer and its effect's result only once the test has mended it. */
let isMended = false
const brokenMachine = setup({
  types: { context: {} as { heard: readonly string[] }, events: {} as { type: 'wait' | 'work' }, input: {} as object },
  actors: { work: fromPromise<string, null>(() => Promise.reject(new Error('the runtime runs the effect'))) },
  actions: {
    ...vocabulary,
    hear: assign(({ context }, { text }: { text: string }) => {
      if (!isMended) throw new Error('not yet')
      return { heard: [...context.heard, text] }
    }),
  },
  delays: { soon: 1 },
}).createMachine({
  context: { heard: [] },
  initial: 'idle',
  states: {
    idle: { on: { wait: 'waiting', work: 'working' } },
    waiting: { after: { soon: { target: 'idle', actions: { type: 'hear', params: { text: 'timer' } } } } },
    working: {
      invoke: {
        id: 'work',
        src: 'work',
        input: null,
        onDone: { target: 'idle', actions: { type: 'hear', params: ({ event }) => ({ text: event.output }) } },
      },
    },
  },
})
let runs = 0
const broken = defineActor({
  kind: 'broken',
  version: 1,
  machine: brokenMachine,
  effects: { work: async () => `run ${++runs}` },
})
const plain = member('plain')
const station = member('station', { retentionMs: 1 }, [], true)

describe.each(transports)('dead letters on %s', (transport) => {
  let fleet: Fleet
  let client: Client
  let ids = 0
  beforeAll(async () => {
    fleet = await Fleet.start(transport, [plain, broken, station])
    await fleet.node()
    client = await fleet.client()
  })
  afterEach(async () => {
    isMended = false
    for (const { id } of (await client.deadLetters.list({ limit: 1_000 })).items) await client.deadLetters.drop(id)
  })
  afterAll(() => fleet.stop())

  const spawned = async (kind: string): Promise<ActorAddress> => {
    const actor = address(kind, `a${++ids}`)
    await client.spawn(actor, {})
    return actor
  }
  const lettersOf = async (to: string) =>
    (await client.deadLetters.list({ limit: 1_000 })).items.filter((letter) => letter.to === to)
  const heard = async (actor: ActorAddress) => contextOf(await client.read(actor)).heard
  const say = (to: ActorAddress, event: { type: string; [key: string]: unknown }) => client.tell(to, event)

  test('are listed page by page over all shards, and shown one by one', async () => {
    const actors = await Promise.all([1, 2, 3, 4, 5].map(() => spawned('plain')))
    for (const actor of actors) {
      await say(actor, { type: 'fail', why: `of ${actor}` })
      await client.ask(actor, { type: 'note', text: '' } as { type: string })
    }
    const pages = []
    let after: string | undefined
    do {
      const page = await client.deadLetters.list({ limit: 2, ...(after !== undefined && { after }) })
      pages.push(page.items)
      after = page.next
    } while (after !== undefined)
    expect(pages.map((page) => page.length)).toEqual([2, 2, 1])
    expect(new Set(pages.flat().map(({ to }) => to))).toEqual(new Set(actors))
    const [letter] = pages.flat()
    expect(letter).toMatchObject({ kind: 'mail', fault: { message: `of ${letter?.to}` }, content: { type: 'fail' } })
    expect(await client.deadLetters.get(letter?.id ?? '')).toEqual(letter)
    expect(await client.deadLetters.list({ shard: letter!.shard, limit: 1 })).toMatchObject({ items: [letter] })
  })

  test('are sent again once, however many press at once', async () => {
    const actor = address('plain', `late${++ids}`)
    await say(actor, { type: 'note', text: 'too early' })
    await expect.poll(() => lettersOf(actor)).toHaveLength(1)
    const [letter] = await lettersOf(actor)
    await client.spawn(actor, {})
    const sent = await Promise.all([1, 2, 3].map(() => client.deadLetters.resend(letter?.id ?? '')))
    expect(sent.filter((isSent) => isSent)).toHaveLength(1)
    await client.ask(actor, { type: 'note', text: 'later' } as { type: string })
    expect(await heard(actor)).toEqual(['too early', 'later'])
    expect(await client.deadLetters.get(letter?.id ?? '')).toBeNull()
  })

  test('are sent again edited', async () => {
    const actor = await spawned('plain')
    await say(actor, { type: 'fail' })
    await expect.poll(() => lettersOf(actor)).toHaveLength(1)
    const [letter] = await lettersOf(actor)
    const event = { type: 'note', text: 'mended' }
    expect(await client.deadLetters.resend(letter?.id ?? '', event)).toBe(true)
    await expect.poll(() => heard(actor)).toEqual(['mended'])
  })

  test('are dropped, once', async () => {
    const actor = await spawned('plain')
    await say(actor, { type: 'fail' })
    await expect.poll(() => lettersOf(actor)).toHaveLength(1)
    const [letter] = await lettersOf(actor)
    expect(await client.deadLetters.drop(letter?.id ?? '')).toBe(true)
    expect(await client.deadLetters.drop(letter?.id ?? '')).toBe(false)
    expect(await client.deadLetters.resend(letter?.id ?? '')).toBe(false)
  })

  test("hold a timer and an effect's result too, which go on where they were", async () => {
    const [waiter, worker] = [await spawned('broken'), await spawned('broken')]
    await say(waiter, { type: 'wait' })
    await say(worker, { type: 'work' })
    for (const actor of [waiter, worker]) await expect.poll(() => lettersOf(actor)).toHaveLength(1)
    isMended = true
    const before = runs
    for (const actor of [waiter, worker]) {
      const [letter] = await lettersOf(actor)
      expect(await client.deadLetters.resend(letter?.id ?? '')).toBe(true)
    }
    await expect.poll(() => heard(waiter)).toEqual(['timer'])
    await expect.poll(() => heard(worker)).toEqual([`run ${before}`])
    expect(await client.read(waiter)).toMatchObject({ value: 'idle', timers: [] })
    expect(await client.read(worker)).toMatchObject({ value: 'idle', effects: [] })
    expect(runs).toBe(before)
  })

  test('of a pinned shard outlive it, and are not sent into nothing', async () => {
    const to = address('station', `s${++ids}`)
    const host = await fleet.node({ hosts: 'pinned' })
    await host.host(to)
    await client.spawn(to, {})
    await say(to, { type: 'fail', why: 'of a station' })
    await client.ask(to, { type: 'finish' })
    await expect.poll(() => client.read(to)).toBeNull()
    await expect.poll(() => host.shards).toEqual([])
    const [letter] = await lettersOf(to)
    expect(letter).toMatchObject({ to, fault: { message: 'of a station' } })
    await expect(client.deadLetters.resend(letter?.id ?? '')).rejects.toMatchObject({ code: 'shard.gone' })
    expect(await lettersOf(to)).toHaveLength(1)
    expect(await client.deadLetters.drop(letter?.id ?? '')).toBe(true)
    expect(await lettersOf(to)).toEqual([])
  })

  test('are named by ids that are checked', async () => {
    for (const id of ['', '1-0', 'x@1', '1-0@../../etc']) {
      await expect(client.deadLetters.get(id)).rejects.toMatchObject({ code: expect.stringMatching(/malformed/) })
    }
    expect(await client.deadLetters.get('1-0@63')).toBeNull()
  })
})
