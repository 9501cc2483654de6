/** `/v1/sweeps`: one job in many variants. Submit, list, look, follow, and steer all of its trials at once. */
import { z } from 'zod'
import type { SweepSpec, SweepView } from '../../machines/sweep-spec.ts'
import { principalOf, queryOf, type Api, type Context } from '../api.ts'
import { checkBody, readBody, SPEC_TYPES } from '../body.ts'
import { EVENT_STREAM_OPERATION, type EventStreams } from '../event-streams.ts'
import { isSameJson, jobIdOf } from '../idempotency.ts'
import type { JobStarter } from '../job-starter.ts'
import { LIMITS } from '../limits.ts'
import { ownersOf, pageFrom, pageQuery } from '../listing.ts'
import { GatewayError, type GatewayErrorCode } from '../problems.ts'
import { checkPredecessors } from '../predecessors.ts'
import { presetSpecSchema } from '../schemas/preset-spec.ts'
import { sweepSpecSchema, sweepSummarySchema, sweepViewSchema } from '../schemas/sweep-spec.ts'
import { pageOf } from '../schemas/views.ts'
import type { Services } from '../services.ts'
import { findSweep, sweepAddress, sweepFor } from '../sweep-access.ts'
import { steer } from '../steering.ts'

export function sweepRoutes(api: Api, services: Services, starter: JobStarter, streams: EventStreams): void {
  api.on(
    {
      method: 'post',
      path: '/v1/sweeps',
      tag: 'sweeps',
      summary:
        'Submit a sweep: a job in many variants, of which the best is looked for. With an Idempotency-Key, once.',
      access: 'user',
      headers: { 'Idempotency-Key': 'Names this submission among those of its owner.' },
      body: { schema: sweepSpecSchema, types: SPEC_TYPES },
      answers: { 201: { description: 'The sweep. `Location` is its address.', content: sweepViewSchema } },
    },
    (c) => submit(c, services, starter),
  )

  api.on(
    {
      method: 'get',
      path: '/v1/sweeps',
      tag: 'sweeps',
      summary: 'Sweeps, newest first, without their trials.',
      access: 'viewer',
      query: pageQuery,
      answers: { 200: { description: 'A page of sweeps.', content: pageOf(sweepSummarySchema) } },
    },
    async (c) => {
      const page = queryOf(c, pageQuery)
      const listing = { where: ownersOf(c), by: 'createdAt', page, show: summaryOf } as const
      return c.json(await pageFrom(services.sweeps.stored, listing))
    },
  )

  api.on(
    {
      method: 'get',
      path: '/v1/sweeps/:id',
      tag: 'sweeps',
      summary: 'A sweep as it is now, its trials with the best one first.',
      access: 'viewer',
      headers: { 'If-None-Match': 'The ETag of an earlier answer.' },
      answers: {
        200: { description: 'The sweep, with its ETag.', content: sweepViewSchema },
        304: { description: 'It is as it was.' },
      },
    },
    async (c) => {
      const sweep = await sweepFor(c, services)
      const headers = { ETag: `"${sweep.seq}"`, 'Cache-Control': 'no-cache' }
      if (c.req.header('if-none-match') === headers.ETag) return new Response(null, { status: 304, headers })
      return c.json(sweep, 200, headers)
    },
  )

  api.on(
    {
      ...EVENT_STREAM_OPERATION,
      path: '/v1/sweeps/:id/events',
      tag: 'sweeps',
      summary:
        'The life of a sweep: `state` with the sweep, and `end` when it is over. It resumes as a job’s events do.',
    },
    async (c) => {
      const sweep = await sweepFor(c, services)
      const { client } = services
      const view = (): Promise<SweepView | null> => findSweep(services, sweep.id)
      return streams.serve(c, sweep, { client, actor: sweepAddress(sweep.id), view })
    },
  )

  const verbs = [
    [
      'pause',
      'Pause a sweep: its trials pause at the end of their rounds, and none is started.',
      'which is pausing or paused',
    ],
    ['resume', 'Let a paused sweep go on. Its trials come to what they would have come to.', 'which goes on'],
    ['cancel', 'Cancel a sweep and its trials. It is over when its state is `cancelled`.', 'which is being cancelled'],
  ] as const
  for (const [verb, summary, after] of verbs) {
    api.on(
      {
        method: 'post',
        path: `/v1/sweeps/:id/${verb}`,
        tag: 'sweeps',
        summary,
        access: 'user',
        answers: { 202: { description: `The sweep, ${after}.`, content: sweepViewSchema } },
      },
      (c) => steerSweep(c, services, verb),
    )
  }
}

