import { afterEach, beforeEach, expect, test } from 'vitest'
import { createApp } from '../../gateway/app.ts'
import type { Problem } from '../../gateway/problems.ts'
import { startFleet, type Fleet } from './fleet.ts'

let fleet: Fleet

beforeEach(async () => {
  fleet = await startFleet()
})

afterEach(() => fleet[Symbol.asyncDispose]())

interface OpenApi {
  readonly openapi: string
  readonly paths: Readonly<Record<string, Readonly<Record<string, { readonly operationId: string }>>>>
  readonly components: { readonly schemas: Readonly<Record<string, unknown>> }
}

async function openApi(): Promise<OpenApi> {
  return (await (await fleet.request('/openapi.json')).json()) as OpenApi
}

test('every route is in OpenAPI, and OpenAPI has no other', async () => {
  const { paths } = await openApi()
  const app = createApp(fleet.services, { hostname: 'localhost', stopping: fleet.stopping.signal, page: new Map() })

  const routes = app.routes
    .filter(({ method }) => method !== 'ALL')
    .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`)
  const described = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  )
  expect(described.toSorted()).toEqual(routes.toSorted())
})

test('OpenAPI refers to nothing that is not in it, and gives each operation a name of its own', async () => {
  const document = await openApi()

  const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(([, ref]) => ref ?? '')
  const names = Object.values(document.paths).flatMap((methods) =>
    Object.values(methods).map((each) => each.operationId),
  )
  expect(document.openapi).toBe('3.1.0')
  expect(references.length).toBeGreaterThan(5)
  for (const reference of references) {
    expect(Object.keys(document.components.schemas)).toContain(reference.replace('#/components/schemas/', ''))
  }
  expect(new Set(names).size).toBe(names.length)
})

test('the specification in OpenAPI has its defaults and its required fields', async () => {
  const { components } = await openApi()

  expect(components.schemas['JobSpec']).toMatchObject({
    required: ['name', 'dataset', 'model', 'train'],
    additionalProperties: false,
    properties: { priority: { default: 'normal', enum: ['high', 'normal', 'low'] } },
  })
})

test('a known path answers an unknown method with what it knows', async () => {
  const response = await fleet.request('/v1/jobs', { method: 'PATCH' })

  expect(response.status).toBe(405)
  expect(response.headers.get('allow')).toBe('POST, GET')
})

test('an unknown path is a problem too', async () => {
  const response = await fleet.request('/v1/nothing')

  expect(response.status).toBe(404)
  expect((await response.json()) as Problem).toMatchObject({
    status: 404,
    code: 'resource.unknown',
    remedy: 'fix-request',
  })
})

test('readiness names what is not ready', async () => {
  await using fleet = await startFleet({
    services: { ready: async () => ({ transport: { ok: true }, documents: { ok: false, detail: 'disk full' } }) },
  })

  const response = await fleet.request('/readyz')

  expect(response.status).toBe(503)
  expect(await response.json()).toEqual({
    ok: false,
    checks: { transport: { ok: true }, documents: { ok: false, detail: 'disk full' } },
  })
})

test('the system tells its version, its transport and its workers', async () => {
  expect(await (await fleet.request('/v1/system')).json()).toEqual({
    version: '0.0.0-test',
    transport: { transport: 'memory', state: 'healthy', since: expect.any(Number) as number },
    workers: { total: 0, idle: 0, busy: 0, slots: 0, slotsBusy: 0 },
  })
})

test('requests are observed by the pattern of their route, never by an id', async () => {
  const observed: string[] = []
  await using fleet = await startFleet({
    services: { observeRequest: (route, method, status) => observed.push(`${method} ${route} ${status}`) },
  })

  await fleet.request('/v1/jobs/NONE')
  await fleet.request('/secret/path')
  await fleet.request('/healthz')

  expect(observed).toEqual(['GET /v1/jobs/:id 404', 'GET unmatched 404', 'GET /healthz 200'])
})

test('blobs are swept by admins alone, and not at all where documents do not last', async () => {
  const report = { removed: 2, removedBytes: 20, kept: 3, young: 1, jobs: { removed: 1, trimmed: 0, ids: ['OLD'] } }
  const asked: object[] = []
  await using lasting = await startFleet({
    services: {
      sweepBlobs: async ({ signal: _, ...options }) => {
        asked.push(options)
        return report
      },
    },
  })
  const gc = (fleet: Fleet, as?: string, body: object = { dryRun: true }): Promise<Response> =>
    fleet.request('/v1/system/gc', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      ...(as !== undefined && { as }),
    })
  expect((await gc(lasting)).status).toBe(403)
  const admin = await lasting.token('admin')
  expect(await (await gc(lasting, admin)).json()).toEqual(report)
  await gc(lasting, admin, { olderThanHours: 2, jobsOlderThanHours: 48 })
  expect(asked).toEqual([
    { minAgeMs: 24 * 3_600_000, isDryRun: true },
    { minAgeMs: 2 * 3_600_000, jobsAgeMs: 48 * 3_600_000, isDryRun: false },
  ])
  expect((await gc(lasting, admin, { jobsOlderThanHours: 1 })).status).toBe(422)
  expect((await gc(lasting, admin, { olderThanHours: 0 })).status).toBe(422)
  await using passing = await startFleet()
  expect((await gc(passing, await passing.token('admin'))).status).toBe(409)
})
