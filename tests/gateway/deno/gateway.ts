/**
 * A gateway as Deno runs it, for deno.test.ts: the real client on a real Redis, real stores in the folder that the
 * environment names. It says where it listens in one line of JSON, and stops when its standard input ends.
 */
import {
  batchView,
  Datasets,
  fleetCollections,
  jobView,
  Registry,
  resumePoint,
  sweepView,
  Uploads,
} from '../../../actors/mod.ts'
import { Tokens } from '../../../gateway/auth.ts'
import { serve } from '../../../gateway/deno.ts'
import { checkOf } from '../../../gateway/services.ts'
import * as kernels from '../../../kernels/mod.ts'
import { openClient, redisTransport, systemClock } from '../../../runtime/mod.ts'
import { readExamples } from '../../../kernels/data/examples.ts'
import { modify, openFileSystemBlobs, openSqliteDocuments } from '../../../stores/mod.ts'

const { REDIS_URL = '', FOLDER = '', SECRET = '', SHARDS = '' } = process.env
const directory = { shards: Number(SHARDS), pinned: new Set<string>() }

const transport = redisTransport({ url: REDIS_URL })
await transport.start({ shards: directory.shards })
const client = await openClient({ transport, directory })
const documents = await openSqliteDocuments(`${FOLDER}/documents.sqlite`)
const blobs = await openFileSystemBlobs(`${FOLDER}/blobs`)
const collections = fleetCollections(documents)
const { jobs, models, modelAliases } = collections
let ids = 0
const gateway = await serve(
  {
    client,
    jobs,
    models,
    modelAliases,
    registry: new Registry({ blobs, collections, clock: systemClock, modify, code: 'deno' }),
    datasets: new Datasets({
      blobs,
      collections,
      kernels,
      clock: systemClock,
      modify,
      uploads: new Uploads(`${FOLDER}/uploads`, blobs),
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
    exportModel: async () => [],
    examples: readExamples,
    predict: async () => ({ rows: 1, shape: [2], values: new Float32Array([0.25, 0.75]), classes: ['dog'] }),
    newJobId: () => `DENO${++ids}`,
    auth: new Tokens(new TextEncoder().encode(SECRET)),
    sweepBlobs: null,
    metrics: async () => ({ contentType: 'text/plain', body: '' }),
    ready: async () => ({ transport: checkOf(client.health()) }),
    version: navigator.userAgent,
    trouble: (where, error) => console.error(where, error),
  },
  { port: 0 },
)
console.log(JSON.stringify({ port: gateway.port }))

process.stdin.on('end', () => {
  void (async () => {
    await gateway.stop()
    await client.stop()
    await transport.stop()
    await documents.close()
  })()
})
process.stdin.resume()
