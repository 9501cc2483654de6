/** Finding a job for somebody: from its actor, or from the read model once the actor has left Redis. */
import type { JobView } from '../machines/views.ts'
import { mayAct, type Principal } from './auth.ts'
import { isBatch, jobAddress, unknownJob } from './job-address.ts'
import type { Services } from './services.ts'

/** The job as it is now, or null. */
export async function findJob(services: Services, id: string): Promise<JobView | null> {
  if (isBatch(id)) return null
  const snapshot = await services.client.read(jobAddress(id))
  if (snapshot !== null) return services.jobView(snapshot)
  const stored = await services.jobs.get(id)
  return stored?.value ?? null
}

/** The job, if `principal` may see it. Another user's job is as unknown as one that never was. */
export async function jobFor(services: Services, id: string, principal: Principal): Promise<JobView> {
  const job = await findJob(services, id)
  if (job === null || !maySee(principal, job)) throw unknownJob(id)
  return job
}

/** Viewers watch the whole fleet; a user has their own jobs; an admin has all. */
export function maySee(principal: Principal, job: Pick<JobView, 'owner'>): boolean {
  return principal.role !== 'user' || principal.subject === job.owner
}

export function mayChange(principal: Principal, job: Pick<JobView, 'owner'>): boolean {
  return mayAct(principal.role, 'admin') || (principal.role === 'user' && principal.subject === job.owner)
}
