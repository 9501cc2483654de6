import { afterEach, beforeEach, expect, test } from 'vitest'
import type { SweepView } from '../../machines/sweep-spec.ts'
import type { JobView } from '../../machines/views.ts'
import { address } from '../../runtime/mod.ts'
import { sweepSummarySchema, sweepViewSchema } from '../../gateway/schemas/sweep-spec.ts'
import { EventStream } from './event-stream.ts'
import { SPEC, startFleet } from './fleet.ts'
import type { Fleet } from './fleet.ts'

let fleet: Fleet
beforeEach(async () => {
  fleet = await startFleet()
})
afterEach(() => fleet[Symbol.asyncDispose]())

const SWEEP = {
  kind: 'sweep',
  name: 'rates',
  job: SPEC,
  parameters: { 'train.optimizer.learningRate': [0.1, 0.01, 0.001] },
  parallelism: 2,
}
const post = (path: string, body?: object, headers: Record<string, string> = {}, as?: string): Promise<Response> =>
  fleet.request(path, {
    method: 'POST',
    ...(body !== undefined && { body: JSON.stringify(body) }),
    headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
    ...(as !== undefined && { as }),
  })
const sweepOf = async (response: Response): Promise<SweepView> => (await response.json()) as SweepView // the API's own view
const submit = async (): Promise<SweepView> => sweepOf(await post('/v1/sweeps', SWEEP))
const look = async (id: string): Promise<SweepView> => sweepOf(await fleet.request(`/v1/sweeps/${id}`))

/** Resolves when the sweep has come to the state. */
async function reached(id: string, state: SweepView['state']): Promise<void> {
  const entered = fleet.node.events.once('commit', ({ lines }) =>
    lines.some(({ actor, to }) => actor === address('sweep', id) && to === state),
  )
  if ((await look(id)).state !== state) await entered
}

test('a sweep that was submitted is there, with its trials as jobs of its owner', async () => {
  const response = await post('/v1/sweeps', SWEEP)
  const sweep = sweepViewSchema.parse(await response.json()) as SweepView // the schema of these views
  expect([response.status, response.headers.get('location')]).toEqual([201, `/v1/sweeps/${sweep.id}`])
  expect(sweep).toMatchObject({
    name: 'rates',
    state: 'running',
    owner: 'ada',
    progress: { trials: 3, started: 2, running: 2, steps: 0 },
    leaderboard: [
      { trial: 0, job: `${sweep.id}-0`, state: 'running' },
      { trial: 1, job: `${sweep.id}-1`, state: 'running' },
    ],
  })
  await fleet.reached(`${sweep.id}-1`, 'preparing')
  const job = (await (await fleet.request(`/v1/jobs/${sweep.id}-1`)).json()) as object
  expect(job).toMatchObject({ name: 'rates-1', owner: 'ada', sweep: { id: sweep.id, trial: 1 } })
})

test('every error of a sweep is named by its field, and nothing has changed', async () => {
  const response = await post('/v1/sweeps', {
    ...SWEEP,
    colour: 'red',
    job: { ...SPEC, train: { ...SPEC.train, epochs: 0 } },
    parameters: { a: { min: 2, max: 1 }, b: { min: 0, max: 1, scale: 'log', step: 1 }, c: [] },
    search: { kind: 'random' },
    metric: 'beauty',
    scheduler: { kind: 'asha', minRounds: 4, maxRounds: 9, eta: 3 },
    parallelism: 0,
  })
  const problem = (await response.json()) as { code: string; errors: readonly { path: string }[] }
  expect([response.status, problem.code]).toEqual([422, 'spec.invalid'])
  expect(problem.errors.map(({ path }) => path).toSorted()).toEqual([
    'colour',
    'job.train.epochs',
    'metric',
    'parallelism',
    'parameters.a.max',
    'parameters.b.min',
    'parameters.b.step',
    'parameters.c',
    'scheduler.maxRounds',
    'search.trials',
  ])
  expect((await fleet.request('/v1/sweeps').then((list) => list.json())) as object).toEqual({ items: [] })
})

