import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Problem } from '../../gateway/problems.ts'
import { jobViewSchema } from '../../gateway/schemas/views.ts'
import type { JobView } from '../../machines/views.ts'
import { address, RuntimeError } from '../../runtime/mod.ts'
import { SPEC, startFleet, type Fleet } from './fleet.ts'

let fleet: Fleet

beforeEach(async () => {
  fleet = await startFleet()
})

afterEach(() => fleet[Symbol.asyncDispose]())

const json = { 'content-type': 'application/json' }

async function problem(response: Response): Promise<Problem> {
  expect(response.headers.get('content-type')).toBe('application/problem+json')
  return (await response.json()) as Problem
}

test('a submitted job is answered with its address and its view, defaults filled in', async () => {
  const response = await fleet.request('/v1/jobs', { method: 'POST', body: JSON.stringify(SPEC), headers: json })

  expect(response.status).toBe(201)
  expect(response.headers.get('location')).toBe('/v1/jobs/JOB1')
  const job = jobViewSchema.parse(await response.json())
  expect(job).toMatchObject({ id: 'JOB1', name: 'mnist', owner: 'ada' })
  expect(job.spec).toMatchObject({ pool: 'default', train: { replicas: 1, epochs: 1 } })
})

test('a specification may be written in YAML', async () => {
  const body = [
    'name: iris',
    'dataset: { name: iris, version: 2 }',
    'model: { class_name: Sequential, config: [] }',
    'train:',
    '  loss: meanSquaredError',
    '  optimizer: { kind: sgd, learningRate: 0.1 }',
  ].join('\n')

  const response = await fleet.request('/v1/jobs', { method: 'POST', body, headers: { 'content-type': 'text/yaml' } })

  expect(response.status).toBe(201)
  const { spec } = (await response.json()) as JobView
  expect(spec.train.optimizer).toEqual({ kind: 'sgd', learningRate: 0.1, momentum: 0, nesterov: false })
})

test.each([
  ['kernel', '/v1/batches'],
  ['sweep', '/v1/sweeps'],
])('a %s among jobs that train is told where it belongs, and nothing else', async (kind, path) => {
  const body = JSON.stringify({ kind, name: 'x' })
  const response = await fleet.request('/v1/jobs', { method: 'POST', body, headers: json })
  expect(response.status).toBe(422)
  const message = `kind: expected nothing for a job that trains (submit this one to ${path}), found "${kind}"`
  expect((await problem(response)).errors?.map((error) => error.message)).toEqual([message])
})

test('a kind that is none is told which there are', async () => {
  const body = JSON.stringify({ kind: 'trainn', name: 'x' })
  const response = await fleet.request('/v1/jobs', { method: 'POST', body, headers: json })
  const message =
    'kind: expected nothing for a job that trains, or one of sweep, kernel, evaluate, predict elsewhere, found "trainn"'
  expect((await problem(response)).errors?.map((error) => error.message)).toEqual([message])
})

test('all errors of a specification are named at once, and nothing is started', async () => {
  const bad = {
    name: '../etc',
    datset: { name: 'mnist' },
    model: { class_name: 'Sequential', config: 7 },
    train: { loss: 'hubert', epochs: 0, optimizer: { kind: 'adm' }, strategy: { kind: 'diloco', localSteps: 1.5 } },
  }

  const response = await fleet.request('/v1/jobs', { method: 'POST', body: JSON.stringify(bad), headers: json })

  expect(response.status).toBe(422)
  const { code, errors } = await problem(response)
  expect(code).toBe('spec.invalid')
  expect(errors?.map(({ path }) => path).sort()).toEqual([
    'dataset',
    'datset',
    'model.config',
    'name',
    'train.epochs',
    'train.loss',
    'train.optimizer.kind',
    'train.strategy.localSteps',
  ])
  expect(errors?.find(({ path }) => path === 'train.loss')).toEqual({
    path: 'train.loss',
    expected: expect.stringMatching(/^one of "sparseCategoricalCrossentropy", .*"huber"$/),
    found: '"hubert"',
    message: expect.stringMatching(/^train\.loss: expected one of .*, found "hubert"$/),
  })
  expect(errors?.find(({ path }) => path === 'train.optimizer.kind')?.expected).toBe('one of "sgd", "adam", "adamw"')
  expect(errors?.find(({ path }) => path === 'model.config')).toMatchObject({
    expected: 'an object or a list',
    found: '7',
  })
  expect(await fleet.client.read(address('job', 'JOB1'))).toBeNull()
})

