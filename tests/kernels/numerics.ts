/**
 * One question of the numerical suite and its answer, as they travel between a test and a kernel process that runs
 * `children/numerics.ts`, and how close two answers must be.
 */
import { encodeShard, encodeTensors } from '../../kernels/mod.ts'
import { KernelProcess } from '../../kernels/mod.ts'
import type { BackendName, Batch, Column, FeatureSpec, KernelRequest, ModelTopology, TargetSpec, TrainSettings } from '../../kernels/mod.ts' // prettier-ignore
import { planModel } from '../../kernels/plan.ts'
import { elementCount } from '../../kernels/safetensors.ts'
import { CLASSES, modelOf, ROWS } from './layer-cases.ts'
import type { Case } from './layer-cases.ts'
import { seededValues } from './models.ts'
import type { BlobFolder } from './models.ts'

export interface Question {
  model: ModelTopology
  input: FeatureSpec
  target: TargetSpec
  weights: Uint8Array
  batch: Batch
  /** The same rows as a shard, for the training step. */
  shard: Uint8Array
  columns: Column[]
  settings: TrainSettings
}

export interface Answer {
  loss: number
  outputs: Float32Array
  gradients: Map<string, Float32Array>
  /** Moving statistics after the batch. */
  statistics: Map<string, Float32Array>
  /** Tensors that the batch left behind. */
  leaked: number
  /** All weights after one step of SGD. */
  stepped: Uint8Array
}

/**
 * Of a tensor's largest magnitude, plus the absolute one: float32 sums in another order differ by about 1e-6, and what
 * they cancel against can be a hundred times as large.
 */
export const TOLERANCE = { relative: 1e-4, absolute: 1e-6 }

export function questionOf(tested: Case): Question {
  const model = modelOf(tested)
  const input: FeatureSpec = { shape: tested.input, dtype: 'float32' }
  const target: TargetSpec = { kind: 'class', classes: CLASSES }
  const columns: Column[] = [
    { name: 'x', dtype: 'float32', shape: tested.input },
    { name: 'label', dtype: 'uint8', shape: [], categories: { count: CLASSES } },
  ]
  const weights = planModel(model, input).plan?.weights.map(({ name, shape }, i) => {
    const [low, high] = name.endsWith('moving_variance') ? [0.5, 1.5] : [-0.6, 0.6]
    return { name, shape, dtype: 'F32', data: seededValues(elementCount(shape), 100 + i, low, high) } as const
  })
  const drawn = seededValues(ROWS * elementCount(tested.input), 5, -1, 1)
  const { indices } = tested
  const features = indices === undefined ? drawn : drawn.map((x) => Math.floor(((x + 1) / 2) * indices))
  const classes = Uint8Array.from({ length: ROWS }, (_, i) => i % CLASSES)
  return {
    model,
    input,
    target,
    weights: encodeTensors(weights ?? []),
    batch: { rows: ROWS, features, targets: Float32Array.from(classes) },
    columns,
    shard: encodeShard(columns, ROWS, [features, classes]),
    settings: {
      batchSizes: [ROWS],
      replica: 0,
      seed: 7,
      localSteps: 1,
      stepStart: 0,
      loss: 'sparseCategoricalCrossentropy',
      optimizer: { kind: 'sgd', learningRate: 0.1 },
    },
  }
}

/** A back end in a kernel process of its own, with all that closes it in. */
export class Numerics implements AsyncDisposable {
  readonly #kernel: KernelProcess

  constructor(backend: BackendName, folder: BlobFolder, backendsDir: string | undefined) {
    this.#kernel = new KernelProcess({
      backend,
      cacheDir: folder.cacheDir,
      scratchDir: `${folder.scratchDir}-${backend}`,
      ...(backendsDir !== undefined && { backendsDir }),
      entry: new URL('./children/numerics.ts', import.meta.url),
    })
  }

  async fingerprint(): Promise<string> {
    return (await this.#kernel.start()).fingerprint
  }

  async ask(question: Question): Promise<Answer> {
    // The child takes questions in place of requests, and gives answers in place of results.
    return (await this.#kernel.run(question as unknown as KernelRequest)) as unknown as Answer
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#kernel.stop()
  }
}

/** What is wrong with the values found, or nothing. */
export function difference(name: string, found: ArrayLike<number> | undefined, expected: ArrayLike<number>): string[] {
  if (found?.length !== expected.length) return [`${name}: ${found?.length} values, expected ${expected.length}`]
  let [largest, worst] = [0, 0]
  for (let i = 0; i < expected.length; i++) {
    largest = Math.max(largest, Math.abs(expected[i] ?? 0))
    const off = Math.abs((found[i] ?? 0) - (expected[i] ?? 0))
    worst = off >= worst || Number.isNaN(off) ? off : worst
  }
  const allowed = TOLERANCE.relative * largest + TOLERANCE.absolute
  return worst <= allowed ? [] : [`${name}: off by ${worst}, allowed ${allowed}`]
}
