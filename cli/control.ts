/**
 * The control process: a runtime node with the fleet's actors, the projector that keeps the read model, and the gateway.
 * It can be killed at any moment and started again: all that matters is in Redis and in the stores.
 */
import {
  admit,
  admitBatch,
  batchActor,
  batchView,
  admitSweep,
  expand,
  resumePoint,
  builtInDatasets,
  Datasets,
  jobActor,
  pinned,
  pinnedBatch,
  quotaActor,
  jobView,
  Pools,
  Projector,
  pageActor,
  poolView,
  readPipeline,
  Registry,
  schedulerActor,
  sweepBlobs,
  sweepBlobsAlways,
  sweepActor,
  sweepView,
  taskActor,
  Uploads,
  workerActor,
  workerViews,
} from '../actors/mod.ts'
import type { BatchPlanServices, BlobSweepServices } from '../actors/mod.ts'
import { checkJob } from '../gateway/schemas/job-spec.ts'
import { mintToken, newSecret, Tokens } from '../gateway/auth.ts'
import { serve } from '../gateway/node.ts'
import type { RunningGateway } from '../gateway/node.ts'
import { checkOf } from '../gateway/services.ts'
import type { Services } from '../gateway/services.ts'
import * as kernels from '../kernels/mod.ts'
import { Metrics } from '../otel/metrics.ts'
import { address, LIMITS, Node, openClient } from '../runtime/mod.ts'
import type { Client, Transport } from '../runtime/mod.ts'
import { modify } from '../stores/mod.ts'
import type { Blobs } from '../stores/mod.ts'
import type { ModelVersionView } from '../machines/views.ts'
import { ulid } from 'ulid'
import type { DataDir } from './data-dir.ts'
import { clock, directory, openStores, POOL, tellOfTransport } from './fleet.ts'
import type { Stores, Trouble } from './fleet.ts'
import { Predictor } from './predictor.ts'
import { versionOf } from './version.ts'

export interface ControlOptions {
  readonly data: DataDir
  readonly transport: Transport
  readonly port: number
  readonly hostname?: string
  readonly trouble: Trouble
}

export interface Control extends AsyncDisposable {
  readonly url: string
  stop(): Promise<void>
}

/** The token that the commands of this data folder use. */
const CLI_SUBJECT = 'local'
const CLI_TOKEN_MS = 365 * 24 * 3_600_000
const LOGIN_MS = 12 * 3_600_000

/** Resolves when the API answers. The transport stays the caller's. */
export async function startControl(options: ControlOptions): Promise<Control> {
  const { data, transport, trouble } = options
  await using opened = new AsyncDisposableStack()
  const stores = await openStores(data, transport.name !== 'memory')
  opened.defer(() => stores.documents.close())
  const metrics = new Metrics()
  const client = await openClient({ transport, directory })
  opened.defer(() => client.stop())
  const uploads = new Uploads(data.file('uploads'), stores.blobs)
  await uploads.removeLeftovers()
  const datasets = new Datasets({ ...stores, kernels, clock, modify, uploads, builtIn: builtInDatasets() })

  const code = await versionOf()
  const registry = new Registry({ ...stores, clock, modify, code })
  const telemetry = { client, clock, trouble }
  const pools = new Pools(client)
  const batches = batchPlanServices(stores, client, datasets, registry, pools)
  const node = new Node({
    transport,
    directory,
    hosts: 'sharded',
    stuckMs: LIMITS.stuckMs,
    actors: [
      jobActor({ ...stores, ...telemetry, datasets, registry, kernels, pools }),
      batchActor({ ...telemetry, ...batches }),
      sweepActor({ registry }),
      quotaActor(),
      taskActor(),
      schedulerActor(),
      pageActor(),
      workerActor('adopt'),
    ],
  })
  node.events.on('trouble', ({ where, error }) => trouble(where, error))
  node.events.on('message.held', ({ to, fault }) => trouble(`held for ${to}`, fault.message))
  tellOfTransport(node.events, trouble)
  node.events.on('dead-letter', ({ to, fault }) => trouble(`dead letter for ${to}`, fault.message))
  metrics.listen(node.events)
  await node.start()
  opened.defer(() => node.stop())
  await pools.open(POOL, { timeoutMs: SPAWN_MS })

  const projector = new Projector({ client, directory, collections: stores.collections, clock, trouble })
  projector.start()
  opened.defer(() => projector.stop())

  // Documents that do not last know nothing of what an earlier fleet has stored in the folder.
  const sweepServices = transport.name === 'memory' ? null : { ...stores, client, clock }
  if (sweepServices !== null) {
    const sweeping = new AbortController()
    opened.defer(() => sweeping.abort())
    void sweepBlobsAlways(sweepServices, trouble, sweeping.signal)
  }

  const predictor = new Predictor({
    blobs: stores.blobs,
    cacheDir: data.file('predict', 'cache'),
    scratchDir: data.file('predict', 'scratch'),
    observeRun: (requests, seconds) => metrics.observePrediction(requests, seconds),
  })
  opened.defer(() => predictor.stop())

  const secret = await data.secret(newSecret)
  const services = servicesOf({
    stores,
    client,
    pools,
    batches,
    sweepServices,
    datasets,
    registry,
    code,
    metrics,
    predictor,
    secret,
    trouble,
  })
  const gateway = await serve(services, {
    port: options.port,
    ...(options.hostname !== undefined && { hostname: options.hostname }),
  })
  opened.defer(() => gateway.stop())
  await writeAccess(data, secret, gateway)
  const all = opened.move()
  const stop = (): Promise<void> => all.disposeAsync()
  return { url: gateway.url, stop, [Symbol.asyncDispose]: stop }
}

