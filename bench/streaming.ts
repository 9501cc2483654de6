/**
 * What a kernel process takes to train on a dataset that does not fit in its memory: 2 GB of pictures in 32 MB shards,
 * trained on in the windowed order by a real kernel process, sandboxed as a worker's are. The figure is the most memory
 * that the process ever had resident (the kernel's own count, VmHWM), beside how many bytes it read and how quickly.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encodeShard, initialise, KernelProcess, planPipeline, random } from '../kernels/mod.ts'
import type { BlobFile, Column, DatasetSlice, ModelTopology, Pipeline } from '../kernels/mod.ts'
import type { Benchmark } from './bench.ts'

const MB = 1_000_000
const SHARDS = 64
const SHARD_ROWS = 42_000 // × 785 bytes
const BATCH = 1_000
const STEPS = 1_000

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

export const run: Benchmark = async (say) => {
  const folder = await mkdtemp(join(tmpdir(), 'tf-bench-streaming-'))
  const cacheDir = join(folder, 'cache')
  await mkdir(cacheDir)
  try {
    const { pipeline } = planPipeline({ columns, target: 'label' }, {}, [{ op: 'scale', factor: 1 / 255 }])
    if (pipeline === undefined) throw new Error('the benchmark has a pipeline')
    say(`making ${SHARDS} shards …`)
    const data = await makeShards(cacheDir, pipeline)
    const sizeBytes = data.shards.reduce((sum, shard) => sum + shard.sizeBytes, 0)
    const weights = await blob(cacheDir, initialise(model, 1, pipeline.input))
    await using kernel = new KernelProcess({ backend: 'wasm', cacheDir, scratchDir: join(folder, 'scratch') })
    const { pid } = await kernel.start()
    const idle = peakBytes(pid)
    say(`training on ${Math.round(sizeBytes / MB)} MB …`)
    const { metrics, wallMs } = await kernel.run({
      op: 'round',
      model,
      weights,
      data,
      settings: {
        seed: 1,
        batchSizes: [BATCH],
        replica: 0,
        localSteps: STEPS,
        stepStart: 0,
        loss: 'sparseCategoricalCrossentropy',
        optimizer: { kind: 'sgd', learningRate: 0.01 },
      },
    })
    return {
      dataset_mb: Math.round(sizeBytes / MB),
      read_mb: Math.round((metrics.examples * 785) / MB),
      rss_idle_mb: Math.round(idle / MB),
      rss_peak_mb: Math.round(peakBytes(pid) / MB),
      images_per_s: Math.round((metrics.examples * 1_000) / wallMs),
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

/** The most that a process has had in memory, as Linux counts it. */
function peakBytes(pid: number): number {
  const kilobytes = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Number(kilobytes ?? Number.NaN) * 1_024
}
