/** `/v1/system`, and what machines ask: `/healthz`, `/readyz`, `/metrics`. The last three are open, as probes need them. */
import { z } from 'zod'
import type { Api } from '../api.ts'
import { checkBody, JSON_TYPES, readBody } from '../body.ts'
import { LIMITS } from '../limits.ts'
import { GatewayError } from '../problems.ts'
import type { Services } from '../services.ts'

const checkSchema = z.object({ ok: z.boolean(), detail: z.string().exactOptional() })
const healthSchema = z.object({
  transport: z.string(),
  state: z.enum(['healthy', 'degraded', 'unreachable']),
  since: z.number().meta({ description: 'Milliseconds since 1970.' }),
  reason: z.string().exactOptional(),
})
const readySchema = z.object({ ok: z.boolean(), checks: z.record(z.string(), checkSchema) }).meta({ id: 'Readiness' })

const systemSchema = z
  .object({
    version: z.string(),
    transport: healthSchema,
    workers: z.object({ total: z.int(), idle: z.int(), busy: z.int(), slots: z.int(), slotsBusy: z.int() }),
  })
  .meta({ id: 'System' })

const HOUR_MS = 3_600_000

const gcBody = z
  .strictObject({
    dryRun: z.boolean().default(false).describe('Only say what would be removed.'),
    olderThanHours: z
      .number()
      .min(1)
      .max(24 * 365)
      .default(24)
      .describe('What was stored since stays: a job or an upload may not have told of it yet.'),
    jobsOlderThanHours: z
      .number()
      .min(24)
      .max(24 * 365 * 10)
      .optional()
      .describe(
        'Jobs that ended before go too, with the checkpoints and outputs that no model and no sweep rests on. Without it jobs stay.',
      ),
  })
  .meta({ id: 'GcRequest' })

const gcAnswer = z
  .object({
    removed: z.int(),
    removedBytes: z.int(),
    kept: z.int().describe('Blobs that something refers to.'),
    young: z.int().describe('Blobs that nothing refers to, too young to be sure.'),
    jobs: z
      .object({
        removed: z.int().describe('Jobs that ended long ago and are gone.'),
        trimmed: z.int().describe('Jobs that a model or a sweep rests on: their newest and best checkpoints stay.'),
        ids: z.array(z.string()).describe('Of those that are gone, a hundred at most.'),
      })
      .describe('What went of jobs that ended long ago.'),
  })
  .meta({ id: 'GcReport' })

export function systemRoutes(api: Api, services: Services): void {
  api.on(
    {
      method: 'get',
      path: '/v1/system',
      tag: 'system',
      summary: 'Version, the state of the transport, and how many workers there are.',
      access: 'viewer',
      answers: { 200: { description: 'The system.', content: systemSchema } },
    },
    async (c) => {
      const transport = services.client.health()
      const all = await services.workers()
      const workers = all.filter(({ state }) => state !== 'gone')
      const sum = (count: (worker: (typeof workers)[number]) => number): number =>
        workers.reduce((total, worker) => total + count(worker), 0)
      return c.json({
        version: services.version,
        transport,
        workers: {
          total: workers.length,
          idle: sum(({ state }) => (state === 'idle' ? 1 : 0)),
          busy: sum(({ state }) => (state === 'busy' ? 1 : 0)),
          slots: sum(({ slots }) => slots),
          slotsBusy: sum(({ busy }) => busy),
        },
      })
    },
  )

  api.on(
    {
      method: 'post',
      path: '/v1/system/gc',
      tag: 'system',
      summary: 'Remove blobs to which nothing refers any more. It is done every few hours without being asked, too.',
      access: 'admin',
      deadline: 'none',
      body: { schema: gcBody, types: JSON_TYPES },
      answers: { 200: { description: 'What was removed, or would have been.', content: gcAnswer } },
    },
    async (c) => {
      const body = checkBody(gcBody, await readBody(c, JSON_TYPES, LIMITS.smallBytesMax), 'request.invalid')
      if (services.sweepBlobs === null) {
        const message = 'The documents of this fleet do not outlive it, so nobody can say what refers to the blobs in its folder' // prettier-ignore
        throw new GatewayError('gc.impossible', message)
      }
      const { olderThanHours, jobsOlderThanHours, dryRun: isDryRun } = body
      const minAgeMs = olderThanHours * HOUR_MS
      const jobsAgeMs = jobsOlderThanHours === undefined ? {} : { jobsAgeMs: jobsOlderThanHours * HOUR_MS }
      return c.json(await services.sweepBlobs({ minAgeMs, ...jobsAgeMs, isDryRun, signal: c.req.raw.signal }))
    },
  )

  api.on(
    {
      method: 'get',
      path: '/healthz',
      tag: 'probes',
      summary: 'Whether the process lives.',
      access: 'anyone',
      answers: { 200: { description: 'It lives.', content: z.object({ ok: z.literal(true) }) } },
    },
    (c) => c.json({ ok: true }),
  )

  api.on(
    {
      method: 'get',
      path: '/readyz',
      tag: 'probes',
      summary: 'Whether the gateway can serve: one check for each part that it needs.',
      access: 'anyone',
      answers: {
        200: { description: 'It can.', content: readySchema },
        503: { description: 'It cannot now; the checks say why.', content: readySchema },
      },
    },
    async (c) => {
      const checks = await services.ready()
      const ok = Object.values(checks).every((check) => check.ok)
      return c.json({ ok, checks }, ok ? 200 : 503)
    },
  )

  api.on(
    {
      method: 'get',
      path: '/metrics',
      tag: 'probes',
      summary: 'Metrics for Prometheus.',
      access: 'anyone',
      answers: { 200: { description: 'Text format.', content: { 'text/plain': 'text' } } },
    },
    async () => {
      const { contentType, body } = await services.metrics()
      return new Response(body, { headers: { 'Content-Type': contentType } })
    },
  )
}
