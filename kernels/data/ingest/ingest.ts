/**
 * Files in, shards out: an ingest runs in a thread of its own (`thread.ts`) and is steered from here. The caller stores
 * each shard; the thread is a few shards ahead of it at most, so that reading and storing go side by side in bounded
 * memory. The thread is ended when the caller aborts, and its memory is limited: what a file makes of it is no matter of
 * the process around it.
 */
import { Worker } from 'node:worker_threads'
import { KernelError } from '../../errors.ts'
import type { KernelErrorData } from '../../errors.ts'
import type { ShardRef, SplitManifest, SplitName } from '../manifest.ts'
import type { IngestedShard, IngestProgress, IngestRequest, IngestSummary } from './request.ts'

/** Shards that are stored at once, and that the thread may be ahead. */
const SHARDS_IN_FLIGHT = 3
const THREAD_HEAP_MB = 1_024

export type FromThread =
  | { readonly type: 'shard'; readonly shard: IngestedShard }
  | { readonly type: 'progress'; readonly progress: IngestProgress }
  | { readonly type: 'done'; readonly summary: IngestSummary }
  | { readonly type: 'failed'; readonly error: KernelErrorData }
/** So many more shards may come, and the memory of one that is stored. */
export interface ToThread {
  readonly room: number
  readonly spare?: ArrayBuffer
}

export interface IngestWays {
  /** Makes a shard's bytes durable; afterwards their memory is another shard's. Several may be under way. */
  readonly store: (shard: IngestedShard) => Promise<Omit<ShardRef, 'count'>>
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: IngestProgress) => void
}

export interface Ingested extends Omit<IngestSummary, 'splits'> {
  readonly splits: Readonly<Partial<Record<SplitName, SplitManifest>>>
}

/** Reads files into shards. Throws `data.malformed` or `request.invalid` with what is wrong and where. */
export async function ingestFiles(
  request: IngestRequest,
  { store, signal, onProgress }: IngestWays,
): Promise<Ingested> {
  signal?.throwIfAborted()
  const thread = new Worker(new URL('./thread.ts', import.meta.url), {
    workerData: request,
    resourceLimits: { maxOldGenerationSizeMb: THREAD_HEAP_MB },
  })
  const stored: Promise<{ readonly split: SplitName; readonly shard: ShardRef }>[] = []
  const { promise, resolve, reject } = Promise.withResolvers<IngestSummary>()
  const abort = (): void => reject(signal?.reason as Error) // what an AbortSignal rejects with is its reason, by its contract
  signal?.addEventListener('abort', abort, { once: true })
  const give = (message: ToThread): void => {
    thread.postMessage(message, message.spare === undefined ? [] : [message.spare])
  }
  thread.on('message', (message: FromThread) => {
    if (message.type === 'progress') onProgress?.(message.progress)
    else if (message.type === 'done') resolve(message.summary)
    else if (message.type === 'failed') reject(KernelError.fromJSON(message.error))
    else {
      const { split, count } = message.shard
      const storing = store(message.shard).then((ref) => ({ split, shard: { ...ref, count } }))
      stored.push(storing)
      storing.then(() => give({ room: 1, spare: message.shard.bytes.buffer }), reject)
    }
  })
  thread.on('error', (error) => reject(KernelError.from(error)))
  thread.on('exit', () => reject(new KernelError('kernel.failed', 'The thread of the ingest ended early')))
  give({ room: SHARDS_IN_FLIGHT })
  try {
    const { splits, ...summary } = await promise
    const shards = await Promise.all(stored)
    const whole = Object.entries(splits).map(([name, split]) => {
      return [name, { ...split, shards: shards.filter((each) => each.split === name).map(({ shard }) => shard) }]
    })
    return { ...summary, splits: Object.fromEntries(whole) as Ingested['splits'] } // the same names
  } finally {
    signal?.removeEventListener('abort', abort)
    await thread.terminate()
    await Promise.allSettled(stored) // nothing is written after we have answered
  }
}
