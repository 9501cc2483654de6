import { describe, expect, test } from 'vitest'
import type { JobContext } from '../../machines/job-parts.ts'
import type { JobSpec } from '../../machines/spec.ts'
import { JOB_LIMITS } from '../../machines/limits.ts'
import { Chart, FAULTS, newJob, PLAN, SPEC } from './chart.ts'
import { jobMachine } from '../../machines/job.ts'

const blob = (name: string): { sha256: string; sizeBytes: number } => ({ sha256: name, sizeBytes: 1 })
const contextOf = (job: Chart): JobContext => job.context as JobContext
const done = (job: Chart, task: string, output: object, elapsedMs = 9): Chart =>
  job.send({ type: 'task.done', task: `task/${task}`, worker: 'worker/a', fingerprint: 'f', output: { elapsedMs, ...output } } as never) // prettier-ignore
const roundDone = (job: Chart, round: number, replica: number, suffix = '', elapsedMs = 9): Chart => {
  const [weights, optimizerState] = [blob(`w${round}.${replica}`), blob(`o${round}.${replica}`)]
  const moved = { exchangeBytes: 1, stateBytes: 1 }
  const output = { kind: 'round', round, replica, weights, optimizerState, loss: 1, firstLoss: 1, kernelMs: 1, moved, examples: 8 } // prettier-ignore
  return done(job, `J.${round}.${replica}${suffix}`, output, elapsedMs)
}
const withSpec = (more: Partial<JobSpec>): Chart => newJob({ ...SPEC, ...more })
const prepared = (job = newJob()): Chart => job.finish('validate', null).finish('prepare', PLAN)
const collecting = (job = newJob()): Chart => done(prepared(job), 'J.init', { kind: 'initialise', weights: blob('w0') })
const reduced = (job: Chart, round: number): Chart =>
  job.finish('reduce', { weights: blob(`g${round}`), update: null, outerState: null })
const pause = (job: Chart, isUrgent = false): Chart => job.send({ type: 'pause', isUrgent } as never)
const cancelled = (job: Chart): Chart => {
  for (const task of contextOf(job).pending) job.send({ type: 'task.cancelled', task } as never)
  return job
}
const told = (job: Chart): string[] => job.told.map(({ to, event }) => `${to} ${event.type}`)

describe('pausing', () => {
  test('a job pauses at the end of its round, and goes on with the next one', () => {
    const job = pause(roundDone(collecting(), 0, 0))
    expect(job.value).toEqual({ training: 'collecting' })
    reduced(roundDone(job, 0, 1), 0)
    expect([job.value, contextOf(job).checkpoints.at(-1)?.round]).toEqual(['paused', 1])
    job.send({ type: 'resume' })
    expect(job.spawned.map(({ to }) => to)).toEqual(['task/J.1.0-1', 'task/J.1.1-1'])
  })

  test.each([
    ['when that takes too long', (job: Chart) => pause(job).send({ type: 'pause.overdue' })],
    ['when asked to pause at once', (job: Chart) => pause(job, true)],
  ])('a job stops in the middle of a round %s, and runs that round again', (_, ask) => {
    const job = ask(roundDone(collecting(), 0, 0))
    expect([job.value, told(job)]).toEqual(['pausing', ['task/J.0.1 cancel']])
    expect(cancelled(job).value).toBe('paused')
    job.send({ type: 'resume' })
    expect(job.spawned.map(({ to }) => to)).toEqual(['task/J.0.0-1', 'task/J.0.1-1'])
    expect(contextOf(job).results).toEqual([null, null])
  })

  test('a job that is asked to go on before it has paused goes on as if nothing had been said', () => {
    const job = pause(collecting()).send({ type: 'resume' })
    reduced(roundDone(roundDone(job, 0, 0), 0, 1), 0)
    expect(job.value).toEqual({ training: 'collecting' })
  })

  test.each([
    ['validating', newJob, 'validating'],
    ['preparing', () => newJob().finish('validate', null), 'validating'],
    ['queued', prepared, 'queued'],
    ['evaluating', () => [0, 1, 2].reduce((job, round) => reduced(roundDone(roundDone(job, round, 0), round, 1), round), collecting()), 'evaluating'], // prettier-ignore
  ] as const)('a job that is %s can be paused, and goes on there', (_, make, back) => {
    const job = cancelled(pause(make()))
    expect([job.value, [...job.effects.keys()]]).toEqual(['paused', []])
    expect(job.send({ type: 'resume' }).value).toBe(back)
  })

  test('a pausing job whose tasks never answer is paused all the same', () => {
    const job = pause(collecting(), true)
    expect(job.timers.get('pauseLimit')).toBe(JOB_LIMITS.cancelMs)
    expect(job.after('pauseLimit').value).toBe('paused')
  })

  test('a paused job can be cancelled, and is not paused for ever', () => {
    const job = cancelled(pause(collecting(), true))
    expect(job.timers.has('pausedLimit')).toBe(true)
    expect(job.send({ type: 'cancel' }).value).toBe('cancelled')
  })

  test('a job that registers its model does not pause', () => {
    const job = newJob()
      .finish('validate', null)
      .finish('prepare', { ...PLAN, steps: 4, testExamples: 0 })
    done(job, 'J.init', { kind: 'initialise', weights: blob('w0') })
    reduced(roundDone(roundDone(job, 0, 0), 0, 1), 0)
    expect([pause(job).handled, job.value]).toEqual([false, 'registering'])
  })
})

