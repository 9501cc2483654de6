/**
 * The thread of an ingest: it reads, checks and packs, away from the event loop that serves everybody else, and hands
 * over one finished shard after another. It holds no more than a few at a time: the other side says when there is room.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { stat } from 'node:fs/promises'
import { KernelError } from '../../errors.ts'
import { readFiles } from './formats.ts'
import type { IngestedShard, IngestProgress, IngestRequest } from './request.ts'
import type { FromThread, ToThread } from './ingest.ts'

const PROGRESS_MS = 250

const port = parentPort
if (port === null) throw new Error('thread.ts runs as a worker thread')
const request = workerData as IngestRequest // given by ingest.ts
const send = (message: FromThread, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer)

/** Shards that may still go, and who waits until one may. */
const room = { left: 0, wake: (): void => {} }
/** Memory of shards that are stored: new memory costs as much again as what is done to a shard in it. */
const spares: ArrayBuffer[] = []
port.on('message', ({ room: more, spare }: ToThread) => {
  room.left += more
  if (spare !== undefined) spares.push(spare)
  room.wake()
})

try {
  const bytesTotal = await sizeOf(request)
  let sentAt = 0
  const onProgress = (progress: Omit<IngestProgress, 'bytesTotal'>): void => {
    if (performance.now() - sentAt < PROGRESS_MS) return
    sentAt = performance.now()
    send({ type: 'progress', progress: { ...progress, bytesTotal } })
  }
  const emit = async (shard: IngestedShard): Promise<void> => {
    while (room.left === 0) await new Promise<void>((resolve) => (room.wake = resolve))
    room.left -= 1
    send({ type: 'shard', shard }, [shard.bytes.buffer])
  }
  const summary = await readFiles(request, onProgress, emit, (sizeBytes) => {
    const spare = spares.pop()
    return spare?.byteLength === sizeBytes ? spare : new ArrayBuffer(sizeBytes)
  })
  send({ type: 'done', summary })
} catch (error) {
  send({ type: 'failed', error: KernelError.from(error).toJSON() })
}
port.close()

async function sizeOf({ files }: IngestRequest): Promise<number> {
  const sizes = await Promise.all(files.map(async ({ path }) => (await stat(path)).size))
  return sizes.reduce((sum, size) => sum + size, 0)
}
