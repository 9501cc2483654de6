/**
 * A gateway in front of a real runtime (memory transport, the job's real chart), real SQLite documents and real blobs.
 * What a job's effects do, each test says; there are no workers, so no job here gets past preparing.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createApp } from '../../gateway/app.ts'
import { mintToken, newSecret, Tokens, type Role } from '../../gateway/auth.ts'
import { pageFrom } from '../../gateway/page.ts'
import type { Services, Settings } from '../../gateway/services.ts'
import { jobMachine, roundsOf, type JobContext } from '../../machines/job.ts'
import type { JobSpec } from '../../machines/spec.ts'
import type { JobView, ModelVersionView } from '../../machines/views.ts'
import {
  address,
  defineActor,
  MemoryServer,
  Node,
  openClient,
  type ActorSnapshot,
  type Client,
  type Directory,
  type EffectContext,
} from '../../runtime/mod.ts'
import {
  defineCollection,
  openFileSystemBlobs,
  openSqliteDocuments,
  type Blobs,
  type Collection,
} from '../../stores/mod.ts'

export interface Fleet extends AsyncDisposable {
  readonly services: Services
  readonly client: Client
  readonly jobs: Collection<JobView>
  readonly models: Collection<ModelVersionView>
  readonly blobs: Blobs
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
  /** Writes the job into the read model, as the projector does. */
  project(id: string): Promise<void>
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
  const jobs = documents.collection(
    defineCollection<JobView>({
      name: 'jobs',
      indexes: ['createdAt', ['owner', 'createdAt'], ['state', 'createdAt'], ['owner', 'state', 'createdAt']],
    }),
  )
  const models = documents.collection(
    defineCollection<ModelVersionView>({ name: 'models', indexes: ['createdAt', ['name', 'version']] }),
  )

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
      register: (_, context) => untilAborted(context),
    },
  })
  const node = new Node({ transport, actors: [job], directory, hosts: 'sharded' })
  await node.start()
  const client = await openClient({ transport, directory })

  const secret = newSecret()
  const troubles: unknown[] = []
  const stopping = new AbortController()
  let ids = 0
  const services: Services = {
    client,
    jobs,
    models,
    blobs,
    jobView,
    workers: async () => [],
    admit: async () => [],
    predict: async (_, { count }) => ({ outputs: Array.from({ length: count }, () => [0.1, 0.9]) }),
    newJobId: () => `JOB${++ids}`,
    auth: new Tokens(secret),
    metrics: async () => ({ contentType: 'text/plain; version=0.0.4', body: 'up 1\n' }),
    ready: async () => ({ transport: await client.health() }),
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
    blobs,
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
    project: async (id) => {
      const snapshot = await client.read(address('job', id))
      if (snapshot !== null) await jobs.put(id, jobView(snapshot))
    },
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

function jobView({ context, value, seq, createdAt, changedAt, status }: ActorSnapshot): JobView {
  const { id, owner, spec, workers, fault } = context as unknown as JobContext // of the job's own chart
  return {
    id,
    name: spec.name,
    state: (typeof value === 'string' ? value : 'training') as JobView['state'],
    owner,
    spec,
    createdAt,
    changedAt,
    ...(status !== 'active' && { endedAt: changedAt }),
    seq,
    progress: { round: 0, rounds: roundsOf(context as unknown as JobContext), step: 0, steps: 0 },
    workers,
    ...(fault !== null && { error: { code: fault.code, message: fault.message } }),
  }
}

export function modelOf(name: string, version: number, changes: Partial<ModelVersionView> = {}): ModelVersionView {
  const blob = { sha256: '0'.repeat(64), sizeBytes: 1 }
  return {
    name,
    version,
    createdAt: 1_000 + version,
    job: 'JOB1',
    owner: 'ada',
    dataset: { name: 'mnist', version: 1 },
    weights: blob,
    topology: blob,
    preprocess: [],
    input: { shape: [2, 3], dtype: 'float32' },
    target: { kind: 'class', classes: 2, names: ['cat', 'dog'] },
    spec: SPEC as unknown as JobSpec,
    ...changes,
  }
}