test('a YAML mistake is told with its line and column', async () => {
  const init = { method: 'POST', body: 'name: a\ndataset: [1', headers: { 'content-type': 'application/yaml' } }

  const response = await fleet.request('/v1/jobs', init)

  expect(response.status).toBe(400)
  expect((await problem(response)).detail).toMatch(/line 2, column \d+/)
})

test('two YAML documents in one body are told as that', async () => {
  const init = { method: 'POST', body: 'name: a\n---\nname: b', headers: { 'content-type': 'application/yaml' } }

  const response = await fleet.request('/v1/jobs', init)

  expect(response.status).toBe(400)
  expect((await problem(response)).detail).toContain('line 2, column 1: Expected one document, found another one')
})

test('a body of another type, or too large, is refused before it is read as a specification', async () => {
  const text = await fleet.request('/v1/jobs', {
    method: 'POST',
    body: '{}',
    headers: { 'content-type': 'text/plain' },
  })
  const large = await fleet.request('/v1/jobs', { method: 'POST', body: ' '.repeat(1_048_577), headers: json })

  expect([text.status, large.status]).toEqual([415, 413])
})

test('a job that cannot run is refused with what speaks against it', async () => {
  const error = { path: 'dataset.name', expected: 'a known dataset', found: '"nist"', message: 'There is no "nist"' }
  await using fleet = await startFleet({ services: { admit: async () => [error] } })

  const response = await fleet.request('/v1/jobs', { method: 'POST', body: JSON.stringify(SPEC), headers: json })

  expect(response.status).toBe(422)
  expect(await problem(response)).toMatchObject({ code: 'spec.not-admitted', errors: [error] })
  expect(await fleet.client.read(address('job', 'JOB1'))).toBeNull()
})

test('the same Idempotency-Key gives the same job, and another body under it is refused', async () => {
  const headers = { 'idempotency-key': 'k-1' }
  const first = await fleet.submit(SPEC, { headers })
  const second = await fleet.submit(SPEC, { headers })
  const other = await fleet.request('/v1/jobs', {
    method: 'POST',
    body: JSON.stringify({ ...SPEC, name: 'other' }),
    headers: { ...json, ...headers },
  })
  const ofBob = await fleet.submit(SPEC, { headers, as: await fleet.token('user', 'bob') })

  expect(second.id).toBe(first.id)
  expect(first.id).toMatch(/^[0-9A-HJKMNP-TV-Z]{26}$/)
  expect(other.status).toBe(422)
  expect((await problem(other)).code).toBe('idempotency.mismatch')
  expect(ofBob.id).not.toBe(first.id)
})

test('submissions of one key at the same moment start one job', async () => {
  const headers = { 'idempotency-key': 'k-2' }

  const jobs = await Promise.all(Array.from({ length: 8 }, () => fleet.submit(SPEC, { headers })))

  expect(new Set(jobs.map(({ id }) => id)).size).toBe(1)
})

test('a job that is as it was is answered with 304', async () => {
  const { id } = await fleet.submit()
  await fleet.reached(id, 'preparing')
  const first = await fleet.request(`/v1/jobs/${id}`)
  const etag = first.headers.get('etag') ?? ''

  const second = await fleet.request(`/v1/jobs/${id}`, { headers: { 'if-none-match': etag } })
  await fleet.request(`/v1/jobs/${id}/cancel`, { method: 'POST' })
  await fleet.reached(id, 'cancelled')
  const third = await fleet.request(`/v1/jobs/${id}`, { headers: { 'if-none-match': etag } })

  expect([first.status, second.status, third.status]).toEqual([200, 304, 200])
  expect(await second.text()).toBe('')
})

