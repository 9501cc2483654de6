/** How many jobs of an owner have not ended in a pool, by the read model; sweeps and batch jobs are jobs here. */
import { each } from './collections.ts'
import type { FleetCollections } from './collections.ts'

/** Counts no further than `atMost`. A trial is part of its sweep. */
export async function openJobs(
  collections: Pick<FleetCollections, 'batches' | 'jobs' | 'sweeps'>,
  owner: string,
  pool: string,
  atMost: number,
): Promise<number> {
  const open = { where: { owner, endedAt: null } } as const
  let count = 0
  for await (const { value } of each(collections.jobs, open)) {
    if (value.spec.pool === pool && value.sweep === undefined && ++count >= atMost) return count
  }
  for await (const { value } of each(collections.batches, open)) {
    if (value.spec.pool === pool && ++count >= atMost) return count
  }
  for await (const { value } of each(collections.sweeps, open)) {
    if (value.spec.job.pool === pool && ++count >= atMost) return count
  }
  return count
}
