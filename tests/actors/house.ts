/**
 * A whole fleet in the test's process: the real runtime (in memory), real stores (SQLite in memory, blobs in a
 * temporary folder) and real kernel processes, on a data set small enough to train in a second.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  batchActor,
  batchView,
  Datasets,
  fleetCollections,
  jobActor,
  pageActor,
  pinnedBatch,
  Registry,
  schedulerActor,
  sweepActor,
  sweepView,
  taskActor,
  workerActor,
  Uploads,
} from '../../actors/mod.ts'
import type { BatchPlanServices, BuiltInDataset, FleetCollections, PoolNames } from '../../actors/mod.ts'
import * as kernels from '../../kernels/mod.ts'
import type { BackendName, IngestOptions } from '../../kernels/mod.ts'
import { isBatch } from '../../machines/address.ts'
import type { BatchSpec, BatchView } from '../../machines/batch-spec.ts'
import type { JobSpec } from '../../machines/spec.ts'
import type { SweepSpec, SweepView } from '../../machines/sweep-spec.ts'
import { address, Node, systemClock } from '../../runtime/mod.ts'
import type { ActorAddress, ActorSnapshot, Client } from '../../runtime/mod.ts'
import { modify, openFileSystemBlobs, openSqliteDocuments } from '../../stores/mod.ts'
import type { Blobs, Documents } from '../../stores/mod.ts'
import { Fleet } from '../harness/fleet.ts'

export function namedPools(...names: readonly string[]): PoolNames {
  return { has: async (pool) => names.includes(pool), names: async () => names }
}

/** Short enough that a test need not wait for a worker to be missed. */
const LIMITS_OF_TEST = { leaseMs: 1_500, leaseRenewMs: 300, leaseSuspendMs: 1_000, orphanMs: 1_500 }

export class House {
  readonly troubles: unknown[] = []
  readonly #cleanups: (() => Promise<void>)[] = []
  #workers = 0

  readonly folder: string
  readonly blobs: Blobs
  readonly documents: Documents
  readonly collections: FleetCollections
  readonly datasets: Datasets
  readonly registry: Registry

  private constructor(folder: string, blobs: Blobs, documents: Documents, builtIn: readonly BuiltInDataset[]) {
    this.folder = folder
    this.blobs = blobs
    this.documents = documents
    this.collections = fleetCollections(documents)
    const uploads = new Uploads(join(folder, 'uploads'), blobs)
    this.datasets = new Datasets({
      blobs,
      collections: this.collections,
      kernels,
      clock: systemClock,
      modify,
      uploads,
      builtIn,
    })
    this.registry = new Registry({ blobs, collections: this.collections, clock: systemClock, modify, code: 'test' })
  }

  /** Stores alone. */
  static async stores(...more: readonly BuiltInDataset[]): Promise<House> {
    const folder = await mkdtemp(join(tmpdir(), 'tf-actors-'))
    const blobs = await openFileSystemBlobs(join(folder, 'blobs'))
    const documents = await openSqliteDocuments(':memory:')
    return new House(folder, blobs, documents, [await stripes(join(folder, 'stripes')), ...more])
  }

  /** Everything but workers: they join by `worker()`. */
  async start(): Promise<RunningHouse> {
    const fleet = await Fleet.start('memory', [schedulerActor(), pageActor(), taskActor(), workerActor('adopt')])
    this.#cleanups.unshift(() => fleet.stop())
    const client = await fleet.client()
    const telemetry = { client, clock: systemClock, trouble: (_: string, error: unknown) => this.troubles.push(error) }
    const node = new Node({
      transport: await fleet.connect(),
      actors: [
        jobActor({
          pools: namedPools('default', 'empty'),
          ...telemetry,
          blobs: this.blobs,
          collections: this.collections,
          datasets: this.datasets,
          registry: this.registry,
          kernels,
        }),
        batchActor({ ...telemetry, ...this.batchPlan(client) }),
        sweepActor({ registry: this.registry }),
        taskActor(),
        schedulerActor(),
        pageActor(),
        workerActor('adopt'),
      ],
      directory: fleet.directory,
      hosts: 'sharded',
      events: fleet.events,
      limits: LIMITS_OF_TEST,
    })
    await node.start()
    this.#cleanups.unshift(() => node.stop())
    await client.spawn(address('scheduler', 'default'), { pool: 'default' })
    return new RunningHouse(this, fleet, client)
  }

