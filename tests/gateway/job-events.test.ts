import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { EventChannel } from '../../gateway/event-channel.ts'
import { decodeCursor, encodeCursor, sendEvents, type Cursor } from '../../gateway/events.ts'
import type { JobView } from '../../machines/views.ts'
import { address } from '../../runtime/mod.ts'
import type { Client } from '../../runtime/mod.ts'
import { EventStream, type ReceivedEvent } from './event-stream.ts'
import { startFleet, type Fleet } from './fleet.ts'

let fleet: Fleet

beforeEach(async () => {
  fleet = await startFleet()
})

afterEach(() => fleet[Symbol.asyncDispose]())

async function watch(id: string, lastEventId?: string): Promise<EventStream> {
  const headers = lastEventId === undefined ? {} : { 'last-event-id': lastEventId }
  return new EventStream(await fleet.request(`/v1/jobs/${id}/events`, { headers }))
}

async function addMetrics(id: string, from: number, count: number): Promise<void> {
  const lines = Array.from({ length: count }, (_, i) => ({ step: from + i }))
  await fleet.client.append(`job:${id}:metrics`, lines)
}

async function cancel(id: string): Promise<void> {
  await fleet.request(`/v1/jobs/${id}/cancel`, { method: 'POST' })
}

const isEnd = ({ event }: ReceivedEvent): boolean => event === 'end'
const stepsOf = (events: readonly ReceivedEvent[]): number[] =>
  events.filter(({ event }) => event === 'metrics').map(({ data }) => (data as { step: number }).step)
const seqsOf = (events: readonly ReceivedEvent[]): number[] =>
  events.filter(({ event }) => event === 'state').map(({ data }) => (data as JobView).seq)

test('a job is followed from its present state to its end', async () => {
  const { id } = await fleet.submit()
  await fleet.reached(id, 'preparing')
  await using stream = await watch(id)
  const first = await stream.next()

  await addMetrics(id, 0, 3)
  await fleet.client.append(`job:${id}:logs`, [{ at: 0, level: 'info', source: 'test', message: 'hello' }])
  await stream.until(({ event }) => event === 'log')
  await cancel(id)
  const rest = await stream.rest()

  expect(first).toMatchObject({ event: 'state', data: { id, state: 'preparing' } })
  expect(rest.at(-1)).toMatchObject({ event: 'end', data: { state: 'cancelled' } })
  expect(rest.filter(({ event }) => event === 'state').at(-1)?.data).toMatchObject({ state: 'cancelled' })
})

test('the stream says how to come back, and that nobody may hold it up', async () => {
  const { id } = await fleet.submit()

  const response = await fleet.request(`/v1/jobs/${id}/events`)
  const reader = response.body?.getReader()
  const chunk = await reader?.read()
  await reader?.cancel()

  expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
  expect(response.headers.get('cache-control')).toBe('no-cache, no-transform')
  expect(response.headers.get('x-accel-buffering')).toBe('no')
  expect(new TextDecoder().decode(chunk?.value)).toBe('retry: 2000\n\n')
})

test('a HEAD request gets the head and leaves no stream behind', async () => {
  const { id } = await fleet.submit()

  const response = await fleet.request(`/v1/jobs/${id}/events`, { method: 'HEAD' })

  expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
  expect(fleet.server.listeners.get(`job:${id}:metrics`)?.size ?? 0).toBe(0)
})

test('metrics of before the connection come first, in order', async () => {
  const { id } = await fleet.submit()
  await addMetrics(id, 0, 1_000)
  await using stream = await watch(id)

  const events = await stream.until(({ data }) => (data as { step?: number }).step === 999)

  expect(stepsOf(events)).toEqual(Array.from({ length: 1_000 }, (_, i) => i))
})

test('however often a client breaks off, it gets each line once and no state twice', async () => {
  const { id } = await fleet.submit()
  await fleet.reached(id, 'preparing')
  await addMetrics(id, 0, 500)
  const received: ReceivedEvent[] = []
  let lastId: string | undefined
  for (const taken of [1, 7, 50, 100, 3, 200]) {
    await using stream = await watch(id, lastId)
    for (let i = 0; i < taken; i++) received.push((await stream.next()) as ReceivedEvent)
    lastId = stream.lastId
  }
  await addMetrics(id, 500, 50)
  await cancel(id)
  await fleet.reached(id, 'cancelled')
  await using stream = await watch(id, lastId)
  received.push(...(await stream.rest()))

  expect(stepsOf(received)).toEqual(Array.from({ length: 550 }, (_, i) => i))
  const seqs = seqsOf(received)
  expect(seqs).toEqual([...new Set(seqs)].sort((a, b) => a - b))
  expect(received.filter(isEnd)).toHaveLength(1)
})

