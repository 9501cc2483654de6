/**
 * A gateway in front of a real runtime (memory transport, the job's real chart), real SQLite documents and real blobs.
 * What a job's effects do, each test says; there are no workers, so no job here gets past preparing.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createApp } from '../../gateway/app.ts'
import { mintToken, newSecret, Tokens, type Role } from '../../gateway/auth.ts'
import { readExamples } from '../../kernels/mod.ts'
import { pageFrom } from '../../gateway/page.ts'
import { checkOf } from '../../gateway/services.ts'
import type { Services, Settings } from '../../gateway/services.ts'
import {
  batchView,
  Datasets,
  fleetCollections,
  jobView,
  Projector,
  quotaActor,
  Registry,
  resumePoint,
  sweepActor,
  sweepView,
  Uploads,
} from '../../actors/mod.ts'
import * as kernels from '../../kernels/mod.ts'
import { batchMachine } from '../../machines/batch.ts'
import { jobMachine } from '../../machines/job.ts'
import type { BatchView } from '../../machines/batch-spec.ts'
import type { JobSpec } from '../../machines/spec.ts'
import type { JobView, ModelVersionView } from '../../machines/views.ts'
import {
  address,
  defineActor,
  MemoryServer,
  Node,
  openClient,
  systemClock,
  type Client,
  type Directory,
  type EffectContext,
} from '../../runtime/mod.ts'
import { modify, openFileSystemBlobs, openSqliteDocuments, type Blobs, type Collection } from '../../stores/mod.ts'

export interface Fleet extends AsyncDisposable {
  readonly services: Services
  readonly client: Client
  readonly jobs: Collection<JobView>
  readonly models: Collection<ModelVersionView>
  readonly batches: Collection<BatchView>
  readonly blobs: Blobs
  /** Where blobs, documents and uploads lie. */
  readonly folder: string
  readonly node: Node
  readonly server: MemoryServer
  readonly secret: Uint8Array
  readonly troubles: unknown[]
  readonly stopping: AbortController
  readonly fetch: (request: Request) => Promise<Response>
  token(role: Role, subject?: string): Promise<string>
  /** A request with a user's token, unless its headers say otherwise. */
  request(
    path: string,
    init?: Omit<RequestInit, 'headers'> & { as?: string; headers?: Record<string, string> },
  ): Promise<Response>
  submit(spec?: object, init?: { as?: string; headers?: Record<string, string> }): Promise<JobView>
  /** Resolves when the job has entered the state. */
  reached(id: string, state: string): Promise<void>
  /** Writes the job (batch job, sweep) into the read model, as the projector does. */
  project(id: string, kind?: 'job' | 'batch' | 'sweep'): Promise<void>
}

export interface FleetOptions {
  readonly services?: Partial<Services>
  readonly settings?: Partial<Settings>
  /** What preparing does; waits for its cancellation unless told otherwise. */
  readonly prepare?: (context: EffectContext) => Promise<never>
}

export const SPEC = {
  name: 'mnist',
  dataset: { name: 'mnist' },
  model: { class_name: 'Sequential', config: { layers: [] } },
  train: { loss: 'sparseCategoricalCrossentropy' },
}

const directory: Directory = { shards: 4, pinned: new Set(['worker']) }

