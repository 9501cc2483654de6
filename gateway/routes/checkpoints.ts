/**
 * `/v1/jobs/:id/checkpoints`: go on from a checkpoint with a new job, or take it home. Which checkpoints there are
 * stands in the job's view. A restored job goes on exactly as the first one would have: it ends with the same weights.
 */
import { z } from 'zod'
import type { CheckpointView, JobView } from '../../machines/views.ts'
import { pathParam, principalOf, queryOf, type Api, type Context } from '../api.ts'
import { download } from '../download.ts'
import { jobFor } from '../job-access.ts'
import { jobAddress } from '../job-address.ts'
import { locationOf, spawnJob } from '../job-start.ts'
import type { JobStarter } from '../job-starter.ts'
import { findModel } from '../model-access.ts'
import { GatewayError } from '../problems.ts'
import { jobViewSchema } from '../schemas/views.ts'
import type { Services } from '../services.ts'

const downloadQuery = z.strictObject({ file: z.enum(['weights', 'topology']).default('weights') })

export function checkpointRoutes(api: Api, services: Services, starter: JobStarter): void {
  api.on(
    {
      method: 'post',
      path: '/v1/jobs/:id/checkpoints/:round/restore',
      tag: 'jobs',
      summary: 'A new job that goes on from this checkpoint, with the same specification.',
      access: 'user',
      answers: { 201: { description: 'The new job. `Location` is its address.', content: jobViewSchema } },
    },
    (c) => restore(c, services, starter),
  )

  api.on(
    {
      method: 'get',
      path: '/v1/jobs/:id/checkpoints/:round/download',
      tag: 'jobs',
      summary: 'The weights (safetensors) of a checkpoint, or the topology (Keras-style JSON) that they fit.',
      access: 'viewer',
      deadline: 'none',
      query: downloadQuery,
      headers: { 'If-None-Match': "The file's sha256, as its ETag says it." },
      answers: {
        200: {
          description: 'The file. Its ETag is its sha256.',
          content: { 'application/octet-stream': 'binary', 'application/json': z.record(z.string(), z.unknown()) },
        },
        304: { description: 'You have it.' },
      },
    },
    async (c) => {
      const { job, checkpoint } = await checkpointAt(c, services)
      if (queryOf(c, downloadQuery).file === 'topology') return topologyOf(c, services, job)
      const filename = `${job.name}-round-${checkpoint.round}.safetensors`
      return download(c, services, { blob: checkpoint.weights, mediaType: 'application/octet-stream', filename })
    },
  )
}

async function topologyOf(c: Context, services: Services, { name: job, spec: { model } }: JobView): Promise<Response> {
  if (!('from' in model)) return c.json(model)
  const [name = '', version = ''] = model.from.split('@')
  const { topology } = await findModel(services, name, version)
  return download(c, services, { blob: topology, mediaType: 'application/json', filename: `${job}.json` })
}

async function restore(c: Context, services: Services, starter: JobStarter): Promise<Response> {
  const { job, checkpoint } = await checkpointAt(c, services)
  const snapshot = await services.client.read(jobAddress(job.id))
  const resume = snapshot === null ? null : services.resumePoint(snapshot, checkpoint.round)
  if (resume === null) {
    throw new GatewayError('resource.unknown', `Job ${job.id} is only remembered: its checkpoints can be taken home`)
  }
  const id = services.newJobId()
  const input = { id, owner: principalOf(c).subject, spec: job.spec, resume }
  const { job: view } = await spawnJob(c, services, starter, input)
  return c.json(view, 201, locationOf(id))
}

async function checkpointAt(c: Context, services: Services): Promise<{ job: JobView; checkpoint: CheckpointView }> {
  const job = await jobFor(services, pathParam(c, 'id'), principalOf(c))
  const text = pathParam(c, 'round')
  const isBest = text === 'best'
  const checkpoint = job.checkpoints.find((each) => (isBest ? each.isBest === true : String(each.round) === text))
  if (checkpoint !== undefined) return { job, checkpoint }
  const rounds = job.checkpoints.map(({ round }) => round).join(', ')
  const there = rounds === '' ? 'there are none' : `there are those of the rounds ${rounds}`
  throw new GatewayError('resource.unknown', `Job ${job.id} has no checkpoint ${JSON.stringify(text.slice(0, 20))}; ${there}`) // prettier-ignore
}
