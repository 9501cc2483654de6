/**
 * A worker process: one pinned actor, and a kernel process for each of its slots. It joins its pool by itself, and
 * whoever kills it costs the fleet no more than the tasks that were under way.
 */
import { hostname } from 'node:os'
import { rm } from 'node:fs/promises'
import { workerActor } from '../actors/mod.ts'
import * as kernels from '../kernels/mod.ts'
import type { BackendChoice } from '../kernels/mod.ts'
import { address, Node, openClient } from '../runtime/mod.ts'
import type { ActorAddress, Client, Transport } from '../runtime/mod.ts'
import { openFileSystemBlobs } from '../stores/mod.ts'
import type { DataDir } from './data-dir.ts'
import { clock, directory, POOL } from './fleet.ts'
import type { Trouble } from './fleet.ts'

export interface WorkerOptions {
  readonly data: DataDir
  readonly transport: Transport
  readonly id: string
  readonly slots: number
  readonly backend: BackendChoice
  /** How long tasks under way may still take when the worker is stopped; then they go elsewhere. */
  readonly drainMs: number
  readonly trouble: Trouble
}

export interface RunningWorker extends AsyncDisposable {
  readonly id: string
  stop(): Promise<void>
}

const JOIN_MS = 20_000

/** Resolves when the worker has been brought to life; it joins the pool once its kernels run. */
export async function startWorker(options: WorkerOptions): Promise<RunningWorker> {
  const { data, transport, id, slots, backend, trouble } = options
  const home = (...parts: string[]): string => data.file('workers', id, ...parts)
  await using opened = new AsyncDisposableStack()
  opened.defer(() => rm(home(), { recursive: true, force: true }))
  const running: kernels.KernelProcess[] = []
  opened.defer(async () => {
    await Promise.all(running.map((kernel) => kernel.stop()))
  })
  const client = await openClient({ transport, directory })
  opened.defer(() => client.stop())

  const cacheDir = home('cache')
  const definition = workerActor({
    client,
    clock,
    trouble,
    kernels,
    cacheDir,
    blobs: await openFileSystemBlobs(data.file('blobs')),
    kernel: (slot) => {
      const kernel = new kernels.KernelProcess({ backend, cacheDir, scratchDir: home(`slot-${slot}`) })
      running.push(kernel)
      return kernel
    },
  })
  const node = new Node({ transport, directory, hosts: 'pinned', actors: [definition], id })
  node.events.on('trouble', ({ where, error }) => trouble(where, error))
  const self = address('worker', id)
  await node.start()
  opened.defer(() => node.stop())
  await node.host(self)
  const input = { self, pool: POOL, slots, host: hostname(), pid: process.pid, joinedAt: clock.now() }
  await client.spawn(self, input, { timeoutMs: JOIN_MS })

  const all = opened.move()
  const stop = async (): Promise<void> => {
    if (options.drainMs > 0)
      await drain(client, self, options.drainMs).catch((error: unknown) => trouble('drain', error))
    await all.disposeAsync()
  }
  return { id, stop, [Symbol.asyncDispose]: stop }
}

/** Takes no more tasks, and waits for those under way. */
async function drain(client: Client, self: ActorAddress, ms: number): Promise<void> {
  const over = AbortSignal.timeout(ms)
  await client.ask(self, { type: 'drain' }, { control: true, signal: over })
  for await (const line of client.journal(self, 'oldest', over)) {
    if (!('gap' in line) && line.actor === self && line.to === 'gone') return
  }
}
