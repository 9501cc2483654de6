/**
 * How the learning rate moves over a job's steps: a pure function of the step, so that a round may start anywhere.
 * Every schedule may begin with a warm-up, in which the rate rises in a line from zero; its own curve starts after that.
 */
export type Schedule = {
  /** Steps over which the rate rises first. */
  warmupSteps?: number
} & (
  | { kind: 'constant' }
  /** Half a cosine from the full rate to `finalFactor` of it, reached at `steps` (counted from the job's start). */
  | { kind: 'cosine'; steps: number; finalFactor?: number }
  /** Every `everySteps` the rate is multiplied by `factor`, at once. */
  | { kind: 'step'; everySteps: number; factor: number }
  /** The same in a smooth curve. */
  | { kind: 'exponential'; everySteps: number; factor: number }
)

export const SCHEDULES = ['constant', 'cosine', 'step', 'exponential'] as const satisfies readonly Schedule['kind'][]

export function learningRateAt(
  { learningRate, schedule }: { learningRate: number; schedule?: Schedule },
  step: number,
): number {
  if (!schedule) return learningRate
  const warmup = schedule.warmupSteps ?? 0
  if (step < warmup) return (learningRate * (step + 1)) / warmup
  return learningRate * factorAt(schedule, step - warmup, warmup)
}

/** What the rate is multiplied by, `since` steps after the warm-up. */
function factorAt(schedule: Schedule, since: number, warmup: number): number {
  switch (schedule.kind) {
    case 'constant':
      return 1
    case 'cosine': {
      const progress = Math.min(1, since / Math.max(1, schedule.steps - warmup))
      const floor = schedule.finalFactor ?? 0
      return floor + (1 - floor) * 0.5 * (1 + Math.cos(Math.PI * progress))
    }
    case 'step':
      return schedule.factor ** Math.floor(since / schedule.everySteps)
    case 'exponential':
      return schedule.factor ** (since / schedule.everySteps)
  }
}
