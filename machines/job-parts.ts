/**
 * What the chart of a job (job.ts) is made of: what a job knows and hears, its actions, guards and delays, named once.
 */
import { assign, setup } from 'xstate'
import { taskAddress } from './address.ts'
import { afterResult, isLast, mayHaveTwin, otherOf, settled, taskOf, withTwin } from './control.ts'
import type { JobOutcome } from './control.ts'
import { effect } from './effect.ts'
import type { Fault } from './fault.ts'
import { mayRestart, restarted, withCheckpointNamed, withoutRuined } from './divergence.ts'
import { hasMoreRounds, isValidationDue, withValidation } from './judgement.ts'
import { JOB_LIMITS } from './limits.ts'
import { hasPredecessors, predecessorsOf, withoutPredecessor } from './predecessors.ts'
import type { ActorEnded } from './predecessors.ts'
import { withCheckpoint, withInitial, withResult } from './results.ts'
import type { TaskInput } from './task-input.ts'
import { evaluateInputs, initialInput, planOf, roundInputs } from './training.ts'
import type { JobInput, ModelRef, Plan, ReduceInput, ReduceOutput, RegisterInput, TrainingContext } from './training.ts'
import type { Evaluation, ScoreInput } from './training.ts'
import { isAtRung } from './trial.ts'
import { vocabulary } from './vocabulary.ts'
import type { WorkOutput } from './work.ts'

export interface JobContext extends TrainingContext {
  /** The tasks that have not told how they ended. */
  readonly pending: readonly string[]
  /** Those before this one that have not ended. */
  readonly predecessors: readonly string[]
  /** A pause waits for the end of the round. */
  readonly isPauseAsked: boolean
  /** Trained and tested to its end; what is left is to register the model. */
  readonly isConcluded: boolean
  /** The rung of its sweep at which it was stopped: the lowest is 1. */
  readonly stoppedAt: number | null
  readonly model: ModelRef | null
  readonly fault: Fault | null
}

export type JobEvent =
  | { readonly type: 'cancel' }
  /** At the end of the round, if that comes soon; else, or at once when asked so, the round will be run again. */
  | { readonly type: 'pause'; readonly isUrgent?: boolean }
  | { readonly type: 'pause.overdue' }
  /** `until` comes from the sweep that it is a trial of: the next round after which it waits, null for none. */
  | { readonly type: 'resume'; readonly until?: number | null }
  /** Its sweep has compared it at a rung and does not let it go on. */
  | { readonly type: 'stop'; readonly rung: number }
  | { readonly type: 'time.over' }
  | ActorEnded
  /** It takes longer than it should. */
  | { readonly type: 'task.slow'; readonly task: string; readonly worker: string }
  | { readonly type: 'task.started'; readonly task: string; readonly worker: string }
  | { readonly type: 'task.done'; readonly task: string; readonly worker: string; readonly fingerprint: string; readonly output: WorkOutput } // prettier-ignore
  | { readonly type: 'task.failed'; readonly task: string; readonly fault: Fault }
  | { readonly type: 'task.cancelled'; readonly task: string }

export type Args = { readonly context: JobContext; readonly event: JobEvent }