test('what admission says against a sweep is the answer', async () => {
  await using strict = await startFleet({
    services: {
      sweeps: {
        ...fleet.services.sweeps,
        admit: async () => ({ problems: [{ path: 'metric', expected: 'loss', found: 'r2', message: 'metric: expected loss, found r2' }] }), // prettier-ignore
      },
    },
  })
  const init = { method: 'POST', body: JSON.stringify(SWEEP), headers: { 'content-type': 'application/json' } }
  const response = await strict.request('/v1/sweeps', init)
  expect([response.status, await response.json()]).toMatchObject([422, { code: 'spec.not-admitted', errors: [{ path: 'metric' }] }]) // prettier-ignore
})

test('a job by preset is made a whole one, and what is wrong with it is named as part of the sweep', async () => {
  await using presets = await startFleet({
    services: { expand: async ({ name }) => (name === 'good' ? { spec: SPEC } : { problems: [{ path: 'dataset.name', expected: 'iris', found: 'irs', message: 'dataset.name: expected iris, found irs' }] }) }, // prettier-ignore
  })
  const send = (name: string): Promise<Response> => {
    const job = { preset: 'mlp', name, dataset: { name: 'iris' } }
    const init = { method: 'POST', body: JSON.stringify({ ...SWEEP, job }), headers: { 'content-type': 'application/json' } } // prettier-ignore
    return presets.request('/v1/sweeps', init)
  }
  expect((await sweepOf(await send('good'))).spec.job).toMatchObject({ name: 'mnist', pool: 'default' })
  expect(await (await send('bad')).json()).toMatchObject({ errors: [{ path: 'job.dataset.name' }] })
})

test('under the same Idempotency-Key a sweep is submitted once, and another one is refused', async () => {
  const key = { 'idempotency-key': 'k1' }
  const first = await post('/v1/sweeps', SWEEP, key)
  const again = await post('/v1/sweeps', SWEEP, key)
  expect(again.headers.get('idempotency-replayed')).toBe('true')
  expect((await sweepOf(again)).id).toBe((await sweepOf(first)).id)
  const other = await post('/v1/sweeps', { ...SWEEP, parallelism: 3 }, key)
  expect([other.status, await other.json()]).toMatchObject([422, { code: 'idempotency.mismatch' }])
})

test('the list shows sweeps without their trials, to their owner and to those who see all', async () => {
  const { id } = await submit()
  await fleet.project(id, 'sweep')
  const list = async (as?: string): Promise<readonly unknown[]> => {
    const response = await fleet.request('/v1/sweeps', as === undefined ? {} : { as })
    return ((await response.json()) as { items: readonly unknown[] }).items
  }
  const [row] = await list()
  expect(sweepSummarySchema.strict().parse(row)).toMatchObject({ id, state: 'running', progress: { trials: 3 } })
  expect(await list(await fleet.token('viewer', 'eve'))).toHaveLength(1)
  expect(await list(await fleet.token('user', 'eve'))).toEqual([])
})

test('another user’s sweep is as unknown as one that never was', async () => {
  const { id } = await submit()
  const as = await fleet.token('user', 'eve')
  for (const path of [`/v1/sweeps/${id}`, '/v1/sweeps/NONE', '/v1/sweeps/a.b']) {
    expect((await fleet.request(path, { as })).status).toBe(404)
  }
  expect((await post(`/v1/sweeps/${id}/cancel`, undefined, {}, as)).status).toBe(404)
  const viewer = await fleet.token('viewer', 'eve')
  expect((await post(`/v1/sweeps/${id}/cancel`, undefined, {}, viewer)).status).toBe(403)
})

