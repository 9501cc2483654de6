import { describe, expect, test } from 'vitest'
import type { JobContext } from '../../machines/job-parts.ts'
import { JOB_LIMITS } from '../../machines/limits.ts'
import { FAULTS, newJob, PLAN, SPEC } from './chart.ts'
import type { Chart } from './chart.ts'

const blob = (name: string): { sha256: string; sizeBytes: number } => ({ sha256: name, sizeBytes: 1 })
const contextOf = (job: Chart): JobContext => job.context as JobContext
const done = (job: Chart, id: string, output: object, worker = 'worker/a'): Chart =>
  job.send({
    type: 'task.done',
    task: `task/${id}`,
    worker,
    fingerprint: 'f1',
    output: { elapsedMs: 9, ...output },
  } as never)
const roundDone = (job: Chart, round: number, replica: number): Chart =>
  done(
    job,
    `J.${round}.${replica}`,
    {
      kind: 'round',
      round,
      replica,
      weights: blob(`w${round}.${replica}`),
      optimizerState: blob(`o${round}.${replica}`),
      kernelMs: 7,
      moved: { exchangeBytes: 3, stateBytes: 5 },
      loss: 1 + replica,
      firstLoss: 2,
      accuracy: 0.5,
      examples: 32,
    },
    `worker/${replica}`,
  )
const evaluated = (job: Chart, slice: number): Chart =>
  done(job, `J.eval.${slice}`, { kind: 'evaluate', slice, sums: blob(`s${slice}`) })

const queued = (): Chart => newJob().finish('validate', null).finish('prepare', PLAN)
const initialising = (): Chart =>
  queued().send({ type: 'task.started', task: 'task/J.init', worker: 'worker/a' } as never)
const collecting = (): Chart => done(initialising(), 'J.init', { kind: 'initialise', weights: blob('w0') })
const reducing = (): Chart => roundDone(roundDone(collecting(), 0, 0), 0, 1)
const reduced = (job: Chart, round: number): Chart =>
  job.finish('reduce', { weights: blob(`g${round}`), update: null, outerState: null })
const evaluating = (): Chart => {
  const job = collecting()
  for (let round = 0; round < 3; round++) reduced(roundDone(roundDone(job, round, 0), round, 1), round)
  return job
}
const scoring = (): Chart => evaluated(evaluated(evaluating(), 0), 1)
const SCORE = { loss: 0.5, accuracy: 0.85, examples: 20, report: blob('r') }
const registering = (): Chart => scoring().finish('score', SCORE)

const WAITING = [
  ['validating', newJob],
  ['preparing', () => newJob().finish('validate', null)],
  ['queued', queued],
  ['initialising', initialising],
  ['collecting', collecting],
  ['reducing', reducing],
  ['evaluating', evaluating],
  ['scoring', scoring],
  ['registering', registering],
] as const

/** Lets every task that was told to stop say that it did. */
function settle(job: Chart): Chart {
  for (const task of contextOf(job).pending) job.send({ type: 'task.cancelled', task } as never)
  return job
}

describe('the way of a job', () => {
  test('a job asks for its initial weights first, and waits in the queue for a worker', () => {
    expect(queued().spawned.map(({ to }) => to)).toEqual(['task/J.init'])
    expect(queued().value).toBe('queued')
    expect(initialising().value).toEqual({ training: 'initialising' })
  })

  test('a round is one task per replica, from the same weights and step', () => {
    const tasks = collecting().spawned
    expect(tasks.map(({ to }) => to)).toEqual(['task/J.0.0', 'task/J.0.1'])
    expect(tasks.map(({ input }) => (input as { work: object }).work)).toMatchObject([
      { kind: 'round', round: 0, replica: 0, stepStart: 0, steps: 4, weights: 'w0', optimizerState: null },
      { kind: 'round', round: 0, replica: 1, stepStart: 0, steps: 4, weights: 'w0', optimizerState: null },
    ])
  })

  test('results are reduced in replica order, whatever order they came in', () => {
    const job = roundDone(roundDone(collecting(), 0, 1), 0, 0)
    expect(job.effects.get('reduce')?.input).toMatchObject({
      round: 0,
      weights: 'w0',
      replicas: [{ sha256: 'w0.0' }, { sha256: 'w0.1' }],
      shares: [8, 8],
    })
  })

  test('the next round goes on from the checkpoint, each replica from its own optimiser state', () => {
    const job = reduced(reducing(), 0)
    expect(contextOf(job).checkpoints.at(-1)).toMatchObject({
      round: 1,
      step: 4,
      follows: null,
      weights: blob('g0'),
      outerState: null,
      optimizerStates: ['o0.0', 'o0.1'],
    })
    expect(job.spawned.map(({ input }) => (input as { work: object }).work)).toMatchObject([
      { round: 1, replica: 0, stepStart: 4, weights: 'g0', optimizerState: 'o0.0' },
      { round: 1, replica: 1, stepStart: 4, weights: 'g0', optimizerState: 'o0.1' },
    ])
  })

  test('the last round is as short as what is left', () => {
    const job = reduced(reducing(), 0)
    reduced(roundDone(roundDone(job, 1, 0), 1, 1), 1)
    expect(job.spawned.map(({ input }) => (input as { work: { steps: number } }).work.steps)).toEqual([2, 2])
  })

  test('a job keeps its metrics, and who worked for it', () => {
    const job = reduced(reducing(), 0)
    expect(contextOf(job)).toMatchObject({
      metrics: { loss: 1.5, accuracy: 0.5 },
      workers: { 'worker/0': 1, 'worker/1': 1 },
      slowestMs: 9,
    })
  })

  test('a result that comes twice counts once', () => {
    const job = roundDone(roundDone(collecting(), 0, 0), 0, 0)
    expect([job.value, job.handled]).toEqual([{ training: 'collecting' }, false])
    expect(contextOf(job).workers).toEqual({ 'worker/0': 1 })
  })

  test('the last checkpoints are kept, and no more', () => {
    expect(contextOf(evaluating()).checkpoints.map(({ round }) => round)).toEqual([1, 2, 3])
  })

  test('a trained job is tested in slices, whose sums are scored in their order', () => {
    expect(evaluating().spawned.map(({ to }) => to)).toEqual(['task/J.eval.0', 'task/J.eval.1'])
    expect(scoring().effects.get('score')?.input).toEqual({ job: 'J', split: 'test', slices: ['s0', 's1'] })
    expect(contextOf(registering()).evaluation).toEqual(SCORE)
  })

  test('without a test split a job is registered at once', () => {
    const job = newJob()
      .finish('validate', null)
      .finish('prepare', { ...PLAN, steps: 4, testExamples: 0 })
    done(job, 'J.init', { kind: 'initialise', weights: blob('w0') })
    reduced(roundDone(roundDone(job, 0, 0), 0, 1), 0)
    expect(job.value).toBe('registering')
    expect(job.effects.get('register')?.input).toMatchObject({ weights: blob('g0'), evaluation: null })
  })

  test('a registered job is completed', () => {
    const job = registering().finish('register', { name: 'digits', version: 3 })
    expect([job.value, job.status]).toEqual(['completed', 'done'])
  })
})

