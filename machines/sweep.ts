/**
 * A sweep: one training job in many variants, its trials. Each is an ordinary job with an id that follows from the sweep
 * and its number; the sweep brings it to life, hears of it, and decides who goes on. Which trials there are says
 * search.ts, who is promoted asha.ts, and what a trial tells trial.ts.
 *
 *   submitted → (waiting) → running → concluding → (registering) → completed
 *   waiting, running → pausing → paused → where it was
 *   any of them → cancelling → cancelled | failed
 *
 * Invariants:
 * 1. No more than `parallelism` trials run at once; those that wait at a rung run nothing.
 * 2. What is decided stands in the commit that tells it: `trials` says at any moment what each trial was last told.
 * 3. A trial is started once, and goes on from a rung once; no step is trained twice.
 * 4. A sweep ends when all of its trials have, in completed, failed or cancelled.
 */
import { assign, setup } from 'xstate'
import { jobAddress, trialId } from './address.ts'
import { lastStanding, promotable, rungsOf } from './asha.ts'
import type { JobOutcome } from './control.ts'
import { effect } from './effect.ts'
import { faultOfEvent, timeoutFault } from './fault.ts'
import type { Fault } from './fault.ts'
import type { JobEvent } from './job-parts.ts'
import { isCost } from './judgement.ts'
import { JOB_LIMITS, SWEEP_LIMITS } from './limits.ts'
import { hasPredecessors, predecessorsOf, waiting, withoutPredecessor } from './predecessors.ts'
import type { ActorEnded, Outcome } from './predecessors.ts'
import { trialCount, trialSpec } from './search.ts'
import type { SweepSpec, TrialState } from './sweep-spec.ts'
import type { FinishedTraining, JobInput, ModelRef, RegisterInput } from './training.ts'
import type { TrialOf, TrialReport, TrialStanding } from './trial.ts'
import { vocabulary } from './vocabulary.ts'
import type { Spawn, Tell, Watch } from './vocabulary.ts'

export interface SweepInput {
  readonly id: string
  readonly owner: string
  readonly spec: SweepSpec
}

export interface Trial extends TrialStanding {
  readonly state: TrialState
  /** Of a running one: it said that it is paused, though not at a rung. */
  readonly isPaused: boolean
  /** Its value at each rung that it has come to. */
  readonly results: readonly (number | null)[]
  readonly error: { readonly code: string; readonly message: string } | null
}

export interface SweepContext extends SweepInput {
  /** Those before it that have not ended. */
  readonly predecessors: readonly string[]
  /** Those that were started, by number. */
  readonly trials: readonly Trial[]
  /** What was decided in this transition: the trials to start, and those that go on from a rung. */
  readonly starts: readonly number[]
  readonly promotions: readonly number[]
  /** The best of those that were trained to their end, with what a model is registered of. */
  readonly best: { readonly trial: number; readonly value: number | null; readonly training: FinishedTraining } | null
  readonly model: ModelRef | null
  readonly isCompleted: boolean
  readonly fault: Fault | null
}

export type SweepEvent =
  | TrialReport
  | ActorEnded
  | { readonly type: 'child.failed'; readonly actor: string; readonly fault: Fault }
  | { readonly type: 'pause' }
  | { readonly type: 'resume' }
  | { readonly type: 'cancel' }

type Args = { readonly context: SweepContext; readonly event: SweepEvent }

/** Decides, and does what was decided: at the beginning, and after each word of a trial. */
const GO_ON = [
  'decide',
  { type: 'spawn', params: newTrials },
  { type: 'watch', params: newWatches },
  { type: 'tell', params: promotions },
] as const

