/**
 * A worker process: one pinned actor, and a kernel process for each of its slots. It joins its pool by itself, and
 * whoever kills it costs the fleet no more than the tasks that were under way.
 */
import { hostname } from 'node:os'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { Pools, workerActor } from '../actors/mod.ts'
import * as kernels from '../kernels/mod.ts'
import type { BackendChoice } from '../kernels/mod.ts'
import type { WorkerEvent } from '../machines/worker.ts'
import { address, LIMITS, Node, openClient, systemRandom } from '../runtime/mod.ts'
import type { ActorAddress, Client, Transport } from '../runtime/mod.ts'
import { openFileSystemBlobs } from '../stores/mod.ts'
import { memoryLimitOf, slotsOf, thisHost, watchGpus } from './capacity.ts'
import type { DataDir } from './data-dir.ts'
import { CliError } from './errors.ts'
import { clock, directory, tellOfTransport } from './fleet.ts'
import type { Trouble } from './fleet.ts'
import { aborted } from './until.ts'

export interface WorkerOptions {
  readonly data: DataDir
  readonly transport: Transport
  readonly id: string
  /** The pool that it joins, which comes to life with its first worker. */
  readonly pool: string
  /** `auto`: by cores, memory and devices of the host. */
  readonly slots: number | 'auto'
  readonly backend: BackendChoice
  /** Where back ends are installed. */
  readonly backendsDir: string
  /** How long tasks under way may still take when the worker is stopped; then they go elsewhere. */
  readonly drainMs: number
  readonly trouble: Trouble
}

export interface RunningWorker extends AsyncDisposable {
  readonly id: string
  /** Resolves when the worker is out of the fleet although nobody here asked it to stop. */
  readonly over: Promise<WorkerEnd>
  stop(): Promise<void>
}

export type WorkerEnd =
  /** It was silent for so long that a node took over its actor and told its tasks. What it still does counts for nothing. */
  | { readonly why: 'lost' }
  /** Its actor left: its kernels do not start, or somebody drained it. */
  | { readonly why: 'gone'; readonly reason: string | undefined }

const JOIN_MS = 20_000
const POOL_RETRY_MS = 2_000
/** Whoever stops a worker should not wait for a Redis that is gone: then its silence tells the same, later. */
const LEAVE_MS = 2_000

export interface RunOptions extends Omit<WorkerOptions, 'id'> {
  readonly name: string
  readonly signal: AbortSignal
  readonly note: (line: string) => void
}

/**
 * A worker until the signal aborts. One that was taken for dead (frozen, cut off, a laptop that slept) comes back as
 * another: its predecessor's tasks have gone elsewhere, and its id must not stand for both.
 */
export async function runWorker({ name, signal, note, ...options }: RunOptions): Promise<void> {
  while (!signal.aborted) {
    const worker = await startWorker({ ...options, id: `${name}-${systemRandom.word().slice(0, 6)}` })
    note(`${worker.id} runs`)
    const end = await Promise.race([worker.over, aborted(signal)])
    await worker.stop()
    if (end?.why === 'lost') note(`${worker.id} was silent for too long and taken for dead: it joins again`)
    if (end?.why !== 'gone') continue
    if (end.reason !== undefined) throw new CliError(`${worker.id} cannot work: ${end.reason}`)
    note(`${worker.id} has left the fleet`)
    return
  }
}

