/**
 * A task's work on its worker: bring the blobs that it names, have a kernel compute, put what came out into the blob
 * store, and return the hashes. Everything that leaves is named by content, so a second run after a crash adds nothing.
 */
import { rm } from 'node:fs/promises'
import type * as Kernels from '../kernels/mod.ts'
import type { DatasetManifest, KernelRequest, OutputFile, Pipeline, Progress, SplitName } from '../kernels/mod.ts' // prettier-ignore
import type { RunInput } from '../machines/worker.ts'
import type { Blob, ModelRecipe, Work, WorkOutput } from '../machines/work.ts'
import type { Client } from '../runtime/mod.ts'
import type { Blobs } from '../stores/mod.ts'
import { BlobCache } from './blob-cache.ts'
import type { CachedFile } from './blob-cache.ts'
import { readManifest } from './datasets.ts'
import { FleetError } from './errors.ts'
import { readPipeline } from './registry.ts'
import type { Kernel, KernelSlots } from './kernel-slots.ts'
import { runChunk } from './map-chunk.ts'
import type { MapServices } from './map-chunk.ts'
import { RoundRunner } from './round.ts'
import type { RoundWork } from './round.ts'
import { jobLog, MetricBatch } from './streams.ts'
import type { Telemetry } from './streams.ts'

export interface RunServices extends Telemetry {
  readonly client: Pick<Client, 'append' | 'stream' | 'publish' | 'subscribe'>
  readonly blobs: Pick<Blobs, 'put' | 'bytes' | 'materialise' | 'delete'>
  /** Where blobs are kept for the kernels: the `cacheDir` of each of them. */
  readonly cacheDir: string
  readonly kernels: Pick<typeof Kernels, 'datasetSlice' | 'followWeights'>
  readonly slots: KernelSlots
}

/** What a job's work has in common, read once. */
interface Basis {
  readonly model: Record<string, unknown>
  readonly manifest: DatasetManifest
  readonly pipeline: Pipeline
}

const BASES_MAX = 16

type EvaluateWork = Extract<Work, { kind: 'evaluate' }>
type PredictWork = Extract<Work, { kind: 'predict' }>

export class TaskRunner {
  readonly #services: RunServices
  readonly #cache: BlobCache
  readonly #rounds: RoundRunner
  readonly #chunks: MapServices
  readonly #bases = new Map<string, Promise<Basis>>()

