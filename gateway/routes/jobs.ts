/** `/v1/jobs`: submit, list, look, read the log. Steering a job is in job-control.ts, following it in job-events.ts. */
import { z } from 'zod'
import type { JobSpec } from '../../machines/spec.ts'
import type { JobView } from '../../machines/views.ts'
import { pathParam, principalOf, queryOf, type Api, type Context } from '../api.ts'
import { checkBody, readBody, SPEC_TYPES } from '../body.ts'
import { isSameJson, jobIdOf, sameModel } from '../idempotency.ts'
import { findJob, jobFor } from '../job-access.ts'
import { answerWithLog, LOG_OPERATION } from '../job-log.ts'
import { admitOrThrow, locationOf, spawnJob } from '../job-start.ts'
import type { JobStarter } from '../job-starter.ts'
import { LIMITS } from '../limits.ts'
import { asItIs, ownersOf, pageFields, pageFrom } from '../listing.ts'
import { GatewayError } from '../problems.ts'
import { jobSpecSchema } from '../schemas/job-spec.ts'
import { presetSpecSchema } from '../schemas/preset-spec.ts'
import { jobStates, jobViewSchema, pageOf } from '../schemas/views.ts'
import type { Services } from '../services.ts'

const listQuery = z.strictObject({
  state: z.enum(jobStates).optional(),
  owner: z.string().max(200).optional().describe("Somebody's jobs. A user sees their own alone."),
  sweep: z.string().max(64).optional().describe('The trials of a sweep, by its id.'),
  ...pageFields,
})

export function jobRoutes(api: Api, services: Services, starter: JobStarter): void {
  api.on(
    {
      method: 'post',
      path: '/v1/jobs',
      tag: 'jobs',
      summary: 'Submit a job. With an Idempotency-Key, sending it again gives the same job.',
      access: 'user',
      headers: { 'Idempotency-Key': 'Names this submission among those of its owner.' },
      body: { schema: z.union([jobSpecSchema, presetSpecSchema]), types: SPEC_TYPES },
      answers: { 201: { description: 'The job. `Location` is its address.', content: jobViewSchema } },
    },
    (c) => submit(c, services, starter),
  )

  api.on(
    {
      method: 'get',
      path: '/v1/jobs',
      tag: 'jobs',
      summary: 'Jobs, newest first. A new one shows up here a moment after its submission.',
      access: 'viewer',
      query: listQuery,
      answers: { 200: { description: 'A page of jobs.', content: pageOf(jobViewSchema) } },
    },
    async (c) => {
      const { state, owner, sweep, ...page } = queryOf(c, listQuery)
      const owners = ownersOf(c)
      if (owner !== undefined && owner !== (owners.owner ?? owner)) return c.json({ items: [] })
      const where = {
        ...(state !== undefined && { state }),
        ...(owner !== undefined && { owner }),
        ...(sweep !== undefined && { 'sweep.id': sweep }),
        ...owners,
      }
      return c.json(await pageFrom(services.jobs, { where, by: 'createdAt', page, show: asItIs<JobView> }))
    },
  )

  api.on(
    {
      method: 'get',
      path: '/v1/jobs/:id',
      tag: 'jobs',
      summary: 'A job as it is now.',
      access: 'viewer',
      headers: { 'If-None-Match': 'The ETag of an earlier answer.' },
      answers: {
        200: { description: 'The job, with its ETag.', content: jobViewSchema },
        304: { description: 'It is as it was.' },
      },
    },
    async (c) => {
      const job = await jobFor(services, pathParam(c, 'id'), principalOf(c))
      const headers = { ETag: `"${job.seq}"`, 'Cache-Control': 'no-cache' }
      if (matches(c.req.header('if-none-match'), headers.ETag)) return new Response(null, { status: 304, headers })
      return c.json(job, 200, headers)
    },
  )

  api.on({ ...LOG_OPERATION, path: '/v1/jobs/:id/logs', tag: 'jobs' }, async (c) => {
    const { id } = await jobFor(services, pathParam(c, 'id'), principalOf(c))
    return answerWithLog(c, services, id)
  })
}

async function submit(c: Context, services: Services, starter: JobStarter): Promise<Response> {
  const { subject: owner } = principalOf(c)
  const spec = await specOf(c, services)
  const key = c.req.header('idempotency-key')
  const id = key === undefined ? services.newJobId() : await jobIdOf(owner, key)
  if (key !== undefined) {
    // Before admission: what it says may have changed since the first time, and the job is there all the same.
    const before = await findJob(services, id)
    if (before !== null)
      return c.json(sameJob(before, spec), 201, { ...locationOf(id), 'Idempotency-Replayed': 'true' })
  }
  const admitted = await admitOrThrow(c, services, spec)
  const { isNew, job } = await spawnJob(c, services, starter, { id, owner, spec: admitted })
  const headers = { ...locationOf(id), ...(!isNew && { 'Idempotency-Replayed': 'true' }) }
  return c.json(isNew ? job : sameJob(job, spec), 201, headers)
}

/** What was sent, as a whole specification. */
async function specOf(c: Context, services: Services): Promise<JobSpec> {
  const body = await readBody(c, SPEC_TYPES, LIMITS.specBytesMax)
  refuseOtherKinds(body)
  if (typeof body !== 'object' || body === null || !('preset' in body)) {
    return checkBody(jobSpecSchema, body, 'spec.invalid')
  }
  const preset = checkBody(presetSpecSchema, body, 'spec.invalid')
  const expanded = await services.expand(preset, c.get('signal'))
  if ('spec' in expanded) return checkBody(jobSpecSchema, expanded.spec, 'spec.invalid')
  const errors = expanded.problems
  throw new GatewayError('spec.not-admitted', `This job cannot run: ${errors[0]?.message ?? ''}`, { errors })
}

/** Where what is no training is submitted: said by itself, since no other field of such a body would fit either. */
const ELSEWHERE = new Map<unknown, string>([
  ['sweep', '/v1/sweeps'],
  ['kernel', '/v1/batches'],
  ['evaluate', '/v1/batches'],
  ['predict', '/v1/batches'],
])

function refuseOtherKinds(body: unknown): void {
  const kind = typeof body === 'object' && body !== null && 'kind' in body ? body.kind : undefined
  if (kind === undefined) return
  const path = ELSEWHERE.get(kind)
  const kinds = [...ELSEWHERE.keys()].join(', ')
  const where = path === undefined ? `, or one of ${kinds} elsewhere` : ` (submit this one to ${path})`
  const expected = `nothing for a job that trains${where}`
  const found = JSON.stringify(kind)
  const message = `kind: expected ${expected}, found ${found}`
  throw new GatewayError('spec.invalid', `The job specification has an error: ${message}`, {
    errors: [{ path: 'kind', expected, found, message }],
  })
}

function sameJob(job: JobView, spec: JobSpec): JobView {
  if (isSameJson(job.spec, { ...spec, model: modelOf(job.spec, spec) })) return job
  throw new GatewayError(
    'idempotency.mismatch',
    `This Idempotency-Key belongs to job ${job.id}, which is another one`,
    {
      state: job.state,
    },
  )
}

function modelOf({ model: stored }: JobSpec, { model: asked }: JobSpec): JobSpec['model'] {
  return 'from' in stored && 'from' in asked ? { from: sameModel(stored.from, asked.from) } : asked
}

/** If-None-Match may list several tags, weak ones among them. */
function matches(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false
  return header.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag || tag.trim() === '*')
}