  /** A table as a new version of a dataset. */
  async table(name: string, csv: string, options: IngestOptions = {}): ReturnType<Datasets['add']> {
    const path = join(this.folder, `${name}.csv`)
    await writeFile(path, csv)
    try {
      return await this.datasets.add({ name, owner: 'ann', files: [{ name: `${name}.csv`, path }], options })
    } finally {
      await rm(path)
    }
  }

  /** What batch jobs are planned with. */
  batchPlan(client: Client): BatchPlanServices {
    const { blobs, datasets, registry } = this
    const outputOf: BatchPlanServices['outputOf'] = async (job, owner) => {
      const snapshot = await client.read(address('batch', job))
      const view = snapshot && batchView(snapshot)
      const shape = view?.output?.shape
      return view?.output !== undefined && shape !== undefined && view.owner === owner
        ? { ...view.output, shape }
        : null
    }
    return { blobs, datasets, registry, kernels, outputOf, pools: namedPools('default', 'empty') }
  }

  /** A worker process's worth of actors; gives the function that stops it. */
  async worker(running: RunningHouse, slots: number, backend: BackendName = 'cpu'): Promise<() => Promise<void>> {
    const id = `w${++this.#workers}`
    const started: kernels.KernelProcess[] = []
    const kernel = (slot: number): kernels.KernelProcess => {
      const process = new kernels.KernelProcess({
        backend,
        cacheDir: join(this.folder, id, 'cache'),
        scratchDir: join(this.folder, id, `slot-${slot}`),
      })
      started.push(process)
      return process
    }
    const { fleet, client } = running
    const services = {
      client,
      clock: systemClock,
      trouble: (_: string, error: unknown) => this.troubles.push(error),
      blobs: this.blobs,
      cacheDir: join(this.folder, id, 'cache'),
      kernels,
      kernel,
    }
    const node = new Node({
      transport: await fleet.connect(),
      actors: [workerActor(services)],
      directory: fleet.directory,
      hosts: 'pinned',
      events: fleet.events,
      limits: LIMITS_OF_TEST,
    })
    await node.start()
    const self = address('worker', id)
    await node.host(self)
    await client.spawn(self, { self, pool: 'default', slots, host: 'test', pid: 1, joinedAt: 0 })
    await running.untilReady(self)
    let stopped: Promise<void> | undefined
    const stop = (): Promise<void> =>
      (stopped ??= node.stop().then(async () => {
        await Promise.all(started.map((process) => process.stop()))
      }))
    this.#cleanups.unshift(stop)
    return stop
  }

