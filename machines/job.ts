/**
 * A job: a deterministic computation over content-addressed blobs, from a spec to a registered model. It prepares what
 * its tasks need, runs rounds of one task per replica, makes one set of weights of their results, and keeps a
 * checkpoint of every round; whatever dies, it goes on from there with the same numbers.
 *
 *   submitted → (waiting) → validating → preparing → queued
 *     → training (initialising → (dispatching → collecting → reducing → checkpointing (→ validating → judging)?)*)
 *     → evaluating → scoring → registering → completed
 *   collecting → restarting → dispatching, where the loss diverged and the spec says to go on with a lower rate
 *   most of them → pausing → paused → resuming → where it was, from its last checkpoint
 *   any of them → cancelling → cancelled | failed
 *
 * Invariants:
 * 1. What is computed follows from spec, seed and data alone (training.ts); the chart says only when. A pause ends a
 *    round or has it run again, and a task's twin computes what the task would have.
 * 2. `pending` names exactly the tasks that have not told how they ended; a word of any other task is not heard.
 * 3. Every state that waits has a limit, and `cancel` leads out of every state within `JOB_LIMITS.cancelMs`.
 * 4. A job ends in completed, failed or cancelled, when none of its tasks runs or waits any more.
 *
 * Pausing will stand between checkpointing and dispatching: what a job needs to go on is in its last checkpoint.
 */
import { assign, setup } from 'xstate'
import { originalOf, taskAddress, twinAddress } from './address.ts'
import {
  afterResult,
  cancellations,
  costFault,
  faultOfPredecessor,
  isLast,
  mayHaveTwin,
  otherOf,
  spawns,
  timeFault,
  twinOf,
  watches,
} from './control.ts'
import type { ActorEnded, JobOutcome } from './control.ts'
import { effect } from './effect.ts'
import { faultOfEvent, timeoutFault } from './fault.ts'
import type { Fault } from './fault.ts'
import { mayRestart, restarted, withCheckpointNamed } from './divergence.ts'
import { hasStalled, isValidationDue, withValidation } from './judgement.ts'
import { JOB_LIMITS } from './limits.ts'
import type { TaskInput } from './task.ts'
import {
  evaluateInputs,
  initialInput,
  lastCheckpoint,
  planOf,
  reduction,
  registration,
  roundInputs,
  scoring,
  UNTRAINED,
  withCheckpoint,
  withInitial,
  withResult,
} from './training.ts'
import type { JobInput, ModelRef, Plan, ReduceInput, ReduceOutput, RegisterInput, TrainingContext } from './training.ts'
import type { Evaluation, ScoreInput } from './training.ts'
import { vocabulary } from './vocabulary.ts'
import type { Schedule, Spawn, Tell, Unschedule } from './vocabulary.ts'
import type { WorkOutput } from './work.ts'

export interface JobContext extends TrainingContext {
  /** The tasks that have not told how they ended. */
  readonly pending: readonly string[]
  /** The jobs before this one that have not ended. */
  readonly predecessors: readonly string[]
  /** A pause waits for the end of the round. */
  readonly isPauseAsked: boolean
  readonly model: ModelRef | null
  readonly fault: Fault | null
}

export type JobEvent =
  | { readonly type: 'cancel' }
  /** At the end of the round, if that comes soon; else, or at once when asked so, the round will be run again. */
  | { readonly type: 'pause'; readonly isUrgent?: boolean }
  | { readonly type: 'pause.overdue' }
  | { readonly type: 'resume' }
  | { readonly type: 'time.over' }
  | ActorEnded
  /** It takes longer than it should. */
  | { readonly type: 'task.slow'; readonly task: string; readonly worker: string }
  | { readonly type: 'task.started'; readonly task: string; readonly worker: string }
  | { readonly type: 'task.done'; readonly task: string; readonly worker: string; readonly fingerprint: string; readonly output: WorkOutput } // prettier-ignore
  | { readonly type: 'task.failed'; readonly task: string; readonly fault: Fault }
  | { readonly type: 'task.cancelled'; readonly task: string }

type Args = { readonly context: JobContext; readonly event: JobEvent }

