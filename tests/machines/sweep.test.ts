import { describe, expect, test } from 'vitest'
import type { JobInput } from '../../machines/training.ts'
import type { SweepContext, Trial } from '../../machines/sweep.ts'
import type { SweepSpec } from '../../machines/sweep-spec.ts'
import { FAULTS, newSweep, PLAN, SWEEP } from './chart.ts'
import type { Chart } from './chart.ts'

const nine: SweepSpec = {
  ...SWEEP,
  parameters: { 'train.seed': [0, 1, 2, 3, 4, 5, 6, 7, 8] },
  scheduler: { kind: 'asha', minRounds: 1, maxRounds: 9, eta: 3 },
}
const TRAINING = { plan: PLAN, weights: { sha256: 'w', sizeBytes: 1 }, evaluation: null }

const contextOf = (sweep: Chart): SweepContext => sweep.context as SweepContext
const states = (sweep: Chart): readonly Trial['state'][] => contextOf(sweep).trials.map(({ state }) => state)
const started = (sweep: Chart): readonly string[] => sweep.spawned.map(({ to }) => to)

function report(sweep: Chart, trial: number, round: number, value: number, isPaused = false): Chart {
  return sweep.send({ type: 'trial.reported', trial, isPaused, round, step: round * 4, steps: 36, value } as never)
}

function end(sweep: Chart, trial: number, outcome: string, value: number | null = null, more: object = {}): Chart {
  const standing = {
    round: 3,
    step: 10,
    steps: 36,
    value,
    fault: null,
    training: outcome === 'completed' ? TRAINING : null,
  }
  const output = { outcome, trial: { ...standing, ...more } }
  return sweep.send({ type: 'actor.ended', actor: `job/S-${trial}`, status: 'done', output } as never)
}

/** Every trial comes to its first rung, with these values. */
function atFirstRung(values: readonly number[] = [0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.4, 0.6, 0.5]): Chart {
  const sweep = newSweep(nine)
  for (const [trial, value] of values.entries()) report(sweep, trial, 1, value, true)
  return sweep
}

describe('a sweep without a scheduler', () => {
  test('starts as many trials as may run at once, each an ordinary job of its owner with its number in its id', () => {
    const sweep = newSweep()
    expect(started(sweep)).toEqual(['job/S-0', 'job/S-1'])
    expect(sweep.spawned[0]?.input).toMatchObject({
      id: 'S-0',
      owner: 'ann',
      spec: { name: 'digits-sweep-0', dataset: { name: 'mnist' } },
      trial: { sweep: 'S', trial: 0, metric: 'accuracy', until: null, roundsMax: null },
    })
    const rates = sweep.spawned.map(({ input }) => (input as JobInput).spec.train.optimizer.learningRate)
    expect(new Set(rates).size).toBe(2)
    expect(sweep.ops.filter(({ op }) => op === 'watch')).toMatchObject([{ to: 'job/S-0' }, { to: 'job/S-1' }])
  })

  test('starts the next one when one has ended, however it ended', () => {
    const sweep = newSweep()
    expect(started(end(sweep, 1, 'completed', 0.5))).toEqual(['job/S-2'])
    expect(started(end(sweep, 0, 'failed', null, { fault: FAULTS.user }))).toEqual(['job/S-3'])
    expect(states(sweep)).toEqual(['failed', 'completed', 'running', 'running'])
  })

  test('is completed when all trials have ended, with the best of them, and registers nothing without a name', () => {
    const sweep = newSweep()
    end(sweep, 0, 'completed', 0.5)
    end(sweep, 2, 'completed', 0.9)
    end(sweep, 3, 'completed', 0.7)
    end(sweep, 1, 'completed', 0.9)
    expect(sweep.value).toBe('completed')
    // Of equal ones the lower number, whichever was done first.
    expect(contextOf(sweep).best).toMatchObject({ trial: 1, value: 0.9 })
  })

  test('of a cost, the best is the lowest', () => {
    const sweep = newSweep({ ...SWEEP, metric: 'loss' })
    for (const [trial, value] of [0.5, 0.9, 0.2, 0.7].entries()) end(sweep, trial, 'completed', value)
    expect(contextOf(sweep).best).toMatchObject({ trial: 2, value: 0.2 })
  })

  test('registers the best trial’s model under the name that the spec says, as that trial’s', () => {
    const sweep = newSweep({ ...SWEEP, model: 'digits-best' })
    for (const [trial, value] of [0.5, 0.9, 0.7, 0.6].entries()) end(sweep, trial, 'completed', value)
    expect(sweep.value).toBe('registering')
    expect(sweep.effects.get('register')?.input).toMatchObject({
      id: 'S-1',
      owner: 'ann',
      spec: { register: { name: 'digits-best' }, name: 'digits-sweep-1' },
      trial: { sweep: 'S', trial: 1 },
      ...TRAINING,
    })
    sweep.finish('register', { name: 'digits-best', version: 3 })
    expect(sweep.value).toBe('completed')
    expect(contextOf(sweep).model).toEqual({ name: 'digits-best', version: 3 })
  })

  test('fails when more trials have failed than may, and stops the others', () => {
    const sweep = newSweep({ ...SWEEP, failuresMax: 1 })
    end(sweep, 0, 'failed', null, { fault: FAULTS.user })
    expect(sweep.value).toBe('running')
    end(sweep, 1, 'failed', null, { fault: FAULTS.user })
    expect(started(sweep)).toEqual([])
    expect(sweep.told).toMatchObject([{ to: 'job/S-2', event: { type: 'cancel' } }])
    end(sweep, 2, 'cancelled')
    expect(sweep.value).toBe('failed')
    expect(contextOf(sweep).fault).toMatchObject({ code: 'sweep.trials-failed', message: expect.stringContaining('The loss is NaN') }) // prettier-ignore
  })

  test('fails when no trial was trained to its end', () => {
    const sweep = newSweep()
    for (const trial of [0, 1, 2, 3]) end(sweep, trial, 'failed', null, { fault: FAULTS.user })
    expect(sweep.value).toBe('failed')
    expect(contextOf(sweep).fault).toMatchObject({ code: 'sweep.none-completed' })
  })

  test('takes a trial whose job has vanished for failed', () => {
    const sweep = newSweep().send({ type: 'actor.ended', actor: 'job/S-0', status: 'gone' } as never)
    expect(contextOf(sweep).trials[0]).toMatchObject({ state: 'failed', error: { code: 'sweep.trial-lost' } })
  })

  test('a word of a trial that has ended comes too late', () => {
    const sweep = end(newSweep(nine), 0, 'cancelled')
    expect(states(report(sweep, 0, 1, 0.5, true))).toEqual(['cancelled', 'running', 'running'])
  })

  test('hears nothing of trials that it has not started', () => {
    const sweep = end(report(newSweep(), 3, 1, 0.5), 3, 'completed', 0.5)
    expect(states(sweep)).toEqual(['running', 'running'])
  })
})

