import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { assign, fromPromise, setup } from 'xstate'
import { defineActor } from '../../runtime/actor.ts'
import { address } from '../../runtime/address.ts'
import type { Client } from '../../runtime/client.ts'
import { RuntimeError } from '../../runtime/errors.ts'
import { vocabulary } from '../../runtime/vocabulary.ts'
import { Fleet, transports } from '../harness/fleet.ts'

type CounterEvent =
  | { type: 'add'; by: number }
  | { type: 'forward'; to: string; by: number }
  | { type: 'get' }
  | { type: 'explode' }
  | { type: 'fetch'; value: number }
  | { type: 'remind' }
  | { type: 'close' }

interface FetchInput {
  readonly value: number
}

const counterMachine = setup({
  types: {
    context: {} as { count: number; fetched: number | null; reminded: boolean; failure: string | null },
    events: {} as CounterEvent,
    input: {} as { count?: number } | undefined,
    output: {} as { count: number },
  },
  actors: {
    fetch: fromPromise<number, FetchInput>(() => Promise.reject(new Error('the runtime runs the effect'))),
  },
  actions: {
    ...vocabulary,
    add: assign({ count: ({ context }, params: { by: number }) => context.count + params.by }),
    explode: assign(() => {
      throw new Error('kaboom')
    }),
  },
  delays: { reminder: 30 },
}).createMachine({
  id: 'counter',
  context: ({ input }) => ({ count: input?.count ?? 0, fetched: null, reminded: false, failure: null }),
  output: ({ context }) => ({ count: context.count }),
  initial: 'open',
  states: {
    open: {
      on: {
        add: { actions: { type: 'add', params: ({ event }) => ({ by: event.by }) } },
        forward: {
          actions: { type: 'tell', params: ({ event }) => ({ to: event.to, event: { type: 'add', by: event.by } }) },
        },
        get: { actions: { type: 'reply', params: ({ context }) => ({ data: context }) } },
        explode: { actions: 'explode' },
        fetch: 'fetching',
        remind: 'waiting',
        close: 'closed',
      },
    },
    fetching: {
      invoke: {
        id: 'fetch',
        src: 'fetch',
        input: ({ event }) => ({ value: event.type === 'fetch' ? event.value : 0 }),
        onDone: { target: 'open', actions: assign({ fetched: ({ event }) => event.output }) },
        onError: { target: 'open', actions: assign({ failure: ({ event }) => (event.error as Error).message }) },
      },
      on: { close: 'closed' },
    },
    waiting: { after: { reminder: { target: 'open', actions: assign({ reminded: true }) } } },
    closed: { type: 'final' },
  },
})

const attempts = new Map<number, number>()
const counterActor = defineActor({
  kind: 'counter',
  version: 1,
  machine: counterMachine,
  effects: {
    async fetch({ value }, { attempt }) {
      attempts.set(value, attempt)
      if (value === 13 && attempt < 3) throw new Error('try again')
      if (value === 666) throw new RuntimeError('effect.failed', 'never', { remedy: 'give-up' })
      return value * 2
    },
  },
  policy: { effectRetry: { attempts: 4, baseMs: 5, maxMs: 20 } },
})

