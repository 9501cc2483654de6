import { afterEach, beforeEach, expect, test } from 'vitest'
import { withStoredArrays } from '../../actors/batches/arrays.ts'
import type { Problem } from '../../gateway/problems.ts'
import { batchSchema } from '../../gateway/schemas/batch-spec.ts'
import * as kernels from '../../kernels/mod.ts'
import type { BatchView } from '../../machines/batch-spec.ts'
import { address } from '../../runtime/mod.ts'
import { EventStream } from './event-stream.ts'
import { startFleet, type Fleet } from './fleet.ts'

let fleet: Fleet
beforeEach(async () => {
  fleet = await startFleet()
})
afterEach(() => fleet[Symbol.asyncDispose]())

const EVALUATE = { kind: 'evaluate', model: 'cat@champion', dataset: { name: 'pets' } }

function submit(spec: object, headers: Record<string, string> = {}): Promise<Response> {
  const init = {
    method: 'POST',
    body: JSON.stringify(spec),
    headers: { 'content-type': 'application/json', ...headers },
  }
  return fleet.request('/v1/batches', init)
}

const problem = async (response: Response): Promise<Problem> => (await response.json()) as Problem

test('a batch is answered with its address and its view, defaults filled in, its kind in its id', async () => {
  const response = await submit(EVALUATE)
  expect(response.status).toBe(201)
  const job = batchSchema.parse(await response.json())
  expect(response.headers.get('location')).toBe(`/v1/batches/${job.id}`)
  expect(job).toMatchObject({ id: 'evaluate-JOB1', kind: 'evaluate', owner: 'ada', name: 'cat-evaluate' })
  expect(job.spec).toMatchObject({ split: 'test', pool: 'default', priority: 'normal' })
  expect(batchSchema.parse(await (await fleet.request(`/v1/batches/${job.id}`)).json())).toMatchObject({ id: job.id })
})

test('a batch keeps the version that its alias meant, also when the same key is sent again', async () => {
  let version = 3
  await using other = await startFleet({
    services: {
      batches: {
        ...fleet.services.batches,
        pin: async (spec) => (spec.kind === 'kernel' ? spec : { ...spec, model: `cat@${version}` }),
      },
    },
  })
  const send = (spec: object): Promise<Response> =>
    other.request('/v1/batches', {
      method: 'POST',
      body: JSON.stringify(spec),
      headers: { 'content-type': 'application/json', 'idempotency-key': 'once' },
    })
  const first = (await (await send(EVALUATE)).json()) as BatchView
  expect(first.spec).toMatchObject({ model: 'cat@3' })
  version = 4
  const second = await send(EVALUATE)
  expect([((await second.json()) as BatchView).id, second.headers.get('idempotency-replayed')]).toEqual([
    first.id,
    'true',
  ])
  expect((await problem(await send({ ...EVALUATE, split: 'train' }))).code).toBe('idempotency.mismatch')
})

test('values that were sent are kept by content, and the same key gives the same job for the same values alone', async () => {
  const spec = (...values: number[]): object => ({
    kind: 'kernel',
    name: 'twice',
    source: 'function (a) { return a[this.thread.x] * 2; }',
    output: ['rows'],
    inputs: [{ name: 'a', map: true, values }],
  })
  await using other = await startFleet({
    services: {
      batches: {
        ...fleet.services.batches,
        pin: async (each) => (each.kind === 'kernel' ? withStoredArrays({ blobs: fleet.blobs, kernels }, each) : each),
      },
    },
  })
  const send = (body: object): Promise<Response> =>
    other.request('/v1/batches', {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json', 'idempotency-key': 'once' },
    })
  const first = batchSchema.parse(await (await send(spec(1, 2, 3))).json())
  expect(first.spec).toMatchObject({ inputs: [{ name: 'a', array: { sha256: expect.any(String), shape: [3] } }] })
  const second = await send(spec(1, 2, 3))
  expect([((await second.json()) as BatchView).id, second.headers.get('idempotency-replayed')]).toEqual([first.id, 'true']) // prettier-ignore
  expect((await problem(await send(spec(1, 2, 4)))).code).toBe('idempotency.mismatch')
})

