/**
 * Predictions for the gateway: one kernel process beside the node, started at the first request. While it computes,
 * requests wait, and those for one model go into the next run together: under load a run serves many. Training is never
 * in their way, nor they in its.
 */
import { mkdir } from 'node:fs/promises'
import { classesOf, KernelProcess } from '../kernels/mod.ts'
import type { KernelRequest, ModelTopology, Pipeline } from '../kernels/mod.ts'
import type { Predictions, Rows, Services } from '../gateway/services.ts'
import type { ModelVersionView } from '../machines/views.ts'
import type { Blobs } from '../stores/mod.ts'

export interface PredictorOptions {
  readonly blobs: Blobs
  readonly cacheDir: string
  readonly scratchDir: string
  /** Told of each run: how many requests it served, and how long it took. */
  readonly observeRun?: (requests: number, seconds: number) => void
}

/** One run takes no more values than this; what is over it waits for the next. */
const RUN_VALUES_MAX = 8 * 1_048_576
const MODELS_KEPT = 16

interface Asked {
  readonly model: ModelVersionView
  readonly rows: Rows
  readonly resolve: (predictions: Predictions) => void
  readonly reject: (reason: unknown) => void
  /** False once whoever asked has given up. */
  isWanted: boolean
}

type ModelFiles = Pick<Extract<KernelRequest, { op: 'predict' }>, 'model' | 'pipeline' | 'weights'>

export class Predictor {
  readonly #options: PredictorOptions
  readonly #kernel: KernelProcess
  /** By sha256 of weights and pipeline; the one used least recently first. */
  readonly #files = new Map<string, ModelFiles>()
  #waiting: Asked[] = []
  #isRunning = false

  constructor(options: PredictorOptions) {
    this.#options = options
    const { cacheDir, scratchDir } = options
    this.#kernel = new KernelProcess({ backend: 'auto', cacheDir, scratchDir })
  }

  readonly predict: Services['predict'] = async (model, rows, signal) => {
    signal.throwIfAborted()
    const { promise, resolve, reject } = Promise.withResolvers<Predictions>()
    const asked: Asked = { model, rows, resolve, reject, isWanted: true }
    const giveUp = (): void => {
      asked.isWanted = false
      reject(signal.reason as Error) // what an AbortSignal rejects with is its reason
    }
    signal.addEventListener('abort', giveUp, { once: true })
    this.#waiting.push(asked)
    if (!this.#isRunning) void this.#work()
    return promise.finally(() => signal.removeEventListener('abort', giveUp))
  }

  stop(): Promise<void> {
    return this.#kernel.stop()
  }

  async #work(): Promise<void> {
    this.#isRunning = true
    for (let batch = this.#next(); batch.length > 0; batch = this.#next()) {
      try {
        await this.#run(batch)
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    this.#isRunning = false
  }

  /** The request that has waited longest, and all others for its model that fit into one run. */
  #next(): Asked[] {
    this.#waiting = this.#waiting.filter(({ isWanted }) => isWanted)
    const [first] = this.#waiting
    if (first === undefined) return []
    let values = 0
    const batch = this.#waiting.filter((asked) => {
      if (keyOf(asked.model) !== keyOf(first.model)) return false
      values += asked.rows.values.length
      return asked === first || values <= RUN_VALUES_MAX
    })
    this.#waiting = this.#waiting.filter((asked) => !batch.includes(asked))
    return batch
  }

  async #run(batch: readonly Asked[]): Promise<void> {
    const [first] = batch
    if (first === undefined) return
    const files = await this.#filesOf(first.model)
    const values = new Float32Array(batch.reduce((sum, { rows }) => sum + rows.values.length, 0))
    let at = 0
    for (const { rows } of batch) {
      values.set(rows.values, at)
      at += rows.values.length
    }
    const startedAt = performance.now()
    const said = await this.#kernel.run({ op: 'predict', ...files, rows: { values } })
    this.#options.observeRun?.(batch.length, (performance.now() - startedAt) / 1_000)
    const width = values.length / said.rows
    const outputs = said.values.length / said.rows
    let row = 0
    for (const { rows, resolve } of batch) {
      const count = rows.values.length / width
      const own = said.values.slice(row * outputs, (row + count) * outputs)
      const classes = classesOf(files.pipeline.output, own, count)
      resolve({ rows: count, shape: said.shape, values: own, ...(classes !== undefined && { classes }) })
      row += count
    }
  }

  async #filesOf(model: ModelVersionView): Promise<ModelFiles> {
    const key = keyOf(model)
    const known = this.#files.get(key)
    this.#files.delete(key)
    const files = known ?? (await this.#fetch(model))
    this.#files.set(key, files)
    for (const oldest of this.#files.keys()) if (this.#files.size > MODELS_KEPT) this.#files.delete(oldest)
    return files
  }

  async #fetch({ weights: { sha256 }, topology, pipeline }: ModelVersionView): Promise<ModelFiles> {
    const { blobs, cacheDir } = this.#options
    await mkdir(cacheDir, { recursive: true })
    const [path, model, steps] = await Promise.all([
      blobs.materialise(sha256, cacheDir),
      this.#json(topology.sha256),
      this.#json(pipeline.sha256),
    ])
    // The registry's blobs were checked and made before training.
    return { model: model as ModelTopology, pipeline: steps as Pipeline, weights: { sha256, path } }
  }

  async #json(sha256: string): Promise<unknown> {
    return JSON.parse(new TextDecoder().decode(await this.#options.blobs.bytes(sha256)))
  }
}

function keyOf({ weights, pipeline }: ModelVersionView): string {
  return `${weights.sha256} ${pipeline.sha256}`
}
