/**
 * A job: a deterministic computation over content-addressed blobs, from a spec to a registered model. It prepares what
 * its tasks need, runs rounds of one task per replica, makes one set of weights of their results, and keeps a
 * checkpoint of every round; whatever dies, it goes on from there with the same numbers.
 *
 *   submitted → (waiting) → validating → preparing → queued
 *     → training (initialising → (dispatching → collecting → reducing → checkpointing (→ validating → judging)?)*)
 *     → evaluating → scoring → (registering) → completed
 *   collecting → restarting → dispatching, where the loss diverged and the spec says to go on with a lower rate
 *   most of them → pausing → paused → resuming → where it was, from its last checkpoint
 *   any of them → cancelling → cancelled | failed
 *   paused → stopped, where it is a trial (trial.ts) that its sweep does not let go on
 *
 * Invariants:
 * 1. What is computed follows from spec, seed and data alone (training.ts); the chart says only when. A pause ends a
 *    round or has it run again, and a task's twin computes what the task would have.
 * 2. `pending` names exactly the tasks that have not told how they ended; a word of any other task is not heard.
 * 3. Every state that waits has a limit, and `cancel` leads out of every state within `JOB_LIMITS.cancelMs`.
 * 4. A job ends in completed, failed, cancelled or stopped, when none of its tasks runs or waits any more.
 */
import { originalOf } from './address.ts'
import { cancellations, costFault, limitIsOver, SETTLING, spawns, stopOfOther, taskOf, taskWasCancelled, timeFault, twinOf } from './control.ts' // prettier-ignore
import type { JobOutcome } from './control.ts'
import { faultOfEvent } from './fault.ts'
import type { Fault } from './fault.ts'
import { isValidationDue } from './judgement.ts'
import { JOB_LIMITS } from './limits.ts'
import { waiting } from './predecessors.ts'
import { reduction, registration, scoring } from './results.ts'
import { evaluateInputs, initialInput, roundInputs, UNTRAINED } from './training.ts'
import type { JobInput } from './training.ts'
import { trialEnd, trialReport } from './trial.ts'
import type { Schedule, Spawn, Tell, Unschedule } from './vocabulary.ts'
import { jobParts } from './job-parts.ts'
import type { Args, JobContext, JobEvent } from './job-parts.ts'

