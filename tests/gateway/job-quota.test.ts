import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Problem } from '../../gateway/problems.ts'
import type { PoolView } from '../../machines/views.ts'
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
  await fleet.reached(id, 'cancelled')
  await fleet.project(id)
  expect((await submit()).status).toBe(201)
})