test('a running job can be cancelled once, and the second answer names its state', async () => {
  const { id } = await fleet.submit()

  const first = await fleet.request(`/v1/jobs/${id}/cancel`, { method: 'POST' })
  await fleet.reached(id, 'cancelled')
  const second = await fleet.request(`/v1/jobs/${id}/cancel`, { method: 'POST' })

  expect(first.status).toBe(202)
  expect(second.status).toBe(409)
  expect(await problem(second)).toMatchObject({
    code: 'job.not-cancellable',
    state: 'cancelled',
    detail: `Cannot cancel job ${id}: it is cancelled`,
  })
})

test('jobs are listed newest first, page by page, each once', async () => {
  for (let i = 0; i < 5; i++) {
    const { id } = await fleet.submit({ ...SPEC, name: `job-${i}` })
    await fleet.project(id)
  }
  const names: string[] = []
  let path: string | null = '/v1/jobs?limit=2'
  while (path !== null) {
    const page = (await (await fleet.request(path)).json()) as { items: JobView[]; next?: string }
    names.push(...page.items.map(({ name }) => name))
    path = page.next === undefined ? null : `/v1/jobs?limit=2&cursor=${encodeURIComponent(page.next)}`
  }

  expect(names.toSorted()).toEqual(['job-0', 'job-1', 'job-2', 'job-3', 'job-4'])
  expect(new Set(names).size).toBe(5)
})

test('a misspelt filter and a forged cursor are errors, not an unfiltered list', async () => {
  const filter = await fleet.request('/v1/jobs?sate=failed')
  const cursor = await fleet.request('/v1/jobs?cursor=AAAA')

  expect([filter.status, cursor.status]).toEqual([422, 400])
  expect((await problem(filter)).errors?.[0]?.path).toBe('sate')
})

test('users see and cancel their own jobs alone; viewers read all; admins do all', async () => {
  const { id } = await fleet.submit()
  await fleet.project(id)
  const bob = await fleet.token('user', 'bob')
  const viewer = await fleet.token('viewer', 'eve')
  const admin = await fleet.token('admin', 'root')
  const statusOf = async (as: string, path: string, method = 'GET'): Promise<number> =>
    (await fleet.request(path, { as, method })).status
  const countFor = async (as: string): Promise<number> => {
    const { items } = (await (await fleet.request('/v1/jobs', { as })).json()) as { items: JobView[] }
    return items.length
  }

  expect(await statusOf(bob, `/v1/jobs/${id}`)).toBe(404)
  expect(await statusOf(bob, `/v1/jobs/${id}/events`)).toBe(404)
  expect(await statusOf(bob, `/v1/jobs/${id}/cancel`, 'POST')).toBe(404)
  expect(await statusOf(viewer, `/v1/jobs/${id}`)).toBe(200)
  expect(await statusOf(viewer, `/v1/jobs/${id}/cancel`, 'POST')).toBe(403)
  expect([await countFor(bob), await countFor(viewer), await countFor(admin)]).toEqual([0, 1, 1])
  expect(await statusOf(admin, `/v1/jobs/${id}/cancel`, 'POST')).toBe(202)
})

test('a job that has left Redis is still found in the read model', async () => {
  const { id } = await fleet.submit()
  await fleet.project(id)
  const stored = (await fleet.jobs.get(id))?.value
  await fleet.jobs.put('GONE', { ...(stored as JobView), id: 'GONE', state: 'completed' })

  const response = await fleet.request('/v1/jobs/GONE')
  const cancel = await fleet.request('/v1/jobs/GONE/cancel', { method: 'POST' })

  expect(response.status).toBe(200)
  expect(cancel.status).toBe(409)
})

test('ids that could be paths or keys are simply unknown', async () => {
  for (const id of ['..%2f..%2fetc', 'a.b', '%00', 'x'.repeat(65), '%7Btf%7D']) {
    expect((await fleet.request(`/v1/jobs/${id}`)).status).toBe(404)
  }
})