export const sweepMachine = setup({
  types: {
    context: {} as SweepContext,
    events: {} as SweepEvent,
    input: {} as SweepInput,
    output: {} as Outcome,
  },
  actors: { register: effect<RegisterInput, ModelRef>() },
  actions: {
    ...vocabulary,
    expectPredecessors: assign({ predecessors: ({ context }) => predecessorsOf(context) }),
    settlePredecessor: assign(({ context, event }) =>
      event.type === 'actor.ended' ? withoutPredecessor(context, event) : {},
    ),
    takeReport: assign({
      trials: ({ context, event }) => (event.type === 'trial.reported' ? withReport(context, event) : context.trials),
    }),
    takeEnd: assign(({ context, event }) => (event.type === 'actor.ended' ? withEnd(context, event) : {})),
    decide: assign(({ context }) => decided(context)),
    goOn: assign({ trials: ({ context }) => context.trials.map((trial) => ({ ...trial, isPaused: false })) }),
    stopWaiting: assign({ trials: ({ context }) => context.trials.map(stopped) }),
    forgetOthers: assign({ trials: ({ context }) => context.trials.map(ended) }),
    takeModel: assign((_, model: ModelRef) => ({ model })),
    complete: assign({ isCompleted: true }),
    fail: assign((_, fault: Fault) => ({ fault })),
  },
  guards: {
    hasPredecessors: ({ context }) => hasPredecessors(context),
    isReady: ({ context }) => context.predecessors.length === 0,
    isOutOfLuck: ({ context }) => context.fault !== null,
    isUnstarted: ({ context }) => context.trials.length === 0,
    hasFailedTooOften: ({ context }) => hasFailedTooOften(context),
    isSearched: ({ context }) => context.trials.every(({ state }) => state !== 'running'),
    isStill: ({ context }) => context.trials.every(({ state, isPaused }) => state !== 'running' || isPaused),
    hasNothingLeft: ({ context }) => live(context).length === 0,
    hasNoWinner: ({ context }) => live(context).length === 0 && context.best === null,
    hasModel: ({ context }) => live(context).length === 0 && context.spec.model !== undefined,
    hasFault: ({ context }) => live(context).length === 0 && context.fault !== null,
  },
  delays: {
    waitLimit: JOB_LIMITS.waitMs,
    pausedLimit: SWEEP_LIMITS.pausedMs,
    concludeLimit: SWEEP_LIMITS.cancelMs,
    cancelLimit: SWEEP_LIMITS.cancelMs,
    registerLimit: SWEEP_LIMITS.registerMs,
  },
}).createMachine({
  id: 'sweep',
  context: ({ input }) => ({
    ...input,
    predecessors: [],
    trials: [],
    starts: [],
    promotions: [],
    best: null,
    model: null,
    isCompleted: false,
    fault: null,
  }),
  output: ({ context: { fault, isCompleted } }) => ({
    outcome: fault !== null ? 'failed' : isCompleted ? 'completed' : 'cancelled',
  }),
  initial: 'submitted',
  on: {
    cancel: '.cancelling',
    'trial.reported': { actions: 'takeReport' },
    'actor.ended': { actions: 'takeEnd' },
    // It was stopped after too many errors of its own; `actor.ended` says so too.
    'child.failed': {},
  },
  states: {
    submitted: { always: [{ guard: 'hasPredecessors', target: 'waiting' }, { target: 'running' }] },
    waiting: waiting('running', limitIsOver('waiting', JOB_LIMITS.waitMs)),
    running: {
      entry: [...GO_ON],
      on: {
        'trial.reported': {
          actions: ['takeReport', ...GO_ON],
        },
        'actor.ended': {
          actions: ['takeEnd', ...GO_ON],
        },
        pause: 'pausing',
      },
      always: [
        { guard: 'hasFailedTooOften', target: 'cancelling', actions: { type: 'fail', params: tooManyFailures } },
        { guard: 'isSearched', target: 'concluding' },
      ],
    },
    /** Trials pause at the end of their rounds, or after `JOB_LIMITS.pauseGraceMs`; those about to end do so. */
    pausing: {
      entry: { type: 'tell', params: pauses },
      always: { guard: 'isStill', target: 'paused' },
    },
    paused: {
      on: {
        resume: [
          { guard: 'isUnstarted', target: 'submitted' },
          { target: 'running', actions: [{ type: 'tell', params: resumptions }, 'goOn'] },
        ],
      },
      after: {
        pausedLimit: {
          target: 'cancelling',
          actions: limitIsOver('paused', SWEEP_LIMITS.pausedMs),
        },
      },
    },
    /** Who still waits at a rung has not been good enough. */
    concluding: {
      entry: ['stopWaiting', { type: 'tell', params: stops }],
      always: [
        { guard: 'hasNoWinner', target: 'cancelling', actions: { type: 'fail', params: nobodyCompleted } },
        { guard: 'hasModel', target: 'registering' },
        { guard: 'hasNothingLeft', target: 'completed' },
      ],
      after: { concludeLimit: { actions: 'forgetOthers' } },
    },
    registering: {
      invoke: {
        id: 'register',
        src: 'register',
        input: ({ context }) => registration(context),
        onDone: { target: 'completed', actions: { type: 'takeModel', params: ({ event }) => event.output } },
        onError: { target: 'cancelling', actions: { type: 'fail', params: ({ event }) => faultOfEvent(event) } },
      },
      after: {
        registerLimit: {
          target: 'cancelling',
          actions: limitIsOver('registering', SWEEP_LIMITS.registerMs),
        },
      },
    },
    cancelling: {
      entry: { type: 'tell', params: ({ context }) => cancellations(context, 'running', 'waiting') },
      on: { cancel: {} },
      always: [
        { guard: 'hasFault', target: 'failed' },
        { guard: 'hasNothingLeft', target: 'cancelled' },
      ],
      after: { cancelLimit: { actions: 'forgetOthers' } },
    },
    completed: { type: 'final', entry: 'complete' },
    failed: { type: 'final' },
    cancelled: { type: 'final' },
  },
})

