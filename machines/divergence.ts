/**
 * What becomes of a training whose loss is no number any more, or has exploded. The tasks find it (kernels/step.ts) and
 * fail with the step and the replica; here it is decided whether the job goes on from its last good checkpoint with a
 * lower learning rate, as its spec may say, or ends with that checkpoint named.
 */
import type { Fault } from './fault.ts'
import type { TrainingContext } from './training.ts'

const CODES: ReadonlySet<string> = new Set(['loss.not-finite', 'loss.exploded'])

export function isDivergence({ code }: Fault): boolean {
  return CODES.has(code)
}

export function mayRestart({ spec, generation, checkpoints }: TrainingContext, fault: Fault): boolean {
  const { restart, times } = spec.train.onDivergence
  return isDivergence(fault) && restart && generation < times && checkpoints.length > 0
}

/** Back to the last checkpoint, with a lower rate: all tasks from there on are new ones. */
export function restarted({ spec, generation, rateFactor }: TrainingContext): Partial<TrainingContext> {
  const { factor } = spec.train.onDivergence
  return { generation: generation + 1, rateFactor: rateFactor * factor, results: [], reduced: null }
}

/** A loss above this has exploded; null before the first one is known. */
export function lossLimitOf({ spec, firstLoss }: TrainingContext): number | null {
  // A training that starts from almost nothing may well rise a little.
  return firstLoss === null ? null : Math.max(firstLoss, LOSS_FLOOR) * spec.train.onDivergence.lossFactor
}

const LOSS_FLOOR = 0.01

/** The fault as the job tells it: with the checkpoint from which a person may go on. */
export function withCheckpointNamed(context: TrainingContext, fault: Fault): Fault {
  const checkpoint = context.checkpoints.at(-1)
  if (!isDivergence(fault) || checkpoint === undefined) return fault
  const { round, step, weights } = checkpoint
  const tried = context.generation === 0 ? '' : ` (after ${context.generation} restarts with a lower rate)`
  return {
    ...fault,
    message: `${fault.message}${tried}. The last good checkpoint is that of round ${round}, after step ${step}`,
    data: { ...fault.data, checkpoint: { round, step, weights: weights.sha256 } },
  }
}
