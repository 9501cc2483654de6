/**
 * What a kernel process takes to train on a dataset that does not fit in its memory: 2 GB of pictures in 32 MB shards,
 * all of which a real kernel process, sandboxed as a worker's are, trains on in the windowed order, for one epoch in
 * rounds, and then evaluates on. The figures are the most memory that the process ever had resident (the operating
 * system's own count, VmHWM) after each quarter of the epoch and at the end, how many bytes it read and how quickly: what
 * it keeps must not grow with what it has read. What is of files (a back end's library) is there once for all processes.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encodeShard, initialise, KernelProcess, planPipeline, random } from '../kernels/mod.ts'
import type { BackendChoice, BlobFile, Column, DatasetSlice, ModelTopology, Pipeline } from '../kernels/mod.ts'
import type { Benchmark } from './bench.ts'
import { backendsDir } from './plain-training.ts'

const MB = 1_000_000
const SHARDS = 64
const SHARD_ROWS = 42_000
const BATCH = 1_000
const ROW_BYTES = 785
const STEPS = Math.floor((SHARDS * SHARD_ROWS) / BATCH)
const ROUNDS = 8
const loss = 'sparseCategoricalCrossentropy'

const columns: readonly Column[] = [
  { name: 'image', dtype: 'uint8', shape: [28, 28, 1] },
  { name: 'label', dtype: 'uint8', shape: [], categories: { count: 10 } },
]

const model: ModelTopology = {
  class_name: 'Sequential',
  config: {
    name: 'linear',
    layers: [
      { class_name: 'Flatten', config: {} },
      { class_name: 'Dense', config: { units: 10, activation: 'softmax' } },
    ],
  },
}

export const run: Benchmark = async (say, { backend }) => {
  const folder = await mkdtemp(join(tmpdir(), 'tf-bench-streaming-'))
  const cacheDir = join(folder, 'cache')
  await mkdir(cacheDir)
  try {
    const { pipeline } = planPipeline({ columns, target: 'label' }, {}, [{ op: 'scale', factor: 1 / 255 }])
    if (pipeline === undefined) throw new Error('the benchmark has a pipeline')
    say(`making ${SHARDS} shards …`)
    const data = await makeShards(cacheDir, pipeline)
    const sizeBytes = data.shards.reduce((sum, shard) => sum + shard.sizeBytes, 0)
    let weights = await blob(cacheDir, initialise(model, 1, pipeline.input))
    // A name that is none is refused by the kernel itself.
    await using kernel = new KernelProcess({
      backend: backend as BackendChoice,
      backendsDir,
      cacheDir,
      scratchDir: join(folder, 'scratch'),
    })
    const { pid, backend: started } = await kernel.start()
    const peaks = [memoryOf(pid, 'VmHWM')]
    say(`training on ${Math.round(sizeBytes / MB)} MB …`)
    let [examples, wallMs] = [0, 0]
    for (let round = 0; round < ROUNDS; round++) {
      const stepStart = Math.floor((STEPS * round) / ROUNDS)
      const localSteps = Math.floor((STEPS * (round + 1)) / ROUNDS) - stepStart
      const done = await kernel.run({
        op: 'round',
        model,
        weights,
        data,
        settings: {
          seed: 1,
          batchSizes: [BATCH],
          replica: 0,
          localSteps,
          stepStart,
          loss,
          optimizer: { kind: 'sgd', learningRate: 0.01 },
        },
      })
      examples += done.metrics.examples
      wallMs += done.wallMs
      peaks.push(memoryOf(pid, 'VmHWM'))
      say(`  ${Math.round((examples * ROW_BYTES) / MB)} MB read, ${Math.round((peaks.at(-1) ?? 0) / MB)} MB at most`)
      weights = await blob(cacheDir, await readFile(done.weights.path))
    }
    say('evaluating …')
    const { examples: evaluated } = await kernel.run({
      op: 'evaluate',
      model,
      weights,
      data,
      slice: { index: 0, of: 1 },
      batchSize: BATCH,
      loss,
    })
    const inMb = (bytes = 0): number => Math.round(bytes / MB)
    return {
      backend: started,
      dataset_mb: inMb(sizeBytes),
      read_mb: inMb(examples * ROW_BYTES),
      evaluated_mb: inMb(evaluated * ROW_BYTES),
      rss_idle_mb: inMb(peaks[0]),
      rss_peak_by_quarter_mb: [2, 4, 6, 8].map((round) => inMb(peaks[round])),
      rss_peak_mb: inMb(memoryOf(pid, 'VmHWM')),
      rss_library_mb: inMb(memoryOf(pid, 'RssFile')),
      images_per_s: Math.round((examples * 1_000) / wallMs),
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Shards that differ in every row. */
async function makeShards(folder: string, pipeline: Pipeline): Promise<DatasetSlice> {
  const generator = random(7)
  const pixels = new Uint8Array(SHARD_ROWS * 784)
  const words = new Uint32Array(pixels.buffer)
  for (let i = 0; i < words.length; i++) words[i] = generator.nextUint32()
  const labels = Uint8Array.from({ length: SHARD_ROWS }, () => generator.nextBelow(10))
  const shards: DatasetSlice['shards'][number][] = []
  for (let shard = 0; shard < SHARDS; shard++) {
    for (let row = 0; row < SHARD_ROWS; row++) words[row * 196] = shard
    const bytes = encodeShard(columns, SHARD_ROWS, [pixels, labels])
    shards.push({ ...(await blob(folder, bytes)), sizeBytes: bytes.byteLength, count: SHARD_ROWS })
  }
  return { columns, pipeline, shards }
}

async function blob(folder: string, bytes: Uint8Array): Promise<BlobFile> {
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  const path = join(folder, sha256)
  await writeFile(path, bytes)
  return { path, sha256 }
}

/** What Linux counts: `VmHWM` is the most that a process ever had, `RssFile` what is of files, which processes share. */
function memoryOf(pid: number, what: 'VmHWM' | 'RssFile'): number {
  const kilobytes = new RegExp(`${what}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Number(kilobytes ?? Number.NaN) * 1_024
}