describe('cancelling', () => {
  test.each(WAITING)('a job that is %s can be cancelled', (_, make) => {
    const job = make().send({ type: 'cancel' })
    expect([...job.effects.keys()]).toEqual([])
    expect(settle(job).value).toBe('cancelled')
  })

  test('a cancelled job waits until its tasks have stopped', () => {
    const job = collecting().send({ type: 'cancel' })
    expect(job.told.map(({ to, event }) => `${to} ${event.type}`)).toEqual(['task/J.0.0 cancel', 'task/J.0.1 cancel'])
    job.send({ type: 'task.cancelled', task: 'task/J.0.0' } as never)
    expect(job.value).toBe('cancelling')
    expect(roundDone(job, 0, 1).value).toBe('cancelled')
  })

  test('a cancelled job ends even when a task never answers', () => {
    const job = collecting().send({ type: 'cancel' })
    expect(job.timers.get('cancelLimit')).toBe(JOB_LIMITS.cancelMs)
    expect(job.after('cancelLimit').value).toBe('cancelled')
  })

  test('a finished job cannot be cancelled', () => {
    const job = registering().finish('register', { name: 'digits', version: 1 }).send({ type: 'cancel' })
    expect([job.handled, job.value]).toEqual([false, 'completed'])
  })
})

describe('failing', () => {
  test.each([
    ['validate', newJob],
    ['prepare', () => newJob().finish('validate', null)],
    ['reduce', reducing],
    ['score', scoring],
    ['register', registering],
  ] as const)('a fault of %s fails the job and says why', (effect, make) => {
    const job = make().fail(effect, FAULTS.user)
    expect(job.value).toBe('failed')
    expect(contextOf(job).fault).toEqual(FAULTS.user)
  })

  test('a task that fails ends the job, after the others have stopped', () => {
    const job = collecting().send({ type: 'task.failed', task: 'task/J.0.1', fault: FAULTS.user } as never)
    expect(job.told.map(({ to }) => to)).toEqual(['task/J.0.0'])
    expect(settle(job).value).toBe('failed')
    expect(contextOf(job).fault).toMatchObject({ code: FAULTS.user.code, remedy: FAULTS.user.remedy })
  })

  test.each(WAITING)('a job that is %s has a limit to that, and fails by its name', (state, make) => {
    const job = make()
    expect(job.timers.size).toBe(1)
    const [limit = ''] = job.timers.keys()
    expect(settle(job.after(limit)).value).toBe('failed')
    expect(contextOf(job).fault?.code).toBe(`job.${state}-timeout`)
  })
})

test('a round that took long gives the next one long', () => {
  const job = newJob(SPEC).finish('validate', null).finish('prepare', PLAN)
  done(job, 'J.init', { kind: 'initialise', weights: blob('w0') })
  const slow = {
    elapsedMs: 60_000,
    kind: 'round',
    round: 0,
    kernelMs: 7,
    moved: { exchangeBytes: 3, stateBytes: 5 },
    loss: 1,
    firstLoss: 1,
    examples: 1,
  }
  for (const replica of [0, 1]) {
    done(job, `J.0.${replica}`, { ...slow, replica, weights: blob('w'), optimizerState: blob('o') })
  }
  reduced(job, 0)
  expect(job.spawned.map(({ input }) => (input as { runLimitMs: number }).runLimitMs)).toEqual([1_200_000, 1_200_000])
})
