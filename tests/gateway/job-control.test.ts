import { afterEach, beforeEach, expect, test } from 'vitest'
import type { JobView } from '../../machines/views.ts'
import { SPEC, startFleet } from './fleet.ts'
import type { Fleet } from './fleet.ts'

let fleet: Fleet
beforeEach(async () => {
  fleet = await startFleet()
})
afterEach(() => fleet[Symbol.asyncDispose]())

const submit = async (spec: object = SPEC, as?: string): Promise<Response> =>
  fleet.request('/v1/jobs', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(spec),
    ...(as !== undefined && { as }),
  })
const post = (path: string, body?: object): Promise<Response> =>
  fleet.request(path, {
    method: 'POST',
    ...(body !== undefined && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  })
const jobOf = async (response: Response): Promise<JobView> => (await response.json()) as JobView // the API's own view

test('a job is paused and goes on; what cannot be is refused with its state', async () => {
  const { id } = await jobOf(await submit())
  await fleet.reached(id, 'preparing')
  const early = await post(`/v1/jobs/${id}/resume`)
  expect([early.status, await early.json()]).toMatchObject([409, { code: 'job.not-resumable', state: 'preparing' }])
  const paused = await post(`/v1/jobs/${id}/pause?now=true`)
  expect([paused.status, (await jobOf(paused)).state]).toEqual([202, 'paused'])
  expect(await (await post(`/v1/jobs/${id}/pause`)).json()).toMatchObject({ code: 'job.not-pausable', state: 'paused' })
  expect((await post(`/v1/jobs/${id}/resume`)).status).toBe(202)
  await fleet.reached(id, 'preparing')
})

test('a job that runs is not tried again; one that was cancelled is, as another job', async () => {
  const { id } = await jobOf(await submit())
  expect(await (await post(`/v1/jobs/${id}/retry`)).json()).toMatchObject({ status: 409, code: 'job.not-retryable' })
  await post(`/v1/jobs/${id}/cancel`)
  await fleet.reached(id, 'cancelled')
  const again = await post(`/v1/jobs/${id}/retry`)
  const job = await jobOf(again)
  expect([again.status, again.headers.get('location')]).toEqual([201, `/v1/jobs/${job.id}`])
  expect(job.id).not.toBe(id)
})

test('a clone is the job with what was changed, and nothing else', async () => {
  const { id, spec } = await jobOf(await submit())
  const clone = await jobOf(await post(`/v1/jobs/${id}/clone`, { train: { epochs: 5 }, name: 'other' }))
  expect(clone.spec).toEqual({
    ...spec,
    name: 'other',
    train: { ...spec.train, epochs: 5 },
  })
})

test('a clone under another name names its model so too, unless the job says where its model goes', async () => {
  const registerOf = async (spec: object): Promise<unknown> => {
    const { id } = await jobOf(await submit(spec))
    return (await jobOf(await post(`/v1/jobs/${id}/clone`, { name: 'other' }))).spec.register
  }
  expect(await registerOf(SPEC)).toBeUndefined() // so it is the job's name
  expect(await registerOf({ ...SPEC, register: { name: 'digits' } })).toEqual({ name: 'digits' })
})

test('a change that makes no sense names its field and starts nothing', async () => {
  const { id } = await jobOf(await submit())
  const refused = await post(`/v1/jobs/${id}/clone`, { train: { epochs: 'many' } })
  expect([refused.status, await refused.json()]).toMatchObject([
    422,
    { code: 'spec.invalid', errors: [{ path: 'train.epochs' }] },
  ])
})

test('a job to come after must be there, and may have failed only where the spec allows it', async () => {
  const unknown = await submit({ ...SPEC, after: ['NOBODY'] })
  expect([unknown.status, await unknown.json()]).toMatchObject([422, { errors: [{ path: 'after[0].job' }] }])
  const { id } = await jobOf(await submit())
  const waiting = await jobOf(await submit({ ...SPEC, after: [id] }))
  expect(waiting).toMatchObject({ state: 'waiting', spec: { after: [{ job: id, otherwise: 'fail' }] } })
  await post(`/v1/jobs/${id}/cancel`)
  await fleet.reached(waiting.id, 'failed')
  expect((await submit({ ...SPEC, after: [id] })).status).toBe(422)
  expect((await submit({ ...SPEC, after: [{ job: id, otherwise: 'begin' }] })).status).toBe(201)
})

test('jobs, batch jobs and sweeps come after one another, in one list of ids', async () => {
  const after = (before: string): [string, object][] => [
    ['/v1/jobs', { ...SPEC, after: [before] }],
    ['/v1/batches', { kind: 'evaluate', model: 'cat', dataset: { name: 'pets' }, after: [before] }],
    ['/v1/sweeps', { kind: 'sweep', name: 's', job: SPEC, parameters: { 'train.seed': [1] }, after: [before] }], // prettier-ignore
  ]
  let before = (await jobOf(await submit())).id
  const first = before
  const waiting: string[] = []
  for (const [path, spec] of after('')) {
    const { id, state } = await jobOf(await post(path, { ...spec, after: [before] }))
    expect(state).toBe('waiting')
    waiting.push(id)
    before = id
  }
  expect(waiting).toMatchObject([/^JOB/, /^evaluate-/, /^sweep-/].map((kind) => expect.stringMatching(kind)))
  const last = await jobOf(await submit({ ...SPEC, after: [before] }))
  await post(`/v1/jobs/${first}/cancel`)
  await fleet.reached(last.id, 'failed')
  const { error } = await jobOf(await fleet.request(`/v1/jobs/${last.id}`))
  expect(error).toMatchObject({ code: 'job.predecessor-failed', message: expect.stringContaining(`Sweep ${before}`) })
  for (const [path, spec] of after('sweep-NOBODY')) {
    const refused = await post(path, spec)
    expect([refused.status, await refused.json()]).toMatchObject([422, { errors: [{ path: 'after[0].job' }] }])
  }
})

test("another user's job cannot be steered, nor seen", async () => {
  const { id } = await jobOf(await submit(SPEC, await fleet.token('user', 'bob')))
  for (const verb of ['pause', 'resume', 'retry']) expect((await post(`/v1/jobs/${id}/${verb}`)).status).toBe(404)
  expect((await post(`/v1/jobs/${id}/clone`, {})).status).toBe(404)
})
