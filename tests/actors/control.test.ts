/** Steering jobs on real workers, with real kernels: whatever is done to a job, its weights end the same. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { jobView, resumePoint } from '../../actors/mod.ts'
import type { JobSpec } from '../../machines/spec.ts'
import type { JobView } from '../../machines/views.ts'
import { address } from '../../runtime/mod.ts'
import { House, STRIPES } from './house.ts'
import type { RunningHouse } from './house.ts'

let house: House
let fleet: RunningHouse
let weights: string

beforeAll(async () => {
  house = await House.stores()
  fleet = await house.start()
  await house.worker(fleet, 1)
  await house.worker(fleet, 1)
  weights = jobView(await fleet.train('base', STRIPES)).weights ?? ''
})
afterAll(() => house.stop())

const DILOCO = { kind: 'diloco', outer: { kind: 'average' }, precision: 'float32' } as const
const long = (localSteps: number, more: Partial<JobSpec> = {}): JobSpec => ({
  ...STRIPES,
  train: { ...STRIPES.train, epochs: 100_000, strategy: { ...DILOCO, localSteps } },
  ...more,
})
const viewOf = async (id: string): Promise<JobView> => jobView(await fleet.snapshot(address('job', id)))
const tell = (id: string, event: { readonly type: string }): Promise<unknown> =>
  fleet.client.ask(address('job', id), event)

test('a job that pauses and goes on ends with the same weights', async () => {
  await fleet.submit('paused', STRIPES)
  await fleet.until('paused', 'collecting')
  await tell('paused', { type: 'pause' })
  await fleet.until('paused', 'paused')
  expect(await viewOf('paused')).toMatchObject({ state: 'paused' })
  await tell('paused', { type: 'resume' })
  await fleet.until('paused', 'completed', 'failed')
  expect(await viewOf('paused')).toMatchObject({ state: 'completed', weights })
})

test('so does one whose round is cut short by the pause', async () => {
  await fleet.submit('cut', STRIPES)
  await fleet.until('cut', 'reducing')
  await fleet.until('cut', 'collecting')
  await tell('cut', { type: 'pause', isUrgent: true } as never)
  await fleet.until('cut', 'paused')
  await tell('cut', { type: 'resume' })
  await fleet.until('cut', 'completed', 'failed')
  expect(await viewOf('cut')).toMatchObject({ state: 'completed', weights })
})

test('and one that goes on from where another was cancelled', async () => {
  await fleet.submit('first', STRIPES)
  await fleet.until('first', 'reducing')
  await fleet.until('first', 'collecting')
  await tell('first', { type: 'cancel' })
  await fleet.until('first', 'cancelled')
  const round = (await viewOf('first')).checkpoints.at(-1)?.round ?? 0
  const resume = resumePoint(await fleet.snapshot(address('job', 'first')), round)
  expect(resume?.checkpoint.round).toBeGreaterThan(0)
  await fleet.client.spawn(address('job', 'second'), { id: 'second', owner: 'ann', spec: STRIPES, resume })
  await fleet.until('second', 'completed', 'failed')
  expect(await viewOf('second')).toMatchObject({ state: 'completed', weights, resumed: { job: 'first' } })
})

describe('a high job', () => {
  test('takes the slots of a low one within two seconds, and the low one ends with the same weights', async () => {
    await fleet.submit('endless', { ...long(1_000), priority: 'low' })
    await fleet.until('endless', 'collecting')
    await fleet.submit('low', { ...STRIPES, priority: 'low' })
    const high = await fleet.train('high', { ...STRIPES, priority: 'high' })
    expect(jobView(high)).toMatchObject({ state: 'completed', weights })
    expect(await viewOf('endless')).toMatchObject({ state: 'training', progress: { round: 0 } })
    await tell('endless', { type: 'cancel' })
    await fleet.until('low', 'completed', 'failed')
    expect(await viewOf('low')).toMatchObject({ state: 'completed', weights })
  })
})

test('a job that comes after another begins when that has completed, and fails when it has not', async () => {
  await fleet.submit('before', STRIPES)
  await fleet.submit('after', { ...STRIPES, after: [{ job: 'before', otherwise: 'fail' }] })
  expect((await viewOf('after')).state).toBe('waiting')
  await fleet.until('after', 'completed', 'failed')
  expect((await viewOf('before')).state).toBe('completed')
  expect(await viewOf('after')).toMatchObject({ state: 'completed', weights })

  await fleet.submit('doomed', long(1_000))
  await fleet.submit('heir', { ...STRIPES, after: [{ job: 'doomed', otherwise: 'fail' }] })
  await tell('doomed', { type: 'cancel' })
  await fleet.until('heir', 'failed')
  expect((await viewOf('heir')).error?.code).toBe('job.predecessor-failed')
})

test('a gang of two runs when both slots are free', async () => {
  expect(jobView(await fleet.train('gang', { ...STRIPES, gang: true }))).toMatchObject({ state: 'completed', weights })
})

test('a job over its limit fails, and says which', async () => {
  const view = jobView(await fleet.train('dear', { ...long(8), limits: { cost: 0.001 } }))
  expect(view).toMatchObject({ state: 'failed', error: { code: 'job.cost-limit' } })
  const timed = jobView(await fleet.train('timed', { ...long(1_000), limits: { time: 0.2 } }))
  expect(timed).toMatchObject({ state: 'failed', error: { code: 'job.time-limit' } })
})

test('nothing was said to nobody', () => {
  expect(house.troubles).toEqual([])
})
