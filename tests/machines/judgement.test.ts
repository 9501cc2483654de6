import { describe, expect, test } from 'vitest'
import type { JobContext } from '../../machines/job-parts.ts'
import type { JobSpec } from '../../machines/spec.ts'
import { newJob, PLAN, SPEC } from './chart.ts'
import type { Chart } from './chart.ts'

const blob = (name: string): { sha256: string; sizeBytes: number } => ({ sha256: name, sizeBytes: 1 })
const contextOf = (job: Chart): JobContext => job.context as JobContext
const done = (job: Chart, task: string, output: object): Chart =>
  job.send({
    type: 'task.done',
    task,
    worker: 'worker/a',
    fingerprint: 'f',
    output: { elapsedMs: 9, ...output },
  } as never)

/** Answers every pending task of a round, then reduces. */
function round(job: Chart, loss = 1): Chart {
  const { round: at = 0 } = contextOf(job).checkpoints.at(-1) ?? {}
  for (const [replica, task] of contextOf(job).pending.entries()) {
    const metrics = { loss, firstLoss: 2, examples: 8, kernelMs: 1, moved: { exchangeBytes: 1, stateBytes: 1 } }
    done(job, task, {
      kind: 'round',
      round: at,
      replica,
      weights: blob(`w${at}`),
      optimizerState: blob('o'),
      ...metrics,
    })
  }
  return job.finish('reduce', { weights: blob(`g${at + 1}`), update: null, outerState: null })
}

function validated(job: Chart, measures: object): Chart {
  for (const [slice, task] of contextOf(job).pending.entries())
    done(job, task, { kind: 'evaluate', slice, sums: blob(`v${slice}`) })
  return job.finish('judge', { examples: 4, report: blob('r'), ...measures })
}

const workOf = (job: Chart): unknown => job.spawned.map(({ input }) => (input as { work: object }).work)[0]
const withTrain = (train: Partial<JobSpec['train']>): JobSpec => ({ ...SPEC, train: { ...SPEC.train, ...train } })
const training = (spec: JobSpec, plan: object = {}): Chart => {
  const job = newJob(spec)
    .finish('validate', null)
    .finish('prepare', { ...PLAN, steps: 20, validationExamples: 4, ...plan })
  return done(job, 'task/J.init', { kind: 'initialise', weights: blob('w0') })
}

describe('validation', () => {
  test('comes every so many rounds and at the end, on the weights of that round', () => {
    const job = round(training(withTrain({ validation: { everyRounds: 2 } })))
    expect(job.value).toEqual({ training: 'collecting' })
    round(job)
    expect(job.value).toEqual({ training: 'validating' })
    expect(job.spawned.map(({ to }) => to)).toEqual(['task/J.val2.0', 'task/J.val2.1'])
    expect(job.spawned.map(({ input }) => (input as { work: object }).work)).toMatchObject([
      { split: 'validation', weights: 'g2' },
      { split: 'validation', weights: 'g2' },
    ])
    validated(job, { loss: 0.3 })
    expect(contextOf(job)).toMatchObject({ validation: { loss: 0.3 }, best: { value: 0.3 } })
    validated(round(round(job)), { loss: 0.4 })
    round(job)
    expect(job.value).toEqual({ training: 'validating' })
    expect(validated(job, { loss: 0.5 }).value).toBe('evaluating')
    expect(contextOf(job).best).toMatchObject({ value: 0.3, checkpoint: { round: 2 } })
  })

  const registered = (job: Chart): unknown => {
    for (const [slice, task] of contextOf(job).pending.entries())
      done(job, task, { kind: 'evaluate', slice, sums: blob('s') })
    return job.finish('score', { loss: 1, examples: 1, report: blob('r') }).effects.get('register')?.input
  }

  test('says of the model what it said of the same weights, and nothing of others', () => {
    const spec = withTrain({ validation: { everyRounds: 1 } })
    const job = training(spec, { steps: 8 })
    validated(round(job), { loss: 0.3 })
    validated(round(job), { loss: 0.4 })
    expect(registered(job)).toMatchObject({ weights: blob('g2'), validation: { loss: 0.4 } })
    const other = training(withTrain({}), { steps: 4 })
    expect(registered(round(other))).toMatchObject({ weights: blob('g1'), validation: null })
  })

  test('does not happen without a validation split', () => {
    const job = training(withTrain({ validation: { everyRounds: 1 } }), { validationExamples: 0 })
    expect(round(job).value).toEqual({ training: 'collecting' })
  })
})

