/** Bringing a job to life: what a new job, a copy of one and another try at one have in common. */
import type { JobSpec } from '../machines/spec.ts'
import type { JobInput } from '../machines/training.ts'
import type { JobView } from '../machines/views.ts'
import type { Context } from './api.ts'
import { principalOf } from './api.ts'
import { findJob, maySee } from './job-access.ts'
import { jobAddress } from './job-address.ts'
import { isOver } from './events.ts'
import type { JobStarter, Started } from './job-starter.ts'
import { GatewayError, type FieldError } from './problems.ts'
import type { Services } from './services.ts'

/** The specification as the job gets it. Throws `spec.not-admitted`, naming everything that speaks against the job. */
export async function admitOrThrow(c: Context, services: Services, asked: JobSpec): Promise<JobSpec> {
  const spec = await services.pin(asked)
  const errors = [
    ...(await services.admit(spec, c.get('signal'))),
    ...(await Promise.all((spec.after ?? []).map((_, i) => checkPredecessor(c, services, spec, i)))).flat(),
  ]
  if (errors.length === 0) return spec
  throw new GatewayError('spec.not-admitted', `This job cannot run: ${errors[0]?.message ?? ''}`, { errors })
}

/** A job to come after must be there, and one that has not completed and never will is of no use. */
async function checkPredecessor(
  c: Context,
  services: Services,
  { after = [] }: JobSpec,
  i: number,
): Promise<FieldError[]> {
  const { job: id = '', otherwise } = after[i] ?? {}
  const view = await findJob(services, id)
  const path = `after[${i}].job`
  if (view === null || !maySee(principalOf(c), view)) return [fieldError(path, 'a job that is there', `"${id}"`)]
  if (otherwise === 'fail' && isOver(view) && view.state !== 'completed') {
    return [fieldError(path, 'a job that has completed or still may', `${id}, which is ${view.state}`)]
  }
  if (isOver(view) && (await services.client.read(jobAddress(id))) === null) {
    return [fieldError(path, 'a job that ended within the last day, or not yet', `${id}, which is ${view.state}`)]
  }
  return []
}

function fieldError(path: string, expected: string, found: string): FieldError {
  return { path, expected, found, message: `${path}: expected ${expected}, found ${found}` }
}

export async function spawnJob(
  c: Context,
  services: Services,
  starter: JobStarter,
  job: JobInput,
): Promise<Started & { job: JobView }> {
  const { id, owner, spec } = job
  const { isNew } = await starter.start(c, { actor: jobAddress(id), owner, pool: spec.pool, input: job })
  const view = await findJob(services, job.id)
  if (view === null) throw new Error(`Job ${job.id} was brought to life and is not there`)
  return { isNew, job: view }
}

export function locationOf(id: string): { Location: string } {
  return { Location: `/v1/jobs/${id}` }
}