test('a sweep pauses with its trials, goes on with them, and is cancelled with them', async () => {
  const { id } = await submit()
  await fleet.reached(`${id}-0`, 'preparing')
  await fleet.reached(`${id}-1`, 'preparing')
  expect(await (await post(`/v1/sweeps/${id}/resume`)).json()).toMatchObject({ status: 409, code: 'sweep.not-resumable', state: 'running' }) // prettier-ignore
  expect((await post(`/v1/sweeps/${id}/pause`)).status).toBe(202)
  await reached(id, 'paused')
  await fleet.reached(`${id}-0`, 'paused')
  await fleet.reached(`${id}-1`, 'paused')
  expect((await post(`/v1/sweeps/${id}/resume`)).status).toBe(202)
  await fleet.reached(`${id}-0`, 'preparing')
  expect((await post(`/v1/sweeps/${id}/cancel`)).status).toBe(202)
  await reached(id, 'cancelled')
  await fleet.reached(`${id}-0`, 'cancelled')
  await fleet.reached(`${id}-1`, 'cancelled')
  expect((await look(id)).progress).toMatchObject({ started: 2, cancelled: 2 })
  expect(await (await post(`/v1/sweeps/${id}/cancel`)).json()).toMatchObject({ code: 'sweep.not-cancellable' })
})

test('an unchanged sweep is answered with 304', async () => {
  const { id } = await submit()
  const etag = (await fleet.request(`/v1/sweeps/${id}`)).headers.get('etag') ?? ''
  expect((await fleet.request(`/v1/sweeps/${id}`, { headers: { 'if-none-match': etag } })).status).toBe(304)
})

test('its trials are listed by its id alone, and its steps are told beside those that are planned', async () => {
  const { id } = await submit()
  const other = await fleet.submit()
  await fleet.reached(`${id}-0`, 'preparing')
  for (const job of [`${id}-0`, `${id}-1`, other.id]) await fleet.project(job)
  const { items } = (await (await fleet.request(`/v1/jobs?sweep=${id}`)).json()) as { items: readonly JobView[] }
  expect(items.map((job) => job.id).toSorted()).toEqual([`${id}-0`, `${id}-1`])
  const eve = await fleet.token('user', 'eve')
  expect(await (await fleet.request(`/v1/jobs?sweep=${id}`, { as: eve })).json()).toEqual({ items: [] })

  const { trials, stepsPlanned } = (await look(id)).progress
  expect(stepsPlanned).toBe(0)
  const report = { type: 'trial.reported', trial: 0, isPaused: false, round: 1, step: 4, steps: 20, value: 0.5 }
  await fleet.client.ask(address('sweep', id), report)
  expect((await look(id)).progress).toMatchObject({ steps: 4, stepsPlanned: 20 * trials })
})

test('events tell the sweep’s life to its end, and go on where a client stopped', async () => {
  const { id } = await submit()
  await fleet.reached(`${id}-0`, 'preparing')
  await using events = new EventStream(await fleet.request(`/v1/sweeps/${id}/events`))
  expect(await events.next()).toMatchObject({ event: 'state', data: { id, state: 'running' } })
  const last = events.lastId ?? ''
  await post(`/v1/sweeps/${id}/cancel`)
  const rest = await events.rest()
  expect(rest.at(-2)).toMatchObject({ event: 'state', data: { state: 'cancelled' } })
  expect(rest.at(-1)).toMatchObject({ event: 'end', data: { state: 'cancelled' } })
  await using again = new EventStream(await fleet.request(`/v1/sweeps/${id}/events`, { headers: { 'last-event-id': last } })) // prettier-ignore
  const seqs = (await again.rest()).flatMap(({ event, data }) => (event === 'state' ? [(data as SweepView).seq] : []))
  expect(seqs.every((seq) => seq > 0)).toBe(true)
  const ended = await fleet.request(`/v1/sweeps/${id}/events`, { headers: { 'last-event-id': again.lastId ?? '' } })
  expect(ended.status).toBe(204)
})
