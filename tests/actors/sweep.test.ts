import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { jobView, resumePoint } from '../../actors/mod.ts'
import { parametersOf, trialSpec } from '../../machines/search.ts'
import type { SweepSpec } from '../../machines/sweep-spec.ts'
import type { JobView } from '../../machines/views.ts'
import { address } from '../../runtime/mod.ts'
import { House, STRIPES } from './house.ts'
import type { RunningHouse } from './house.ts'

let house: House
let fleet: RunningHouse

beforeAll(async () => {
  house = await House.stores()
  fleet = await house.start()
  await house.worker(fleet, 1)
  await house.worker(fleet, 1)
})
afterAll(() => house.stop())

const RATE = 'train.optimizer.learningRate'
/** Nine rounds of eight steps; the rate tells good from bad after the first. */
const ASHA: SweepSpec = {
  kind: 'sweep',
  name: 'stripes-sweep',
  job: {
    ...STRIPES,
    train: { ...STRIPES.train, replicas: 1, epochs: 3, strategy: { kind: 'local', roundSteps: 8 } },
  },
  parameters: { [RATE]: [0.000001, 0.000002, 0.000003, 0.000004, 0.000005, 0.02] },
  search: { kind: 'grid', seed: 1 },
  metric: 'loss',
  scheduler: { kind: 'asha', minRounds: 1, maxRounds: 9, eta: 3 },
  parallelism: 2,
  model: 'stripes-best',
}

const job = async (id: string): Promise<JobView> => jobView(await fleet.snapshot(address('job', id)))
const goodTrial = (spec: SweepSpec): number =>
  Array.from({ length: 6 }, (_, trial) => trial).find((trial) => parametersOf(spec, trial)[RATE] === 0.02) ?? -1

describe('a sweep by successive halving on two workers', () => {
  let good: number
  beforeAll(async () => {
    good = goodTrial(ASHA)
    await fleet.sweep('S', ASHA)
  })

  test('finds the best trial, and trains the others only as far as their rungs', async () => {
    const sweep = await fleet.sweepView('S')
    expect(sweep).toMatchObject({
      state: 'completed',
      best: { trial: good, job: `S-${good}` },
      progress: { trials: 6, started: 6, completed: 1, stopped: 5, running: 0, waiting: 0 },
    })
    expect(sweep.leaderboard[0]).toMatchObject({ trial: good, state: 'completed', rungs: 2, round: 9, step: 72 })
    expect(sweep.leaderboard.filter(({ round }) => round === 3).length).toBeGreaterThan(0)
    expect(new Set(sweep.leaderboard.map(({ round }) => round))).toEqual(new Set([1, 3, 9]))
    expect(sweep.progress.steps).toBe(sweep.leaderboard.reduce((sum, { round }) => sum + 8 * round, 0))
    expect(sweep.progress.stepsPlanned).toBe(sweep.progress.steps)
  })

  test('no round is trained twice: as many were computed as the trials have come to', async () => {
    for (const { job: id, round } of (await fleet.sweepView('S')).leaderboard) {
      expect(Object.values((await job(id)).workers).reduce((sum, rounds) => sum + rounds, 0)).toBe(round)
    }
  })

  test('a trial that waited at two rungs has the weights of one that never did', async () => {
    const undisturbed = jobView(await fleet.train('alone', { ...trialSpec(ASHA, good), register: { name: 'alone' } }))
    const waited = await job(`S-${good}`)
    expect(waited.progress).toEqual(undisturbed.progress)
    expect(waited.weights).toBe(undisturbed.weights)
    expect(waited.evaluation?.accuracy).toBe(undisturbed.evaluation?.accuracy)
  })

  test('those that were stopped are jobs that say so, with the rung, and whose checkpoints are there', async () => {
    const stopped = (await fleet.sweepView('S')).leaderboard.filter(({ state }) => state === 'stopped')
    for (const { job: id, round, rungs } of stopped) {
      const view = await job(id)
      expect(view).toMatchObject({ state: 'stopped', sweep: { id: 'S', stoppedAt: rungs } })
      expect(view.checkpoints.at(-1)?.round).toBe(round)
      expect((await house.blobs.bytes(view.checkpoints.at(-1)?.weights.sha256 ?? '')).byteLength).toBeGreaterThan(0)
    }
  })

  test('the best trial alone became a model, and its version names the sweep', async () => {
    const { items } = await house.collections.models.find({ where: { name: 'stripes-best' } })
    expect(items.map(({ value }) => value)).toMatchObject([
      {
        version: 1,
        job: `S-${good}`,
        sweep: { id: 'S', trial: good },
        weights: { sha256: (await job(`S-${good}`)).weights },
      },
    ])
    expect((await fleet.sweepView('S')).model).toEqual({ name: 'stripes-best', version: 1 })
    expect((await house.collections.models.find({ where: { name: 'stripes' } })).items).toEqual([])
  })
})