export async function startFleet(options: FleetOptions = {}): Promise<Fleet> {
  const folder = await mkdtemp(join(tmpdir(), 'tensorfleet-gateway-'))
  const documents = await openSqliteDocuments(join(folder, 'documents.sqlite'))
  const blobs = await openFileSystemBlobs(join(folder, 'blobs'))
  const collections = fleetCollections(documents)
  const { jobs, models, modelAliases } = collections

  const server = new MemoryServer()
  const transport = server.connect()
  await transport.start({ shards: directory.shards })
  const job = defineActor({
    kind: 'job',
    version: 1,
    machine: jobMachine,
    effects: {
      validate: async () => null,
      prepare: (_, context) => (options.prepare ?? untilAborted)(context),
      reduce: (_, context) => untilAborted(context),
      score: (_, context) => untilAborted(context),
      register: (_, context) => untilAborted(context),
    },
  })
  const registry = new Registry({ blobs, collections, clock: systemClock, modify, code: '0.0.0-test' })
  const batch = defineActor({
    kind: 'batch',
    version: 1,
    machine: batchMachine,
    effects: { prepare: (_, context) => untilAborted(context), finish: (_, context) => untilAborted(context) },
  })
  const node = new Node({
    transport,
    actors: [job, batch, sweepActor({ registry }), quotaActor()],
    directory,
    hosts: 'sharded',
  })
  await node.start()
  const client = await openClient({ transport, directory })

  const troubles: unknown[] = []
  const projector = new Projector({
    client, // it is never started: tests say when they want a job in the read model
    directory,
    collections,
    clock: systemClock,
    trouble: (_, error) => troubles.push(error),
  })

  const secret = newSecret()
  const stopping = new AbortController()
  let ids = 0
  const services: Services = {
    client,
    jobs,
    models,
    modelAliases,
    registry,
    datasets: new Datasets({
      blobs,
      collections,
      kernels,
      clock: systemClock,
      modify,
      uploads: new Uploads(join(folder, 'uploads'), blobs),
      builtIn: [],
    }),
    blobs,
    jobView,
    batches: {
      stored: collections.batches,
      view: batchView,
      pin: async (spec) => spec,
      admit: async () => [],
    },
    sweeps: { stored: collections.sweeps, view: sweepView, admit: async (spec) => ({ spec }) },
    workers: async () => [],
    pool: async () => null,
    poolNames: async () => [],
    pin: async (spec) => spec,
    admit: async () => [],
    expand: async () => ({ problems: [] }),
    resumePoint,
    exportModel: async (_, format) => [
      { name: 'model.json', mediaType: 'application/json', bytes: new TextEncoder().encode(`{"format":"${format}"}`) },
      { name: 'weights.bin', mediaType: 'application/octet-stream', bytes: new Uint8Array([1, 2, 3, 4]) },
    ],
    examples: readExamples,
    predict: async () => ({ rows: 0, shape: [2], values: new Float32Array() }),
    newJobId: () => `JOB${++ids}`,
    auth: new Tokens(secret),
    sweepBlobs: null,
    metrics: async () => ({ contentType: 'text/plain; version=0.0.4', body: 'up 1\n' }),
    ready: async () => ({ transport: checkOf(client.health()) }),
    version: '0.0.0-test',
    trouble: (_, error) => troubles.push(error),
    ...options.services,
  }
  const page = await pageFrom(async (file) => new Uint8Array(await readFile(file)))
  const app = createApp(services, { hostname: '127.0.0.1', stopping: stopping.signal, page, ...options.settings })
  const fetch = async (request: Request): Promise<Response> => app.fetch(request)
  const token = (role: Role, subject = 'ada'): Promise<string> => mintToken(secret, { subject, role, lifeMs: 60_000 })
  const user = await token('user')

  const request: Fleet['request'] = (path, { as = user, headers, ...init } = {}) =>
    fetch(
      new Request(`http://127.0.0.1:8080${path}`, { ...init, headers: { authorization: `Bearer ${as}`, ...headers } }),
    )

  return {
    services,
    client,
    jobs,
    models,
    batches: collections.batches,
    blobs,
    folder,
    node,
    server,
    secret,
    troubles,
    stopping,
    fetch,
    token,
    request,
    submit: async (spec = SPEC, { as, headers } = {}) => {
      const response = await request('/v1/jobs', {
        method: 'POST',
        body: JSON.stringify(spec),
        headers: { 'content-type': 'application/json', ...headers },
        ...(as !== undefined && { as }),
      })
      if (response.status !== 201) throw new Error(`${response.status}: ${await response.text()}`)
      return (await response.json()) as JobView // the gateway's own answer
    },
    reached: async (id, state) => {
      const entered = node.events.once('commit', ({ lines }) =>
        lines.some(({ actor, to }) => actor === address('job', id) && to === state),
      )
      const snapshot = await client.read(address('job', id))
      if (snapshot?.value !== state) await entered
    },
    project: (id, kind = 'job') => projector.project(address(kind, id)),
    [Symbol.asyncDispose]: async () => {
      stopping.abort()
      await client.stop()
      await node.stop()
      await transport.stop()
      await documents.close()
      await rm(folder, { recursive: true })
    },
  }
}

export function untilAborted({ signal }: Pick<EffectContext, 'signal'>): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason as Error)
    signal.addEventListener('abort', () => reject(signal.reason as Error))
  })
}

export function modelOf(name: string, version: number, changes: Partial<ModelVersionView> = {}): ModelVersionView {
  const blob = { sha256: '0'.repeat(64), sizeBytes: 1 }
  return {
    name,
    version,
    stage: 'none',
    stages: [],
    code: '0.0.0-test',
    createdAt: 1_000 + version,
    job: 'JOB1',
    owner: 'ada',
    dataset: { name: 'mnist', version: 1 },
    weights: blob,
    topology: blob,
    preprocess: [],
    features: [{ name: 'x', dtype: 'float32', shape: [2, 3] }],
    input: { shape: [2, 3], dtype: 'float32' },
    targetColumn: 'animal',
    pipeline: blob,
    target: { kind: 'class', classes: 2, names: ['cat', 'dog'] },
    spec: SPEC as unknown as JobSpec,
    ...changes,
  }
}
