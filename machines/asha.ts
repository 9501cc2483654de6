/**
 * Asynchronous successive halving (ASHA): Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020
 * (arXiv 1810.05934), Algorithm 2. Trials wait at *rungs*, after r, r·η, r·η² … rounds. Whenever there is room, a trial
 * goes on that is among the best one in η of those that have come to its rung; nobody waits for a rung to be full.
 *
 * One thing differs. The algorithm asks the highest rung first and draws a new trial last, since it never runs out of
 * them. A sweep knows how many trials it has: here new ones go first, then the lowest rung. A promotion then rests on
 * all results that there will be, but for those under way, and steps are bounded: a rung gives at most ⌊n/η⌋ of its n
 * trials, and one more for each that was under way (in the paper's order it may give nearly all, when the good come
 * late). The price is that the first trial to be trained to its end comes later. docs/decisions/asha.md has figures.
 */
import type { AshaSpec } from './sweep-spec.ts'

/** A trial as successive halving sees it. */
export interface Climber {
  /** At each rung that it has come to, from the lowest; null where it was not measured. */
  readonly results: readonly (number | null)[]
  /** It waits at the last of them. */
  readonly isWaiting: boolean
}

/** The rounds after which trials wait. Who goes on from the last is trained to the end. */
export function rungsOf({ minRounds, maxRounds, eta }: AshaSpec): readonly number[] {
  const rungs: number[] = []
  for (let rounds = minRounds; rounds * eta <= maxRounds; rounds *= eta) rungs.push(rounds)
  return rungs
}

/** What part of the steps of so many trials, all trained to their end, is left when the poor ones are stopped. */
export function expectedShare(spec: AshaSpec, trials: number): number {
  let there = trials
  let before = 0
  let rounds = 0
  for (const rung of [...rungsOf(spec), spec.maxRounds]) {
    rounds += there * (rung - before)
    there = Math.max(1, Math.floor(there / spec.eta))
    before = rung
  }
  return rounds / (trials * spec.maxRounds)
}

/** The trial that goes on next, from the lowest rung that has one; null when none may. */
export function promotable(climbers: readonly Climber[], eta: number, isCost: boolean): number | null {
  for (let rung = 0; climbers.some(({ results }) => results.length > rung); rung++) {
    const there = ranked(climbers, rung, isCost)
    const best = there.slice(0, Math.floor(there.length / eta)).find((trial) => waitsAt(climbers, trial, rung))
    if (best !== undefined) return best
  }
  return null
}

/**
 * The best of those that wait highest. With fewer than η at a rung nobody may go on by the rule, and a sweep would end
 * without a trial that was trained to its end.
 */
export function lastStanding(climbers: readonly Climber[], isCost: boolean): number | null {
  const highest = Math.max(...climbers.map(({ results, isWaiting }) => (isWaiting ? results.length : 0))) - 1
  if (!(highest >= 0)) return null
  return ranked(climbers, highest, isCost).find((trial) => waitsAt(climbers, trial, highest)) ?? null
}

/** The trials that have come to a rung, the best first; of equal ones the lower number. */
function ranked(climbers: readonly Climber[], rung: number, isCost: boolean): readonly number[] {
  const resultOf = (trial: number): number => {
    const value = climbers[trial]?.results[rung] ?? null
    return value === null || Number.isNaN(value) ? Infinity : isCost ? value : -value
  }
  return climbers
    .flatMap(({ results }, trial) => (results.length > rung ? [trial] : []))
    .toSorted((a, b) => (resultOf(a) === resultOf(b) ? a - b : resultOf(a) - resultOf(b)))
}

function waitsAt(climbers: readonly Climber[], trial: number, rung: number): boolean {
  const climber = climbers[trial]
  return climber !== undefined && climber.isWaiting && climber.results.length === rung + 1
}
