/** What people are shown of a sweep, from its snapshot: how far it is, and its trials with the best one first. */
import { trialId } from '../machines/address.ts'
import { expectedShare } from '../machines/asha.ts'
import { isCost } from '../machines/judgement.ts'
import { parametersOf, trialCount } from '../machines/search.ts'
import type { SweepContext, Trial } from '../machines/sweep.ts'
import type { SweepState, SweepView, TrialState, TrialView } from '../machines/sweep-spec.ts'
import type { ActorSnapshot } from '../runtime/mod.ts'
import { errorOf, lifeOf } from './view-parts.ts'

export function sweepView(snapshot: ActorSnapshot): SweepView {
  const context = snapshot.context as unknown as SweepContext // a snapshot of the kind `sweep`, at its version
  const { id, owner, spec, trials, best, model, fault } = context
  const count = (...states: readonly TrialState[]): number =>
    trials.filter(({ state }) => states.includes(state)).length
  return {
    id,
    kind: 'sweep',
    name: spec.name,
    state: snapshot.value as SweepState, // the chart has no nested states
    owner,
    spec,
    ...lifeOf(snapshot),
    progress: {
      trials: trialCount(spec),
      started: trials.length,
      running: count('running'),
      waiting: count('waiting'),
      completed: count('completed'),
      stopped: count('stopping', 'stopped'),
      failed: count('failed'),
      cancelled: count('cancelled'),
      steps: stepsDone(trials),
      stepsPlanned: stepsPlanned(context, snapshot.status !== 'active'),
    },
    leaderboard: leaderboard(context),
    ...(best !== null && {
      best: { trial: best.trial, job: trialId(id, best.trial), ...(best.value !== null && { value: best.value }) },
    }),
    ...(model !== null && { model }),
    ...errorOf(fault),
  }
}

function stepsDone(trials: readonly Trial[]): number {
  return trials.reduce((steps, { step }) => steps + step, 0)
}

/** Trials that have not said how many steps they take count as the mean of those that have. */
function stepsPlanned({ spec, trials }: SweepContext, isOver: boolean): number {
  const done = stepsDone(trials)
  const known = trials.filter(({ steps }) => steps > 0)
  if (isOver || known.length === 0) return done
  const total = trialCount(spec)
  const said = known.reduce((sum, { steps }) => sum + steps, 0)
  const all = said + (total - known.length) * (said / known.length)
  const { scheduler } = spec
  const share = scheduler.kind === 'asha' ? expectedShare(scheduler, total) : 1
  return Math.max(done, Math.round(all * share))
}

function leaderboard(context: SweepContext): readonly TrialView[] {
  const sign = isCost(context.spec.metric) ? 1 : -1
  const score = ({ value }: TrialView): number => (value === undefined ? Infinity : sign * value)
  const views = context.trials.map((trial, number) => trialView(context, trial, number))
  return views.toSorted((a, b) => (score(a) === score(b) ? a.trial - b.trial : score(a) - score(b)))
}

function trialView({ id, spec }: SweepContext, trial: Trial, number: number): TrialView {
  const { state, value, results, round, step, steps, error } = trial
  return {
    trial: number,
    job: trialId(id, number),
    state,
    parameters: parametersOf(spec, number),
    ...(value !== null && { value }),
    rungs: results.length,
    round,
    step,
    steps,
    ...(error !== null && { error }),
  }
}