test('another job goes on from the last checkpoint of one that failed', () => {
  const job = reduced(roundDone(roundDone(collecting(), 0, 0), 0, 1), 0)
  job.send({ type: 'task.failed', task: 'task/J.1.0', fault: FAULTS.user } as never)
  const { checkpoints, fingerprint, firstLoss, rateFactor } = contextOf(cancelled(job))
  const resume = { job: 'J', checkpoint: checkpoints.at(-1), fingerprint, firstLoss, rateFactor }
  const again = prepared(new Chart('job', jobMachine, { id: 'K', owner: 'ann', spec: SPEC, resume }))
  expect(again.value).toEqual({ training: 'collecting' })
  expect(again.spawned).toMatchObject([
    { to: 'task/K.1.0', input: { work: { weights: 'g0', optimizerState: 'o0.0', stepStart: 4 }, fingerprint: 'f' } },
    { to: 'task/K.1.1' },
  ])
})

describe('twins', () => {
  const slow = (job = collecting()): Chart =>
    job.send({ type: 'task.slow', task: 'task/J.0.1', worker: 'worker/a' } as never)

  test('a task that takes too long gets a second copy, on another worker', () => {
    const [twin] = slow().spawned
    expect(twin?.to).toBe('task/J.0.1-twin')
    expect(twin?.input).toMatchObject({ id: 'J.0.1-twin', avoid: 'worker/a', work: { replica: 1, weights: 'w0' } })
  })

  test('one twin is enough, and a twin has none', () => {
    const job = slow()
    expect(slow(job).spawned).toEqual([])
    expect(job.send({ type: 'task.slow', task: 'task/J.0.1-twin', worker: 'worker/b' } as never).spawned).toEqual([])
  })

  test.each([
    ['twin', '-twin', 'task/J.0.1'],
    ['task', '', 'task/J.0.1-twin'],
  ])('when the %s is done first, the other is told to stop, and the round ends', (_, suffix, other) => {
    const job = slow(roundDone(collecting(), 0, 0))
    roundDone(job, 0, 1, suffix)
    expect([job.value, told(job)]).toEqual([{ training: 'reducing' }, [`${other} cancel`]])
    expect(job.send({ type: 'task.cancelled', task: other } as never).value).toEqual({ training: 'reducing' })
  })

  test('a copy that fails is no harm while the other goes on', () => {
    const job = slow().send({ type: 'task.failed', task: 'task/J.0.1-twin', fault: FAULTS.here } as never)
    expect(job.value).toEqual({ training: 'collecting' })
    job.send({ type: 'task.failed', task: 'task/J.0.1', fault: FAULTS.here } as never)
    expect(job.value).toBe('cancelling')
  })

  test('a job that is cancelled stops both', () => {
    expect(told(slow().send({ type: 'cancel' }))).toEqual([
      'task/J.0.0 cancel',
      'task/J.0.1 cancel',
      'task/J.0.1-twin cancel',
    ])
  })
})

describe('limits', () => {
  test('a job that trains for too long fails', () => {
    const job = prepared(withSpec({ limits: { time: 60 } }))
    done(job, 'J.init', { kind: 'initialise', weights: blob('w0') })
    expect(job.scheduled).toContainEqual({ id: 'time', delayMs: 60_000 })
    expect(cancelled(job.send({ type: 'time.over' })).value).toBe('failed')
    expect(contextOf(job).fault?.code).toBe('job.time-limit')
  })

  test('a job that was paused while it is tested goes on with what is left of its time', () => {
    const oneRound = newJob({ ...SPEC, limits: { time: 60 } }).finish('validate', null).finish('prepare', { ...PLAN, steps: 4 }) // prettier-ignore
    const job = done(oneRound, 'J.init', { kind: 'initialise', weights: blob('w0') })
    for (let round = 0; job.value !== 'evaluating'; round++)
      reduced(roundDone(roundDone(job, round, 0), round, 1), round)
    const paused = cancelled(pause(job))
    expect([paused.value, paused.ops]).toMatchObject(['paused', expect.arrayContaining([{ op: 'unschedule', id: 'time', keep: true }])]) // prettier-ignore
    expect(paused.send({ type: 'resume' }).value).toBe('evaluating')
    expect(paused.scheduled).toContainEqual({ id: 'time', delayMs: 60_000 })
  })

  test('a job that costs too much fails at the end of its round', () => {
    const job = collecting(withSpec({ limits: { cost: 10 }, slots: 2 }))
    reduced(roundDone(roundDone(job, 0, 0, '', 2_000), 0, 1, '', 2_900), 0)
    expect(job.value).toEqual({ training: 'collecting' })
    reduced(roundDone(roundDone(job, 1, 0, '', 100), 1, 1, '', 100), 1)
    expect([job.value, contextOf(job).fault?.code]).toEqual(['failed', 'job.cost-limit'])
  })
})

test('tasks of a gang say how many they are, and how many slots each takes', () => {
  const job = collecting(withSpec({ gang: true, slots: 3 }))
  expect(job.spawned.map(({ input }) => input)).toMatchObject([{ gang: 2, slots: 3 }, { gang: 2, slots: 3 }]) // prettier-ignore
})
