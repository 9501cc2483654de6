/**
 * What is left of jobs that ended long ago, and may go: their documents, and with them the checkpoints and outputs that
 * nothing else refers to (blob-sweep.ts removes those).
 *
 * Invariants:
 * 1. A job that has not ended, or that the runtime still remembers, stays: its document would be written anew.
 * 2. What a version of a model names as its job, and the best trial of a sweep, stays, with its newest and its best
 *    checkpoint. So do the trials of a sweep that has not ended: it may still choose among them.
 * 3. A document that was changed meanwhile stays as it is.
 */
import { address } from '../runtime/mod.ts'
import type { Client } from '../runtime/mod.ts'
import type { Collection, Stored } from '../stores/mod.ts'
import type { JobView } from '../machines/views.ts'
import { each } from './collections.ts'
import type { FleetCollections } from './collections.ts'

interface OldJobServices {
  readonly client: Pick<Client, 'read'>
  readonly collections: Pick<FleetCollections, 'jobs' | 'batches' | 'sweeps' | 'models'>
}

/** What is to be done with a document: nothing of it stays, or only what stands here. */
export interface Departure {
  readonly collection: object
  readonly id: string
  readonly version: number
  readonly rest: JobView | null
  carryOut(): Promise<boolean>
}

/** What would go of the jobs that ended before. */
export async function oldJobs(
  { client, collections }: OldJobServices,
  endedBefore: number,
  signal?: AbortSignal,
): Promise<Departure[]> {
  const named = new Set<string>()
  const sweepsUnderWay = new Set<string>()
  for await (const { value } of each(collections.sweeps)) {
    if (value.endedAt === undefined) sweepsUnderWay.add(value.id)
    if (value.best !== undefined) named.add(value.best.job)
  }
  for await (const { value } of each(collections.models)) named.add(value.job)
  const departures: Departure[] = []
  const isOver = async (kind: string, { id, endedAt }: Pick<JobView, 'id' | 'endedAt'>): Promise<boolean> => {
    signal?.throwIfAborted()
    return endedAt !== undefined && endedAt < endedBefore && (await client.read(address(kind, id))) === null
  }
  for await (const stored of each(collections.jobs)) {
    const { value } = stored
    if (sweepsUnderWay.has(value.sweep?.id ?? '') || !(await isOver('job', value))) continue
    if (!named.has(value.id)) departures.push(departure(collections.jobs, stored, null))
    else {
      const checkpoints = value.checkpoints.filter(({ isBest }, i, { length }) => isBest === true || i === length - 1)
      if (checkpoints.length === value.checkpoints.length) continue
      departures.push(departure(collections.jobs, stored, { ...value, checkpoints }))
    }
  }
  for await (const stored of each(collections.batches)) {
    if (await isOver('batch', stored.value)) departures.push(departure(collections.batches, stored, null))
  }
  return departures
}

function departure<T extends object>(
  collection: Collection<T>,
  { id, version }: Stored<T>,
  rest: (T & JobView) | null,
): Departure {
  return {
    collection,
    id,
    version,
    rest,
    carryOut: async () =>
      rest === null ? await collection.delete(id, version) : (await collection.update(id, version, rest)) !== undefined,
  }
}