export const jobMachine = setup({
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
    takePlan: assign((_, plan: Plan) => ({ plan })),
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
    expectTwin: assign({ pending: ({ context, event }) => [...context.pending, twinAddress(taskOf(event))] }),
    expectPredecessors: assign({ predecessors: ({ context }) => watches(context.spec).map(({ to }) => to) }),
    settlePredecessor: assign(({ context, event }) =>
      event.type === 'actor.ended'
        ? {
            predecessors: context.predecessors.filter((job) => job !== event.actor),
            fault: context.fault ?? faultOfPredecessor(context.spec, event),
          }
        : {},
    ),
    askPause: assign({ isPauseAsked: true }),
    forgetPause: assign({ isPauseAsked: false }),
    nextTake: assign({ take: ({ context }) => context.take + 1, isPauseAsked: false, pending: [], results: [] }),
    takeReduced: assign((_, reduced: ReduceOutput) => ({ reduced })),
    checkpoint: assign(({ context }) => withCheckpoint(context)),
    judge: assign(({ context }, validation: Evaluation) => withValidation(context, validation)),
    restart: assign(({ context }) => restarted(context)),
    resume: assign(({ context }) => resumed(context)),
    takeEvaluation: assign((_, evaluation: Evaluation) => ({ evaluation })),
    takeModel: assign((_, model: ModelRef) => ({ model })),
    settle: assign({ pending: ({ context, event }) => context.pending.filter((task) => task !== taskOf(event)) }),
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
    hasPredecessors: ({ context }) => (context.spec.after ?? []).length > 0,
    isReady: ({ context }) => context.predecessors.length === 0 && context.fault === null,
    isOutOfLuck: ({ context }) => context.fault !== null,
    isUrgent: ({ event }) => event.type === 'pause' && event.isUrgent === true,
    isPauseAsked: ({ context }) => context.isPauseAsked,
    isUnplanned: ({ context }) => context.plan === null,
    isUntrained: ({ context }) => context.checkpoints.length === 0,
    isTooCostly: ({ context }) => context.costMs > (context.spec.limits?.cost ?? Infinity) * 1_000,
    isNothingPending: ({ context }) => context.pending.length === 0,
    hasFailed: ({ context }) => context.pending.length === 0 && context.fault !== null,
    mayRestart: ({ context, event }) =>
      event.type === 'task.failed' && context.pending.includes(event.task) && mayRestart(context, event.fault),
    isResumed: ({ context }) => context.resume !== undefined,
    isValidationDue: ({ context }) => isValidationDue(context),
    hasMoreRounds: ({ context }) => !hasStalled(context) && lastCheckpoint(context).step < planOf(context).steps,
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
}).createMachine({
  id: 'job',
  context: ({ input }) => ({
    ...input,
    ...UNTRAINED,
    pending: [],
    predecessors: [],
    isPauseAsked: false,
    model: null,
    fault: null,
  }),
  output: ({ context }) => outcomeOf(context),
  initial: 'submitted',
  on: {
    cancel: '.cancelling',
    'time.over': { target: '.cancelling', actions: { type: 'fail', params: timeIsOver } },
    'task.failed': [
      { guard: 'mayRestart', target: '.training.restarting', actions: 'settle' },
      { guard: 'isPending', target: '.cancelling', actions: ['settle', 'takeFault'] },
    ],
    // Only who was told to stop says so; a task that did without being asked cannot be waited for.
    'task.cancelled': {
      guard: 'isPending',
      target: '.cancelling',
      actions: ['settle', { type: 'fail', params: taskWasCancelled }],
    },
  },
  states: {
    submitted: { always: [{ guard: 'hasPredecessors', target: 'waiting' }, { target: 'resuming' }] },
    waiting: {
      entry: ['expectPredecessors', { type: 'watch', params: ({ context }) => watches(context.spec) }],
      always: [
        { guard: 'isOutOfLuck', target: 'cancelling' },
        { guard: 'isReady', target: 'resuming' },
      ],
      on: { 'actor.ended': { actions: 'settlePredecessor' }, pause: 'pausing' },
      after: { waitLimit: { target: 'cancelling', actions: limitIsOver('waiting', JOB_LIMITS.waitMs) } },
    },
    /** To where a job stands by what it has: a new one at its beginning, another at its last checkpoint. */
    resuming: {
      always: [
        { guard: 'isUnplanned', target: 'validating' },
        { guard: 'isUntrained', target: 'queued' },
        { guard: 'isValidationDue', target: 'training.validating' },
        { guard: 'hasMoreRounds', target: 'training.dispatching' },
        { guard: 'hasTestExamples', target: 'evaluating' },
        { target: 'registering' },
      ],
    },
    validating: {
      on: { pause: 'pausing' },
      invoke: {
        id: 'validate',
        src: 'validate',
        input: inputOf,
        onDone: 'preparing',
        onError: { target: 'cancelling', actions: { type: 'fail', params: ({ event }) => faultOfEvent(event) } },
      },
      after: { validateLimit: { target: 'cancelling', actions: limitIsOver('validating', JOB_LIMITS.validateMs) } },
    },
    preparing: {
      on: { pause: 'pausing' },
      invoke: {
        id: 'prepare',
        src: 'prepare',
        input: inputOf,
        onDone: [
          {
            guard: 'isResumed',
            target: 'resuming',
            actions: [{ type: 'takePlan', params: ({ event }) => event.output }, 'resume'],
          },
          { target: 'queued', actions: { type: 'takePlan', params: ({ event }) => event.output } },
        ],
        onError: { target: 'cancelling', actions: { type: 'fail', params: ({ event }) => faultOfEvent(event) } },
      },
      after: { prepareLimit: { target: 'cancelling', actions: limitIsOver('preparing', JOB_LIMITS.prepareMs) } },
    },
    queued: {
      entry: ['expectInitial', { type: 'spawn', params: initialTask }],
      on: {
        'task.started': { guard: 'isPending', target: 'training' },
        'task.done': {
          guard: 'isPending',
          target: 'training.dispatching',
          actions: ['takeInitial', 'countCost', 'settle'],
        },
        pause: 'pausing',
      },
      after: { queueLimit: { target: 'cancelling', actions: limitIsOver('queued', JOB_LIMITS.queueMs) } },
    },
    training: {
      initial: 'initialising',
      entry: { type: 'schedule', params: timeLimit },
      on: {
        pause: [
          { guard: 'isUrgent', target: 'pausing' },
          { actions: ['askPause', { type: 'schedule', params: overdue }] },
        ],
        'pause.overdue': { guard: 'isPauseAsked', target: 'pausing' },
        resume: { guard: 'isPauseAsked', actions: ['forgetPause', { type: 'unschedule', params: notOverdue }] },
      },
      states: {
        initialising: {
          on: {
            'task.done': { guard: 'isPending', target: 'dispatching', actions: ['takeInitial', 'countCost', 'settle'] },
          },
          after: {
            initialiseLimit: {
              target: '#job.cancelling',
              actions: limitIsOver('initialising', JOB_LIMITS.initialiseMs),
            },
          },
        },
        dispatching: {
          entry: ['expectRound', { type: 'spawn', params: roundTasks }],
          always: 'collecting',
        },
        collecting: {
          on: {
            'task.done': [
              {
                guard: 'isLastPending',
                target: 'reducing',
                actions: ['takeResult', 'countCost', { type: 'tell', params: stopOfOther }, 'settleBoth'],
              },
              {
                guard: 'isPending',
                actions: ['takeResult', 'countCost', { type: 'tell', params: stopOfOther }, 'settleBoth'],
              },
            ],
            'task.slow': { guard: 'mayHaveTwin', actions: [{ type: 'spawn', params: roundTwin }, 'expectTwin'] },
            'task.failed': { guard: 'hasOther', actions: 'settle' },
            'task.cancelled': { guard: 'hasOther', actions: 'settle' },
          },
          after: {
            collectLimit: { target: '#job.cancelling', actions: limitIsOver('collecting', JOB_LIMITS.collectMs) },
          },
        },
        reducing: {
          invoke: {
            id: 'reduce',
            src: 'reduce',
            input: ({ context }) => reduction(context),
            onDone: { target: 'checkpointing', actions: { type: 'takeReduced', params: ({ event }) => event.output } },
            onError: {
              target: '#job.cancelling',
              actions: { type: 'fail', params: ({ event }) => faultOfEvent(event) },
            },
          },
          after: { reduceLimit: { target: '#job.cancelling', actions: limitIsOver('reducing', JOB_LIMITS.reduceMs) } },
        },
        checkpointing: {
          entry: 'checkpoint',
          always: [
            { guard: 'isTooCostly', target: '#job.cancelling', actions: { type: 'fail', params: tooCostly } },
            { guard: 'isValidationDue', target: 'validating' },
            { guard: 'isPauseAsked', target: '#job.paused', actions: { type: 'unschedule', params: notOverdue } },
            { guard: 'hasMoreRounds', target: 'dispatching' },
            { guard: 'hasTestExamples', target: '#job.evaluating' },
            { target: '#job.registering' },
          ],
        },
        validating: {
          entry: ['expectValidation', { type: 'spawn', params: validateTasks }],
          on: {
            'task.done': [
              { guard: 'isLastPending', target: 'judging', actions: ['takeResult', 'countCost', 'settle'] },
              { guard: 'isPending', actions: ['takeResult', 'countCost', 'settle'] },
            ],
          },
          after: {
            measureLimit: {
              target: '#job.cancelling',
              actions: limitIsOver('validating', JOB_LIMITS.evaluateMs),
            },
          },
        },
        judging: {
          invoke: {
            id: 'judge',
            src: 'score',
            input: ({ context }) => scoring(context, 'validation'),
            onDone: [{ target: 'judged', actions: { type: 'judge', params: ({ event }) => event.output } }],
            onError: {
              target: '#job.cancelling',
              actions: { type: 'fail', params: ({ event }) => faultOfEvent(event) },
            },
          },
          after: { judgeLimit: { target: '#job.cancelling', actions: limitIsOver('judging', JOB_LIMITS.scoreMs) } },
        },
        judged: {
          always: [
            { guard: 'isPauseAsked', target: '#job.paused', actions: { type: 'unschedule', params: notOverdue } },
            { guard: 'hasMoreRounds', target: 'dispatching' },
            { guard: 'hasTestExamples', target: '#job.evaluating' },
            { target: '#job.registering' },
          ],
        },
        /** Nothing of the round that diverged may still run when it begins anew. */
        restarting: {
          entry: { type: 'tell', params: ({ context }) => cancellations(context.pending) },
          on: {
            'task.done': { guard: 'isPending', actions: 'settle' },
            'task.failed': { guard: 'isPending', actions: 'settle' },
            'task.cancelled': { guard: 'isPending', actions: 'settle' },
          },
          always: { guard: 'isNothingPending', target: 'dispatching', actions: 'restart' },
          after: { restartLimit: { actions: 'stopWaiting' } },
        },
      },
    },
    evaluating: {
      entry: ['expectEvaluation', { type: 'spawn', params: evaluateTasks }],
      on: {
        'task.done': [
          { guard: 'isLastPending', target: 'scoring', actions: ['takeResult', 'countCost', 'settle'] },
          { guard: 'isPending', actions: ['takeResult', 'countCost', 'settle'] },
        ],
        pause: 'pausing',
      },
      after: { evaluateLimit: { target: 'cancelling', actions: limitIsOver('evaluating', JOB_LIMITS.evaluateMs) } },
    },
    scoring: {
      invoke: {
        id: 'score',
        src: 'score',
        input: ({ context }) => scoring(context, 'test'),
        onDone: { target: 'registering', actions: { type: 'takeEvaluation', params: ({ event }) => event.output } },
        onError: { target: 'cancelling', actions: { type: 'fail', params: ({ event }) => faultOfEvent(event) } },
      },
      after: { scoreLimit: { target: 'cancelling', actions: limitIsOver('scoring', JOB_LIMITS.scoreMs) } },
    },
    registering: {
      invoke: {
        id: 'register',
        src: 'register',
        input: ({ context }) => registration(context),
        onDone: { target: 'completed', actions: { type: 'takeModel', params: ({ event }) => event.output } },
        onError: { target: 'cancelling', actions: { type: 'fail', params: ({ event }) => faultOfEvent(event) } },
      },
      after: { registerLimit: { target: 'cancelling', actions: limitIsOver('registering', JOB_LIMITS.registerMs) } },
    },
    /** What was under way will be done anew: nothing of it may still run when the job is paused. */
    pausing: {
      entry: { type: 'tell', params: ({ context }) => cancellations(context.pending) },
      on: {
        'task.done': { guard: 'isPending', actions: ['countCost', 'settle'] },
        'task.failed': { guard: 'isPending', actions: 'settle' },
        'task.cancelled': { guard: 'isPending', actions: 'settle' },
      },
      always: { guard: 'isNothingPending', target: 'paused' },
      after: { pauseLimit: 'paused' },
    },
    paused: {
      entry: 'nextTake',
      on: { resume: [{ guard: 'isUnplanned', target: 'submitted' }, { target: 'resuming' }] },
      after: { pausedLimit: { target: 'cancelling', actions: limitIsOver('paused', JOB_LIMITS.pausedMs) } },
    },
    /** Also the way of a job that fails: nothing of it may still run when it has ended. */
    cancelling: {
      entry: { type: 'tell', params: ({ context }) => cancellations(context.pending) },
      on: {
        cancel: {},
        'time.over': {},
        'task.done': { guard: 'isPending', actions: 'settle' },
        'task.failed': { guard: 'isPending', actions: 'settle' },
        'task.cancelled': { guard: 'isPending', actions: 'settle' },
      },
      always: [
        { guard: 'hasFailed', target: 'failed' },
        { guard: 'isNothingPending', target: 'cancelled' },
      ],
      after: { cancelLimit: { actions: 'stopWaiting' } },
    },
    completed: { type: 'final' },
    failed: { type: 'final' },
    cancelled: { type: 'final' },
  },
})

