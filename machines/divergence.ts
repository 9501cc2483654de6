/**
 * What becomes of a training whose loss is no number any more, or has exploded. The tasks find it (kernels/step.ts) and
 * fail with the step and the replica; here it is decided whether the job goes on from its last good checkpoint with a
 * lower learning rate, as its spec may say, or ends with that checkpoint named.
 */
import type { Fault } from './fault.ts'
import type { Checkpoint, TrainingContext } from './training.ts'

const CODES: ReadonlySet<string> = new Set(['loss.not-finite', 'loss.exploded'])

export function isDivergence({ code }: Fault): boolean {
  return CODES.has(code)
}

export function mayRestart({ spec, generation, checkpoints }: TrainingContext, fault: Fault): boolean {
  const { restart, times } = spec.train.onDivergence
  return isDivergence(fault) && restart && generation < times && checkpoints.length > 0
}

/** Back to the last good checkpoint, with a lower rate: all tasks from there on are new ones. */
export function restarted({ spec, generation, rateFactor }: TrainingContext): Partial<TrainingContext> {
  const { factor } = spec.train.onDivergence
  return { generation: generation + 1, rateFactor: rateFactor * factor, results: [], reduced: null }
}

/**
 * The checkpoints that are good after a divergence. The loss of a round's first step is that of the checkpoint itself:
 * where it went wrong there, the steps before had ruined the weights already, and one goes on from the checkpoint before.
 */
export function goodCheckpoints(
  { checkpoints }: Pick<TrainingContext, 'checkpoints'>,
  fault: Fault,
): readonly Checkpoint[] {
  // prettier-ignore
  return isDivergence(fault) && fault.data?.['step'] === checkpoints.at(-1)?.step ? checkpoints.slice(0, -1) : checkpoints
}

/** What is kept of them; where none is good, the last one stays, for there is nothing else to begin from. */
export function withoutRuined(context: TrainingContext, fault: Fault): Pick<TrainingContext, 'checkpoints'> {
  const good = goodCheckpoints(context, fault)
  return { checkpoints: good.length === 0 ? context.checkpoints : good }
}

/** A loss above this has exploded; null before the first one is known. */
export function lossLimitOf({ spec, firstLoss }: TrainingContext): number | null {
  // A training that starts from almost nothing may well rise a little.
  return firstLoss === null ? null : Math.max(firstLoss, LOSS_FLOOR) * spec.train.onDivergence.lossFactor
}

const LOSS_FLOOR = 0.01

/** The fault as the job tells it: with the checkpoint from which a person may go on. */
export function withCheckpointNamed(context: TrainingContext, fault: Fault): Fault {
  if (!isDivergence(fault) || context.checkpoints.length === 0) return fault
  const checkpoint = goodCheckpoints(context, fault).at(-1)
  const tried = context.generation === 0 ? '' : ` (after ${context.generation} restarts with a lower rate)`
  if (checkpoint === undefined) {
    return { ...fault, message: `${fault.message}${tried}. No checkpoint from before is kept` }
  }
  const { round, step, weights } = checkpoint
  return {
    ...fault,
    message: `${fault.message}${tried}. The last good checkpoint is that of round ${round}, after step ${step}`,
    data: { ...fault.data, checkpoint: { round, step, weights: weights.sha256 } },
  }
}