test('a grid trains every trial to its end, and the best is the same one', async () => {
  const { model: _, ...grid } = { ...ASHA, scheduler: { kind: 'none' } as const, parallelism: 3 }
  const sweep = await fleet.sweep('G', grid)
  expect(sweep).toMatchObject({
    state: 'completed',
    best: { trial: goodTrial(ASHA) },
    progress: { completed: 6, steps: 6 * 72 },
  })
  expect(sweep.model).toBeUndefined()
  expect(sweep.leaderboard.map(({ value }) => value)).toEqual(sweep.leaderboard.map(({ value }) => value).toSorted((a, b) => (a ?? 0) - (b ?? 0))) // prettier-ignore
})

test('one that was stopped can be taken on by itself, to where the grid would have brought it', async () => {
  const stopped = (await fleet.sweepView('S')).leaderboard.find(({ state }) => state === 'stopped')
  const snapshot = await fleet.snapshot(address('job', stopped?.job ?? ''))
  const resume = resumePoint(snapshot, stopped?.round ?? 0)
  await fleet.submit('R', jobView(snapshot).spec, { resume })
  await fleet.until('R', 'completed', 'failed')
  expect((await job('R')).weights).toBe((await job(`G-${stopped?.trial}`)).weights)
})

test('a sweep that was paused and went on comes to the same', async () => {
  const { model: _, ...spec } = ASHA
  await fleet.client.spawn(address('sweep', 'P'), { id: 'P', owner: 'ann', spec })
  await fleet.until('P-1', 'collecting')
  await fleet.client.ask(address('sweep', 'P'), { type: 'pause' })
  await fleet.untilSweep('P', 'paused')
  const { leaderboard } = await fleet.sweepView('P')
  for (const { job: id, state } of leaderboard) {
    const jobState = state === 'running' || state === 'waiting' ? 'paused' : state
    expect((await job(id)).state).toBe(jobState)
  }
  await fleet.client.ask(address('sweep', 'P'), { type: 'resume' })
  await fleet.untilSweep('P', 'completed', 'failed')
  const good = goodTrial(ASHA)
  expect((await fleet.sweepView('P')).best?.trial).toBe(good)
  expect((await job(`P-${good}`)).weights).toBe((await job(`S-${good}`)).weights)
})

test('a sweep that is cancelled leaves nothing running', async () => {
  await fleet.client.spawn(address('sweep', 'C'), { id: 'C', owner: 'ann', spec: ASHA })
  await fleet.until('C-1', 'collecting')
  await fleet.client.ask(address('sweep', 'C'), { type: 'cancel' })
  await fleet.untilSweep('C', 'cancelled')
  for (const { job: id } of (await fleet.sweepView('C')).leaderboard) expect((await job(id)).state).toBe('cancelled')
})

test('trials that fail are told with their reason, and their sweep fails when too many have', async () => {
  const broken = { ...ASHA.job, dataset: { name: 'nope' } }
  const sweep = await fleet.sweep('F', { ...ASHA, job: broken, failuresMax: 0, parallelism: 1 })
  expect(sweep).toMatchObject({
    state: 'failed',
    progress: { started: 1, failed: 1 },
    leaderboard: [{ state: 'failed', error: { code: 'spec.not-admitted' } }],
    error: { code: 'sweep.trials-failed', message: expect.stringContaining('dataset.name') },
  })
})
