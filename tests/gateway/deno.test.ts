/** The gateway under the real Deno, in front of actors that Node runs on a real Redis. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { mintToken } from '../../gateway/auth.ts'
import { jobMachine } from '../../machines/job.ts'
import type { JobView } from '../../machines/views.ts'
import { defineActor, SHARDS_DEFAULT } from '../../runtime/mod.ts'
import { openFileSystemBlobs, openSqliteDocuments } from '../../stores/mod.ts'
import { fleetCollections, quotaActor } from '../../actors/mod.ts'
import { Fleet } from '../harness/fleet.ts'
import { EventStream } from './event-stream.ts'
import { modelOf, SPEC, untilAborted } from './fleet.ts'

const SECRET = 'a secret of thirty-two bytes, or more'

let url: string
let headers: Record<string, string>
const stops: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  const job = defineActor({
    kind: 'job',
    version: 1,
    machine: jobMachine,
    effects: {
      validate: async () => null,
      prepare: (_, context) => untilAborted(context),
      reduce: (_, context) => untilAborted(context),
      score: (_, context) => untilAborted(context),
      register: (_, context) => untilAborted(context),
    },
  })
  const fleet = await Fleet.start('redis', [job, quotaActor()])
  stops.unshift(() => fleet.stop())
  await fleet.node()

  const folder = await mkdtemp(join(tmpdir(), 'tensorfleet-deno-'))
  stops.unshift(() => rm(folder, { recursive: true }))
  const weights = await (await openFileSystemBlobs(join(folder, 'blobs'))).put(new TextEncoder().encode('weights'))
  const documents = await openSqliteDocuments(join(folder, 'documents.sqlite'))
  await fleetCollections(documents).models.put(
    'm@1',
    modelOf('m', 1, { weights, input: { shape: [1], dtype: 'float32' } }),
  )
  await documents.close()

  url = await startDeno({ REDIS_URL: fleet.redis?.url ?? '', FOLDER: folder, SECRET, SHARDS: String(SHARDS_DEFAULT) })
  const token = await mintToken(new TextEncoder().encode(SECRET), { subject: 'ada', role: 'user', lifeMs: 600_000 })
  headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
})

afterAll(async () => {
  for (const stop of stops) await stop()
})

async function startDeno(env: Record<string, string>): Promise<string> {
  const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
  const deno = spawn(at('../../node_modules/.bin/deno'), ['run', '--quiet', '--allow-all', at('deno/gateway.ts')], {
    env: { ...process.env, ...env, DENO_NO_UPDATE_CHECK: '1' },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const exit = once(deno, 'exit')
  stops.unshift(async () => {
    deno.stdin.end()
    const [code] = await exit
    expect(code).toBe(0)
  })
  const died = exit.then(() => Promise.reject(new Error('Deno ended before it listened')))
  died.catch(() => {}) // later its end is what the test asks for
  const line = await Promise.race([once(createInterface(deno.stdout), 'line'), died])
  const { port } = JSON.parse(String(line[0])) as { port: number } // what deno/gateway.ts writes
  return `http://127.0.0.1:${port}`
}

test('it is Deno that answers', async () => {
  const system = await (await fetch(`${url}/v1/system`, { headers })).json()

  expect(system).toMatchObject({
    version: expect.stringMatching(/^Deno\/2/) as string,
    transport: { state: 'healthy' },
  })
})

test('a job is submitted, watched and cancelled through Deno', async () => {
  const created = await fetch(`${url}/v1/jobs`, { method: 'POST', headers, body: JSON.stringify(SPEC) })
  const { id } = (await created.json()) as JobView
  await using stream = new EventStream(await fetch(`${url}/v1/jobs/${id}/events`, { headers }))
  await stream.until(({ data }) => (data as JobView).state === 'preparing')

  const cancelled = await fetch(`${url}/v1/jobs/${id}/cancel`, { method: 'POST', headers })
  const events = await stream.rest()

  expect([created.status, cancelled.status]).toEqual([201, 202])
  expect(events.at(-1)).toMatchObject({ event: 'end', data: { state: 'cancelled' } })
})

test('a model is downloaded and asked through Deno', async () => {
  const weights = await fetch(`${url}/v1/models/m/versions/latest/download`, { headers })
  const init = {
    method: 'POST',
    headers,
    body: JSON.stringify({
      inputs: [
        [
          [1, 2, 3],
          [4, 5, 6],
        ],
      ],
    }),
  }
  const predicted = await fetch(`${url}/v1/models/m/versions/1/predict`, init)

  expect(await weights.text()).toBe('weights')
  expect(await predicted.json()).toMatchObject({ classes: ['dog'] })
})

test('the page and its files are served by Deno', async () => {
  const page = await fetch(`${url}/`)

  expect(page.status).toBe(200)
  expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8')
  await page.body?.cancel()
})

test('an error is a problem under Deno too', async () => {
  const response = await fetch(`${url}/v1/jobs`, { method: 'POST', headers, body: '{"name":' })

  expect(response.status).toBe(400)
  expect(await response.json()).toMatchObject({ code: 'body.malformed' })
})