describe('early stopping', () => {
  const spec = withTrain({
    validation: { everyRounds: 1 },
    earlyStopping: { metric: 'accuracy', patience: 2, minDelta: 0.01 },
    checkpoints: { everyRounds: 1, keepLast: 1 },
  })

  test('ends a training that gets no better, and takes the best checkpoint, though later ones were kept', () => {
    const job = training(spec)
    validated(round(job), { loss: 1, accuracy: 0.5 })
    validated(round(job), { loss: 1, accuracy: 0.9 })
    validated(round(job), { loss: 1, accuracy: 0.905 })
    expect(job.value).toEqual({ training: 'collecting' })
    validated(round(job), { loss: 0.1, accuracy: 0.8 })
    expect(job.value).toBe('evaluating')
    expect(job.spawned.map(({ input }) => (input as { work: { weights: string } }).work.weights)).toEqual(['g2', 'g2'])
    for (const [slice, task] of contextOf(job).pending.entries())
      done(job, task, { kind: 'evaluate', slice, sums: blob('s') })
    job.finish('score', { loss: 1, examples: 1, report: blob('r') })
    expect(job.effects.get('register')?.input).toMatchObject({ weights: blob('g2'), validation: { accuracy: 0.9 } })
  })

  test('has new patience after every improvement', () => {
    const job = training(spec)
    for (const accuracy of [0.5, 0.4, 0.6, 0.5]) validated(round(job), { loss: 1, accuracy })
    expect(job.value).toEqual({ training: 'collecting' })
    expect(contextOf(job)).toMatchObject({ stale: 1, best: { checkpoint: { round: 3 } } })
  })
})

describe('checkpoints', () => {
  test('stay every so many rounds, the last few of them, and always the newest', () => {
    const job = training(withTrain({ checkpoints: { everyRounds: 2, keepLast: 2 } }))
    for (let i = 0; i < 4; i++) round(job)
    expect(contextOf(job).checkpoints.map(({ round: at }) => at)).toEqual([2, 4])
    round(job)
    expect(contextOf(job).checkpoints.map(({ round: at }) => at)).toEqual([4, 5])
  })

  test('of another job are gone on from as that one would have', () => {
    const origin = round(round(training(SPEC)))
    const resume = {
      job: 'I',
      checkpoint: contextOf(origin).checkpoints.at(-1),
      fingerprint: 'f',
      firstLoss: 2,
      rateFactor: 0.5,
    }
    const job = newJob(SPEC, { resume })
      .finish('validate', null)
      .finish('prepare', { ...PLAN, steps: 20 })
    expect(job.value).toEqual({ training: 'collecting' })
    const work = workOf(job)
    expect(work).toMatchObject({ round: 2, stepStart: 8, weights: 'g2', rateFactor: 0.5, lossLimit: 2_000 })
  })
})

describe('a loss that diverges', () => {
  const fault = { code: 'loss.exploded', message: 'The loss has exploded at step 9', remedy: 'fix-request' }
  const failed = (job: Chart): Chart =>
    job.send({ type: 'task.failed', task: contextOf(job).pending[0], fault } as never)

  test('ends the job with the step and the last good checkpoint named', () => {
    const job = failed(round(training(SPEC)))
    for (const task of contextOf(job).pending) job.send({ type: 'task.cancelled', task } as never)
    expect(job.value).toBe('failed')
    expect(contextOf(job).fault?.message).toBe(
      'The loss has exploded at step 9. The last good checkpoint is that of round 1, after step 4',
    )
    expect(contextOf(job).fault?.data).toMatchObject({ checkpoint: { round: 1, weights: 'g1' } })
  })

  test('begins the round anew with a lower rate where the spec says so, when nothing of it runs any more', () => {
    const onDivergence = { restart: true, factor: 0.5, times: 2, lossFactor: 10 }
    const job = failed(round(training(withTrain({ onDivergence }))))
    expect(job.value).toEqual({ training: 'restarting' })
    expect(job.told.map(({ to }) => to)).toEqual(['task/J.1.1'])
    job.send({ type: 'task.cancelled', task: 'task/J.1.1' } as never)
    expect(job.value).toEqual({ training: 'collecting' })
    expect(job.spawned.map(({ to }) => to)).toEqual(['task/J.1r1.0', 'task/J.1r1.1'])
    expect(workOf(job)).toMatchObject({
      rateFactor: 0.5,
      lossLimit: 20,
      weights: 'g1',
    })
    failed(job).send({ type: 'task.cancelled', task: 'task/J.1r1.1' } as never)
    expect(workOf(job)).toMatchObject({ rateFactor: 0.25 })
    failed(job).send({ type: 'task.cancelled', task: 'task/J.1r2.1' } as never)
    expect(job.value).toBe('failed')
    expect(contextOf(job).fault?.message).toContain('after 2 restarts')
  })
})
