/**
 * A job as a trial of a sweep (sweep.ts): an ordinary job that says to its sweep how it fares, waits at the rounds that
 * the sweep has set, and registers no model, since of all trials at most one becomes one.
 *
 * One that is not let go on has been *stopped*: that is neither a failure nor somebody's wish to cancel it.
 *
 * Invariant: a trial waits exactly after the round `until`, with that round measured, and goes on when the sweep says how
 * far. It is a pause like any other, so that a trial that waited computes what one that did not would have.
 */
import { sweepAddress } from './address.ts'
import type { Fault } from './fault.ts'
import { hasMoreRounds, stepsOf } from './judgement.ts'
import type { MetricSpec } from './train-spec.ts'
import { finished } from './results.ts'
import type { FinishedTraining, TrainingContext } from './training.ts'
import type { Tell } from './vocabulary.ts'

export interface TrialOf {
  readonly sweep: string
  readonly trial: number
  /** What the sweep compares its trials by. */
  readonly metric: MetricSpec
  /** The round after which it waits for the sweep's word; null when it may go to its end. */
  readonly until: number | null
  /** Its last round, where that comes before the end of its epochs. */
  readonly roundsMax: number | null
}

/** How far a trial is, and how good. */
export interface TrialStanding {
  readonly round: number
  readonly step: number
  /** Of them all, from the beginning to its end; 0 as long as that is not known. */
  readonly steps: number
  /** By the sweep's metric; null as long as it was not measured. */
  readonly value: number | null
}

export type TrialReport = TrialStanding & {
  readonly type: 'trial.reported'
  readonly trial: number
  readonly isPaused: boolean
}

/** What a trial leaves to its sweep when it has ended. */
export interface TrialEnd extends TrialStanding {
  readonly fault: Fault | null
  /** What a model can be registered of; null of a trial that was not trained to its end. */
  readonly training: FinishedTraining | null
}

/** Whether it is where its sweep wants to decide, and has more to do. */
export function isAtRung(context: TrainingContext): boolean {
  const until = context.trial?.until ?? null
  const last = context.checkpoints.at(-1)
  return until !== null && last !== undefined && last.round >= until && hasMoreRounds(context)
}

export function trialReport(context: TrainingContext, isPaused: boolean): readonly Tell[] {
  const { trial } = context
  if (trial === undefined) return []
  const event: TrialReport = { type: 'trial.reported', trial: trial.trial, isPaused, ...standing(context) }
  return [{ to: sweepAddress(trial.sweep), event }]
}

export function trialEnd(context: TrainingContext, fault: Fault | null, isConcluded: boolean): TrialEnd {
  return { ...standing(context), fault, training: isConcluded ? finished(context) : null }
}

function standing(context: TrainingContext): TrialStanding {
  const last = context.checkpoints.at(-1)
  return { round: last?.round ?? 0, step: last?.step ?? 0, steps: stepsOf(context), value: valueOf(context) }
}

/** Of the model that it would give now: on the validation split where it is measured there, else the last round's means. */
function valueOf(context: TrainingContext): number | null {
  const { trial, spec, best, validation, metrics } = context
  if (trial === undefined) return null
  if (spec.train.validation === undefined) return (trial.metric === 'loss' || trial.metric === 'accuracy' ? metrics?.[trial.metric] : undefined) ?? null // prettier-ignore
  // Early stopping looks at the sweep's metric (admission sees to it), and takes the best checkpoint.
  if (spec.train.earlyStopping !== undefined && best !== null) return best.value
  return validation?.[trial.metric] ?? null
}
