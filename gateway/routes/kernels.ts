/** `/v1/kernels`: jobs that map a gpu.js function. Submit, list, look (or wait for a change), cancel, download. */
import { z } from 'zod'
import type { KernelJobView } from '../../machines/kernel-spec.ts'
import { RuntimeError } from '../../runtime/errors.ts'
import { pathParam, principalOf, queryOf, type Api, type Context } from '../api.ts'
import { checkBody, readBody, SPEC_TYPES } from '../body.ts'
import { isSameJson, jobIdOf } from '../idempotency.ts'
import { mayChange, maySee } from '../job-access.ts'
import { isKernelJob, jobAddress, unknownJob } from '../job-address.ts'
import { LIMITS } from '../limits.ts'
import { GatewayError } from '../problems.ts'
import { kernelJobSchema, kernelSpecSchema } from '../schemas/kernel-spec.ts'
import { pageOf } from '../schemas/views.ts'
import type { Services } from '../services.ts'
import { traceOf } from '../trace.ts'

const listQuery = z.strictObject({
  cursor: z.string().optional().describe('`next` of the page before.'),
  limit: z.coerce.number().int().min(1).max(LIMITS.pageMax).default(LIMITS.pageDefault),
})

export function kernelRoutes(api: Api, services: Services): void {
  api.on(
    {
      method: 'post',
      path: '/v1/kernels',
      tag: 'kernels',
      summary:
        'Submit a kernel job: a gpu.js function over rows of datasets and arrays. With an Idempotency-Key, once.',
      access: 'user',
      headers: { 'Idempotency-Key': 'Names this submission among those of its owner.' },
      body: { schema: kernelSpecSchema, types: SPEC_TYPES },
      answers: { 201: { description: 'The job. `Location` is its address.', content: kernelJobSchema } },
    },
    (c) => submit(c, services),
  )

  api.on(
    {
      method: 'get',
      path: '/v1/kernels',
      tag: 'kernels',
      summary: 'Kernel jobs, newest first.',
      access: 'viewer',
      query: listQuery,
      answers: { 200: { description: 'A page of kernel jobs.', content: pageOf(kernelJobSchema) } },
    },
    async (c) => {
      const { cursor, limit } = queryOf(c, listQuery)
      const { role, subject } = principalOf(c)
      const page = await services.kernelJobs.stored.find({
        where: role === 'user' ? { owner: subject } : {},
        order: { by: 'createdAt', direction: 'descending' },
        limit,
        ...(cursor !== undefined && { cursor }),
      })
      const items = page.items.map(({ value }) => value)
      return c.json({ items, ...(page.next !== undefined && { next: page.next }) })
    },
  )

  api.on(
    {
      method: 'get',
      path: '/v1/kernels/:id',
      tag: 'kernels',
      summary: 'A kernel job as it is now, with its progress.',
      access: 'viewer',
      headers: { 'If-None-Match': 'The ETag of an earlier answer.' },
      answers: {
        200: { description: 'The job, with its ETag.', content: kernelJobSchema },
        304: { description: 'It is as it was.' },
      },
    },
    async (c) => {
      const job = await kernelJobFor(c, services)
      const headers = { ETag: `"${job.seq}"`, 'Cache-Control': 'no-cache' }
      if (c.req.header('if-none-match') === headers.ETag) return new Response(null, { status: 304, headers })
      return c.json(job, 200, headers)
    },
  )

  api.on(
    {
      method: 'post',
      path: '/v1/kernels/:id/cancel',
      tag: 'kernels',
      summary: 'Cancel a kernel job. It is over when its state is `cancelled`.',
      access: 'user',
      answers: { 202: { description: 'The job, which is being cancelled.', content: kernelJobSchema } },
    },
    (c) => cancel(c, services),
  )

  api.on(
    {
      method: 'get',
      path: '/v1/kernels/:id/output',
      tag: 'kernels',
      summary: 'What a completed kernel job gave: an NPY file of float32.',
      access: 'viewer',
      deadline: 'none',
      answers: {
        200: { description: 'The file. Its ETag is its sha256.', content: { 'application/octet-stream': 'binary' } },
      },
    },
    (c) => download(c, services),
  )
}