test('a client that has seen the end is told not to come back', async () => {
  const { id } = await fleet.submit()
  await cancel(id)
  await fleet.reached(id, 'cancelled')
  await using stream = await watch(id)
  await stream.rest()

  const again = await fleet.request(`/v1/jobs/${id}/events`, { headers: { 'last-event-id': stream.lastId ?? '' } })

  expect(again.status).toBe(204)
})

test('an id that is none of ours brings resync and everything from the start', async () => {
  const { id } = await fleet.submit()
  await addMetrics(id, 0, 2)
  await using stream = await watch(id, 'garbage')

  const events = await stream.until(({ data }) => (data as { step?: number }).step === 1)

  expect(events[0]?.event).toBe('resync')
  expect(stepsOf(events)).toEqual([0, 1])
})

test('the neighbours of a job in its shard are not heard', async () => {
  const { id } = await fleet.submit()
  await fleet.reached(id, 'preparing')
  await using stream = await watch(id)
  await stream.next()

  for (let i = 0; i < 12; i++) await fleet.submit() // more jobs than shards: some are neighbours
  await addMetrics(id, 0, 1)
  const events = await stream.until(({ event }) => event === 'metrics')

  expect(events.map(({ event }) => event)).toEqual(['metrics'])
})

test('of changes that come one upon another few are sent, the last one among them', async () => {
  const actor = address('job', 'J')
  const view = { seq: 1, state: 'training' as JobView['state'] }
  const until = performance.now() + 300
  async function* journal(): AsyncGenerator<object> {
    while (view.state === 'training') {
      view.seq++
      if (performance.now() > until) view.state = 'completed'
      yield { actor, seq: view.seq, position: String(view.seq) }
    }
  }
  const client = { journal, journalEnd: async () => '1' } as unknown as Client // what sendEvents asks of it here
  const channel = new EventChannel({ signals: [], heartbeatMs: 60_000, stallMs: 60_000 })
  const stream = new EventStream(channel.response())
  void sendEvents({ client, actor, view: async () => ({ ...view }) }, channel, 'start')
  const events = await stream.rest()
  expect(events.length).toBeLessThan(20)
  expect(events.slice(-2)).toMatchObject([
    { event: 'state', data: view },
    { event: 'end', data: { state: 'completed' } },
  ])
})

test('a heartbeat comes when nothing else does', async () => {
  await using fleet = await startFleet({ settings: { heartbeatMs: 5 } })
  const { id } = await fleet.submit()
  await using stream = new EventStream(await fleet.request(`/v1/jobs/${id}/events`))

  await stream.heartbeat()

  expect(stream.heartbeats).toBeGreaterThan(0)
})

test('a client that takes nothing is dropped, and finds resync when it looks', async () => {
  await using fleet = await startFleet({ settings: { eventStallMs: 20 } })
  const { id } = await fleet.submit()
  await fleet.client.append(
    `job:${id}:metrics`,
    Array.from({ length: 2_000 }, (_, step) => ({ step })),
  )
  const subscribed = (): boolean => [...fleet.server.listeners.values()].some((each) => each.size > 0)
  const response = await fleet.request(`/v1/jobs/${id}/events`)
  expect(subscribed()).toBe(true)

  await expect.poll(() => fleet.server.listeners.get(`job:${id}:metrics`)?.size ?? 0).toBe(0)
  const events = await new EventStream(response).rest()

  expect(events.at(-1)?.event).toBe('resync')
  expect(events.length).toBeLessThan(300)
})

test('when the client goes, what followed for it goes too', async () => {
  const { id } = await fleet.submit()
  const listeners = (): number => fleet.server.listeners.get(`job:${id}:metrics`)?.size ?? 0
  const leaving = new AbortController()
  const cancelled = await watch(id)
  const aborted = await fleet.request(`/v1/jobs/${id}/events`, { signal: leaving.signal })
  await expect.poll(listeners).toBe(2)

  await cancelled[Symbol.asyncDispose]()
  leaving.abort()

  await expect.poll(listeners).toBe(0)
  await aborted.body?.cancel()
})

test('when the gateway stops, its streams end', async () => {
  const { id } = await fleet.submit()
  await using stream = await watch(id)
  await stream.next()

  fleet.stopping.abort()

  expect(await stream.rest()).toBeInstanceOf(Array)
})

test('a cursor comes back as it was, and nothing else passes for one', () => {
  const position = fc.stringMatching(/^\d{1,13}-\d{1,5}(\.\d{1,3})?$/)
  const cursors = fc.record(
    { seq: fc.integer({ min: -1 }), journal: position, metrics: position, logs: position, ended: fc.constant(true) },
    { requiredKeys: ['seq'] },
  )
  fc.assert(
    fc.property(cursors, (cursor) => {
      expect(decodeCursor(encodeCursor(cursor as Cursor))).toEqual({ ...cursor })
    }),
  )
  fc.assert(
    fc.property(fc.string(), (text) => {
      expect(decodeCursor(text)).toBe('unreadable')
    }),
  )
})
