import { expect, test } from 'vitest'
import type { JobContext } from '../../machines/job-parts.ts'
import { FAULTS, newJob, PLAN, SPEC } from './chart.ts'
import type { Chart } from './chart.ts'

const blob = (name: string): { sha256: string; sizeBytes: number } => ({ sha256: name, sizeBytes: 1 })
/** A single replica: 10 steps in rounds of 2, hence five rounds. */
const ALONE = { ...SPEC, train: { ...SPEC.train, replicas: 1, strategy: { kind: 'local', roundSteps: 2 } as const } }
const VALIDATED = { ...ALONE, train: { ...ALONE.train, validation: { everyRounds: 4 } } }
const RECIPE = { ...PLAN.recipe, batchSizes: [8], strategy: ALONE.train.strategy }

function newTrial(more: object = {}, spec: typeof SPEC = ALONE, validationExamples = 0): Chart {
  const trial = { sweep: 'S', trial: 3, metric: 'accuracy', until: 2, roundsMax: null, ...more }
  const job = newJob(spec, { trial }).finish('validate', null)
  job.finish('prepare', { ...PLAN, recipe: RECIPE, validationExamples })
  return done(job, 'J.init', { kind: 'initialise', weights: blob('w0') })
}

function done(job: Chart, id: string, output: object): Chart {
  const all = { elapsedMs: 9, ...output }
  return job.send({ type: 'task.done', task: `task/${id}`, worker: 'worker/a', fingerprint: 'f', output: all } as never)
}

/** `take` is how often it has gone on after a pause. */
function trainRound(job: Chart, round: number, take = 0): Chart {
  done(job, `J.${round}.0${take === 0 ? '' : `-${take}`}`, {
    kind: 'round',
    round,
    replica: 0,
    weights: blob(`w${round + 1}`),
    optimizerState: blob(`o${round + 1}`),
    kernelMs: 7,
    moved: { exchangeBytes: 3, stateBytes: 5 },
    loss: 1,
    firstLoss: 2,
    accuracy: (round + 1) / 10,
    examples: 32,
  })
  return job.finish('reduce', { weights: blob(`w${round + 1}`), update: null, outerState: null })
}

const reports = (job: Chart): readonly object[] =>
  job.told.filter(({ to }) => to === 'sweep/S').map(({ event }) => event)

test('a trial tells its sweep after every round, and waits exactly after the one that was set', () => {
  const job = trainRound(newTrial(), 0)
  expect(reports(job)).toEqual([
    { type: 'trial.reported', trial: 3, isPaused: false, round: 1, step: 2, steps: 10, value: 0.1 },
  ])
  trainRound(job, 1)
  expect(job.value).toBe('paused')
  expect(reports(job).at(-1)).toEqual({
    type: 'trial.reported',
    trial: 3,
    isPaused: true,
    round: 2,
    step: 4,
    steps: 10,
    value: 0.2,
  })
})

test('a trial at a rung goes on by its sweep’s word alone, from its checkpoint, up to the next rung', () => {
  const job = trainRound(trainRound(newTrial(), 0), 1)
  expect(job.send({ type: 'resume' }).handled).toBe(false)
  job.send({ type: 'resume', until: 4 } as never)
  expect(job.spawned).toMatchObject([{ to: 'task/J.2.0-1', input: { work: { round: 2, weights: 'w2', stepStart: 4, optimizerState: 'o2' } } }]) // prettier-ignore
  trainRound(job, 2, 1)
  expect(job.value).toEqual({ training: 'collecting' })
  expect(trainRound(job, 3, 1).value).toBe('paused')
})

test('a trial that somebody paused before its rung goes on at their word', () => {
  const job = newTrial().send({ type: 'pause' })
  expect(trainRound(job, 0).value).toBe('paused')
  expect(job.send({ type: 'resume' }).value).toEqual({ training: 'collecting' })
})

test('a rung is measured on the validation split although the spec would not measure that round', () => {
  const job = trainRound(trainRound(newTrial({}, VALIDATED, 20), 0), 1)
  expect(job.value).toEqual({ training: 'validating' })
  done(job, 'J.val2.0', { kind: 'evaluate', slice: 0, sums: blob('s') })
  job.finish('judge', { loss: 0.4, accuracy: 0.75, examples: 20, report: blob('r') })
  expect(job.value).toBe('paused')
  expect(reports(job).at(-1)).toMatchObject({ isPaused: true, round: 2, value: 0.75 })
})

test('a trial ends at its sweep’s last round, is tested, and registers nothing', () => {
  const job = newTrial({ until: null, roundsMax: 2 })
  expect(trainRound(trainRound(job, 0), 1).value).toBe('evaluating')
  done(job, 'J.eval.0', { kind: 'evaluate', slice: 0, sums: blob('s') })
  const evaluation = { loss: 0.5, accuracy: 0.85, examples: 20, report: blob('r') }
  job.finish('score', evaluation)
  expect(job.value).toBe('completed')
  expect(job.effects.size).toBe(0)
  expect(job.output).toMatchObject({
    outcome: 'completed',
    trial: {
      round: 2,
      step: 4,
      value: 0.2,
      fault: null,
      training: { weights: blob('w2'), evaluation, plan: { steps: 10 } },
    },
  })
})

test('a trial that its sweep stops at a rung is stopped, which is neither failed nor cancelled', () => {
  const job = trainRound(trainRound(newTrial(), 0), 1).send({ type: 'stop', rung: 1 } as never)
  expect(job.value).toBe('stopped')
  expect(job.output).toMatchObject({ outcome: 'stopped', trial: { round: 2, value: 0.2, fault: null, training: null } })
  expect((job.context as JobContext).stoppedAt).toBe(1)
  expect(newTrial().send({ type: 'stop', rung: 1 } as never).handled).toBe(false)
})

test('a trial that failed or was cancelled says so, and offers no model', () => {
  const failed = newTrial().send({ type: 'task.failed', task: 'task/J.0.0', fault: FAULTS.user } as never)
  expect(failed.output).toMatchObject({ outcome: 'failed', trial: { round: 0, value: null, fault: { code: 'loss.not-finite' }, training: null } }) // prettier-ignore
  const stopped = trainRound(trainRound(newTrial(), 0), 1).send({ type: 'cancel' })
  expect(stopped.output).toMatchObject({ outcome: 'cancelled', trial: { round: 2, value: 0.2, training: null } })
})
