/**
 * Removes blobs to which nothing refers any more: checkpoints that were not kept, optimiser states of jobs that have
 * ended, data of versions that were removed, what a crash left; and, where it is asked for, what is left of jobs that
 * ended long ago (old-jobs.ts). Marking is generous, removing is not:
 *
 * 1. Whatever looks like a hash, anywhere in a record of a running (or remembered) job, in a document, or in a blob of
 *    JSON that is itself referred to (a manifest, a recipe), marks the blob of that name.
 * 2. What was stored a short while ago stays: a job or an upload may not have told of it yet. Storing the same bytes again
 *    makes them young, also between the mark and the removal (`Blobs.delete`), so a reference to an old blob that nobody
 *    referred to can only come of what is young.
 * 3. Actors are read before documents, since things move from there to here: a model is registered by its job.
 * 4. What cannot be read ends the sweep before anything is removed.
 */
import type { Clock, Client } from '../runtime/mod.ts'
import type { Blobs, Collection } from '../stores/mod.ts'
import { each } from './collections.ts'
import type { FleetCollections } from './collections.ts'
import { oldJobs } from './old-jobs.ts'
import type { Departure } from './old-jobs.ts'
import type { Trouble } from './streams.ts'

export interface BlobSweepServices {
  readonly blobs: Pick<Blobs, 'list' | 'get' | 'has' | 'delete'>
  readonly client: Pick<Client, 'find' | 'read'>
  readonly clock: Pick<Clock, 'now' | 'sleep'>
  readonly collections: FleetCollections
}

export interface BlobSweepOptions {
  /** Longer than anybody takes from storing a blob to the record that refers to it. */
  readonly minAgeMs: number
  /** How long ago a job ended of which nothing stays; without it, jobs stay. */
  readonly jobsAgeMs?: number
  readonly isDryRun?: boolean
  readonly signal?: AbortSignal
}

export interface BlobSweepReport {
  readonly removed: number
  readonly removedBytes: number
  /** Referred to. */
  readonly kept: number
  /** Not referred to, but too young to be sure. */
  readonly young: number
  /** What went of jobs that ended long ago. */
  readonly jobs: {
    readonly removed: number
    /** Those that a model or a sweep rests on, which lost their older checkpoints. */
    readonly trimmed: number
    /** Of those that were removed; a hundred at most. */
    readonly ids: readonly string[]
  }
}

/** The actors whose records refer to blobs. */
const KINDS = ['job', 'batch', 'sweep']
const HASH = /(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])/g
const HASH_CHARACTERS = 64

export const BLOB_SWEEP_AGE_MS = 24 * 3_600_000
const SWEEP_EVERY_MS = 6 * 3_600_000

export async function sweepBlobs(services: BlobSweepServices, options: BlobSweepOptions): Promise<BlobSweepReport> {
  const { blobs, clock } = services
  const { minAgeMs, jobsAgeMs, isDryRun = false, signal } = options
  const storedBeforeMs = clock.now() - minAgeMs
  const departures = jobsAgeMs === undefined ? [] : await oldJobs(services, clock.now() - jobsAgeMs, signal)
  const gone: Departure[] = []
  for (const departure of departures) if (isDryRun || (await departure.carryOut())) gone.push(departure)
  const marked = new Set<string>()
  await markActors(services, marked, signal)
  // Each is a collection of documents of some kind, of which only the text is looked at.
  for (const collection of Object.values(services.collections) as Pick<Collection<object>, 'find'>[]) {
    const leaving = new Map(gone.filter((each) => each.collection === collection).map((each) => [each.id, each]))
    for await (const { id, value } of each(collection)) {
      const departure = isDryRun ? leaving.get(id) : undefined
      const stays = departure === undefined ? value : departure.rest
      if (stays !== null) mark(JSON.stringify(stays), marked)
    }
  }
  // A set is walked in the order of its entries, those included that are added on the way.
  for (const sha256 of marked) await markWithin(services, sha256, marked, signal)
  let [removed, removedBytes, kept, young] = [0, 0, 0, 0]
  for await (const { sha256, sizeBytes, storedAtMs } of blobs.list()) {
    signal?.throwIfAborted()
    if (marked.has(sha256)) kept += 1
    else if (storedAtMs >= storedBeforeMs) young += 1
    else if (isDryRun || (await blobs.delete(sha256, { storedBeforeMs }))) {
      removed += 1
      removedBytes += sizeBytes
    }
  }
  const removedJobs = gone.filter(({ rest }) => rest === null).map(({ id }) => id)
  const jobs = {
    removed: removedJobs.length,
    trimmed: gone.length - removedJobs.length,
    ids: removedJobs.slice(0, 100),
  }
  return { removed, removedBytes, kept, young, jobs }
}

/** Sweeps now and then, until the signal aborts. */
export async function sweepBlobsAlways(
  services: BlobSweepServices,
  trouble: Trouble,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await services.clock.sleep(SWEEP_EVERY_MS, signal)
    if (signal.aborted) return
    try {
      await sweepBlobs(services, { minAgeMs: BLOB_SWEEP_AGE_MS, signal })
    } catch (error) {
      if (!signal.aborted) trouble('sweeping blobs', error)
    }
  }
}

async function markActors({ client }: BlobSweepServices, marked: Set<string>, signal?: AbortSignal): Promise<void> {
  for (const kind of KINDS) {
    for (let after: string | undefined; ;) {
      signal?.throwIfAborted()
      const page = await client.find({ kind, ...(after !== undefined && { after }) })
      const snapshots = await Promise.all(page.items.map(({ actor }) => client.read(actor)))
      for (const snapshot of snapshots) mark(JSON.stringify(snapshot), marked)
      if (page.next === undefined) break
      after = page.next
    }
  }
}

/** A blob of JSON may refer to others; it is read piece by piece, whatever its size. */
async function markWithin(
  { blobs }: BlobSweepServices,
  sha256: string,
  marked: Set<string>,
  signal?: AbortSignal,
): Promise<void> {
  signal?.throwIfAborted()
  if (!(await blobs.has(sha256))) return
  const decoder = new TextDecoder()
  let before = ''
  for await (const bytes of await blobs.get(sha256)) {
    if (before === '' && bytes[0] !== '{'.charCodeAt(0)) return
    const text = before + decoder.decode(bytes, { stream: true })
    mark(text, marked)
    // A hash may be cut in two, and the end of one must not be taken for a whole.
    before = text.slice(-2 * HASH_CHARACTERS)
  }
}

function mark(text: string, marked: Set<string>): void {
  for (const [sha256] of text.matchAll(HASH)) marked.add(sha256)
}