test('what is wrong with a specification is named by its field', async () => {
  for (const [spec, path] of [
    [{ ...EVALUATE, kind: 'evaluat' }, 'kind'],
    [{ ...EVALUATE, model: '@3' }, 'model'],
    [{ ...EVALUATE, format: 'csv' }, 'format'],
    [{ ...EVALUATE, kind: 'predict', format: 'xml' }, 'format'],
  ] as const) {
    const response = await submit(spec)
    expect([response.status, (await problem(response)).errors?.map((error) => error.path)]).toEqual([422, [path]])
  }
})

test('a batch is cancelled once, has no output then, and is no job of /v1/jobs', async () => {
  const { id } = (await (await submit({ ...EVALUATE, kind: 'predict' })).json()) as BatchView
  expect((await fleet.request(`/v1/batches/${id}/cancel`, { method: 'POST' })).status).toBe(202)
  await expect.poll(async () => (await fleet.client.read(address('batch', id)))?.value).toBe('cancelled')
  const again = await fleet.request(`/v1/batches/${id}/cancel`, { method: 'POST' })
  expect([again.status, (await problem(again)).code]).toEqual([409, 'job.not-cancellable'])
  expect((await fleet.request(`/v1/batches/${id}/output`)).status).toBe(404)
  expect((await fleet.request(`/v1/jobs/${id}`)).status).toBe(404)
  expect((await fleet.request('/v1/batches/JOB1')).status).toBe(404)
})

test("another user's batch is as unknown as one that never was", async () => {
  const { id } = (await (await submit(EVALUATE)).json()) as BatchView
  const eve = await fleet.token('user', 'eve')
  expect((await fleet.request(`/v1/batches/${id}`, { as: eve })).status).toBe(404)
  expect((await fleet.request(`/v1/batches/${id}`, { as: await fleet.token('viewer') })).status).toBe(200)
})

test('a batch is paused and goes on, by who may, and is told what it is when it cannot', async () => {
  const { id } = (await (await submit(EVALUATE)).json()) as BatchView
  const steer = (verb: string, as?: string): Promise<Response> =>
    fleet.request(`/v1/batches/${id}/${verb}`, { method: 'POST', ...(as !== undefined && { as }) })
  const paused = await steer('pause')
  expect([paused.status, ((await paused.json()) as BatchView).state]).toEqual([202, 'paused'])
  const again = await problem(await steer('pause'))
  expect([again.code, again.detail]).toEqual(['job.not-pausable', `Cannot pause job ${id}: it is paused`])
  expect((await steer('resume', await fleet.token('viewer'))).status).toBe(403)
  const resumed = await steer('resume')
  expect([resumed.status, ((await resumed.json()) as BatchView).state]).not.toContain('paused')
  expect((await problem(await steer('resume'))).code).toBe('job.not-resumable')
})

test('a batch is followed to its end, its log with it, and after a break from where the client was', async () => {
  const { id } = (await (await submit(EVALUATE)).json()) as BatchView
  const follow = async (lastEventId?: string): Promise<EventStream> => {
    const headers = lastEventId === undefined ? {} : { 'last-event-id': lastEventId }
    return new EventStream(await fleet.request(`/v1/batches/${id}/events`, { headers }))
  }
  const log = (message: string): Promise<void> =>
    fleet.client.append(`job:${id}:logs`, [{ at: 0, level: 'info', source: 'test', message }])
  let lastId: string | undefined
  {
    await using stream = await follow()
    expect(await stream.next()).toMatchObject({ event: 'state', data: { id, kind: 'evaluate' } })
    await log('one')
    await stream.until(({ event }) => event === 'log')
    lastId = stream.lastId
  }
  await log('two')
  await fleet.request(`/v1/batches/${id}/cancel`, { method: 'POST' })
  await using stream = await follow(lastId)
  const events = await stream.rest()
  expect(events.filter(({ event }) => event === 'log').map(({ data }) => data)).toMatchObject([{ message: 'two' }])
  expect(events.filter(({ event }) => event === 'state').at(-1)?.data).toMatchObject({ state: 'cancelled' })
  expect(events.at(-1)).toMatchObject({ event: 'end', data: { state: 'cancelled' } })
  const again = await fleet.request(`/v1/batches/${id}/events`, { headers: { 'last-event-id': stream.lastId ?? '' } })
  expect(again.status).toBe(204)
  const logs = (await (await fleet.request(`/v1/batches/${id}/logs`)).json()) as { items: object[] }
  expect(logs.items).toMatchObject([{ message: 'one' }, { message: 'two' }])
  const eve = await fleet.token('user', 'eve')
  expect((await fleet.request(`/v1/batches/${id}/events`, { as: eve })).status).toBe(404)
})
