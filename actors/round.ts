/**
 * A round on its worker: what one replica does between two checkpoints. Blobs are brought (or made from what is here
 * already), the kernel computes, and what came out goes into the blob store; all that is moved is counted.
 *
 * Replicas that go on their own need nobody while they run. Those that go together hear each other (exchange.ts), and
 * the task whose window another has ended takes what that one came to: it would be the same.
 */
import { randomUUID, createHash } from 'node:crypto'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type * as Kernels from '../kernels/mod.ts'
import type { OptimizerSettings, OutputFile, Progress, RoundFiles, TrainSettings } from '../kernels/mod.ts'
import type { Blob, OutputOf, Recipe, Work } from '../machines/work.ts'
import type { Blobs } from '../stores/mod.ts'
import type { BlobCache, CachedFile } from './blob-cache.ts'
import { ExchangePositions, WindowExchange } from './exchange.ts'
import type { ExchangeServices, WindowEnd } from './exchange.ts'
import type { Kernel } from './kernel-slots.ts'
import type { Moved } from './moved.ts'

export interface RoundServices extends ExchangeServices {
  readonly blobs: Pick<Blobs, 'put' | 'bytes' | 'delete' | 'materialise'>
  readonly cacheDir: string
  readonly kernels: Pick<typeof Kernels, 'followWeights'>
}

export type RoundWork = Extract<Work, { kind: 'round' }>
type RoundOutput = Omit<OutputOf<'round'>, 'elapsedMs'>

/** What a round's task knows beside its work. */
export interface RoundSurroundings {
  readonly job: string
  /** The task and its attempt: no other run of work has the same. */
  readonly member: string
  readonly model: Record<string, unknown>
  readonly data: Kernels.DatasetSlice
  readonly onProgress: (progress: Progress) => void
}

export class RoundRunner {
  readonly #services: RoundServices
  readonly #cache: BlobCache
  readonly #positions = new ExchangePositions()

  constructor(services: RoundServices, cache: BlobCache) {
    this.#services = services
    this.#cache = cache
  }

  async run(work: RoundWork, around: RoundSurroundings, kernel: Kernel, signal: AbortSignal): Promise<RoundOutput> {
    const moved: Moved = { exchangeBytes: 0, stateBytes: 0 }
    return work.recipe.strategy.kind === 'sync'
      ? await this.#together(work, around, kernel, moved, signal)
      : await this.#alone(work, around, kernel, moved, signal)
  }

  async #alone(
    work: RoundWork,
    around: RoundSurroundings,
    kernel: Kernel,
    moved: Moved,
    signal: AbortSignal,
  ): Promise<RoundOutput> {
    const { strategy } = work.recipe
    await this.#follow(work, moved)
    const result = await this.#lend(work, moved, (files) =>
      kernel.run({ op: 'round', ...requestOf(work, around, files) }, { signal, onProgress: around.onProgress }),
    )
    const isDelta = strategy.kind === 'diloco' && strategy.precision !== 'float32'
    const weights = await this.#store(result.weights, isDelta ? 'leave' : 'keep')
    // One replica exchanges nothing: what it stores is its checkpoint.
    if (strategy.kind === 'diloco') moved.exchangeBytes += weights.sizeBytes
    else moved.stateBytes += weights.sizeBytes
    return this.#output(work, result, weights, moved)
  }

  async #together(
    work: RoundWork,
    around: RoundSurroundings,
    kernel: Kernel,
    moved: Moved,
    signal: AbortSignal,
  ): Promise<RoundOutput> {
    const { job, member, onProgress } = around
    const { replica } = work
    const window = windowOf(work)
    const positions = this.#positions
    await using exchange = await WindowExchange.open(this.#services, { job, window, member, replica, positions, moved })
    if (exchange.end !== null) return endedElsewhere(work, exchange.end, moved)
    try {
      const result = await this.#lend(work, moved, (files) => {
        const running = kernel.run(
          { op: 'sync', member, ...requestOf(work, around, files) },
          {
            signal: AbortSignal.any([signal, exchange.ended]),
            onProgress,
            onTell: (message) => exchange.tell(message),
          },
        )
        exchange.listen((message) => kernel.hear(message))
        return running
      })
      const weights = await this.#store(result.weights, 'keep')
      moved.stateBytes += weights.sizeBytes
      const output = await this.#output(work, result, weights, moved)
      const { loss, accuracy, examples, optimizerState, firstLoss } = output
      await exchange.tellEnd({
        weights: { ...weights },
        optimizerState: { ...optimizerState },
        loss,
        firstLoss,
        examples,
        ...(accuracy !== undefined && { accuracy }),
      })
      return output
    } catch (error) {
      if (exchange.end === null || signal.aborted) throw error
      return endedElsewhere(work, exchange.end, moved)
    }
  }

  /** Makes the weights from those of the round before, where they are here: the delta alone is brought. */
  async #follow({ weights, follows }: RoundWork, moved: Moved): Promise<void> {
    if (follows === null || (await this.#cache.find(weights)) !== null) return
    const before = await this.#cache.find(follows.weights)
    if (before === null) return
    const update = await this.#services.blobs.bytes(follows.update)
    moved.exchangeBytes += update.byteLength
    const made = this.#services.kernels.followWeights(await readFile(before.path), update)
    // What is not what the reducer made is brought whole instead.
    if (createHash('sha256').update(made).digest('hex') !== weights) return
    const path = join(this.#services.cacheDir, `making-${randomUUID()}`)
    await writeFile(path, made)
    await this.#cache.adopt(path, weights)
  }

  #lend<Result>(
    { weights, optimizerState, recipe }: RoundWork,
    moved: Moved,
    use: (files: readonly CachedFile[]) => Promise<Result>,
  ): Promise<Result> {
    const hashes = optimizerState === null ? [weights] : [weights, optimizerState]
    return this.#cache.lend(hashes, use, (sha256, sizeBytes) => {
      if (sha256 === weights && recipe.strategy.kind === 'diloco') moved.exchangeBytes += sizeBytes
      else moved.stateBytes += sizeBytes
    })
  }

  async #output(work: RoundWork, result: RoundFiles, weights: Blob, moved: Moved): Promise<RoundOutput> {
    const { loss, accuracy, examples, firstLoss } = result.metrics
    const optimizerState = await this.#store(result.optimizerState, 'keep')
    moved.stateBytes += optimizerState.sizeBytes
    const { round, replica } = work
    return {
      kind: 'round',
      round,
      replica,
      weights,
      optimizerState,
      kernelMs: result.kernelMs,
      moved,
      loss,
      firstLoss,
      ...(accuracy !== undefined && { accuracy }),
      examples,
    }
  }

  /** Into the blob store; what the next round is likely to need stays here too. */
  async #store({ path, sha256 }: OutputFile, then: 'keep' | 'leave'): Promise<Blob> {
    const ref = await this.#services.blobs.put({ path }, { sha256 })
    if (then === 'keep') await this.#cache.adopt(path, sha256)
    else await rm(path, { force: true })
    return { sha256: ref.sha256, sizeBytes: ref.sizeBytes }
  }
}

