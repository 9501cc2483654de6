/**
 * The charts of the fleet and of the example, with events for them that are sometimes to the point and sometimes stale,
 * out of order or about somebody else: both engines must agree on those as well, also where a chart throws.
 */
import fc from 'fast-check'
import type { AnyEventObject, AnyStateMachine } from 'xstate'
import { relayMachine } from '../../bench/relay.ts'
import { orderMachine } from '../../examples/order.ts'
import { jobMachine } from '../../machines/job.ts'
import type { JobContext } from '../../machines/job-parts.ts'
import { quotaMachine } from '../../machines/quota.ts'
import { schedulerMachine } from '../../machines/scheduler.ts'
import { sweepMachine } from '../../machines/sweep.ts'
import { taskMachine } from '../../machines/task.ts'
import type { TaskContext } from '../../machines/task.ts'
import { workerMachine } from '../../machines/worker.ts'
import { FAULTS, PLAN, SPEC, SWEEP, TASK_INPUT } from '../machines/chart.ts'
import { fault, resultOf, timer } from './both-engines.ts'
import type { Happening } from './both-engines.ts'

interface RealChart {
  readonly kind: string
  readonly machine: AnyStateMachine
  readonly input: unknown
  readonly happenings: fc.Arbitrary<Happening>
}

const told = (event: fc.Arbitrary<AnyEventObject>): fc.Arbitrary<Happening> =>
  event.map((event) => ({ kind: 'event', event }))

/** An event with fields that some chart or other looks at. */
const eventOf = (...types: string[]): fc.Arbitrary<AnyEventObject> =>
  fc.record({
    type: fc.constantFrom(...types),
    task: fc.constantFrom('task/J.0.0', 'task/J.0.1', 'task/K.0.0'),
    worker: fc.constantFrom('worker/a', 'worker/b'),
    attempt: fc.nat(3),
    job: fc.constantFrom('J', 'K'),
    owner: fc.constantFrom('ann', 'bob'),
    priority: fc.constantFrom('high', 'normal', 'low'),
    page: fc.constantFrom('page/default.q1.0', 'page/default.q2.1'),
    pace: fc.constantFrom(1, 5),
    expectedMs: fc.constantFrom(0, 1_000),
    gang: fc.constantFrom(undefined, 2),
    ack: fc.boolean(),
    slots: fc.integer({ min: 1, max: 2 }),
    fingerprint: fc.constantFrom('f', 'g'),
    fault: fc.constantFrom(...Object.values(FAULTS)),
    output: fc.constant({ kind: 'initialise', weights: { sha256: 'w', sizeBytes: 1 }, elapsedMs: 1 }),
    work: fc.constant(TASK_INPUT.work),
    hop: fc.nat(9),
    queue: fc.constantFrom('normal * ann', 'high f bob'),
    entries: fc.constant([]),
  })

/** Mostly of the attempt that the task is at. */
const aboutTask = (...types: string[]): fc.Arbitrary<Happening> =>
  fc.record({ event: eventOf(...types), chance: fc.nat(5) }).map(({ event, chance }) => ({
    kind: 'event',
    event: (context) => (chance === 0 ? event : { ...event, attempt: (context as TaskContext).attempt }),
  }))

/** What the task that is named would bring. */
function outputOf(task: string): object {
  const [, round = '', place = ''] = task.split('.')
  const weights = { sha256: `w${task}`, sizeBytes: 1 }
  const slice = Number.parseInt(place, 10) // `-1` behind it says that the job has paused once
  if (round.startsWith('init')) return { kind: 'initialise', weights, elapsedMs: 1 }
  if (round === 'eval') return { kind: 'evaluate', slice, sums: weights, elapsedMs: 1 }
  return {
    kind: 'round',
    round: Number.parseInt(round, 10),
    replica: slice,
    weights,
    optimizerState: weights,
    kernelMs: 1,
    moved: { exchangeBytes: 1, stateBytes: 1 },
    firstLoss: 1,
    loss: 1,
    examples: 8,
    elapsedMs: 3,
  }
}

/** Words about a task that the job really waits for. */
const ofPending: fc.Arbitrary<Happening> = fc
  .record({ type: seldom('task.done', 'task.started', 'task.slow', 'task.failed', 'task.cancelled'), index: fc.nat(3) })
  .map(({ type, index }) => ({
    kind: 'event',
    event: (context) => {
      const { pending } = context as JobContext
      const task = pending[index % pending.length] ?? 'task/J.init'
      return { type, task, worker: 'worker/a', fingerprint: 'f', output: outputOf(task), fault: FAULTS.user }
    },
  }))

