/**
 * Whether a job that was just submitted finds workers. One that finds none is no error: it waits, and whoever submitted
 * it should know for what.
 */
import type { BatchView } from '../machines/batch-spec.ts'
import type { JobView, WorkerView } from '../machines/views.ts'
import type { Api } from './api.ts'
import { note } from './output.ts'

interface Wishes {
  readonly pool: string
  readonly backend?: string | undefined
}

export function wishesOf({ spec }: JobView | BatchView): Wishes {
  return { pool: spec.pool, backend: 'train' in spec ? spec.train.backend : spec.backend }
}

export async function tellOutlook(api: Pick<Api, 'workers'>, wishes: Wishes): Promise<void> {
  const missing = missingOf(wishes, await api.workers())
  if (missing !== null) note(missing)
}

/** What the job waits for; null where somebody is there who could take its tasks. */
export function missingOf({ pool, backend }: Wishes, workers: readonly WorkerView[]): string | null {
  const present = workers.filter((worker) => worker.pool === pool && worker.state !== 'gone')
  if (present.length === 0) {
    return `Pool ${pool} has no workers: the job waits for one ("tensorfleet worker --pool ${pool}")`
  }
  const backends = new Set(present.map((worker) => worker.backend))
  if (backend === undefined || backends.has(backend)) return null
  const found = [...backends].join(' and ')
  return `No worker of pool ${pool} computes with ${backend} (there is ${found}): the job waits for one`
}
