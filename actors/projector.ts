/**
 * The projector keeps the read model of jobs, batch jobs and sweeps: it follows the journals of the shards, and for each
 * line about one writes its view. The journal says only that something changed; what is written is the snapshot as it is
 * then, so lines may be skipped, read twice or read by two projectors, and the document ends the same.
 *
 * Invariants:
 * 1. A document is never replaced by an older one (`seq`).
 * 2. A position is saved only after everything before it is written; after a crash a little is done again.
 */
import type { JobView } from '../machines/views.ts'
import { address, kindOf, numberedShard } from '../runtime/mod.ts'
import type { ActorAddress, Client, Clock, Directory, ReadFrom, ShardName } from '../runtime/mod.ts'
import type { Collection } from '../stores/mod.ts'
import type { FleetCollections } from './collections.ts'
import type { Trouble } from './streams.ts'
import { batchView } from './batch-view.ts'
import { sweepView } from './sweep-view.ts'
import { jobView } from './views.ts'

export interface ProjectorOptions {
  readonly client: Pick<Client, 'read' | 'journal'>
  readonly directory: Directory
  readonly collections: Pick<FleetCollections, 'jobs' | 'batches' | 'sweeps' | 'positions'>
  readonly clock: Clock
  readonly trouble: Trouble
}

const PROJECTED: ReadonlySet<string> = new Set(['job', 'batch', 'sweep'])

/** What the views of all kinds have in common. */
type View = Pick<JobView, 'id' | 'seq' | 'endedAt'>

const SAVE_EVERY_MS = 1_000
const RETRY_MS = 1_000
/** Sequence numbers that are remembered, so that lines which a later snapshot covered cost no read. */
const SEEN_MAX = 10_000

export class Projector {
  readonly #options: ProjectorOptions
  readonly #abort = new AbortController()
  readonly #seen = new Map<ActorAddress, number>()
  #loops: Promise<void>[] = []

  constructor(options: ProjectorOptions) {
    this.#options = options
  }

  start(): void {
    const { shards } = this.#options.directory
    this.#loops = Array.from({ length: shards }, (_, index) => this.#follow(numberedShard(index)))
  }

  async stop(): Promise<void> {
    this.#abort.abort()
    await Promise.all(this.#loops)
    this.#loops = []
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  /** Writes a job's view as it is now; also for whoever cannot wait for the journal. */
  async project(actor: ActorAddress): Promise<void> {
    const snapshot = await this.#options.client.read(actor)
    if (snapshot === null) return // it has left the runtime; its document stays
    const { jobs, batches, sweeps } = this.#options.collections
    if (kindOf(actor) === 'batch') await write(batches, batchView(snapshot))
    else if (kindOf(actor) === 'sweep') await write(sweeps, sweepView(snapshot))
    else await write(jobs, jobView(snapshot))
    this.#remember(actor, snapshot.seq)
  }

  async #follow(shard: ShardName): Promise<void> {
    const { clock, trouble } = this.#options
    const { signal } = this.#abort
    while (!signal.aborted) {
      try {
        await this.#followFromSaved(shard, signal)
      } catch (error) {
        if (!signal.aborted) trouble(`projector of shard ${shard}`, error)
      }
      await clock.sleep(RETRY_MS, signal)
    }
  }

  async #followFromSaved(shard: ShardName, signal: AbortSignal): Promise<void> {
    const { client, collections, clock } = this.#options
    const id = `jobs:${shard}`
    const saved = (await collections.positions.get(id))?.value.position
    let done = saved
    let savedPosition = saved
    let savedAt = clock.now()
    const save = async (): Promise<void> => {
      if (done === undefined || done === savedPosition) return
      await collections.positions.put(id, { position: done })
      savedPosition = done
      savedAt = clock.now()
    }
    try {
      const from: ReadFrom = saved === undefined ? 'oldest' : { after: saved }
      for await (const line of client.journal({ shard }, from, signal)) {
        if ('gap' in line) {
          await this.#refresh()
          continue
        }
        if (PROJECTED.has(kindOf(line.actor)) && line.seq > (this.#seen.get(line.actor) ?? -1))
          await this.project(line.actor)
        done = line.position
        if (clock.now() - savedAt >= SAVE_EVERY_MS) await save()
      }
    } finally {
      await save()
    }
  }

  /** Lines were trimmed before they were read: everything that the read model holds for unfinished is read again. */
  async #refresh(): Promise<void> {
    const { jobs, batches, sweeps } = this.#options.collections
    await this.#refreshAll('job', (cursor) => jobs.find(cursor))
    await this.#refreshAll('batch', (cursor) => batches.find(cursor))
    await this.#refreshAll('sweep', (cursor) => sweeps.find(cursor))
  }

  async #refreshAll(
    kind: 'job' | 'batch' | 'sweep',
    find: (cursor: { cursor?: string }) => Promise<{ items: readonly { id: string; value: View }[]; next?: string }>,
  ): Promise<void> {
    for (let cursor: string | undefined; ;) {
      const page = await find(cursor === undefined ? {} : { cursor })
      for (const { id, value } of page.items) {
        if (value.endedAt === undefined) await this.project(address(kind, id))
      }
      if (page.next === undefined) return
      cursor = page.next
    }
  }

  #remember(actor: ActorAddress, seq: number): void {
    this.#seen.delete(actor)
    this.#seen.set(actor, seq)
    for (const oldest of this.#seen.keys()) {
      if (this.#seen.size <= SEEN_MAX) return
      this.#seen.delete(oldest)
    }
  }
}

async function write<V extends View>(collection: Collection<V>, view: V): Promise<void> {
  for (;;) {
    const stored = await collection.get(view.id)
    if (stored !== undefined && stored.value.seq >= view.seq) return
    const written = await (stored === undefined
      ? collection.insert(view.id, view)
      : collection.update(view.id, stored.version, view))
    if (written !== undefined) return // else another projector was faster: look again
  }
}