/** A trial comes to a round, a rung or its end. */
const ofTrial: fc.Arbitrary<Happening> = fc
  .record({
    trial: fc.nat(4),
    round: fc.integer({ min: 1, max: 9 }),
    value: fc.constantFrom(null, 0.1, 0.5, 0.9),
    isPaused: fc.boolean(),
    outcome: fc.constantFrom(null, null, 'completed', 'failed', 'cancelled', 'stopped'),
  })
  .map(({ trial, outcome, ...standing }) => {
    const report = { type: 'trial.reported', trial, step: 4, steps: 9, ...standing }
    const training = outcome === 'completed' ? { plan: PLAN, weights, evaluation: null } : null
    const output = { outcome, trial: { ...standing, step: 4, steps: 9, fault: null, training } }
    const end = { type: 'actor.ended', actor: `job/S-${trial}`, status: 'done', output }
    return { kind: 'event', event: outcome === null ? report : end }
  })

function seldom(usual: string, ...others: string[]): fc.Arbitrary<string> {
  return fc.oneof({ weight: 12, arbitrary: fc.constant(usual) }, fc.constantFrom(...others))
}

const effectsOf = (...outputs: unknown[]): fc.Arbitrary<Happening> =>
  fc.oneof({ weight: 4, arbitrary: resultOf(fc.constantFrom(...outputs)) }, fault)

const weights = { sha256: 'w', sizeBytes: 1 }

export const REAL_CHARTS: readonly RealChart[] = [
  { kind: 'relay', machine: relayMachine, input: { self: 1 }, happenings: told(eventOf('ball', 'get', 'other')) },
  {
    kind: 'task',
    machine: taskMachine,
    input: TASK_INPUT,
    happenings: fc.oneof(
      {
        weight: 6,
        arbitrary: aboutTask(
          'assigned',
          'accepted',
          'rejected',
          'done',
          'failed',
          'failed',
          'worker.lost',
          'parked',
          'preempted',
        ),
      },
      { weight: 2, arbitrary: timer },
      aboutTask('cancel', 'withdrawn', 'stopped'),
    ),
  },
  {
    kind: 'job',
    machine: jobMachine,
    input: { id: 'J', owner: 'ann', spec: SPEC },
    happenings: fc.oneof(
      { weight: 6, arbitrary: ofPending },
      {
        weight: 6,
        arbitrary: resultOf(
          fc.constant({ ...PLAN, weights, update: null, outerState: null, name: 'digits', version: 1 }),
        ),
      },
      told(
        eventOf('cancel', 'pause', 'pause.overdue', 'resume', 'resume', 'task.done', 'task.failed', 'task.cancelled'),
      ),
      fault,
      timer,
    ),
  },
  {
    kind: 'sweep',
    machine: sweepMachine,
    input: {
      id: 'S',
      owner: 'ann',
      spec: {
        ...SWEEP,
        scheduler: { kind: 'asha', minRounds: 1, maxRounds: 4, eta: 2 },
        model: 'best',
        failuresMax: 2,
      },
    },
    happenings: fc.oneof(
      { weight: 8, arbitrary: ofTrial },
      told(eventOf('pause', 'resume', 'resume', 'cancel', 'other')),
      effectsOf({ name: 'best', version: 1 }),
      timer,
    ),
  },
  {
    kind: 'quota',
    machine: quotaMachine,
    input: { owner: 'ann' },
    happenings: told(
      fc.record({
        type: fc.constantFrom('admit', 'admit', 'actor.ended', 'child.failed', 'other'),
        job: fc.constantFrom('job/A', 'job/B', 'job/C'),
        actor: fc.constantFrom('job/A', 'job/B', 'job/C'),
        pool: fc.constantFrom('default', 'gpu'),
        limit: fc.constantFrom(null, 1, 2),
        input: fc.constant({}),
        status: fc.constant('done'),
      }),
    ),
  },
  {
    kind: 'worker',
    machine: workerMachine,
    input: { self: 'worker/a', pool: 'default', slots: 2, host: 'h', pid: 1, joinedAt: 0 },
    happenings: fc.oneof(
      { weight: 6, arbitrary: told(eventOf('welcome', 'run', 'run', 'run', 'cancel')) },
      { weight: 4, arbitrary: effectsOf({ backend: 'cpu', fingerprint: 'f' }) },
      told(eventOf('drain', 'owner.lost', 'xstate.done.actor.task/J.0.0')),
      timer,
    ),
  },
  {
    kind: 'scheduler',
    machine: schedulerMachine,
    input: { pool: 'default' },
    happenings: told(
      eventOf(
        'worker.joined',
        'worker.joined',
        'task.submit',
        'task.submit',
        'task.submit',
        'worker.freed',
        'worker.draining',
        'worker.gone',
        'task.withdraw',
        'worker.slow',
        'page.turned',
      ),
    ),
  },
  {
    kind: 'order',
    machine: orderMachine,
    input: { order: '1', cents: 100 },
    happenings: fc.oneof(told(eventOf('packed', 'cancel', 'other')), effectsOf('receipt', null), timer),
  },
]