async function submit(c: Context, services: Services): Promise<Response> {
  const { subject: owner } = principalOf(c)
  const spec = checkBody(kernelSpecSchema, await readBody(c, SPEC_TYPES, LIMITS.specBytesMax), 'spec.invalid')
  const key = c.req.header('idempotency-key')
  const id = `kernel-${key === undefined ? services.newJobId() : await jobIdOf(owner, key)}`
  const before = key === undefined ? null : await findKernelJob(services, id)
  if (before !== null) return c.json(same(before, spec), 201, { Location: `/v1/kernels/${id}`, 'Idempotency-Replayed': 'true' }) // prettier-ignore
  const errors = await services.kernelJobs.admit(spec, owner, c.get('signal'))
  if (errors.length > 0) {
    throw new GatewayError('spec.not-admitted', `This job cannot run: ${errors[0]?.message ?? ''}`, { errors })
  }
  const options = { ...traceOf(c.req), signal: c.get('signal'), timeoutMs: LIMITS.askMs }
  await services.client.spawn(jobAddress(id), { id, owner, spec }, options)
  const job = await findKernelJob(services, id)
  if (job === null) throw new Error(`Kernel job ${id} was brought to life and is not there`)
  return c.json(same(job, spec), 201, { Location: `/v1/kernels/${id}` })
}

function same(job: KernelJobView, spec: unknown): KernelJobView {
  if (isSameJson(job.spec, spec)) return job
  const message = `This Idempotency-Key belongs to kernel job ${job.id}, which is another one`
  throw new GatewayError('idempotency.mismatch', message, { state: job.state })
}

async function findKernelJob(services: Services, id: string): Promise<KernelJobView | null> {
  const snapshot = await services.client.read(jobAddress(id))
  if (snapshot !== null) return services.kernelJobs.view(snapshot)
  return (await services.kernelJobs.stored.get(id))?.value ?? null
}

/** Another user's job is as unknown as one that never was. */
async function kernelJobFor(c: Context, services: Services): Promise<KernelJobView> {
  const id = pathParam(c, 'id')
  const job = isKernelJob(id) ? await findKernelJob(services, id) : null
  if (job === null || !maySee(principalOf(c), job)) throw unknownJob(id)
  return job
}

async function cancel(c: Context, services: Services): Promise<Response> {
  const job = await kernelJobFor(c, services)
  if (!mayChange(principalOf(c), job)) {
    throw new GatewayError(
      'auth.forbidden',
      `Job ${job.id} belongs to ${job.owner}: only they and admins may cancel it`,
    )
  }
  const options = { ...traceOf(c.req), control: true, signal: c.get('signal'), timeoutMs: LIMITS.askMs }
  const handled = await services.client.ask(jobAddress(job.id), { type: 'cancel' }, options).then(
    (answer) => answer.handled,
    (error: unknown) => {
      if (error instanceof RuntimeError && error.code === 'actor.done') return false // it ended since we looked
      throw error
    },
  )
  const after = (await findKernelJob(services, job.id)) ?? job
  if (handled) return c.json(after, 202)
  throw new GatewayError('job.not-cancellable', `Cannot cancel job ${job.id}: it is ${after.state}`, { state: after.state }) // prettier-ignore
}

async function download(c: Context, services: Services): Promise<Response> {
  const { id, name, state, output } = await kernelJobFor(c, services)
  if (output === undefined) {
    throw new GatewayError('resource.unknown', `Kernel job ${id} has no output yet: it is ${state}`, { state })
  }
  const headers = {
    ETag: `"${output.sha256}"`,
    'Cache-Control': 'private, max-age=31536000, immutable', // what a hash names never changes
    'Content-Type': 'application/octet-stream',
    'Content-Disposition': `attachment; filename="${name}.npy"`,
    'Content-Length': String(output.sizeBytes),
  }
  const body = c.req.method === 'HEAD' ? null : await services.blobs.get(output.sha256, { signal: c.req.raw.signal })
  return new Response(body, { headers })
}
