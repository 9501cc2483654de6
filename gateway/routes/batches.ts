/**
 * `/v1/batches`: jobs that do one thing with many rows, on all workers: map a gpu.js function, evaluate a model, predict.
 * Submit, list, look, steer, download; following one is in batch-events.ts.
 */
import type { BatchSpec, BatchView } from '../../machines/batch-spec.ts'
import { principalOf, queryOf, type Api, type Context } from '../api.ts'
import { batchFor, findBatch } from '../batch-access.ts'
import { checkBody, readBody, SPEC_TYPES } from '../body.ts'
import { download } from '../download.ts'
import { isSameJson, jobIdOf, sameModel } from '../idempotency.ts'
import { jobAddress } from '../job-address.ts'
import type { JobStarter } from '../job-starter.ts'
import { LIMITS } from '../limits.ts'
import { asItIs, ownersOf, pageFrom, pageQuery } from '../listing.ts'
import { checkPredecessors } from '../predecessors.ts'
import { GatewayError, type GatewayErrorCode } from '../problems.ts'
import { batchSchema, batchSpecSchema } from '../schemas/batch-spec.ts'
import { pageOf } from '../schemas/views.ts'
import type { Services } from '../services.ts'
import { steer } from '../steering.ts'

export function batchRoutes(api: Api, services: Services, starter: JobStarter): void {
  api.on(
    {
      method: 'post',
      path: '/v1/batches',
      tag: 'batches',
      summary:
        'Submit a batch job: a gpu.js function over rows (`kernel`), or a model over a dataset (`evaluate`, `predict`). ' +
        'With an Idempotency-Key, once.',
      access: 'user',
      headers: { 'Idempotency-Key': 'Names this submission among those of its owner.' },
      body: { schema: batchSpecSchema, types: SPEC_TYPES },
      answers: { 201: { description: 'The job. `Location` is its address.', content: batchSchema } },
    },
    (c) => submit(c, services, starter),
  )

  api.on(
    {
      method: 'get',
      path: '/v1/batches',
      tag: 'batches',
      summary: 'Batch jobs, newest first.',
      access: 'viewer',
      query: pageQuery,
      answers: { 200: { description: 'A page of batch jobs.', content: pageOf(batchSchema) } },
    },
    async (c) => {
      const page = queryOf(c, pageQuery)
      const listing = { where: ownersOf(c), by: 'createdAt', page, show: asItIs<BatchView> } as const
      return c.json(await pageFrom(services.batches.stored, listing))
    },
  )

  api.on(
    {
      method: 'get',
      path: '/v1/batches/:id',
      tag: 'batches',
      summary: 'A batch job as it is now, with its progress.',
      access: 'viewer',
      headers: { 'If-None-Match': 'The ETag of an earlier answer.' },
      answers: {
        200: { description: 'The job, with its ETag.', content: batchSchema },
        304: { description: 'It is as it was.' },
      },
    },
    async (c) => {
      const job = await batchFor(c, services)
      const headers = { ETag: `"${job.seq}"`, 'Cache-Control': 'no-cache' }
      if (c.req.header('if-none-match') === headers.ETag) return new Response(null, { status: 304, headers })
      return c.json(job, 200, headers)
    },
  )

  const verbs = [
    [
      'pause',
      'Pause a batch job: the chunks that are there stay, those under way are computed later.',
      'which is pausing or paused',
    ],
    [
      'resume',
      'Let a paused batch job go on with the chunks that are missing. Its result is as if it had never paused.',
      'which goes on',
    ],
    ['cancel', 'Cancel a batch job. It is over when its state is `cancelled`.', 'which is being cancelled'],
  ] as const
  for (const [verb, summary, after] of verbs) {
    api.on(
      {
        method: 'post',
        path: `/v1/batches/:id/${verb}`,
        tag: 'batches',
        summary,
        access: 'user',
        answers: { 202: { description: `The job, ${after}.`, content: batchSchema } },
      },
      (c) => steerBatch(c, services, verb),
    )
  }

  api.on(
    {
      method: 'get',
      path: '/v1/batches/:id/output',
      tag: 'batches',
      summary: 'The file that a completed batch job gave: NPY of float32, CSV or JSON Lines.',
      access: 'viewer',
      deadline: 'none',
      headers: { 'If-None-Match': "The file's sha256, as its ETag says it." },
      answers: {
        200: {
          description: 'The file. Its ETag is its sha256.',
          content: { 'application/octet-stream': 'binary', 'text/csv': 'text', 'application/jsonl': 'text' },
        },
        304: { description: 'You have it.' },
      },
    },
    (c) => outputOf(c, services),
  )
}

async function submit(c: Context, services: Services, starter: JobStarter): Promise<Response> {
  const { subject: owner } = principalOf(c)
  const spec = checkBody(batchSpecSchema, await readBody(c, SPEC_TYPES, LIMITS.specBytesMax), 'spec.invalid')
  const key = c.req.header('idempotency-key')
  const id = `${spec.kind}-${key === undefined ? services.newJobId() : await jobIdOf(owner, key)}`
  const before = key === undefined ? null : await findBatch(services, id)
  const admitted = await services.batches.pin(spec)
  const asked = 'model' in spec ? spec : admitted // an alias may have moved since
  if (before !== null) return c.json(same(before, asked), 201, { Location: `/v1/batches/${id}`, 'Idempotency-Replayed': 'true' }) // prettier-ignore
  const errors = [
    ...(await services.batches.admit(admitted, owner, c.get('signal'))),
    ...(await checkPredecessors(c, services, admitted)),
  ]
  if (errors.length > 0) {
    throw new GatewayError('spec.not-admitted', `This job cannot run: ${errors[0]?.message ?? ''}`, { errors })
  }
  const input = { id, owner, spec: admitted }
  await starter.start(c, { actor: jobAddress(id), owner, pool: admitted.pool, input })
  const job = await findBatch(services, id)
  if (job === null) throw new Error(`Job ${id} was brought to life and is not there`)
  return c.json(same(job, asked), 201, { Location: `/v1/batches/${id}` })
}

function same(job: BatchView, spec: BatchSpec): BatchView {
  if (isSameJson(job.spec, 'model' in spec && 'model' in job.spec ? { ...spec, model: sameModel(job.spec.model, spec.model) } : spec)) return job // prettier-ignore
  const message = `This Idempotency-Key belongs to job ${job.id}, which is another one`
  throw new GatewayError('idempotency.mismatch', message, { state: job.state })
}

const REFUSALS: Readonly<Record<'pause' | 'resume' | 'cancel', GatewayErrorCode>> = {
  pause: 'job.not-pausable',
  resume: 'job.not-resumable',
  cancel: 'job.not-cancellable',
}

async function steerBatch(c: Context, services: Services, verb: keyof typeof REFUSALS): Promise<Response> {
  const job = await batchFor(c, services)
  const { id } = job
  const find = (): Promise<BatchView | null> => findBatch(services, id)
  const order = { what: 'job', verb, actor: jobAddress(id), event: { type: verb }, refusal: REFUSALS[verb], find }
  return steer(c, services, job, order)
}

const MEDIA_TYPES = { npy: 'application/octet-stream', csv: 'text/csv', jsonl: 'application/jsonl' } as const

async function outputOf(c: Context, services: Services): Promise<Response> {
  const { id, name, state, output } = await batchFor(c, services)
  if (output === undefined) {
    throw new GatewayError('resource.unknown', `Job ${id} has no output: it is ${state}`, { state })
  }
  const { format } = output
  return download(c, services, { blob: output, mediaType: MEDIA_TYPES[format], filename: `${name}.${format}` })
}