/** Redis may be loading its file when a fleet starts. */
const SPAWN_MS = 20_000

function batchPlanServices(
  { blobs, collections }: Stores,
  client: Client,
  datasets: Datasets,
  registry: Registry,
  pools: Pools,
): BatchPlanServices {
  const outputOf: BatchPlanServices['outputOf'] = async (job, owner) => {
    const snapshot = await client.read(address('batch', job))
    const view = snapshot === null ? (await collections.batches.get(job))?.value : batchView(snapshot)
    const { output } = view ?? {}
    return view?.owner === owner && output?.shape !== undefined ? { ...output, shape: output.shape } : null
  }
  return { blobs, datasets, registry, kernels, outputOf, pools }
}

interface Parts {
  readonly stores: Stores
  readonly client: Client
  readonly pools: Pools
  readonly batches: BatchPlanServices
  readonly sweepServices: BlobSweepServices | null
  readonly datasets: Datasets
  readonly registry: Registry
  readonly code: string
  readonly metrics: Metrics
  readonly predictor: Predictor
  readonly secret: Uint8Array
  readonly trouble: Trouble
}

function servicesOf(parts: Parts): Services {
  const { stores, client, pools, datasets, registry, metrics, predictor } = parts
  const { collections } = stores
  const admission = { blobs: stores.blobs, datasets, registry, kernels, pools }
  return {
    client,
    jobs: collections.jobs,
    models: collections.models,
    modelAliases: collections.modelAliases,
    registry,
    datasets,
    blobs: stores.blobs,
    jobView,
    resumePoint,
    batches: {
      stored: collections.batches,
      view: batchView,
      pin: (spec) => pinnedBatch(parts.batches, spec),
      admit: (spec, owner, signal) => admitBatch(parts.batches, spec, owner, signal),
    },
    sweeps: {
      stored: collections.sweeps,
      view: sweepView,
      admit: (spec) => admitSweep({ ...admission, checkJob }, spec),
    },
    async pool(name) {
      const scheduler = (await pools.has(name)) ? await client.read(address('scheduler', name)) : null
      return scheduler === null ? null : poolView(scheduler)
    },
    poolNames: () => pools.names(),
    async workers() {
      const names = await pools.names()
      const schedulers = await Promise.all(names.map((name) => client.read(address('scheduler', name))))
      return schedulers.flatMap((scheduler) => (scheduler === null ? [] : workerViews(scheduler)))
    },
    pin: (spec) => pinned({ registry }, spec),
    admit: (spec) => admit(admission, spec, { isEarly: true }),
    expand: (preset) => expand({ datasets }, preset),
    exportModel: (model, format) => exportModel(stores.blobs, model, format),
    examples: kernels.readExamples,
    predict: predictor.predict,
    newJobId: () => ulid(),
    auth: new Tokens(parts.secret),
    sweepBlobs: parts.sweepServices === null ? null : sweepBlobs.bind(null, parts.sweepServices),
    metrics: async () => ({ contentType: metrics.registry.contentType, body: await metrics.registry.metrics() }),
    async ready() {
      const { client } = parts
      return { [client.health().transport]: checkOf(client.health()) }
    },
    version: parts.code,
    observeRequest: (...request) => metrics.observeRequest(...request),
    trouble: parts.trouble,
  }
}

async function exportModel(
  blobs: Blobs,
  model: ModelVersionView,
  format: kernels.ExportFormat,
): Promise<readonly kernels.ExportedFile[]> {
  const topology = new TextDecoder().decode(await blobs.bytes(model.topology.sha256))
  const weights = await blobs.bytes(model.weights.sha256)
  const pipeline = await readPipeline(blobs, model.pipeline.sha256)
  // The registry's blobs were checked before training.
  return kernels.exportFiles(format, JSON.parse(topology) as kernels.ModelTopology, pipeline, weights)
}

async function writeAccess(data: DataDir, secret: Uint8Array, gateway: RunningGateway): Promise<void> {
  const token = await mintToken(secret, { subject: CLI_SUBJECT, role: 'admin', lifeMs: CLI_TOKEN_MS })
  await data.writeAccess({ url: gateway.url, token })
}

/** The page's address with a login that works once. */
export async function pageLink(data: DataDir, url: string): Promise<string> {
  const secret = await data.secret(newSecret)
  const token = await mintToken(secret, { subject: CLI_SUBJECT, role: 'admin', lifeMs: LOGIN_MS, purpose: 'login' })
  return `${url}/#token=${token}`
}
