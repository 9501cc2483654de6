/**
 * The losses, each twice: as tensor operations, whose gradient trains the model, and in float64 over plain arrays, for
 * evaluation. Both take a model's outputs as probabilities where the loss is a cross-entropy (`check.ts` refuses a
 * model that ends otherwise) and average over the rows of a batch.
 */
import type { Scalar, Tensor } from '@tensorflow/tfjs-core'
import type { TargetSpec } from './data/column.ts'
import { targetElements } from './data/column.ts'
import type { Tf } from './tfjs.ts'

export const LOSSES = ['sparseCategoricalCrossentropy', 'categoricalCrossentropy', 'binaryCrossentropy', 'meanSquaredError', 'meanAbsoluteError', 'huber'] as const // prettier-ignore

export type LossName = (typeof LOSSES)[number]

/** What training minimises. Evaluation measures the plain loss: without smoothing and weights. */
export interface Objective {
  loss: LossName
  /** Takes this share from the true class and spreads it over all (Szegedy et al. 2015, 1512.00567). */
  labelSmoothing?: number
  /** By class: what an example's loss is multiplied by. */
  classWeights?: readonly number[]
}

/** Keras's epsilon: keeps the logarithm finite. A probability below it has no gradient. */
const EPSILON = 1e-7

/** What the outputs are compared with: one-hot rows for classes, the values themselves otherwise. */
export function expectedOutputs(
  targets: Float32Array,
  rows: number,
  target: TargetSpec,
  { loss, labelSmoothing = 0 }: Objective,
): Float32Array {
  if (loss === 'binaryCrossentropy') {
    return labelSmoothing === 0 ? targets : targets.map((y) => y * (1 - labelSmoothing) + labelSmoothing / 2)
  }
  if (target.kind !== 'class') return targets
  const { classes } = target
  const expected = new Float32Array(rows * classes).fill(labelSmoothing / classes)
  for (let row = 0; row < rows; row++) expected[row * classes + (targets[row] ?? 0)]! += 1 - labelSmoothing
  return expected
}

/** Elements of one row of what `expectedOutputs` gives. */
export function expectedElements(target: TargetSpec, loss: LossName): number {
  return target.kind === 'class' && loss !== 'binaryCrossentropy' ? target.classes : targetElements(target)
}

/** The weight of each row, by its class; undefined where all count alike. */
export function rowWeights(targets: Float32Array, { classWeights }: Objective): Float32Array | undefined {
  return classWeights && targets.map((target) => classWeights[target] ?? 1)
}

/** The mean loss of a batch; `outputs` and `expected` are [rows, width], `weights` [rows, 1]. */
export function lossTensor(tf: Tf, loss: LossName, outputs: Tensor, expected: Tensor, weights?: Tensor): Scalar {
  if (isCrossEntropy(loss)) return crossEntropy(tf, outputs, weights ? tf.mul(expected, weights) : expected)
  const elements = lossElements(tf, loss, outputs, expected)
  return tf.mean(weights ? tf.mul(elements, weights) : elements)
}

/**
 * −Σ expected · log(outputs) over the rows. Its gradient, −expected / outputs, is written out: the one that tfjs composes
 * takes two dozen operations on tensors so small that each costs more to call than to compute.
 */
function crossEntropy(tf: Tf, outputs: Tensor, expected: Tensor): Scalar {
  const share = tf.mul(expected, -1 / (outputs.shape[0] ?? 1))
  const entropy = tf.customGrad<Scalar>((_outputs, save) => {
    const cut = tf.maximum(outputs, EPSILON)
    // tfjs types the function that it gives like the tensors before it.
    ;(save as unknown as (tensors: Tensor[]) => void)([outputs, cut, share])
    return { value: tf.sum(tf.mul(share, tf.log(cut))), gradFunc: entropyGradient }
  })
  return entropy(outputs)

  function entropyGradient(dy: Tensor, [p, cut, part]: Tensor[]): Tensor {
    if (!p || !cut || !part) throw new Error('What was saved for the gradient is gone')
    return tf.mul(tf.mul(dy, tf.div(part, cut)), tf.cast(tf.greaterEqual(p, EPSILON), 'float32'))
  }
}

/** [rows, width]. */
function lossElements(tf: Tf, loss: Exclude<LossName, CrossEntropy>, outputs: Tensor, expected: Tensor): Tensor {
  switch (loss) {
    case 'binaryCrossentropy': {
      const clipped = tf.clipByValue(outputs, EPSILON, 1 - EPSILON)
      const hit = tf.mul(expected, tf.log(clipped))
      const miss = tf.mul(tf.sub(1, expected), tf.log(tf.sub(1, clipped)))
      return tf.neg(tf.add(hit, miss))
    }
    case 'meanSquaredError': {
      // Not squaredDifference: its gradient on the wasm back end casts, this one multiplies.
      const difference = tf.sub(outputs, expected)
      return tf.mul(difference, difference)
    }
    case 'meanAbsoluteError':
      return tf.abs(tf.sub(outputs, expected))
    case 'huber': {
      // Squares up to 1, lines beyond (Huber 1964): q (d − q / 2), with q the difference d cut at ±1.
      const difference = tf.sub(outputs, expected)
      const cut = tf.clipByValue(difference, -1, 1)
      return tf.mul(cut, tf.sub(difference, tf.mul(cut, 0.5)))
    }
  }
}

type CrossEntropy = 'sparseCategoricalCrossentropy' | 'categoricalCrossentropy'

function isCrossEntropy(loss: LossName): loss is CrossEntropy {
  return loss === 'sparseCategoricalCrossentropy' || loss === 'categoricalCrossentropy'
}

/** The sum over rows of each row's loss, in float64. */
export function lossSum(loss: LossName, outputs: Float32Array, expected: Float32Array, rows: number): number {
  const width = outputs.length / rows
  let sum = 0
  for (let i = 0; i < outputs.length; i++) {
    const p = outputs[i] ?? 0
    const y = expected[i] ?? 0
    if (isCrossEntropy(loss)) {
      if (y !== 0) sum -= y * Math.log(Math.max(p, EPSILON))
    } else if (loss === 'binaryCrossentropy') {
      const clipped = Math.min(Math.max(p, EPSILON), 1 - EPSILON)
      sum -= (y * Math.log(clipped) + (1 - y) * Math.log(1 - clipped)) / width
    } else if (loss === 'meanSquaredError') {
      sum += ((p - y) * (p - y)) / width
    } else if (loss === 'meanAbsoluteError') {
      sum += Math.abs(p - y) / width
    } else {
      const cut = Math.min(1, Math.max(-1, p - y))
      sum += (cut * (p - y - cut / 2)) / width
    }
  }
  return sum
}

/** The class that each row of outputs says: the largest probability, or the side of one half for a single unit. */
export function predictedClasses(outputs: Float32Array, rows: number): Int32Array {
  const width = outputs.length / rows
  const classes = new Int32Array(rows)
  for (let row = 0; row < rows; row++) {
    if (width === 1) {
      classes[row] = (outputs[row] ?? 0) > 0.5 ? 1 : 0
      continue
    }
    let best = 0
    for (let k = 1; k < width; k++) if ((outputs[row * width + k] ?? 0) > (outputs[row * width + best] ?? 0)) best = k
    classes[row] = best
  }
  return classes
}

export function countCorrect(outputs: Float32Array, targets: Float32Array, rows: number): number {
  const classes = predictedClasses(outputs, rows)
  let correct = 0
  for (let row = 0; row < rows; row++) if (classes[row] === targets[row]) correct++
  return correct
}