export const jobParts = setup({
  types: { context: {} as JobContext, events: {} as JobEvent, input: {} as JobInput, output: {} as JobOutcome },
  actors: {
    validate: effect<JobInput, null>(),
    prepare: effect<JobInput, Plan>(),
    reduce: effect<ReduceInput, ReduceOutput>(),
    score: effect<ScoreInput, Evaluation>(),
    register: effect<RegisterInput, ModelRef>(),
  },
  actions: {
    ...vocabulary,
    takePlan: assign(({ context }, plan: Plan) => withPlan(context, plan)),
    expectInitial: assign(({ context }) => expected([initialInput(context)])),
    expectRound: assign(({ context }) => expected(roundInputs(context))),
    expectValidation: assign(({ context }) => expected(evaluateInputs(context, 'validation'))),
    expectEvaluation: assign(({ context }) => expected(evaluateInputs(context, 'test'))),
    takeInitial: assign(({ event }) =>
      event.type === 'task.done' ? withInitial(event.output, event.fingerprint) : {},
    ),
    takeResult: assign(({ context, event }) =>
      event.type === 'task.done' ? withResult(context, event.worker, event.output) : {},
    ),
    countCost: assign({
      costMs: ({ context, event }) =>
        context.costMs + (event.type === 'task.done' ? event.output.elapsedMs * (context.spec.slots ?? 1) : 0),
    }),
    /** One result stands for a task and its twin. */
    settleBoth: assign({ pending: ({ context, event }) => afterResult(context, taskOf(event)) }),
    expectTwin: assign(({ context, event }) => withTwin(context, taskOf(event))),
    expectPredecessors: assign({ predecessors: ({ context }) => predecessorsOf(context) }),
    settlePredecessor: assign(({ context, event }) =>
      event.type === 'actor.ended' ? withoutPredecessor(context, event) : {},
    ),
    askPause: assign({ isPauseAsked: true }),
    conclude: assign({ isConcluded: true }),
    /** Its sweep lets it go on. */
    takeUntil: assign({ trial: ({ context, event }) => promoted(context, event) }),
    takeStop: assign({ stoppedAt: ({ event }) => (event.type === 'stop' ? event.rung : null) }),
    forgetPause: assign({ isPauseAsked: false }),
    nextTake: assign({ take: ({ context }) => context.take + 1, isPauseAsked: false, pending: [], results: [] }),
    takeReduced: assign((_, reduced: ReduceOutput) => ({ reduced })),
    checkpoint: assign(({ context }) => withCheckpoint(context)),
    judge: assign(({ context }, validation: Evaluation) => withValidation(context, validation)),
    dropRuined: assign(({ context, event }) =>
      event.type === 'task.failed' ? withoutRuined(context, event.fault) : {},
    ),
    restart: assign(({ context }) => restarted(context)),
    resume: assign(({ context }) => resumed(context)),
    takeEvaluation: assign((_, evaluation: Evaluation) => ({ evaluation })),
    takeModel: assign((_, model: ModelRef) => ({ model })),
    settle: assign(({ context, event }) => settled(context, taskOf(event))),
    stopWaiting: assign({ pending: [] }),
    takeFault: assign({
      fault: ({ context, event }) =>
        event.type === 'task.failed' ? withCheckpointNamed(context, event.fault) : context.fault,
    }),
    fail: assign((_, fault: Fault) => ({ fault })),
  },
  guards: {
    isPending: ({ context, event }) => context.pending.includes(taskOf(event)),
    isLastPending: ({ context, event }) => isLast(context, taskOf(event)),
    /** Its twin, or the task of which it is the twin, goes on. */
    hasOther: ({ context, event }) =>
      context.pending.includes(taskOf(event)) && otherOf(context, taskOf(event)) !== undefined,
    mayHaveTwin: ({ context, event }) => mayHaveTwin(context, taskOf(event)),
    hasPredecessors: ({ context }) => hasPredecessors(context),
    isReady: ({ context }) => context.predecessors.length === 0,
    isOutOfLuck: ({ context }) => context.fault !== null,
    isUrgent: ({ event }) => event.type === 'pause' && event.isUrgent === true,
    isPauseAsked: ({ context }) => context.isPauseAsked,
    isPauseDue: ({ context }) => context.isPauseAsked || isAtRung(context),
    /** A trial at a rung waits for its sweep's word, whoever else would have it go on. */
    mayGoOn: ({ context, event }) => !isAtRung(context) || (event.type === 'resume' && event.until !== undefined),
    isTrial: ({ context }) => context.trial !== undefined,
    isUnplanned: ({ context }) => context.plan === null,
    isUntrained: ({ context }) => context.checkpoints.length === 0,
    isTooCostly: ({ context }) => context.costMs > (context.spec.limits?.cost ?? Infinity) * 1_000,
    isNothingPending: ({ context }) => context.pending.length === 0,
    hasFailed: ({ context }) => context.pending.length === 0 && context.fault !== null,
    mayRestart: ({ context, event }) =>
      event.type === 'task.failed' && context.pending.includes(event.task) && mayRestart(context, event.fault),
    isResumed: ({ context }) => context.resume !== undefined,
    isValidationDue: ({ context }) => isValidationDue(context),
    hasMoreRounds: ({ context }) => hasMoreRounds(context),
    hasTestExamples: ({ context }) => planOf(context).testExamples > 0,
  },
  delays: {
    validateLimit: JOB_LIMITS.validateMs,
    prepareLimit: JOB_LIMITS.prepareMs,
    queueLimit: JOB_LIMITS.queueMs,
    initialiseLimit: JOB_LIMITS.initialiseMs,
    collectLimit: JOB_LIMITS.collectMs,
    reduceLimit: JOB_LIMITS.reduceMs,
    evaluateLimit: JOB_LIMITS.evaluateMs,
    scoreLimit: JOB_LIMITS.scoreMs,
    measureLimit: JOB_LIMITS.evaluateMs,
    judgeLimit: JOB_LIMITS.scoreMs,
    restartLimit: JOB_LIMITS.cancelMs,
    registerLimit: JOB_LIMITS.registerMs,
    cancelLimit: JOB_LIMITS.cancelMs,
    pauseLimit: JOB_LIMITS.cancelMs,
    pausedLimit: JOB_LIMITS.pausedMs,
    waitLimit: JOB_LIMITS.waitMs,
  },
})

function expected(inputs: readonly TaskInput[]): Pick<JobContext, 'pending' | 'results'> {
  return { pending: inputs.map(({ id }) => taskAddress(id)), results: inputs.map(() => null) }
}

/** The version that an alias stood for when the job began is the job's from then on. */
function withPlan({ spec }: JobContext, plan: Plan): Partial<JobContext> {
  const { start } = plan
  return { plan, ...(start !== undefined && { spec: { ...spec, model: { from: `${start.name}@${start.version}` } } }) }
}

function promoted({ trial }: JobContext, event: JobEvent): JobContext['trial'] {
  return trial === undefined || event.type !== 'resume' || event.until === undefined ? trial : { ...trial, until: event.until } // prettier-ignore
}

/** From the checkpoint of another job, as that one would have gone on. */
function resumed({ resume }: JobContext): Partial<JobContext> {
  if (resume === undefined) return {}
  const { checkpoint, fingerprint, firstLoss, rateFactor } = resume
  return { checkpoints: [checkpoint], metrics: checkpoint.metrics, fingerprint, firstLoss, rateFactor }
}
