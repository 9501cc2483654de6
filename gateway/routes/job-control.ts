/** Steering a job: cancel, pause and resume it, try it again, make another like it. */
import { z } from 'zod'
import type { JobView } from '../../machines/views.ts'
import { pathParam, principalOf, queryOf, type Api, type Context } from '../api.ts'
import { checkBody, readBody, SPEC_TYPES } from '../body.ts'
import { isOver } from '../events.ts'
import { findJob, jobFor } from '../job-access.ts'
import { jobAddress } from '../job-address.ts'
import { admitOrThrow, locationOf, spawnJob } from '../job-start.ts'
import type { JobStarter } from '../job-starter.ts'
import { LIMITS } from '../limits.ts'
import { GatewayError, type GatewayErrorCode } from '../problems.ts'
import { jobSpecSchema } from '../schemas/job-spec.ts'
import { jobViewSchema } from '../schemas/views.ts'
import type { Services } from '../services.ts'
import { requireOwner, steer } from '../steering.ts'

const pauseQuery = z.strictObject({
  now: z.enum(['true', 'false']).default('false').describe('Do not wait for the end of the round: it will be run again.'), // prettier-ignore
})

const cloneBody = z
  .record(z.string(), z.unknown())
  .describe('What is to be different, as a JSON merge patch (RFC 7396) of the specification.')
  .meta({ id: 'CloneRequest' })

export function jobControlRoutes(api: Api, services: Services, starter: JobStarter): void {
  api.on(
    {
      method: 'post',
      path: '/v1/jobs/:id/cancel',
      tag: 'jobs',
      summary: 'Cancel a job. It is over when its state is `cancelled`.',
      access: 'user',
      answers: { 202: { description: 'The job, which is being cancelled.', content: jobViewSchema } },
    },
    (c) => steerJob(c, services, { type: 'cancel' }, 'job.not-cancellable'),
  )

  api.on(
    {
      method: 'post',
      path: '/v1/jobs/:id/pause',
      tag: 'jobs',
      summary: 'Pause a job: at the end of its round if that comes within seconds, else its round is run again later.',
      access: 'user',
      query: pauseQuery,
      answers: { 202: { description: 'The job, which is pausing or paused.', content: jobViewSchema } },
    },
    (c) => {
      const isUrgent = queryOf(c, pauseQuery).now === 'true'
      return steerJob(c, services, { type: 'pause', isUrgent }, 'job.not-pausable')
    },
  )

  api.on(
    {
      method: 'post',
      path: '/v1/jobs/:id/resume',
      tag: 'jobs',
      summary: 'Let a paused job go on from its last checkpoint. Its result is as if it had never paused.',
      access: 'user',
      answers: { 202: { description: 'The job, which goes on.', content: jobViewSchema } },
    },
    (c) => steerJob(c, services, { type: 'resume' }, 'job.not-resumable'),
  )

  api.on(
    {
      method: 'post',
      path: '/v1/jobs/:id/retry',
      tag: 'jobs',
      summary: 'Try a failed, cancelled or stopped job again, as a new job that goes on from its last checkpoint.',
      access: 'user',
      answers: { 201: { description: 'The new job. `Location` is its address.', content: jobViewSchema } },
    },
    (c) => retry(c, services, starter),
  )

  api.on(
    {
      method: 'post',
      path: '/v1/jobs/:id/clone',
      tag: 'jobs',
      summary: 'Submit a job like this one, with changes.',
      access: 'user',
      body: { schema: cloneBody, types: SPEC_TYPES },
      answers: { 201: { description: 'The new job. `Location` is its address.', content: jobViewSchema } },
    },
    (c) => clone(c, services, starter),
  )
}

type Steering =
  | { readonly type: 'cancel' }
  | { readonly type: 'pause'; readonly isUrgent: boolean }
  | { readonly type: 'resume' }

async function steerJob(c: Context, services: Services, event: Steering, refusal: GatewayErrorCode): Promise<Response> {
  const { type: verb } = event
  const job = await jobFor(services, pathParam(c, 'id'), principalOf(c))
  const find = (): Promise<JobView | null> => findJob(services, job.id)
  return steer(c, services, job, { what: 'job', verb, actor: jobAddress(job.id), event, refusal, find })
}

async function retry(c: Context, services: Services, starter: JobStarter): Promise<Response> {
  const job = await jobFor(services, pathParam(c, 'id'), principalOf(c))
  requireOwner(c, job, 'job', 'try again')
  if (!isOver(job) || job.state === 'completed') {
    throw new GatewayError('job.not-retryable', `Cannot try job ${job.id} again: it is ${job.state}`, {
      state: job.state,
    })
  }
  const spec = await admitOrThrow(c, services, withoutPredecessors(job.spec))
  const snapshot = await services.client.read(jobAddress(job.id))
  const round = job.checkpoints.at(-1)?.round
  const resume = snapshot === null || round === undefined ? null : services.resumePoint(snapshot, round)
  const id = services.newJobId()
  const input = { id, owner: job.owner, spec, ...(resume !== null && { resume }) }
  const { job: view } = await spawnJob(c, services, starter, input)
  return c.json(view, 201, locationOf(id))
}

/** They have had their turn. */
function withoutPredecessors({ after: _before, ...spec }: JobView['spec']): JobView['spec'] {
  return spec
}

async function clone(c: Context, services: Services, starter: JobStarter): Promise<Response> {
  const job = await jobFor(services, pathParam(c, 'id'), principalOf(c))
  const patch = checkBody(cloneBody, await readBody(c, SPEC_TYPES, LIMITS.specBytesMax), 'request.invalid')
  const spec = await admitOrThrow(c, services, checkBody(jobSpecSchema, merged(job.spec, patch), 'spec.invalid'))
  const id = services.newJobId()
  const { job: view } = await spawnJob(c, services, starter, { id, owner: principalOf(c).subject, spec })
  return c.json(view, 201, locationOf(id))
}

/** RFC 7396: objects are merged, null takes away, everything else is put in place. */
function merged(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch
  const isObject = typeof target === 'object' && target !== null && !Array.isArray(target)
  const result = new Map<string, unknown>(isObject ? Object.entries(target) : [])
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) result.delete(key)
    else result.set(key, merged(result.get(key), value))
  }
  return Object.fromEntries(result)
}
