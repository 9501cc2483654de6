/**
 * One replica's round on its own: H local steps from the global weights, each applied at once. A pure function of
 * (model, weights, optimiser state, data slice from (seed, epoch, replica), steps): the same inputs give the same bytes
 * on every machine of one numerics fingerprint, whatever ran in the process before. That is what lets any task be run
 * again anywhere.
 *
 * Invariants:
 * 1. Nothing survives a round but its outputs: weights, optimiser state and seeds are written at its start.
 * 2. Randomness derives from (seed, step, replica, layer), never from a generator's position.
 * 3. The optimiser works in plain arithmetic outside of tfjs; tfjs gives gradients only.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { clipGradients } from './clip.ts'
import { assign, readWeights, values, writeWeights } from './compiled.ts'
import type { CompiledModel } from './compiled.ts'
import type { Dataset } from './data/dataset.ts'
import { dataOrder } from './data/order.ts'
import { encodeDelta, floatsOf } from './delta.ts'
import type { DeltaPrecision, EncodedDelta } from './delta.ts'
import { createOptimizer } from './optimizer.ts'
import type { Parameter } from './optimizer.ts'
import { decodeTensors } from './safetensors.ts'
import { checkSettings, diverged, leafOf } from './step.ts'
import type { TrainSettings } from './step.ts'

export interface Progress {
  /** Steps of this round that are done. */
  step: number
  steps: number
  /** Means since the last report. */
  loss: number
  accuracy?: number
  /** Examples of this round so far. */
  examples: number
}

export interface RoundMetrics {
  /** Means over the round's steps and examples. */
  loss: number
  accuracy?: number
  examples: number
  steps: number
  /** Of the round's first step: what a later loss is measured by when it is asked whether it has exploded. */
  firstLoss: number
}

export interface RoundResult {
  /** Whole, or the delta to those at the start where a precision below float32 is asked for. */
  weights: Uint8Array
  /** The replica's own: its optimiser, and what its deltas have not said yet. */
  optimizerState: Uint8Array
  metrics: RoundMetrics
  /** Time in which steps were computed, and of the whole round. */
  kernelMs: number
  wallMs: number
}

export interface RoundOptions {
  signal?: AbortSignal
  /** Called after every step; the callee decides what to pass on. */
  onStep?: (step: StepReport) => void
}

export interface StepReport {
  step: number
  steps: number
  loss: number
  correct: number | undefined
  rows: number
}

export async function trainRound(
  compiled: CompiledModel,
  weights: Uint8Array,
  optimizerState: Uint8Array | undefined,
  dataset: Dataset,
  settings: TrainSettings,
  { signal, onStep }: RoundOptions = {},
): Promise<RoundResult> {
  checkSettings(settings)
  const wallStart = performance.now()
  writeWeights(compiled, weights)
  const trainable = compiled.weights.filter((weight) => weight.trainable)
  const parameters = await parametersOf(compiled)
  const optimizer = createOptimizer(settings.optimizer, parameters, optimizerState)
  const order = dataOrder(dataset, settings)
  const tally = new Tally()
  let kernelMs = 0
  for (let done = 0; done < settings.localSteps; done++) {
    signal?.throwIfAborted()
    const step = settings.stepStart + done
    const kernelStart = performance.now()
    const leaf = await leafOf(compiled, trainable, dataset, order, settings, step)
    optimizer.apply(parameters, clipGradients(leaf.gradients, settings.clip), step)
    for (const [i, weight] of trainable.entries()) assign(compiled.backend.tf, weight, parameters[i]!.values)
    kernelMs += performance.now() - kernelStart
    tally.add(leaf)
    onStep?.({
      step: done + 1,
      steps: settings.localSteps,
      loss: leaf.loss,
      correct: leaf.correct,
      rows: leaf.rows,
    })
    // Messages (a cancellation, for one) are taken between steps.
    await nextTurn()
  }
  signal?.throwIfAborted()
  assertFinite(parameters, settings)
  const ended = await readWeights(compiled)
  const { precision = 'float32' } = settings
  const sent =
    precision === 'float32' ? { bytes: ended, error: [] } : deltaOf(precision, weights, ended, optimizerState)
  return {
    weights: sent.bytes,
    optimizerState: optimizer.encodeState(sent.error.map((tensor) => ({ ...tensor, name: ERROR + tensor.name }))),
    metrics: tally.metrics(),
    kernelMs,
    wallMs: performance.now() - wallStart,
  }
}

const ERROR = 'error/'

function deltaOf(
  precision: Exclude<DeltaPrecision, 'float32'>,
  started: Uint8Array,
  ended: Uint8Array,
  state: Uint8Array | undefined,
): EncodedDelta {
  const start = floatsOf(decodeTensors(started).tensors, 'the weights at the start')
  const end = floatsOf(decodeTensors(ended).tensors, 'the weights at the end', start)
  const kept = state ? decodeTensors(state).tensors.filter(({ name }) => name.startsWith(ERROR)) : []
  const error = kept.map((tensor) => ({ ...tensor, name: tensor.name.slice(ERROR.length) }))
  return encodeDelta(precision, start, end, error.length === 0 ? undefined : floatsOf(error, 'the state', start))
}

/** The trainable weights as the optimiser takes them: copies, in the order of the plan. */
export async function parametersOf({ weights }: CompiledModel): Promise<Parameter[]> {
  const trainable = weights.filter((weight) => weight.trainable)
  return await Promise.all(
    trainable.map(async ({ name, shape, variable }) => ({ name, shape, values: (await values(variable)).slice() })),
  )
}

/** Weights that are no numbers would be found by the next round only, under another name. */
export function assertFinite(parameters: readonly Parameter[], settings: TrainSettings): void {
  const broken = parameters.find((parameter) => !parameter.values.every((value) => Number.isFinite(value)))
  if (broken) throw diverged(`A value of ${broken.name}`, settings.stepStart + settings.localSteps - 1, settings)
}

/** Adds up what the steps of a round say. */
export class Tally {
  #steps = 0
  #loss = 0
  #firstLoss = 0
  #examples = 0
  #correct: number | undefined

  add({ loss, correct, rows }: { loss: number; correct?: number; rows: number }): void {
    if (this.#steps === 0) this.#firstLoss = loss
    this.#steps += 1
    this.#loss += loss
    this.#examples += rows
    if (correct !== undefined) this.#correct = (this.#correct ?? 0) + correct
  }

  /** All of it, for who goes on with the sums. */
  state(): Float64Array {
    return Float64Array.of(this.#steps, this.#loss, this.#firstLoss, this.#examples, this.#correct ?? -1)
  }

  static of([steps = 0, loss = 0, firstLoss = 0, examples = 0, correct = -1]: Iterable<number>): Tally {
    const tally = new Tally()
    tally.#steps = steps
    tally.#loss = loss
    tally.#firstLoss = firstLoss
    tally.#examples = examples
    if (correct >= 0) tally.#correct = correct
    return tally
  }

  metrics(): RoundMetrics {
    return {
      loss: this.#loss / this.#steps,
      ...(this.#correct !== undefined && { accuracy: this.#correct / this.#examples }),
      examples: this.#examples,
      steps: this.#steps,
      firstLoss: this.#firstLoss,
    }
  }
}
