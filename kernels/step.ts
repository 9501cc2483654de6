/**
 * One step of one replica: the rows that it sees, the gradient of the loss over them, and what the moving statistics of
 * normalisation layers become. It is a pure function of (weights, seed, step, replica): whoever computes it, gets it.
 * What follows from it is decided elsewhere: a replica that goes on its own applies it at once (`round.ts`), replicas
 * that go together average it first (`sync.ts`).
 */
import type { Scalar, Tensor, Variable } from '@tensorflow/tfjs-core'
import type { ClipSettings } from './clip.ts'
import { single, values } from './compiled.ts'
import type { CompiledModel, ModelWeight } from './compiled.ts'
import type { Batch, Dataset } from './data/dataset.ts'
import type { DataOrder } from './data/order.ts'
import type { DeltaPrecision } from './delta.ts'
import { KernelError } from './errors.ts'
import { BATCH_SIZE_MAX, LOCAL_STEPS_MAX, REPLICAS_MAX } from './limits.ts'
import { countCorrect, expectedElements, expectedOutputs, lossTensor, rowWeights } from './loss.ts'
import type { Objective } from './loss.ts'
import type { OptimizerSettings } from './optimizer.ts'
import { deriveSeed } from './random.ts'

/** What all steps of a job have in common. */
export interface TrainSettings extends Objective {
  seed: number
  /** Rows of a step, of each replica: their number is the number of replicas. */
  batchSizes: readonly number[]
  replica: number
  /** Steps of this round. */
  localSteps: number
  /** The job's step at which the round starts. */
  stepStart: number
  optimizer: OptimizerSettings
  clip?: ClipSettings
  /** A loss above this counts as diverged, as one that is no number does. */
  lossLimit?: number
  /** How a replica that goes on its own tells where it came to. */
  precision?: DeltaPrecision
}

/** Loss and gradients of one batch. */
export interface Gradients {
  loss: number
  /** The model's outputs in training mode, row after row. */
  outputs: Float32Array
  /** By weight name; a weight without influence on the loss has none. */
  gradients: Map<string, Float32Array>
}

/** What one replica finds out in one step. */
export interface Leaf {
  loss: number
  /** Classification only. */
  correct?: number
  rows: number
  gradients: Map<string, Float32Array>
}

/** Gives the leaf of one step; the moving statistics in the model's own variables move with it. */
export async function leafOf(
  compiled: CompiledModel,
  trainable: readonly ModelWeight[],
  dataset: Dataset,
  order: DataOrder,
  settings: TrainSettings,
  step: number,
): Promise<Leaf> {
  const batch = dataset.read(order.rowsAt(step), { seed: settings.seed, epoch: order.epochOf(step) })
  compiled.seedDropout(deriveSeed(settings.seed, 'step', step, settings.replica))
  const { loss, outputs, gradients } = await gradientsOf(compiled, trainable, batch, dataset, settings)
  if (!(loss <= (settings.lossLimit ?? Number.MAX_VALUE))) throw diverged(loss, step, settings)
  const leaf: Leaf = { loss, rows: batch.rows, gradients }
  if (dataset.target.kind === 'class') leaf.correct = countCorrect(outputs, batch.targets, batch.rows)
  return leaf
}

/** Loss and gradients of one batch. Moving statistics of normalisation layers move as a side effect. */
export async function gradientsOf(
  compiled: CompiledModel,
  trainable: readonly ModelWeight[],
  batch: Batch,
  { target }: Pick<Dataset, 'target'>,
  objective: Objective,
): Promise<Gradients> {
  const { backend, model, plan } = compiled
  const { tf } = backend
  const { loss } = objective
  // Not tf.tidy: its result must be tensors. The scope frees all but what is read out of it below.
  tf.engine().startScope('gradients')
  try {
    const x = tf.tensor(batch.features, [batch.rows, ...plan.inputShape], 'float32')
    const expected = expectedOutputs(batch.targets, batch.rows, target, objective)
    const weights = rowWeights(batch.targets, objective)
    let outputs: Tensor | undefined
    const variables: Variable[] = trainable.map(({ variable }) => variable)
    const { value, grads } = tf.variableGrads(() => {
      outputs = single(model.apply(x, { training: true }))
      // A value target of one number may have shape []; the outputs then have shape [1].
      const y = tf.tensor(expected, [batch.rows, expectedElements(target, loss)], 'float32')
      const flat = tf.reshape(outputs, [batch.rows, -1])
      const penalties = model.calculateLosses()
      const base = lossTensor(tf, loss, flat, y, weights && tf.tensor(weights, [batch.rows, 1], 'float32'))
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

/** The training went wrong: the step and the replica are named, so that a person can look. */
export function diverged(found: number | string, step: number, settings: TrainSettings): KernelError {
  const { replica, lossLimit } = settings
  const where = `at step ${step} of replica ${replica}`
  const data = { step, replica }
  if (typeof found === 'number' && Number.isFinite(found)) {
    const message = `The loss, ${found}, has exploded ${where} (its limit is ${lossLimit}): lower the learning rate`
    return new KernelError('loss.exploded', message, { ...data, loss: found, lossLimit })
  }
  const what = typeof found === 'number' ? `The loss, ${found},` : found
  return new KernelError('loss.not-finite', `${what} is no finite number ${where}: lower the learning rate`, data)
}

export function checkSettings({ batchSizes, replica, localSteps, stepStart, optimizer }: TrainSettings): void {
  if (!(optimizer.learningRate > 0 && Number.isFinite(optimizer.learningRate))) {
    throw new KernelError(
      'request.invalid',
      `settings.optimizer.learningRate: expected a positive number, found ${optimizer.learningRate}`,
    )
  }
  whole('batchSizes.length', batchSizes.length, 1, REPLICAS_MAX)
  for (const size of batchSizes) whole('batchSizes', size, 1, BATCH_SIZE_MAX)
  whole('replica', replica, 0, batchSizes.length - 1)
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