describe('a sweep by successive halving', () => {
  test('its trials wait at the first rung, and new ones take their places', () => {
    const sweep = newSweep(nine)
    expect(sweep.spawned[0]?.input).toMatchObject({ trial: { until: 1, roundsMax: 9 } })
    expect(started(report(sweep, 1, 1, 0.5, true))).toEqual(['job/S-2'])
    expect(states(sweep)).toEqual(['running', 'waiting', 'running'])
  })

  test('a pause before the rung is none of its business', () => {
    const sweep = newSweep({ ...nine, scheduler: { kind: 'asha', minRounds: 2, maxRounds: 9, eta: 3 } })
    expect(started(report(sweep, 1, 1, 0.5, true))).toEqual([])
    expect(states(sweep)).toEqual(['running', 'running'])
  })

  test('when no new one is left, the best third goes on to the next rung from its checkpoint, once', () => {
    const sweep = newSweep(nine)
    const values = [0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.4, 0.6, 0.5]
    const told: unknown[] = []
    for (const [trial, value] of values.entries()) told.push(...report(sweep, trial, 1, value, true).told)
    expect(told).toEqual([
      { to: 'job/S-1', event: { type: 'resume', until: 3 } },
      { to: 'job/S-3', event: { type: 'resume', until: 3 } },
    ])
    expect(report(sweep, 1, 3, 0.91, true).told).toEqual([{ to: 'job/S-5', event: { type: 'resume', until: 3 } }])
    expect(report(sweep, 3, 3, 0.95, true).told).toEqual([])
    expect(report(sweep, 5, 3, 0.93, true).told).toEqual([{ to: 'job/S-3', event: { type: 'resume', until: null } }])
  })

  test('ends with the trial at the top, and stops those that wait', () => {
    const sweep = atFirstRung()
    for (const [trial, value] of [[1, 0.91], [3, 0.95], [5, 0.93]] as const) report(sweep, trial, 3, value, true) // prettier-ignore
    end(sweep, 3, 'completed', 0.97)
    expect(sweep.value).toBe('concluding')
    const stops = [0, 1, 2, 4, 5, 6, 7, 8].map((trial) => ({
      to: `job/S-${trial}`,
      event: { type: 'stop', rung: trial === 1 || trial === 5 ? 2 : 1 },
    }))
    expect(sweep.told).toEqual(stops)
    for (const trial of [0, 1, 2, 4, 5, 6, 7]) end(sweep, trial, 'stopped', 0.5)
    end(sweep, 8, 'cancelled', 0.5) // somebody was faster
    expect(sweep.value).toBe('completed')
    expect(states(sweep).filter((state) => state === 'stopped')).toHaveLength(7)
    expect(states(sweep).at(-1)).toBe('cancelled')
    expect(contextOf(sweep).best).toMatchObject({ trial: 3, value: 0.97 })
  })

  test('a trial that does not say that it has stopped holds nobody up', () => {
    const sweep = atFirstRung()
    for (const [trial, value] of [[1, 0.91], [3, 0.95], [5, 0.93]] as const) report(sweep, trial, 3, value, true) // prettier-ignore
    end(sweep, 3, 'completed', 0.97).after('concludeLimit')
    expect(sweep.value).toBe('completed')
  })

  test('with too few trials for its rule, the best one is trained to its end all the same', () => {
    const sweep = newSweep({ ...nine, parameters: { 'train.seed': [1, 2] } })
    report(sweep, 0, 1, 0.5, true)
    expect(report(sweep, 1, 1, 0.6, true).told).toEqual([{ to: 'job/S-1', event: { type: 'resume', until: 3 } }])
    expect(report(sweep, 1, 3, 0.4, true).told).toEqual([{ to: 'job/S-1', event: { type: 'resume', until: null } }])
    expect(end(sweep, 1, 'completed', 0.7).value).toBe('concluding')
  })

  test('when the best one fails on its way up, another takes its place', () => {
    const sweep = newSweep({ ...nine, parameters: { 'train.seed': [1, 2] } })
    report(report(sweep, 0, 1, 0.5, true), 1, 1, 0.6, true)
    expect(end(sweep, 1, 'failed', null, { fault: FAULTS.user }).told).toEqual([{ to: 'job/S-0', event: { type: 'resume', until: 3 } }]) // prettier-ignore
  })
})