function taskOf(event: JobEvent): string {
  return 'task' in event ? event.task : ''
}

function inputOf({ context }: { readonly context: JobContext }): JobInput {
  return { id: context.id, owner: context.owner, spec: context.spec }
}

function expected(inputs: readonly TaskInput[]): Pick<JobContext, 'pending' | 'results'> {
  return { pending: inputs.map(({ id }) => taskAddress(id)), results: inputs.map(() => null) }
}

function initialTask({ context }: Args): readonly Spawn[] {
  return spawns([initialInput(context)])
}

function roundTasks({ context }: Args): readonly Spawn[] {
  return spawns(roundInputs(context))
}

function validateTasks({ context }: Args): readonly Spawn[] {
  return spawns(evaluateInputs(context, 'validation'))
}

function evaluateTasks({ context }: Args): readonly Spawn[] {
  return spawns(evaluateInputs(context, 'test'))
}

/** From the checkpoint of another job, as that one would have gone on. */
function resumed({ resume }: JobContext): Partial<JobContext> {
  if (resume === undefined) return {}
  const { checkpoint, fingerprint, firstLoss, rateFactor } = resume
  return { checkpoints: [checkpoint], metrics: checkpoint.metrics, fingerprint, firstLoss, rateFactor }
}

function stopOfOther({ context, event }: Args): readonly Tell[] {
  const other = otherOf(context, taskOf(event))
  return other === undefined ? [] : cancellations([other])
}

