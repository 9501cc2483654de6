/**
 * One replica's round: H local steps from the global weights. A pure function of (model, weights, optimiser state,
 * data slice from (seed, epoch, replica), steps): the same inputs give the same bytes on every machine of one numerics
 * fingerprint, whatever ran in the process before. That is what lets any task be run again anywhere.
 *
 * Invariants:
 * 1. Nothing survives a round but its outputs: weights, optimiser state and seeds are written at its start.
 * 2. Randomness derives from (seed, step, replica, layer), never from a generator's position.
 * 3. The optimiser works in plain arithmetic outside of tfjs; tfjs gives gradients only.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Scalar, Tensor, Variable } from '@tensorflow/tfjs-core'
import { assign, readWeights, single, values, writeWeights } from './compiled.ts'
import type { CompiledModel, ModelWeight } from './compiled.ts'
import type { Batch, Dataset } from './data/dataset.ts'
import { dataOrder } from './data/order.ts'
import type { PreprocessStep } from './data/preprocess.ts'
import { KernelError } from './errors.ts'
import { BATCH_SIZE_MAX, LOCAL_STEPS_MAX, REPLICAS_MAX } from './limits.ts'
import { countCorrect, expectedElements, expectedOutputs, lossTensor } from './loss.ts'
import type { LossName } from './loss.ts'
import { createOptimizer } from './optimizer.ts'
import type { OptimizerSettings, Parameter } from './optimizer.ts'
import { deriveSeed } from './random.ts'

export interface TrainSettings {
  replicas: number
  replica: number
  seed: number
  batchSize: number
  /** Steps of this round. */
  localSteps: number
  /** The replica's global step at which the round starts. */
  stepStart: number
  loss: LossName
  optimizer: OptimizerSettings
  preprocess: PreprocessStep[]
}

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
  loss: number
  accuracy?: number
  examples: number
  steps: number
}

export interface RoundResult {
  weights: Uint8Array
  optimizerState: Uint8Array
  metrics: RoundMetrics
  /** Time inside tfjs, and of the whole round. */
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
  const parameters: Parameter[] = await Promise.all(
    trainable.map(async ({ name, shape, variable }) => ({ name, shape, values: (await values(variable)).slice() })),
  )
  const optimizer = createOptimizer(settings.optimizer, parameters, optimizerState)
  const order = dataOrder({ ...settings, count: dataset.count })
  const classifies = dataset.target.kind === 'class'
  let kernelMs = 0
  let lossTotal = 0
  let correct = 0
  let examples = 0
  for (let done = 0; done < settings.localSteps; done++) {
    signal?.throwIfAborted()
    const step = settings.stepStart + done
    const batch = dataset.read(order.rowsAt(step), settings.preprocess)
    compiled.seedDropout(deriveSeed(settings.seed, 'step', step, settings.replica))
    const kernelStart = performance.now()
    const outcome = await gradientsOf(compiled, trainable, batch, dataset, settings.loss)
    kernelMs += performance.now() - kernelStart
    if (!Number.isFinite(outcome.loss)) {
      throw notFinite(`The loss, ${outcome.loss},`, step, settings)
    }
    optimizer.apply(parameters, outcome.gradients, step)
    const writeStart = performance.now()
    for (const [i, weight] of trainable.entries()) assign(compiled.backend.tf, weight, parameters[i]!.values)
    kernelMs += performance.now() - writeStart
    const right = classifies ? countCorrect(outcome.outputs, batch.targets, batch.rows) : undefined
    lossTotal += outcome.loss
    correct += right ?? 0
    examples += batch.rows
    onStep?.({ step: done + 1, steps: settings.localSteps, loss: outcome.loss, correct: right, rows: batch.rows })
    // Messages (a cancellation, for one) are taken between steps.
    await nextTurn()
  }
  signal?.throwIfAborted()
  const broken = parameters.find((parameter) => !parameter.values.every((value) => Number.isFinite(value)))
  if (broken) throw notFinite(`A value of ${broken.name}`, settings.stepStart + settings.localSteps - 1, settings)
  const metrics: RoundMetrics = { loss: lossTotal / settings.localSteps, examples, steps: settings.localSteps }
  if (classifies) metrics.accuracy = correct / examples
  return {
    weights: await readWeights(compiled),
    optimizerState: optimizer.encodeState(),
    metrics,
    kernelMs,
    wallMs: performance.now() - wallStart,
  }
}