export const jobMachine = jobParts.createMachine({
  id: 'job',
  context: ({ input }) => ({
    ...input,
    ...UNTRAINED,
    pending: [],
    predecessors: [],
    isPauseAsked: false,
    isConcluded: false,
    stoppedAt: null,
    model: null,
    fault: null,
  }),
  output: ({ context }) => outcomeOf(context),
  initial: 'submitted',
  on: {
    cancel: '.cancelling',
    'time.over': { target: '.cancelling', actions: { type: 'fail', params: timeIsOver } },
    'task.failed': [
      { guard: 'mayRestart', target: '.training.restarting', actions: ['dropRuined', 'settle'] },
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
    waiting: waiting('resuming', limitIsOver('waiting', JOB_LIMITS.waitMs)),
    /** To where a job stands by what it has: a new one at its beginning, another at its last checkpoint. */
    resuming: {
      always: [
        { guard: 'isUnplanned', target: 'validating' },
        { guard: 'isUntrained', target: 'queued' },
        { guard: 'isValidationDue', target: 'training.validating' },
        { guard: 'hasMoreRounds', target: 'training.dispatching' },
        { guard: 'hasTestExamples', target: 'evaluating' },
        { target: 'concluding' },
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
                actions: ['takeResult', 'countCost', { type: 'tell', params: stopOfTwin }, 'settleBoth'],
              },
              {
                guard: 'isPending',
                actions: ['takeResult', 'countCost', { type: 'tell', params: stopOfTwin }, 'settleBoth'],
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
          entry: ['checkpoint', { type: 'tell', params: standingUnmeasured }],
          always: [
            { guard: 'isTooCostly', target: '#job.cancelling', actions: { type: 'fail', params: tooCostly } },
            { guard: 'isValidationDue', target: 'validating' },
            { guard: 'isPauseDue', target: '#job.paused', actions: { type: 'unschedule', params: notOverdue } },
            { guard: 'hasMoreRounds', target: 'dispatching' },
            { guard: 'hasTestExamples', target: '#job.evaluating' },
            { target: '#job.concluding' },
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
          entry: { type: 'tell', params: ({ context }) => trialReport(context, false) },
          always: [
            { guard: 'isPauseDue', target: '#job.paused', actions: { type: 'unschedule', params: notOverdue } },
            { guard: 'hasMoreRounds', target: 'dispatching' },
            { guard: 'hasTestExamples', target: '#job.evaluating' },
            { target: '#job.concluding' },
          ],
        },
        /** Nothing of the round that diverged may still run when it begins anew. */
        restarting: {
          entry: { type: 'tell', params: ({ context }) => cancellations(context.pending) },
          on: SETTLING,
          always: { guard: 'isNothingPending', target: 'dispatching', actions: 'restart' },
          after: { restartLimit: { actions: 'stopWaiting' } },
        },
      },
    },
    evaluating: {
      entry: ['expectEvaluation', { type: 'spawn', params: evaluateTasks }, { type: 'schedule', params: timeLimit }],
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
        onDone: { target: 'concluding', actions: { type: 'takeEvaluation', params: ({ event }) => event.output } },
        onError: { target: 'cancelling', actions: { type: 'fail', params: ({ event }) => faultOfEvent(event) } },
      },
      after: { scoreLimit: { target: 'cancelling', actions: limitIsOver('scoring', JOB_LIMITS.scoreMs) } },
    },
    /** Of a sweep's trials only the best becomes a model, and that is the sweep's business. */
    concluding: {
      entry: 'conclude',
      always: [{ guard: 'isTrial', target: 'completed' }, { target: 'registering' }],
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
        ...SETTLING,
        'task.done': { guard: 'isPending', actions: ['countCost', 'settle'] },
      },
      always: { guard: 'isNothingPending', target: 'paused' },
      after: { pauseLimit: 'paused' },
    },
    paused: {
      entry: [
        'nextTake',
        { type: 'tell', params: ({ context }) => trialReport(context, true) },
        { type: 'unschedule', params: timeIsKept },
      ],
      on: {
        resume: [
          { guard: 'isUnplanned', target: 'submitted', actions: 'takeUntil' },
          { guard: 'mayGoOn', target: 'resuming', actions: 'takeUntil' },
        ],
        stop: { guard: 'isTrial', target: 'stopped', actions: 'takeStop' },
      },
      after: { pausedLimit: { target: 'cancelling', actions: limitIsOver('paused', JOB_LIMITS.pausedMs) } },
    },
    /** Also the way of a job that fails: nothing of it may still run when it has ended. */
    cancelling: {
      entry: { type: 'tell', params: ({ context }) => cancellations(context.pending) },
      on: {
        ...SETTLING,
        cancel: {},
        'time.over': {},
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
    stopped: { type: 'final' },
  },
})

function inputOf({ context }: { readonly context: JobContext }): JobInput {
  return { id: context.id, owner: context.owner, spec: context.spec }
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

function stopOfTwin({ context, event }: Args): readonly Tell[] {
  return stopOfOther(context, taskOf(event))
}

function roundTwin({ context, event }: Args): readonly Spawn[] {
  return event.type === 'task.slow' ? twinOf(roundInputs(context), originalOf(event.task), event.worker) : []
}

function outcomeOf(context: JobContext): JobOutcome {
  const { fault, model, trial, isConcluded, stoppedAt } = context
  const isCompleted = model !== null || (trial !== undefined && isConcluded)
  const outcome = fault !== null ? 'failed' : isCompleted ? 'completed' : stoppedAt !== null ? 'stopped' : 'cancelled'
  return { outcome, ...(trial !== undefined && { trial: trialEnd(context, fault, isConcluded) }) }
}

/** What is about to be measured is told when it is. */
function standingUnmeasured({ context }: Args): readonly Tell[] {
  return isValidationDue(context) ? [] : trialReport(context, false)
}

function timeLimit({ context }: Args): readonly Schedule[] {
  const { time } = context.spec.limits ?? {}
  if (time === undefined) return []
  return [{ id: 'time', event: { type: 'time.over' } satisfies JobEvent, delayMs: time * 1_000, keep: true }]
}

/** Pauses do not count: the job goes on with what is left of its time. */
function timeIsKept({ context }: Args): readonly Unschedule[] {
  return context.spec.limits?.time === undefined ? [] : [{ id: 'time', keep: true }]
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