describe('steering', () => {
  test('a pause pauses every trial that runs, and is done when all of them are', () => {
    const sweep = newSweep().send({ type: 'pause' })
    expect(sweep.told).toEqual([0, 1].map((trial) => ({ to: `job/S-${trial}`, event: { type: 'pause' } })))
    expect(report(sweep, 0, 1, 0.5, true).value).toBe('pausing')
    expect(sweep.send({ type: 'resume' }).handled).toBe(false)
    expect(report(sweep, 1, 1, 0.5, true).value).toBe('paused')
    expect(started(sweep)).toEqual([])
  })

  test('trials that end or come to their rung meanwhile are not waited for, and none is started', () => {
    const sweep = newSweep(nine).send({ type: 'pause' })
    expect(started(report(sweep, 0, 1, 0.5, true))).toEqual([])
    expect(states(sweep)).toEqual(['waiting', 'running'])
    expect(started(end(sweep, 1, 'failed', null, { fault: FAULTS.user }))).toEqual([])
    expect(sweep.value).toBe('paused')
  })

  test('going on lets every trial go on that was paused, and fills the free places', () => {
    const sweep = newSweep(nine).send({ type: 'pause' })
    report(report(sweep, 0, 1, 0.5, true), 1, 0, 0, true)
    sweep.send({ type: 'resume' })
    expect(sweep.told).toEqual([{ to: 'job/S-1', event: { type: 'resume' } }])
    expect(started(sweep)).toEqual(['job/S-2'])
    expect(sweep.value).toBe('running')
    // It is waited for again.
    expect(report(sweep.send({ type: 'pause' }), 2, 0, 0, true).value).toBe('pausing')
    expect(report(sweep, 1, 0, 0, true).value).toBe('paused')
  })

  test('a cancellation cancels every trial that has not ended, and is done when all of them are', () => {
    const sweep = report(newSweep(nine), 0, 1, 0.5, true).send({ type: 'cancel' })
    expect(sweep.told).toEqual([0, 1, 2].map((trial) => ({ to: `job/S-${trial}`, event: { type: 'cancel' } })))
    for (const trial of [0, 1, 2]) end(sweep, trial, 'cancelled')
    expect(sweep.value).toBe('cancelled')
    expect(states(sweep)).toEqual(['cancelled', 'cancelled', 'cancelled'])
  })

  test.each(['running', 'pausing', 'paused', 'concluding', 'registering'])(
    'one that is %s can be cancelled',
    (state) => {
      const sweep = newSweep({ ...SWEEP, model: 'm', parallelism: 4 })
      if (state === 'pausing' || state === 'paused') sweep.send({ type: 'pause' })
      if (state === 'paused') for (const trial of [0, 1, 2, 3]) report(sweep, trial, 1, 0.5, true)
      if (state === 'registering') for (const trial of [0, 1, 2, 3]) end(sweep, trial, 'completed', 0.5)
      const wanted = state === 'concluding' ? atConcluding() : sweep
      expect(wanted.value).toBe(state)
      wanted.send({ type: 'cancel' })
      if (wanted.status === 'active') wanted.after('cancelLimit')
      expect(wanted.value).toBe('cancelled')
      expect(wanted.effects.size).toBe(0)
    },
  )
})

function atConcluding(): Chart {
  const sweep = newSweep({ ...nine, parameters: { 'train.seed': [1, 2] } })
  report(report(report(sweep, 0, 1, 0.5, true), 1, 1, 0.6, true), 1, 3, 0.6, true)
  return end(sweep, 1, 'completed', 0.7)
}