async function submit(c: Context, services: Services, starter: JobStarter): Promise<Response> {
  const { subject: owner } = principalOf(c)
  const written = await readBody(c, SPEC_TYPES, LIMITS.specBytesMax)
  const spec = checkBody(sweepSpecSchema, await withWholeJob(c, services, written), 'spec.invalid')
  const key = c.req.header('idempotency-key')
  const id = `sweep-${key === undefined ? services.newJobId() : await jobIdOf(owner, key)}`
  const before = key === undefined ? null : await findSweep(services, id)
  const admitted = await services.sweeps.admit(spec, c.get('signal'))
  // One that is there already stays, whatever may be said against it now.
  if (before === null) {
    const problems = [
      ...('problems' in admitted ? admitted.problems : []),
      ...(await checkPredecessors(c, services, spec)),
    ]
    if (problems.length > 0) throw notAdmitted(problems)
  }
  const whole = 'spec' in admitted ? admitted.spec : spec
  if (before !== null) return c.json(same(before, whole), 201, { ...locationOf(id), 'Idempotency-Replayed': 'true' })
  const input = { id, owner, spec: whole }
  await starter.start(c, { actor: sweepAddress(id), owner, pool: whole.job.pool, input })
  const sweep = await findSweep(services, id)
  if (sweep === null) throw new Error(`Sweep ${id} was brought to life and is not there`)
  return c.json(same(sweep, whole), 201, locationOf(id))
}

/** A job by preset is made a whole one, so that parameters can name its fields. */
async function withWholeJob(c: Context, services: Services, written: unknown): Promise<unknown> {
  const job: unknown = isObject(written) ? written['job'] : undefined
  if (!isObject(written) || !isObject(job) || !('preset' in job)) return written
  const { job: preset } = checkBody(z.object({ job: presetSpecSchema }), { job }, 'spec.invalid')
  const expanded = await services.expand(preset, c.get('signal'))
  if ('spec' in expanded) return { ...written, job: expanded.spec }
  throw notAdmitted(expanded.problems.map((each) => ({ ...each, path: `job.${each.path}`, message: `job.${each.message}` }))) // prettier-ignore
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function notAdmitted(
  errors: readonly { path: string; expected: string; found: string; message: string }[],
): GatewayError {
  return new GatewayError('spec.not-admitted', `This sweep cannot run: ${errors[0]?.message ?? ''}`, { errors })
}

function same(sweep: SweepView, spec: SweepSpec): SweepView {
  if (isSameJson(sweep.spec, spec)) return sweep
  const message = `This Idempotency-Key belongs to sweep ${sweep.id}, which is another one`
  throw new GatewayError('idempotency.mismatch', message, { state: sweep.state })
}

const REFUSALS: Readonly<Record<'pause' | 'resume' | 'cancel', GatewayErrorCode>> = {
  pause: 'sweep.not-pausable',
  resume: 'sweep.not-resumable',
  cancel: 'sweep.not-cancellable',
}

function summaryOf({
  spec: _spec,
  leaderboard: _trials,
  ...summary
}: SweepView): Omit<SweepView, 'spec' | 'leaderboard'> {
  return summary
}

async function steerSweep(c: Context, services: Services, verb: keyof typeof REFUSALS): Promise<Response> {
  const sweep = await sweepFor(c, services)
  const { id } = sweep
  const find = (): Promise<SweepView | null> => findSweep(services, id)
  const order = { what: 'sweep', verb, actor: sweepAddress(id), event: { type: verb }, refusal: REFUSALS[verb], find }
  return steer(c, services, sweep, order)
}

function locationOf(id: string): { Location: string } {
  return { Location: `/v1/sweeps/${id}` }
}