test('the log is given as JSON, or as text to those who ask for it', async () => {
  const { id } = await fleet.submit()
  await fleet.client.append(`job:${id}:logs`, [
    { at: 0, level: 'info', source: 'worker-1', message: 'Round 1 begins' },
    { at: 1_000, level: 'warn', source: 'worker-2', message: 'Slow' },
  ])

  const asJson = await fleet.request(`/v1/jobs/${id}/logs`)
  const asText = await fleet.request(`/v1/jobs/${id}/logs`, { headers: { accept: 'text/plain' } })

  expect(((await asJson.json()) as { items: unknown[] }).items).toHaveLength(2)
  expect(await asText.text()).toBe(
    '1970-01-01T00:00:00.000Z info  worker-1: Round 1 begins\n1970-01-01T00:00:01.000Z warn  worker-2: Slow\n',
  )
})

test.for([
  ['mailbox.full', 429],
  ['ask.timeout', 504],
  ['redis.unreachable', 503],
] as const)("the runtime's %s becomes %d", async ([code, status]) => {
  const failing = async (): Promise<never> => {
    throw new RuntimeError(code, 'It did not work', { remedy: 'retry' })
  }
  await using broken = await startFleet({
    services: { client: { ...fleet.client, spawn: failing, ask: failing, read: failing } },
  })

  const response = await broken.request('/v1/jobs', { method: 'POST', body: JSON.stringify(SPEC), headers: json })

  expect(response.status).toBe(status)
  expect((await problem(response)).code).toBe(code)
  expect(response.headers.has('retry-after')).toBe(status !== 504)
})

test('what nobody foresaw is told to the log, and nothing of it to the client', async () => {
  const cause = new Error('secret at /srv/x')
  await using broken = await startFleet({
    services: {
      workers: async () => {
        throw cause
      },
    },
  })

  const response = await broken.request('/v1/workers')

  expect(response.status).toBe(500)
  expect(JSON.stringify(await problem(response))).not.toContain('secret')
  expect(broken.troubles).toEqual([cause])
})

test('a request that takes too long is answered, and its work told to stop', async () => {
  const stopped = Promise.withResolvers<void>()
  await using slow = await startFleet({
    settings: { requestMs: 20 },
    services: {
      admit: (_, signal) =>
        new Promise(() => {
          signal.addEventListener('abort', () => stopped.resolve())
        }),
    },
  })

  const response = await slow.request('/v1/jobs', { method: 'POST', body: JSON.stringify(SPEC), headers: json })

  expect(response.status).toBe(504)
  await stopped.promise
})

test('a job that starts from a model by an alias keeps the version, and the same key gives it though the alias moved', async () => {
  let version = 3
  await using other = await startFleet({
    services: {
      pin: async (spec) => ('from' in spec.model ? { ...spec, model: { from: `cat@${version}` } } : spec),
    },
  })
  const spec = { ...SPEC, model: { from: 'cat@champion' } }
  const headers = { 'idempotency-key': 'once' }
  const job = await other.submit(spec, { headers })
  expect(job.spec).toMatchObject({ model: { from: 'cat@3' } })
  expect(job.spec).not.toHaveProperty('preprocess')
  version = 4
  expect((await other.submit(spec, { headers })).id).toBe(job.id)
  await expect(other.submit({ ...spec, model: { from: 'cat@4' } }, { headers })).rejects.toThrow('idempotency.mismatch')
})

test('a model is either a topology or a version, and what is wrong with it is named', async () => {
  for (const [model, path] of [
    [{ from: 'cat@3@4' }, 'model.from'],
    [{ from: 'cat', config: {} }, 'model.config'],
    [{ class_name: 'Sequential' }, 'model.config'],
  ] as const) {
    const response = await fleet.request('/v1/jobs', { method: 'POST', body: JSON.stringify({ ...SPEC, model }), headers: json }) // prettier-ignore
    expect([response.status, (await problem(response)).errors?.map((error) => error.path)]).toEqual([422, [path]])
  }
})