  async stop(): Promise<void> {
    for (const cleanup of this.#cleanups) await cleanup()
    await this.documents.close()
    await rm(this.folder, { recursive: true, force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}

export class RunningHouse {
  readonly house: House
  readonly fleet: Fleet
  readonly client: Client

  constructor(house: House, fleet: Fleet, client: Client) {
    this.house = house
    this.fleet = fleet
    this.client = client
  }

  submit(id: string, spec: JobSpec, more: object = {}): Promise<unknown> {
    return this.client.spawn(address('job', id), { id, owner: 'ann', spec, ...more })
  }

  /** Resolves when the job has come to a state (or phase) of these. */
  async until(id: string, ...states: readonly string[]): Promise<void> {
    await this.#untilActor(address(isBatch(id) ? 'batch' : 'job', id), states)
  }

  /** Runs a batch job to its end. */
  async batch(id: string, spec: BatchSpec): Promise<BatchView> {
    const kept = await pinnedBatch(this.house.batchPlan(this.client), spec)
    await this.client.spawn(address('batch', id), { id, owner: 'ann', spec: kept })
    await this.until(id, 'completed', 'failed', 'cancelled')
    return batchView(await this.snapshot(address('batch', id)))
  }

  /** Runs a sweep to its end. */
  async sweep(id: string, spec: SweepSpec): Promise<SweepView> {
    await this.client.spawn(address('sweep', id), { id, owner: 'ann', spec })
    await this.untilSweep(id, 'completed', 'failed', 'cancelled')
    return this.sweepView(id)
  }

  async untilSweep(id: string, ...states: readonly SweepView['state'][]): Promise<void> {
    await this.#untilActor(address('sweep', id), states)
  }

  async sweepView(id: string): Promise<SweepView> {
    return sweepView(await this.snapshot(address('sweep', id)))
  }

  /** Resolves when the scheduler has welcomed the worker. */
  async untilReady(worker: ActorAddress): Promise<void> {
    await this.#untilActor(worker, ['ready'])
  }

  /** Trains a job to its end. */
  async train(id: string, spec: JobSpec): Promise<ActorSnapshot> {
    await this.submit(id, spec)
    await this.until(id, 'completed', 'failed', 'cancelled')
    return this.snapshot(address('job', id))
  }

  async snapshot(actor: ActorAddress): Promise<ActorSnapshot> {
    const snapshot = await this.client.read(actor)
    if (snapshot === null) throw new Error(`no ${actor}`)
    return snapshot
  }

  /** All that a capped stream holds now. */
  async lines(stream: string): Promise<unknown[]> {
    const lines: unknown[] = []
    const { signal } = new AbortController()
    for await (const entry of this.client.stream(stream, 'oldest', { signal, follow: false })) {
      if ('data' in entry) lines.push(entry.data)
    }
    return lines
  }

  async #untilActor(wanted: ActorAddress, states: readonly string[]): Promise<void> {
    const isThere = (value: unknown): boolean => states.some((state) => JSON.stringify(value)?.includes(`"${state}"`))
    const heard = this.fleet.events.once('commit', ({ lines }) =>
      lines.some(({ actor, to }) => actor === wanted && isThere(to)),
    )
    const snapshot = await this.client.read(wanted)
    if (snapshot !== null && isThere(snapshot.value)) return
    await heard
  }
}

/** 8 × 8 images whose class shows as a bright third: 240 to train on, 60 to test on. */
async function stripes(folder: string): Promise<BuiltInDataset> {
  await mkdir(folder, { recursive: true })
  const files: { name: string; path: string }[] = []
  const write = async (set: string, count: number): Promise<void> => {
    const classes = Uint8Array.from({ length: count }, (_, row) => (row * 7 + set.length) % 3)
    const pixels = Uint8Array.from({ length: count * 64 }, (_, i) => {
      const bright = Math.floor((i % 8) / 2.7) === classes[Math.floor(i / 64)]
      return (bright ? 180 : 20) + ((i * 2654435761) % 60)
    })
    for (const [name, bytes] of [
      [`${set}-images`, idx([count, 8, 8], pixels)],
      [`${set}-labels`, idx([count], classes)],
    ] as const) {
      await writeFile(join(folder, name), bytes)
      files.push({ name, path: join(folder, name) })
    }
  }
  await write('train', 240)
  await write('test', 60)
  return { name: 'stripes', files, options: { format: 'idx', target: 'label' } }
}

function idx(shape: readonly number[], values: Uint8Array): Uint8Array {
  const header = new DataView(new ArrayBuffer(4 + shape.length * 4))
  header.setUint32(0, 0x0800 + shape.length)
  for (const [i, dimension] of shape.entries()) header.setUint32(4 + i * 4, dimension)
  return Buffer.concat([new Uint8Array(header.buffer), values])
}

export const STRIPES: JobSpec = {
  name: 'stripes',
  dataset: { name: 'stripes' },
  preprocess: [{ op: 'scale', factor: 1 / 255 }],
  model: {
    class_name: 'Sequential',
    config: {
      name: 'small',
      layers: [
        { class_name: 'Flatten', config: {} },
        { class_name: 'Dense', config: { units: 8, activation: 'relu' } },
        { class_name: 'Dropout', config: { rate: 0.1 } },
        { class_name: 'Dense', config: { units: 3, activation: 'softmax' } },
      ],
    },
  },
  train: {
    replicas: 2,
    epochs: 3,
    batchSize: 10,
    seed: 3,
    loss: 'sparseCategoricalCrossentropy',
    labelSmoothing: 0,
    optimizer: { kind: 'adam', learningRate: 0.02, beta1: 0.9, beta2: 0.999, epsilon: 1e-7 },
    schedule: { kind: 'constant', warmupSteps: 0 },
    checkpoints: { everyRounds: 1, keepLast: 3 },
    onDivergence: { restart: false, factor: 0.5, times: 3, lossFactor: 1_000 },
    strategy: {
      kind: 'diloco',
      localSteps: 8,
      outer: { kind: 'nesterov', learningRate: 0.7, momentum: 0.9 },
      precision: 'float32',
    },
  },
  register: { name: 'stripes' },
  pool: 'default',
  priority: 'normal',
}
