/**
 * A sweep's specification, and how a sweep is shown: one training job in many variants (trials), of which the best is
 * looked for. Checked at the edge (gateway/schemas/sweep-spec.ts), where the defaults are filled in; then it is trusted.
 */
import type { JobSpec, Predecessor } from './spec.ts'
import type { MetricSpec } from './train-spec.ts'

export interface SweepSpec {
  readonly kind: 'sweep'
  readonly name: string
  /** What all trials have in common. */
  readonly job: JobSpec
  /** By path in the job: `train.optimizer.learningRate`, `model.config.layers[0].config.units`. */
  readonly parameters: Readonly<Record<string, ParameterSpec>>
  readonly search: SearchSpec
  /** What trials are compared by: on the validation split where the job measures it, else of the last round. */
  readonly metric: MetricSpec
  readonly scheduler: SweepSchedulerSpec
  /** Trials that train at once. */
  readonly parallelism: number
  /** With more failed trials than this the sweep fails; any number may when left out. */
  readonly failuresMax?: number
  /** The name under which the best trial's model is registered; no model is when left out. */
  readonly model?: string
  /** What must have ended before this one begins. */
  readonly after?: readonly Predecessor[]
}

/** The values to choose from, or where they lie. */
export type ParameterSpec = readonly unknown[] | RangeSpec

export interface RangeSpec {
  readonly min: number
  readonly max: number
  readonly scale: 'linear' | 'log'
  /** From one value to the next: what is added, or on the log scale multiplied by. Any value between when left out. */
  readonly step?: number
  readonly integer: boolean
}

export type SearchSpec =
  /** Every combination, or so many of them, in an order drawn by the seed. */
  | { readonly kind: 'grid'; readonly trials?: number; readonly seed: number }
  | { readonly kind: 'random'; readonly trials: number; readonly seed: number }

export type SweepSchedulerSpec =
  | { readonly kind: 'none'; readonly maxRounds?: number }
  | ({ readonly kind: 'asha' } & AshaSpec)

export interface AshaSpec {
  /** After so many rounds trials are compared for the first time. */
  readonly minRounds: number
  readonly maxRounds: number
  /** The best one in so many goes on, for so many times the rounds. */
  readonly eta: number
}

export type SweepState =
  | 'waiting'
  | 'running'
  | 'pausing'
  | 'paused'
  | 'concluding'
  | 'registering'
  | 'completed'
  | 'failed'
  | 'cancelling'
  | 'cancelled'

/** `waiting`: at a rung, for others to compare with; `stopped`: there it has ended. */
export type TrialState = 'running' | 'waiting' | 'stopping' | 'stopped' | 'completed' | 'failed' | 'cancelled'

export interface TrialView {
  readonly trial: number
  readonly job: string
  readonly state: TrialState
  readonly parameters: Readonly<Record<string, unknown>>
  /** By the sweep's metric; absent as long as it was not measured. */
  readonly value?: number
  /** The rungs that it has come to. */
  readonly rungs: number
  /** Of each replica. */
  readonly round: number
  readonly step: number
  /** Until it is trained to its end; 0 as long as that is not known. */
  readonly steps: number
  readonly error?: { readonly code: string; readonly message: string }
}

export interface SweepView {
  readonly id: string
  readonly kind: 'sweep'
  readonly name: string
  readonly state: SweepState
  readonly owner: string
  readonly spec: SweepSpec
  readonly createdAt: number
  readonly changedAt: number
  readonly endedAt?: number
  readonly seq: number
  readonly progress: {
    readonly trials: number
    readonly started: number
    readonly running: number
    readonly waiting: number
    readonly completed: number
    readonly stopped: number
    readonly failed: number
    readonly cancelled: number
    /** Of all trials, of each replica. */
    readonly steps: number
    /** How many there will be, as far as can be told; 0 as long as no trial has said how many it takes. */
    readonly stepsPlanned: number
  }
  /** The best one first; those without a value at the end. */
  readonly leaderboard: readonly TrialView[]
  /** Of those that were trained to their end. */
  readonly best?: { readonly trial: number; readonly job: string; readonly value?: number }
  readonly model?: { readonly name: string; readonly version: number }
  readonly error?: { readonly code: string; readonly message: string; readonly remedy?: string }
}