const LIVE: ReadonlySet<TrialState> = new Set(['running', 'waiting', 'stopping'])

function live({ trials }: SweepContext): readonly Trial[] {
  return trials.filter(({ state }) => LIVE.has(state))
}

/** Fills the free places: new trials first, then those whose turn it is to go on. */
function decided(context: SweepContext): Pick<SweepContext, 'trials' | 'starts' | 'promotions'> {
  const { spec } = context
  const total = trialCount(spec)
  const trials = [...context.trials]
  const starts: number[] = []
  const promotions: number[] = []
  const free = hasFailedTooOften(context) ? 0 : spec.parallelism - trials.filter(({ state }) => state === 'running').length // prettier-ignore
  for (let place = 0; place < free; place++) {
    if (trials.length < total) {
      starts.push(trials.length)
      trials.push(NEW_TRIAL)
      continue
    }
    const next = nextPromotion(spec, trials)
    if (next === null) break
    promotions.push(next)
    trials.splice(next, 1, { ...trialAt(trials, next), state: 'running' })
  }
  return { trials, starts, promotions }
}

const NEW_TRIAL: Trial = {
  state: 'running',
  isPaused: false,
  results: [],
  round: 0,
  step: 0,
  steps: 0,
  value: null,
  error: null,
}

function nextPromotion({ scheduler, metric }: SweepSpec, trials: readonly Trial[]): number | null {
  if (scheduler.kind === 'none') return null
  const climbers = trials.map(({ results, state }) => ({ results, isWaiting: state === 'waiting' }))
  const next = promotable(climbers, scheduler.eta, isCost(metric))
  if (next !== null) return next
  const isOver = trials.every(({ state }) => state !== 'running')
  return isOver && !trials.some(({ state }) => state === 'completed') ? lastStanding(climbers, isCost(metric)) : null
}

/** The round after which a trial waits next; null when it may go to its end. */
function untilOf({ scheduler }: SweepSpec, { results }: Pick<Trial, 'results'>): number | null {
  return scheduler.kind === 'asha' ? (rungsOf(scheduler)[results.length] ?? null) : null
}

function withReport({ spec, trials }: SweepContext, report: TrialReport): readonly Trial[] {
  const trial = trials[report.trial]
  if (trial?.state !== 'running') return trials
  const { round, step, steps, value, isPaused } = report
  const standing = { ...trial, round, step, steps, value }
  const until = untilOf(spec, trial)
  const isAtRung = isPaused && until !== null && round >= until
  return trials.with(
    report.trial,
    isAtRung
      ? { ...standing, state: 'waiting', isPaused: false, results: [...trial.results, value] }
      : { ...standing, isPaused },
  )
}

function withEnd(context: SweepContext, ending: ActorEnded): Partial<SweepContext> {
  const { id, trials } = context
  const number = trials.findIndex((_, trial) => jobAddress(trialId(id, trial)) === ending.actor)
  const trial = trials[number]
  if (trial === undefined || !LIVE.has(trial.state)) return {}
  const { outcome, trial: end } = (ending.status === 'done' ? ending.output : GONE) as JobOutcome // a job's output
  const fault = outcome === 'failed' ? (end?.fault ?? VANISHED) : null
  const standing = end === undefined ? trial : { round: end.round, step: end.step, steps: end.steps, value: end.value }
  const error = fault && { code: fault.code, message: fault.message }
  return {
    trials: trials.with(number, { ...trial, ...standing, state: outcome, isPaused: false, error }),
    ...(outcome === 'completed' && end?.training && { best: better(context, number, end.value, end.training) }),
  }
}

const GONE: JobOutcome = { outcome: 'failed' }
const VANISHED: Fault = { code: 'sweep.trial-lost', message: 'Its job is not there any more', remedy: 'give-up' }

function better(
  { best, spec }: SweepContext,
  trial: number,
  value: number | null,
  training: FinishedTraining,
): SweepContext['best'] {
  const sign = isCost(spec.metric) ? 1 : -1
  const score = (of: number | null): number => (of === null ? Infinity : sign * of)
  // Of equal ones the lower number, whichever was done first.
  const isBetter =
    best === null || score(value) < score(best.value) || (score(value) === score(best.value) && trial < best.trial)
  return isBetter ? { trial, value, training } : best
}