/** Resolves when the worker has been brought to life; it joins the pool once its kernels run. */
export async function startWorker(options: WorkerOptions): Promise<RunningWorker> {
  const { data, transport, id, pool, backend, backendsDir, trouble } = options
  const [first = 'cpu'] = kernels.candidates(backend, backendsDir)
  const host = thisHost(first === 'tensorflow-gpu' || first.startsWith('webgpu'))
  const slots = options.slots === 'auto' ? slotsOf(host) : options.slots
  const memoryLimitBytes = memoryLimitOf(host, slots)
  const home = (...parts: string[]): string => data.file('workers', id, ...parts)
  await using opened = new AsyncDisposableStack()
  opened.defer(() => rm(home(), { recursive: true, force: true }))
  const running: kernels.KernelProcess[] = []
  opened.defer(async () => {
    await Promise.all(running.map((kernel) => kernel.stop()))
  })
  const client = await openClient({ transport, directory })
  opened.defer(() => client.stop())

  await mkdir(home(), { recursive: true })
  await writeFile(home('pid'), String(process.pid))
  const cacheDir = home('cache')
  const definition = workerActor({
    client,
    clock,
    trouble,
    kernels,
    cacheDir,
    blobs: await openFileSystemBlobs(data.file('blobs')),
    kernel: (slot) => {
      const scratchDir = home(`slot-${slot}`)
      const kernel = new kernels.KernelProcess({ backend, cacheDir, scratchDir, backendsDir, memoryLimitBytes })
      running.push(kernel)
      return kernel
    },
  })
  const node = new Node({ transport, directory, hosts: 'pinned', actors: [definition], id, stuckMs: LIMITS.stuckMs })
  node.events.on('trouble', ({ where, error }) => trouble(where, error))
  tellOfTransport(node.events, trouble)
  const self = address('worker', id)
  const over = endOf(self, node)
  await node.start()
  opened.defer(() => node.stop())
  await node.host(self)
  const input = { self, pool, slots, host: hostname(), pid: process.pid, joinedAt: clock.now() }
  await client.spawn(self, input, { timeoutMs: JOIN_MS })

  const watching = new AbortController()
  opened.defer(() => watching.abort())
  void openPool(client, pool, watching.signal, trouble)
  const tellGpus = (gpus: kernels.GpuReading[]) => {
    const event: WorkerEvent = { type: 'gpus', gpus }
    return client.tell(self, event)
  }
  watchGpus(kernels.readGpus, tellGpus, watching.signal).catch((error: unknown) => trouble('reading the GPUs', error))

  const all = opened.move()
  let isMember = true
  void over.then(() => (isMember = false))
  const stop = async (): Promise<void> => {
    if (isMember) await leave(client, self, options.drainMs).catch((error: unknown) => trouble('leaving', error))
    await all.disposeAsync()
  }
  return { id, over, stop, [Symbol.asyncDispose]: stop }
}

/** The worker has joined already, and is welcomed as soon as its pool is there: a control process may come later. */
async function openPool(client: Client, pool: string, signal: AbortSignal, trouble: Trouble): Promise<void> {
  const pools = new Pools(client)
  while (!signal.aborted) {
    try {
      return await pools.open(pool, { timeoutMs: JOIN_MS, signal })
    } catch (error) {
      if (!signal.aborted) trouble(`opening the pool ${pool}`, error)
    }
    await clock.sleep(POOL_RETRY_MS, signal)
  }
}

/** Removes what workers left in the data folder that were killed: a new worker has a folder of its own. */
export async function removeLeftovers(data: DataDir): Promise<void> {
  const ids = await readdir(data.file('workers')).catch(() => []) // the first start has none
  for (const id of ids) {
    const pid = Number(await readFile(data.file('workers', id, 'pid'), 'utf8').catch(() => ''))
    // Another fleet, on a Redis of its own choice, may work in the same folder.
    if (!isRunning(pid)) await rm(data.file('workers', id), { recursive: true, force: true })
  }
}

function isRunning(pid: number): boolean {
  try {
    return pid > 0 && process.kill(pid, 0)
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM' // somebody else's
  }
}

function endOf(self: ActorAddress, node: Node): Promise<WorkerEnd> {
  return new Promise((resolve) => {
    let reason: string | undefined
    node.events.on('lease.lost', () => resolve({ why: 'lost' })) // it holds this one lease
    node.events.on('effect.ended', ({ src, fault }) => {
      if (src === 'open') reason = fault?.message
    })
    node.events.on('commit', ({ lines }) => {
      if (lines.some(({ actor, to }) => actor === self && to === 'gone')) resolve({ why: 'gone', reason })
    })
  })
}

/** Takes no more tasks, waits for those under way, and says goodbye: what is still not done goes elsewhere at once. */
async function leave(client: Client, self: ActorAddress, drainMs: number): Promise<void> {
  if (drainMs > 0) await drained(client, self, AbortSignal.timeout(drainMs))
  await client.ask(self, { type: 'leave' }, { control: true, timeoutMs: LEAVE_MS })
}

async function drained(client: Client, self: ActorAddress, over: AbortSignal): Promise<void> {
  await client.ask(self, { type: 'drain' }, { control: true, signal: over })
  for await (const line of client.journal(self, 'oldest', over)) {
    if (!('gap' in line) && line.actor === self && line.to === 'gone') return
  }
}
