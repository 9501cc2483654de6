/** Finding a batch job for somebody, as job-access.ts finds one that trains. */
import type { BatchView } from '../machines/batch-spec.ts'
import { pathParam, principalOf, type Context } from './api.ts'
import { maySee } from './job-access.ts'
import { isBatch, jobAddress, unknownJob } from './job-address.ts'
import type { Services } from './services.ts'

/** The batch job as it is now, or null. */
export async function findBatch(services: Services, id: string): Promise<BatchView | null> {
  const snapshot = await services.client.read(jobAddress(id))
  if (snapshot !== null) return services.batches.view(snapshot)
  return (await services.batches.stored.get(id))?.value ?? null
}

/** The one that the path names. Another user's job is as unknown as one that never was. */
export async function batchFor(c: Context, services: Services): Promise<BatchView> {
  const id = pathParam(c, 'id')
  const job = isBatch(id) ? await findBatch(services, id) : null
  if (job === null || !maySee(principalOf(c), job)) throw unknownJob(id)
  return job
}
