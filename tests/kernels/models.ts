/**
 * Small models and data for the tests of `kernels/`: seeded, so that a test sees the same numbers at every run.
 */
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { datasetInMemory, encodeShard, KernelError, planPipeline } from '../../kernels/mod.ts'
import type { BlobFile, Column, Dataset, DatasetSlice, FeatureSpec, ModelTopology, Pipeline, TargetSpec, TrainSettings } from '../../kernels/mod.ts' // prettier-ignore
import { random } from '../../kernels/random.ts'

// An alias, not an interface: it is then a ModelTopology's part without a cast.
export type LayerJson = { class_name: string; config: Record<string, unknown> }

export function layer(className: string, config: Record<string, unknown> = {}): LayerJson {
  return { class_name: className, config }
}

export function sequential(...layers: LayerJson[]): ModelTopology {
  return { class_name: 'Sequential', config: { name: 'tested', layers } }
}

/** A model that branches: its layers with their inputs, by name. The first is its input, the last its output. */
export function functional(name: string, ...layers: { readonly name: string }[]): ModelTopology {
  const [input, output] = [layers.at(0)?.name, layers.at(-1)?.name]
  return {
    class_name: 'Functional',
    config: { name, layers, input_layers: [[input, 0, 0]], output_layers: [[output, 0, 0]] },
  }
}

export function node(name: string, { class_name, config }: LayerJson, ...from: string[]) {
  const inbound_nodes = from.length === 0 ? [] : [from.map((source) => [source, 0, 0, {}])]
  return { class_name, name, config: { ...config, name }, inbound_nodes }
}

export const IMAGES: FeatureSpec = { shape: [8, 8, 1], dtype: 'float32' }
export const CLASSES: TargetSpec = { kind: 'class', classes: 3 }
export const COLUMNS: Column[] = [
  { name: 'image', dtype: 'uint8', shape: [8, 8, 1] },
  { name: 'label', dtype: 'uint8', shape: [], categories: { count: 3 } },
]

/** A convolution, normalisation and dropout: everything that could make a round depend on what it should not. */
export const smallCnn: ModelTopology = sequential(
  layer('Conv2D', { filters: 4, kernel_size: 3, activation: 'relu' }),
  layer('BatchNormalization'),
  layer('MaxPooling2D'),
  layer('Flatten'),
  layer('Dropout', { rate: 0.3 }),
  layer('Dense', { units: 3, activation: 'softmax' }),
)

export function seededValues(count: number, seed: number, low = -1, high = 1): Float32Array {
  const generator = random(seed)
  return Float32Array.from({ length: count }, () => low + (high - low) * generator.nextUnit())
}

/** Images whose class shows as a bright third, with noise: learnt within a few steps. */
export function stripedShard(rows: number, seed: number): Uint8Array {
  const generator = random(seed)
  const features = new Uint8Array(rows * 64)
  const targets = new Uint8Array(rows)
  for (let row = 0; row < rows; row++) {
    const bright = generator.nextBelow(3)
    targets[row] = bright
    for (let i = 0; i < 64; i++)
      features[row * 64 + i] = (Math.floor((i % 8) / 2.7) === bright ? 180 : 20) + generator.nextBelow(60)
  }
  return encodeShard(COLUMNS, rows, [features, targets])
}

/** Of a model that takes one column of this shape as it is. */
export function plainPipeline(input: FeatureSpec): Pipeline {
  const column: Column = { name: 'x', ...input }
  const output: TargetSpec = { kind: 'value', shape: [] }
  return { features: [column], steps: [], input, target: null, output, shuffle: 'auto' }
}

const STEPS = [{ op: 'scale', factor: 1 / 255 }] as const

export const PIPELINE: Pipeline = (() => {
  const { pipeline } = planPipeline({ columns: COLUMNS, target: 'label' }, {}, STEPS)
  if (pipeline === undefined) throw new TypeError('the tests have a pipeline')
  return pipeline
})()

export function stripedDataset(): Dataset {
  return datasetInMemory(COLUMNS, 'label', STEPS, [stripedShard(150, 1), stripedShard(90, 2)])
}

export const settings: TrainSettings = {
  batchSizes: [16],
  replica: 0,
  seed: 7,
  localSteps: 6,
  stepStart: 0,
  loss: 'sparseCategoricalCrossentropy',
  optimizer: { kind: 'adam', learningRate: 0.01 },
}

/** A folder of blobs as a worker keeps it, removed at the end of its scope. */
export class BlobFolder implements Disposable {
  readonly root = mkdtempSync(join(tmpdir(), 'tf-kernels-'))
  readonly cacheDir = join(this.root, 'cache')
  readonly scratchDir = join(this.root, 'scratch')

  write(bytes: Uint8Array): BlobFile {
    const sha256 = sha256Of(bytes)
    const path = join(this.root, sha256)
    writeFileSync(path, bytes)
    return { path, sha256 }
  }

  slice(...shards: { bytes: Uint8Array; count: number }[]): DatasetSlice {
    return {
      columns: COLUMNS,
      pipeline: PIPELINE,
      shards: shards.map(({ bytes, count }) => ({ ...this.write(bytes), count, sizeBytes: bytes.byteLength })),
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true })
  }
}

export function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** The code of what this throws; `none` when it throws nothing, `unknown` when it throws what nobody foresaw. */
export function codeOf(action: () => unknown): string {
  try {
    action()
    return 'none'
  } catch (error) {
    return error instanceof KernelError ? error.code : 'unknown'
  }
}