function roundTwin({ context, event }: Args): readonly Spawn[] {
  return event.type === 'task.slow' ? twinOf(roundInputs(context), originalOf(event.task), event.worker) : []
}

function outcomeOf({ fault, model }: JobContext): JobOutcome {
  return { outcome: fault !== null ? 'failed' : model === null ? 'cancelled' : 'completed' }
}

function timeLimit({ context }: Args): readonly Schedule[] {
  const { time } = context.spec.limits ?? {}
  if (time === undefined || context.take > 0) return []
  return [{ id: 'time', event: { type: 'time.over' } satisfies JobEvent, delayMs: time * 1_000 }]
}

function timeIsOver({ context }: Args): Fault {
  return timeFault(context.spec.limits?.time ?? 0)
}

function tooCostly({ context }: Args): Fault {
  return costFault(context.costMs, context.spec.limits?.cost ?? 0)
}

function overdue(): Schedule {
  return { id: 'pause', event: { type: 'pause.overdue' } satisfies JobEvent, delayMs: JOB_LIMITS.pauseGraceMs }
}

function notOverdue(): Unschedule {
  return { id: 'pause' }
}

function limitIsOver(state: string, limitMs: number): { readonly type: 'fail'; readonly params: Fault } {
  return { type: 'fail', params: timeoutFault(`job.${state}-timeout`, `The job's state "${state}"`, limitMs) }
}

function taskWasCancelled({ event }: Args): Fault {
  return {
    code: 'task.cancelled',
    message: `${taskOf(event)} was cancelled, though its job was not`,
    remedy: 'give-up',
  }
}