export interface Gradients {
  loss: number
  /** The model's outputs in training mode, row after row. */
  outputs: Float32Array
  /** By weight name; a weight without influence on the loss has none. */
  gradients: Map<string, Float32Array>
}

/** Loss and gradients of one batch. Moving statistics of normalisation layers move as a side effect. */
export async function gradientsOf(
  compiled: CompiledModel,
  trainable: readonly ModelWeight[],
  batch: Batch,
  { target }: Pick<Dataset, 'target'>,
  loss: LossName,
): Promise<Gradients> {
  const { backend, model, plan } = compiled
  const { tf } = backend
  // Not tf.tidy: its result must be tensors. The scope frees all but what is read out of it below.
  tf.engine().startScope('gradients')
  try {
    const x = tf.tensor(batch.features, [batch.rows, ...plan.inputShape], 'float32')
    const expected = expectedOutputs(batch.targets, batch.rows, target, loss)
    let outputs: Tensor | undefined
    const variables: Variable[] = trainable.map(({ variable }) => variable)
    const { value, grads } = tf.variableGrads(() => {
      outputs = single(model.apply(x, { training: true }))
      // A value target of one number may have shape []; the outputs then have shape [1].
      const y = tf.tensor(expected, [batch.rows, expectedElements(target, loss)], 'float32')
      const flat = tf.reshape(outputs, [batch.rows, -1])
      const penalties = model.calculateLosses()
      const base = lossTensor(tf, loss, flat, y)
      tf.keep(outputs)
      return penalties.length === 0 ? base : (tf.addN([base, ...penalties]) as Scalar)
    }, variables)
    const read = trainable.map(async ({ name, variable }) => {
      const gradient = grads[variable.name]
      return gradient ? ([name, await values(gradient)] as const) : null
    })
    // All at once: a GPU is waited for a single time.
    const [shown, [lossValue = Number.NaN], ...pairs] = await Promise.all([
      outputs ? values(outputs) : new Float32Array(0),
      values(value),
      ...read,
    ])
    const gradients = new Map(pairs.filter((pair) => pair !== null))
    outputs?.dispose()
    // Clipping hides NaN outputs from the loss on some back ends: they count as a loss that is none.
    const sound = shown.every((output) => Number.isFinite(output))
    return { loss: sound ? lossValue : Number.NaN, outputs: shown, gradients }
  } finally {
    tf.engine().endScope()
  }
}

function notFinite(what: string, step: number, { replica }: TrainSettings): KernelError {
  const message = `${what} is no finite number at step ${step} of replica ${replica}: lower the learning rate`
  return new KernelError('loss.not-finite', message, { step, replica })
}

function checkSettings({ replicas, replica, batchSize, localSteps, stepStart, optimizer }: TrainSettings): void {
  if (!(optimizer.learningRate > 0 && Number.isFinite(optimizer.learningRate))) {
    throw new KernelError(
      'request.invalid',
      `settings.optimizer.learningRate: expected a positive number, found ${optimizer.learningRate}`,
    )
  }
  whole('replicas', replicas, 1, REPLICAS_MAX)
  whole('replica', replica, 0, replicas - 1)
  whole('batchSize', batchSize, 1, BATCH_SIZE_MAX)
  whole('localSteps', localSteps, 1, LOCAL_STEPS_MAX)
  whole('stepStart', stepStart, 0, Number.MAX_SAFE_INTEGER)
}

function whole(name: string, value: number, min: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return
  throw new KernelError(
    'request.invalid',
    `settings.${name}: expected a whole number from ${min} to ${max}, found ${value}`,
  )
}
