/**
 * What validation says of a training: which checkpoint is the best so far, whether it still gets better, and with which
 * weights it ends. Pure, as training.ts: the same measures lead to the same end.
 */
import { roundStepsOf } from './train-spec.ts'
import type { MetricSpec } from './train-spec.ts'
import type { Checkpoint, Evaluation, TrainingContext } from './training.ts'

const COSTS: ReadonlySet<MetricSpec> = new Set(['loss', 'mae', 'rmse'])

export function isCost(metric: MetricSpec): boolean {
  return COSTS.has(metric)
}

/** Whether the last checkpoint is to be measured: every so many rounds, where a sweep looks, and at the end. */
export function isValidationDue(context: TrainingContext): boolean {
  const { spec, plan, checkpoints, validatedRound, trial } = context
  const { validation } = spec.train
  const last = checkpoints.at(-1)
  if (validation === undefined || last === undefined || plan === null || plan.validationExamples === 0) return false
  if (last.round <= validatedRound) return false // a pause came after it
  return last.round % validation.everyRounds === 0 || last.round === trial?.until || last.step >= stepsOf(context)
}

export function withValidation(context: TrainingContext, validation: Evaluation): Partial<TrainingContext> {
  const { metric, minDelta } = context.spec.train.earlyStopping ?? { metric: 'loss' as const, minDelta: 0 }
  const checkpoint = context.checkpoints.at(-1)
  const value = validation[metric] ?? validation.loss
  const before = context.best?.value
  const gain = before === undefined ? Infinity : COSTS.has(metric) ? before - value : value - before
  const validated = { validation, validatedRound: checkpoint?.round ?? 0, results: [] }
  if (checkpoint === undefined || !(gain > minDelta)) return { ...validated, stale: context.stale + 1 }
  return { ...validated, best: { checkpoint, value, validation }, stale: 0 }
}

/** Steps of one replica from the beginning to the end: of all epochs, unless a sweep ends it before. */
export function stepsOf({ spec, plan, trial }: TrainingContext): number {
  return Math.min(plan?.steps ?? 0, (trial?.roundsMax ?? Infinity) * roundStepsOf(spec.train.strategy))
}

export function hasMoreRounds(context: TrainingContext): boolean {
  return !hasStalled(context) && (context.checkpoints.at(-1)?.step ?? 0) < stepsOf(context)
}

/** Whether it has not got better for as long as the spec has patience. */
export function hasStalled({ spec, stale }: TrainingContext): boolean {
  const { earlyStopping } = spec.train
  return earlyStopping !== undefined && stale >= earlyStopping.patience
}

/** The checkpoint that becomes the model: the best one where early stopping looks for it, else the last. */
export function finalCheckpoint({ id, spec, best, checkpoints }: TrainingContext): Checkpoint {
  const last = checkpoints.at(-1)
  const chosen = spec.train.earlyStopping === undefined ? last : (best?.checkpoint ?? last)
  if (chosen === undefined) throw new Error(`Job ${id} ends without a checkpoint`)
  return chosen
}

/** What validation said of that checkpoint; null where it was not measured. */
export function finalValidation(context: TrainingContext): Evaluation | null {
  const { best, validation, validatedRound } = context
  const { round } = finalCheckpoint(context)
  if (best?.checkpoint.round === round) return best.validation
  return validatedRound === round ? validation : null
}