  constructor(services: RunServices) {
    this.#services = services
    this.#cache = new BlobCache(services.blobs, services.cacheDir)
    this.#rounds = new RoundRunner(services, this.#cache)
    this.#chunks = {
      blobs: services.blobs,
      cache: this.#cache,
      slice: async (manifest, pipeline, split) => {
        const basis = { manifest: await readManifest(services.blobs, manifest), pipeline }
        return this.#slice({ dataset: `with the manifest ${manifest}` }, basis, split)
      },
      store: (file) => this.#store(file),
    }
  }

  async run(input: RunInput, worker: string, signal: AbortSignal): Promise<WorkOutput> {
    const { clock, slots } = this.#services
    try {
      return await slots.with(signal, async (kernel) => {
        const startedAt = clock.now()
        const output = await this.#work(input, worker, kernel, signal)
        return { ...output, elapsedMs: clock.now() - startedAt }
      })
    } catch (error) {
      if (signal.aborted) throw error // nobody waits for it
      await this.#heal(error)
      const message = error instanceof Error ? error.message : String(error)
      await jobLog(this.#services, input.job, input.task)('error', `On ${worker}, attempt ${input.attempt}: ${message}`)
      // A kernel that is stopped under a task that nobody cancelled: this process is on its way out.
      if (codeOf(error) === 'kernel.cancelled') throw new FleetError('worker.stopping', message, {}, error)
      throw error
    }
  }

  #work(input: RunInput, worker: string, kernel: Kernel, signal: AbortSignal): Promise<WithoutTime<WorkOutput>> {
    const { work } = input
    switch (work.kind) {
      case 'initialise':
        return this.#initialise(work, kernel, signal)
      case 'round':
        return this.#round(work, input, worker, kernel, signal)
      case 'evaluate':
        return this.#evaluate(work, kernel, signal)
      case 'map':
        return runChunk(this.#chunks, work, kernel, signal)
      case 'predict':
        return this.#predict(work, kernel, signal)
    }
  }

  async #initialise(
    { recipe, from }: Extract<Work, { kind: 'initialise' }>,
    kernel: Kernel,
    signal: AbortSignal,
  ): Promise<WithoutTime<WorkOutput>> {
    const { model, pipeline } = await this.#basis(recipe)
    const request = { op: 'initialise', model, input: pipeline.input, seed: recipe.seed } as const
    const { weights } = await this.#cache.lend(from === undefined ? [] : [from], ([file]) =>
      kernel.run({ ...request, ...(file !== undefined && { from: file }) }, { signal }),
    )
    return { kind: 'initialise', weights: await this.#store(weights, 'keep') }
  }

  async #round(
    work: RoundWork,
    { job, task, attempt }: RunInput,
    worker: string,
    kernel: Kernel,
    signal: AbortSignal,
  ): Promise<WithoutTime<WorkOutput>> {
    const basis = await this.#basis(work.recipe)
    const { model } = basis
    const data = await this.#slice(work.recipe, basis, 'train')
    const metrics = new MetricBatch(this.#services, job)
    const member = `${task}#${attempt}`
    const onProgress = this.#progressOf(work, worker, metrics)
    try {
      return await this.#rounds.run(work, { job, member, model, data, onProgress }, kernel, signal)
    } finally {
      await metrics.end()
    }
  }

  async #evaluate(work: EvaluateWork, kernel: Kernel, signal: AbortSignal): Promise<WithoutTime<WorkOutput>> {
    const { recipe, split, slice, slices, weights } = work
    const basis = await this.#basis(recipe)
    const { model } = basis
    const data = await this.#slice(recipe, basis, split)
    const result = await this.#cache.lend([weights], ([weightsFile]) => {
      if (weightsFile === undefined) throw new TypeError('lend gives a file for each hash')
      const request: Extract<KernelRequest, { op: 'evaluate' }> = {
        op: 'evaluate',
        model,
        weights: weightsFile,
        data,
        slice: { index: slice, of: slices },
        batchSize: Math.max(...recipe.batchSizes),
        loss: recipe.loss,
      }
      return kernel.run(request, { signal })
    })
    const { sha256, sizeBytes } = await this.#services.blobs.put(new TextEncoder().encode(JSON.stringify(result)))
    return { kind: 'evaluate', slice, sums: { sha256, sizeBytes } }
  }

  async #predict(work: PredictWork, kernel: Kernel, signal: AbortSignal): Promise<WithoutTime<WorkOutput>> {
    const { recipe, split, weights, start, rows, format } = work
    const basis = await this.#basis(recipe)
    const data = await this.#slice(recipe, basis, split)
    const { chunk } = await this.#cache.lend([weights], ([file]) => {
      if (file === undefined) throw new TypeError('lend gives a file for each hash')
      const request = { op: 'predictSplit', model: basis.model, weights: file, data, start, rows, format } as const
      return kernel.run(request, { signal })
    })
    return { kind: 'predict', chunk: work.chunk, blob: await this.#store(chunk) }
  }

  #progressOf(work: RoundWork, worker: string, metrics: MetricBatch): (progress: Progress) => void {
    const { clock } = this.#services
    const startedAt = clock.now()
    return ({ step, loss, accuracy, examples }) => {
      const at = clock.now()
      metrics.add({
        at,
        round: work.round,
        replica: work.replica,
        step: work.stepStart + step,
        steps: work.stepsTotal,
        loss,
        ...(accuracy !== undefined && { accuracy }),
        examplesPerS: Math.round((examples * 1000) / Math.max(1, at - startedAt)),
        worker,
      })
    }
  }

  #basis(recipe: ModelRecipe): Promise<Basis> {
    const key = `${recipe.topology} ${recipe.manifest} ${recipe.pipeline}`
    const known = this.#bases.get(key)
    if (known !== undefined) return known
    const basis = this.#readBasis(recipe)
    // What failed is read again by the next task; the task that waits for it hears of it here.
    basis.catch(() => this.#bases.delete(key))
    this.#bases.set(key, basis)
    for (const oldest of this.#bases.keys()) {
      if (this.#bases.size <= BASES_MAX) break
      this.#bases.delete(oldest)
    }
    return basis
  }

  async #readBasis(recipe: ModelRecipe): Promise<Basis> {
    const { blobs } = this.#services
    const [topology, manifest, pipeline] = await Promise.all([
      blobs.bytes(recipe.topology),
      readManifest(blobs, recipe.manifest),
      readPipeline(blobs, recipe.pipeline),
    ])
    const model = JSON.parse(new TextDecoder().decode(topology)) as Record<string, unknown> // put by `prepare`
    return { model, manifest, pipeline }
  }

  async #slice(
    recipe: Pick<ModelRecipe, 'dataset'>,
    { manifest, pipeline }: Pick<Basis, 'manifest' | 'pipeline'>,
    split: SplitName,
  ): Promise<Kernels.DatasetSlice> {
    const paths = new Map<string, string>()
    for (const { sha256 } of manifest.splits[split]?.shards ?? []) {
      paths.set(sha256, (await this.#shard(recipe, sha256)).path)
    }
    return this.#services.kernels.datasetSlice(manifest, pipeline, split, ({ sha256 }) => paths.get(sha256) ?? '')
  }

  async #shard({ dataset }: Pick<ModelRecipe, 'dataset'>, sha256: string): Promise<CachedFile> {
    try {
      return await this.#cache.keep(sha256)
    } catch (error) {
      const code = codeOf(error)
      if (code !== 'blob.corrupt' && code !== 'blob.missing') throw error
      const reason = error instanceof Error ? error.message : code
      const message = `Dataset ${dataset} is damaged: ${reason}`
      throw new FleetError('dataset.damaged', message, { dataset, sha256 }, error)
    }
  }

  async #store({ path, sha256 }: OutputFile, then: 'keep' | 'leave' = 'leave'): Promise<Blob> {
    const ref = await this.#services.blobs.put({ path }, { sha256 })
    if (then === 'keep') await this.#cache.adopt(path, sha256)
    else await rm(path, { force: true })
    return { sha256: ref.sha256, sizeBytes: ref.sizeBytes }
  }

  /** A file that went bad in the cache is brought anew by the next attempt. */
  async #heal(error: unknown): Promise<void> {
    const sha256 = (error as { data?: { sha256?: unknown } } | null)?.data?.sha256 // unknown, checked below
    if (codeOf(error)?.startsWith('blob.') === true && typeof sha256 === 'string') await this.#cache.drop(sha256)
  }
}

type WithoutTime<Output> = Output extends unknown ? Omit<Output, 'elapsedMs'> : never

function codeOf(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : undefined
}
