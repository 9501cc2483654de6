import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest'
import { createApp } from '../../gateway/app.ts'
import type { Problem } from '../../gateway/problems.ts'
import type { PoolView } from '../../machines/views.ts'
import { openClient } from '../../runtime/mod.ts'
import { SPEC, startFleet, type Fleet } from './fleet.ts'

const POOL: PoolView = {
  pool: 'default',
  settings: { policy: 'affinity', slotsPerOwner: null, slotsOf: {}, jobsPerOwner: 2 },
  slots: { total: 4, used: 1 },
  waiting: { high: 0, normal: 2, low: 0 },
}

let fleet: Fleet
beforeEach(async () => {
  fleet = await startFleet({ services: { pool: async () => POOL } })
})
afterEach(() => fleet[Symbol.asyncDispose]())

function submit(path = '/v1/jobs', spec: object = SPEC, more: { as?: string; key?: string } = {}): Promise<Response> {
  return fleet.request(path, {
    method: 'POST',
    body: JSON.stringify(spec),
    headers: { 'content-type': 'application/json', ...(more.key !== undefined && { 'idempotency-key': more.key }) },
    ...(more.as !== undefined && { as: more.as }),
  })
}

test('an owner who has as many jobs as a pool allows is told so, and nothing is started', async () => {
  expect((await submit()).status).toBe(201)
  const evaluate = { kind: 'evaluate', model: 'cat@1', dataset: { name: 'pets' } }
  expect((await submit('/v1/batches', evaluate)).status).toBe(201)
  for (const response of [await submit(), await submit('/v1/batches', evaluate)]) {
    expect([response.status, response.headers.get('retry-after')]).toEqual([429, '10'])
    const { code, detail, remedy } = (await response.json()) as Problem
    expect([code, remedy]).toEqual(['quota.exceeded', 'retry'])
    expect(detail).toContain('ada has 2 jobs under way or waiting in pool default')
  }
  expect((await submit('/v1/jobs', SPEC, { as: await fleet.token('user', 'eve') })).status).toBe(201)
})

test('of submissions at the same moment as many come through as there is room for', async () => {
  const answers = await Promise.all(Array.from({ length: 6 }, () => submit()))
  expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([201, 201, 429, 429, 429, 429])
})

test('who asks again for a job that is there gets it, and a job that ended makes room', async () => {
  const [first, second] = [await submit('/v1/jobs', SPEC, { key: 'a' }), await submit()]
  expect([first.status, second.status]).toEqual([201, 201])
  expect((await submit('/v1/jobs', SPEC, { key: 'a' })).status).toBe(201)
  expect((await submit()).status).toBe(429)
  const { id } = (await second.json()) as { id: string }
  await fleet.request(`/v1/jobs/${id}/cancel`, { method: 'POST' })
  await expect.poll(async () => (await submit()).status, { timeout: 10_000 }).toBe(201)
})

test('a submission that is sent again through another gateway counts once', async () => {
  const gateways = [await secondGateway(), fleet.fetch]
  const answers = await Promise.all([0, 1, 0, 1].map((i) => sendTo(gateways[i] ?? fleet.fetch, SPEC, 'same')))
  expect(answers.map(({ status }) => status)).toEqual([201, 201, 201, 201])
  expect(answers.filter(({ headers }) => headers.get('idempotency-replayed') === null)).toHaveLength(1)
  expect([(await submit()).status, (await submit()).status]).toEqual([201, 429])
})

test('of submissions through two gateways at the same moment no more come through than there is room for', async () => {
  const gateways = [await secondGateway(), fleet.fetch]
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, i) => sendTo(gateways[i % 2] ?? fleet.fetch, { ...SPEC, name: `job-${i}` })),
  )
  expect(answers.filter(({ status }) => status === 201)).toHaveLength(2)
  expect(answers.filter(({ status }) => status === 429)).toHaveLength(38)
  expect((await fleet.client.find({ kind: 'job' })).items).toHaveLength(2)
})

test('a pool without a quota counts all the same, so that one that is set later is exact', async () => {
  let limit: number | null = null
  const settings = { ...POOL.settings, jobsPerOwner: limit }
  await using other = await startFleet({
    services: { pool: async () => ({ ...POOL, settings: { ...settings, jobsPerOwner: limit } }) },
  })
  for (let i = 0; i < 3; i++) await other.submit()
  limit = 4
  await other.submit()
  const refused = await other.request('/v1/jobs', {
    method: 'POST',
    body: JSON.stringify(SPEC),
    headers: { 'content-type': 'application/json' },
  })
  expect(refused.status).toBe(429)
})

type Fetch = Fleet['fetch']

/** Another gateway in front of the same actors, with a client of its own, as another process would have. */
async function secondGateway(): Promise<Fetch> {
  const transport = fleet.server.connect()
  const directory = { shards: 4, pinned: new Set(['worker']) }
  await transport.start({ shards: directory.shards })
  const client = await openClient({ transport, directory })
  onTestFinished(async () => {
    await client.stop()
    await transport.stop()
  })
  let ids = 0
  const app = createApp(
    { ...fleet.services, client, newJobId: () => `OTHER${++ids}` },
    { hostname: '127.0.0.1', stopping: fleet.stopping.signal, page: new Map() },
  )
  return async (request) => app.fetch(request)
}

async function sendTo(gateway: Fetch, spec: object, key?: string): Promise<Response> {
  const headers = {
    authorization: `Bearer ${await fleet.token('user')}`,
    'content-type': 'application/json',
    ...(key !== undefined && { 'idempotency-key': key }),
  }
  return gateway(new Request('http://127.0.0.1:8080/v1/jobs', { method: 'POST', body: JSON.stringify(spec), headers }))
}