/** What is computed, by its inputs: whoever has the same comes to the same end. */
function windowOf({ weights, optimizerState, stepStart, steps, rateFactor }: RoundWork): string {
  return [weights.slice(0, 16), optimizerState?.slice(0, 16) ?? '', stepStart, steps, rateFactor].join('.')
}

function endedElsewhere({ round, replica }: RoundWork, end: WindowEnd, moved: Moved): RoundOutput {
  // Written by #together of another member, of the same version.
  const output = end as unknown as Pick<RoundOutput, 'weights' | 'optimizerState' | 'loss' | 'firstLoss' | 'examples'>
  return { kind: 'round', round, replica, ...output, kernelMs: 0, moved }
}

function requestOf(
  work: RoundWork,
  { model, data }: RoundSurroundings,
  [weights, optimizerState]: readonly CachedFile[],
) {
  if (weights === undefined) throw new TypeError('lend gives a file for each hash')
  const { recipe, replica, steps: localSteps, stepStart } = work
  const { optimizer, ...common } = trainSettings(recipe)
  const settings: TrainSettings = {
    ...common,
    optimizer: { ...optimizer, learningRate: optimizer.learningRate * work.rateFactor },
    ...(work.lossLimit !== null && { lossLimit: work.lossLimit }),
    replica,
    localSteps,
    stepStart,
  }
  return { model, weights, ...(optimizerState !== undefined && { optimizerState }), data, settings }
}

/** What a recipe says, in the kernels' words. */
function trainSettings(recipe: Recipe): Omit<TrainSettings, 'replica' | 'localSteps' | 'stepStart'> {
  const { seed, batchSizes, loss, labelSmoothing, classWeights, clip, strategy } = recipe
  return {
    seed,
    batchSizes,
    loss,
    labelSmoothing,
    ...(classWeights !== null && { classWeights }),
    optimizer: optimizerSettings(recipe),
    ...(clip !== null && { clip }),
    ...(strategy.kind === 'diloco' && { precision: strategy.precision }),
  }
}

/** A spec's `sgd` with a momentum is the kernels' `momentum`. */
function optimizerSettings({ optimizer, schedule }: Recipe): OptimizerSettings {
  if (optimizer.kind !== 'sgd') return { ...optimizer, schedule }
  const { learningRate, momentum, nesterov } = optimizer
  if (momentum === 0) return { kind: 'sgd', learningRate, schedule }
  return { kind: 'momentum', learningRate, momentum, nesterov, schedule }
}
