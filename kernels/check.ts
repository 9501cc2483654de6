/**
 * Whether a model can be trained on a dataset: checked before anything is built or stored, in the node's process,
 * without tfjs, in about a millisecond. All problems are found at once, each with its path, what was expected and what
 * was found, so that a person repairs a spec in one go.
 */
import type { FeatureSpec, TargetSpec } from './data/column.ts'
import { problem } from './layer.ts'
import type { Problem, Shape } from './layer.ts'
import { LOSSES } from './loss.ts'
import type { LossName } from './loss.ts'
import { CLASSES_MAX } from './limits.ts'
import { METRICS, metricFits } from './metrics.ts'
import { planModel } from './plan.ts'
import type { ModelPlan, PlannedLayer } from './plan.ts'

export interface ModelCheck {
  model: unknown
  input: FeatureSpec
  target: TargetSpec
  loss: string
  labelSmoothing?: number
  classWeights?: readonly number[] | 'balanced'
  metrics?: readonly string[]
}

export function checkModel(check: ModelCheck): Problem[] {
  const { model, input, target, loss, metrics = [] } = check
  const { plan, problems } = planModel(model, input)
  const known = isLoss(loss)
  if (!known) problems.push(problem('loss', `one of ${LOSSES.join(', ')}`, loss))
  for (const [i, metric] of metrics.entries()) {
    const name = METRICS.find((each) => each === metric)
    if (!name || !metricFits(name, target)) {
      const fitting = METRICS.filter((each) => metricFits(each, target))
      problems.push(problem(`metrics[${i}]`, `one of ${fitting.join(', ')}`, metric))
    }
  }
  if (
    target.kind === 'class' &&
    !(Number.isSafeInteger(target.classes) && target.classes >= 2 && target.classes <= CLASSES_MAX)
  ) {
    problems.push(problem('target.classes', `a whole number from 2 to ${CLASSES_MAX}`, target.classes))
  } else if (plan && known) {
    checkOutput(plan, target, loss, problems)
  }
  checkClasses(check, problems)
  return problems
}

/** What is said by class needs classes. */
function checkClasses({ target, labelSmoothing = 0, classWeights }: ModelCheck, problems: Problem[]): void {
  if (target.kind === 'value') {
    if (labelSmoothing > 0) problems.push(problem('labelSmoothing', '0 (the target is no class)', labelSmoothing))
    if (classWeights) problems.push(problem('classWeights', 'none (the target is no class)', classWeights))
  } else if (classWeights && classWeights !== 'balanced' && classWeights.length !== target.classes) {
    problems.push(problem('classWeights', `${target.classes} weights, one per class of the dataset`, classWeights))
  }
}

export interface ModelDescription {
  parameters: number
  layers: number
  outputShape: Shape
  /** Names of the weights that no gradient moves: what `reduce` averages under every outer optimiser. */
  statistics: string[]
}

/** Size and outputs of a model, for who shows, budgets or reduces it; undefined for one with problems. */
export function describeModel(model: unknown, input: FeatureSpec): ModelDescription | undefined {
  const { plan } = planModel(model, input)
  if (!plan) return undefined
  const statistics = plan.weights.filter((weight) => !weight.trainable).map(({ name }) => name)
  return { parameters: plan.parameters, layers: plan.layers.length, outputShape: plan.outputShape, statistics }
}

function checkOutput(plan: ModelPlan, target: TargetSpec, loss: LossName, problems: Problem[]): void {
  const last = plan.layers[plan.output]
  if (!last) return
  const sizePath = 'units' in last.config ? `${last.path}.config.units` : last.path
  const shape = `[${plan.outputShape.join(', ')}]`
  if (target.kind === 'value') {
    if (isCategorical(loss)) problems.push(problem('loss', 'a loss of values (the target is no class)', loss))
    if (
      plan.outputShape.join() !== target.shape.join() &&
      !(elements(target.shape) === 1 && plan.outputShape.join() === '1')
    ) {
      problems.push(
        problem(sizePath, `an output of shape [${target.shape.join(', ')}], as the dataset's target`, shape),
      )
    }
    return
  }
  if (loss === 'binaryCrossentropy') {
    if (target.classes !== 2)
      problems.push(problem('loss', `sparseCategoricalCrossentropy for ${target.classes} classes`, loss))
    if (plan.outputShape.join() !== '1')
      problems.push(problem(sizePath, 'one output unit for binaryCrossentropy', shape))
    if (!endsIn(last, 'sigmoid', 'hard_sigmoid')) problems.push(activationProblem(last, 'sigmoid'))
    return
  }
  if (!isCategorical(loss)) {
    problems.push(problem('loss', 'sparseCategoricalCrossentropy for a class target', loss))
    return
  }
  if (plan.outputShape.join() !== String(target.classes)) {
    problems.push(problem(sizePath, `${target.classes} output units, one per class of the dataset`, shape))
  }
  if (!endsIn(last, 'softmax')) problems.push(activationProblem(last, 'softmax'))
}

function activationProblem(last: PlannedLayer, expected: string): Problem {
  return problem(
    `${last.path}.config.activation`,
    `${expected}, because the loss compares probabilities`,
    last.config['activation'] ?? last.className,
  )
}

function endsIn(last: PlannedLayer, ...names: string[]): boolean {
  return (
    names.includes(String(last.config['activation'])) || (last.className === 'Softmax' && names.includes('softmax'))
  )
}

function isCategorical(loss: LossName): boolean {
  return loss === 'sparseCategoricalCrossentropy' || loss === 'categoricalCrossentropy'
}

function isLoss(name: string): name is LossName {
  return LOSSES.some((loss) => loss === name)
}

function elements(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1)
}