function hasFailedTooOften({ spec, trials }: SweepContext): boolean {
  return trials.filter(({ state }) => state === 'failed').length > (spec.failuresMax ?? Infinity)
}

function stopped(trial: Trial): Trial {
  return trial.state === 'waiting' ? { ...trial, state: 'stopping' } : trial
}

/** What is not heard of any more. */
function ended(trial: Trial): Trial {
  if (!LIVE.has(trial.state)) return trial
  return { ...trial, state: trial.state === 'stopping' ? 'stopped' : 'cancelled', isPaused: false }
}

function trialAt(trials: readonly Trial[], number: number): Trial {
  const trial = trials[number]
  if (trial === undefined) throw new Error(`Trial ${number} was never started`)
  return trial
}

/** An action: a state took too long. */
function limitIsOver(state: string, limitMs: number): { readonly type: 'fail'; readonly params: Fault } {
  return { type: 'fail', params: timeoutFault(`sweep.${state}-timeout`, `The sweep’s state "${state}"`, limitMs) }
}

function newTrials({ context }: Args): readonly Spawn[] {
  const { id, owner, spec, starts } = context
  return starts.map((trial) => {
    const role: TrialOf = {
      sweep: id,
      trial,
      metric: spec.metric,
      until: untilOf(spec, NEW_TRIAL),
      roundsMax: spec.scheduler.maxRounds ?? null,
    }
    const input: JobInput = { id: trialId(id, trial), owner, spec: trialSpec(spec, trial), trial: role }
    return { to: jobAddress(input.id), input }
  })
}

function newWatches({ context: { id, starts } }: Args): readonly Watch[] {
  return starts.map((trial) => ({ to: jobAddress(trialId(id, trial)) }))
}

function promotions({ context: { id, spec, trials, promotions: numbers } }: Args): readonly Tell[] {
  return numbers.map((trial) => tellTrial(id, trial, { type: 'resume', until: untilOf(spec, trialAt(trials, trial)) }))
}

function pauses({ context }: Args): readonly Tell[] {
  return tellAll(context, ['running'], { type: 'pause' })
}

function resumptions({ context }: Args): readonly Tell[] {
  return tellAll(context, ['running'], { type: 'resume' })
}

function cancellations(context: SweepContext, ...states: readonly TrialState[]): readonly Tell[] {
  return tellAll(context, states, { type: 'cancel' })
}

/** Those that are stopped hear at which rung: the last that they have come to. */
function stops({ context: { id, trials } }: Args): readonly Tell[] {
  return trials.flatMap(({ state, results }, trial) =>
    state === 'stopping' ? [tellTrial(id, trial, { type: 'stop', rung: results.length })] : [],
  )
}

function tellAll({ id, trials }: SweepContext, states: readonly TrialState[], event: JobEvent): readonly Tell[] {
  return trials.flatMap(({ state }, trial) => (states.includes(state) ? [tellTrial(id, trial, event)] : []))
}

// In the normal lane: in the control lane it could overtake the trial's own birth.
function tellTrial(sweep: string, trial: number, event: JobEvent): Tell {
  return { to: jobAddress(trialId(sweep, trial)), event }
}

function registration({ id, owner, spec, best }: SweepContext): RegisterInput {
  if (best === null) throw new Error(`Sweep ${id} has no trial to register`)
  const { trial, training } = best
  const role = { sweep: id, trial, metric: spec.metric, until: null, roundsMax: spec.scheduler.maxRounds ?? null }
  const named = { ...trialSpec(spec, trial), register: { name: spec.model ?? spec.name } }
  return { id: trialId(id, trial), owner, spec: named, trial: role, ...training }
}

function tooManyFailures({ context: { spec, trials } }: Args): Fault {
  const failed = trials.flatMap(({ error }, trial) => (error === null ? [] : [{ trial, error }]))
  const [first] = failed
  return {
    code: 'sweep.trials-failed',
    message: `${failed.length} trials have failed, more than the ${spec.failuresMax} that may. Trial ${first?.trial}: ${first?.error.message}`, // prettier-ignore
    remedy: 'fix-request',
    data: { trials: failed.map(({ trial }) => trial) },
  }
}

function nobodyCompleted({ context: { trials } }: Args): Fault {
  const failed = trials.find(({ error }) => error !== null)
  return {
    code: 'sweep.none-completed',
    message: `None of the ${trials.length} trials was trained to its end${failed?.error ? `. The first that failed: ${failed.error.message}` : ''}`, // prettier-ignore
    remedy: 'fix-request',
  }
}