describe.each(transports)('actors on %s', (transport) => {
  let fleet: Fleet
  let client: Client
  let ids = 0
  const fresh = () => address('counter', `c${++ids}`)
  beforeAll(async () => {
    fleet = await Fleet.start(transport, [counterActor])
    await fleet.node()
    client = await fleet.client()
  })
  afterAll(() => fleet.stop())

  const spawned = async (count = 0) => {
    const actor = fresh()
    await client.spawn(actor, { count })
    return actor
  }
  test('an actor answers an ask with its state and its reply', async () => {
    const actor = await spawned(5)
    await client.tell(actor, { type: 'add', by: 2 } as CounterEvent)
    const answer = await client.ask(actor, { type: 'get' })
    expect(answer).toMatchObject({ handled: true, state: 'open', reply: { count: 7 } })
  })

  test('spawning an actor that lives changes nothing', async () => {
    const actor = await spawned(5)
    expect(await client.spawn(actor, { count: 99 })).toMatchObject({ handled: false })
    expect((await client.read(actor))?.context).toMatchObject({ count: 5 })
  })

  test('an event without a transition is answered as not handled, and changes nothing', async () => {
    const actor = await spawned()
    const before = await client.read(actor)
    expect(await client.ask(actor, { type: 'nonsense' })).toMatchObject({ handled: false, state: 'open' })
    expect(await client.read(actor)).toEqual(before)
  })

  test('actors tell each other across shards, in order and once', async () => {
    const [a, b] = [await spawned(), await spawned()]
    for (let i = 0; i < 50; i++) await client.tell(a, { type: 'forward', to: b, by: 1 } as CounterEvent)
    await client.ask(a, { type: 'get' })
    await expect.poll(async () => (await client.read(b))?.context).toMatchObject({ count: 50 })
  })

  test('a transition that throws changes nothing and becomes a dead letter', async () => {
    const actor = await spawned(1)
    const dead = fleet.events.once('dead-letter', ({ to }) => to === actor)
    await expect(client.ask(actor, { type: 'explode' })).rejects.toMatchObject({
      code: 'transition.failed',
      message: 'kaboom',
    })
    expect((await dead).fault.message).toBe('kaboom')
    expect(await client.ask(actor, { type: 'get' })).toMatchObject({ reply: { count: 1 } })
  })

  test('a message to nobody is refused to who asks', async () => {
    await expect(client.ask(fresh(), { type: 'get' })).rejects.toMatchObject({ code: 'actor.unknown' })
  })

  test("an effect's result comes back to the chart", async () => {
    const actor = await spawned()
    await client.ask(actor, { type: 'fetch', value: 21 } as CounterEvent)
    await expect.poll(async () => (await client.read(actor))?.context).toMatchObject({ fetched: 42 })
    expect(await client.read(actor)).toMatchObject({ value: 'open', effects: [] })
  })

  test('an effect that fails is tried again with backoff', async () => {
    const actor = await spawned()
    await client.ask(actor, { type: 'fetch', value: 13 } as CounterEvent)
    await expect.poll(async () => (await client.read(actor))?.context).toMatchObject({ fetched: 26 })
    expect(attempts.get(13)).toBe(3)
  })

  test('an effect whose error cannot be retried fails at once', async () => {
    const actor = await spawned()
    await client.ask(actor, { type: 'fetch', value: 666 } as CounterEvent)
    await expect.poll(async () => (await client.read(actor))?.context).toMatchObject({ failure: 'never' })
    expect(attempts.get(666)).toBe(1)
  })

  test('a delay is a durable timer that fires once', async () => {
    const actor = await spawned()
    const answer = await client.ask(actor, { type: 'remind' })
    expect(answer.state).toBe('waiting')
    await expect.poll(async () => (await client.read(actor))?.context).toMatchObject({ reminded: true })
    expect(await client.read(actor)).toMatchObject({ value: 'open', timers: [] })
  })

  test('a finished actor keeps its output and says that it is done', async () => {
    const actor = await spawned(3)
    await client.ask(actor, { type: 'close' })
    expect(await client.read(actor)).toMatchObject({ status: 'done', value: 'closed', output: { count: 3 } })
    expect(await client.ask(actor, { type: 'add', by: 1 } as CounterEvent)).toMatchObject({
      handled: false,
      status: 'done',
    })
  })

  test('the journal tells every transition in order, and resumes after any position', async () => {
    const actor = await spawned()
    for (let i = 0; i < 5; i++) await client.tell(actor, { type: 'add', by: 1 } as CounterEvent)
    await client.ask(actor, { type: 'close' })
    const positions: string[] = []
    const abort = new AbortController()
    for await (const line of client.journal(actor, 'oldest', abort.signal)) {
      if ('gap' in line || line.actor !== actor) continue
      positions.push(line.position)
      if (line.to === 'closed') break
    }
    expect(positions).toHaveLength(7)
    const resumed: number[] = []
    for await (const line of client.journal(actor, { after: positions[3]! }, abort.signal)) {
      if ('gap' in line || line.actor !== actor) continue
      resumed.push(line.seq)
      if (line.to === 'closed') break
    }
    expect(resumed).toEqual([5, 6, 7])
  })

  test('a node that leaves hands its actors to another', async () => {
    const actor = await spawned(1)
    const first = await fleet.node({ id: `x-${transport}` })
    await expect.poll(() => first.shards.length).toBeGreaterThan(30)
    await first.stop()
    expect(await client.ask(actor, { type: 'get' }, { timeoutMs: 4_000 })).toMatchObject({ reply: { count: 1 } })
  })
})
