/** Bringing a job to life: what a new job, a copy of one and another try at one have in common. */
import type { JobSpec } from '../machines/spec.ts'
import type { JobInput } from '../machines/training.ts'
import type { JobView } from '../machines/views.ts'
import type { Context } from './api.ts'
import { findJob } from './job-access.ts'
import { jobAddress } from './job-address.ts'
import type { JobStarter, Started } from './job-starter.ts'
import { checkPredecessors } from './predecessors.ts'
import { GatewayError } from './problems.ts'
import type { Services } from './services.ts'

/** The specification as the job gets it. Throws `spec.not-admitted`, naming everything that speaks against the job. */
export async function admitOrThrow(c: Context, services: Services, asked: JobSpec): Promise<JobSpec> {
  const spec = await services.pin(asked)
  const errors = [...(await services.admit(spec, c.get('signal'))), ...(await checkPredecessors(c, services, spec))]
  if (errors.length === 0) return spec
  throw new GatewayError('spec.not-admitted', `This job cannot run: ${errors[0]?.message ?? ''}`, { errors })
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
