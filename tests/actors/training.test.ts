import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { jobView, logsStream, resumePoint, metricsStream, workerViews } from '../../actors/mod.ts'
import type { JobSpec } from '../../machines/spec.ts'
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

const withTrain = (train: Partial<JobSpec['train']>): JobSpec => ({ ...STRIPES, train: { ...STRIPES.train, ...train } })

describe('a job on two workers', () => {
  test('is trained by both, tested, and registered', async () => {
    const view = jobView(await fleet.snapshot(address('job', 'base')))
    expect(view).toMatchObject({
      state: 'completed',
      progress: { round: 5, rounds: 5, step: 36, steps: 36 },
      model: { name: 'stripes', version: 1 },
      evaluation: { examples: 60 },
    })
    expect(view.evaluation?.accuracy).toBeGreaterThan(0.9)
    expect(Object.keys(view.workers).toSorted()).toEqual(['w1', 'w2'])
    expect(Object.values(view.workers).reduce((sum, rounds) => sum + rounds)).toBe(10)
  })

  test('leaves a model whose blobs are there', async () => {
    const model = await house.collections.models.get('stripes@1')
    expect(model?.value).toMatchObject({
      job: 'base',
      weights: { sha256: weights },
      dataset: { name: 'stripes', version: 1 },
      input: { shape: [8, 8, 1] },
    })
    expect(JSON.parse(new TextDecoder().decode(await house.blobs.bytes(model?.value.topology.sha256 ?? '')))).toEqual(
      STRIPES.model,
    )
    expect((await house.blobs.bytes(weights)).byteLength).toBe(model?.value.weights.sizeBytes)
  })

  test('tells how it went, step by step', async () => {
    const metrics = (await fleet.lines(metricsStream('base'))) as { replica: number; round: number; step: number }[]
    expect(new Set(metrics.map(({ replica, round }) => `${round}.${replica}`)).size).toBe(10)
    expect(Math.max(...metrics.map(({ step }) => step))).toBe(36)
    const logs = (await fleet.lines(logsStream('base'))) as { message: string }[]
    expect(logs.map(({ message }) => message)).toContain('Registered as stripes version 1')
  })

  test('is seen by the scheduler as two idle workers when it is over', async () => {
    await expect
      .poll(async () =>
        workerViews(await fleet.snapshot(address('scheduler', 'default')))
          .map(({ id, state, busy }) => `${id} ${state} ${busy}`)
          .toSorted(),
      )
      .toEqual(['w1 idle 0', 'w2 idle 0'])
  })
})

describe('the same numbers', () => {
  test('come from one worker', async () => {
    await using single = await House.stores()
    const running = await single.start()
    await single.worker(running, 1)
    expect(jobView(await running.train('single', STRIPES)).weights).toBe(weights)
  })

  test('come when a worker leaves in the middle, and another takes over', async () => {
    await using shaken = await House.stores()
    const running = await shaken.start()
    const stop = await shaken.worker(running, 1)
    await running.submit('shaken', STRIPES)
    await running.until('shaken', 'reducing')
    await running.until('shaken', 'collecting')
    await stop()
    await shaken.worker(running, 1)
    await running.until('shaken', 'completed', 'failed')
    const view = jobView(await running.snapshot(address('job', 'shaken')))
    expect(view).toMatchObject({ state: 'completed', weights })
    expect(workerViews(await running.snapshot(address('scheduler', 'default')))).toMatchObject([
      { id: 'w2' },
      { id: 'w1', state: 'gone' },
    ])
  })

  test('come from another job, which is the next version of the model', async () => {
    const view = jobView(await fleet.train('again', STRIPES))
    expect([view.weights, view.model?.version]).toEqual([weights, 2])
  })

  test('do not come from another seed', async () => {
    expect(jobView(await fleet.train('other', withTrain({ seed: 4 }))).weights).not.toBe(weights)
  })
})

describe.each([
  ['sync', { kind: 'sync', roundSteps: 12 }],
  ['int8 deltas', { kind: 'diloco', localSteps: 8, outer: { kind: 'average' }, precision: 'int8' }],
] as const)('with %s', (_, strategy) => {
  const spec = withTrain({ strategy, replicas: 3 })

  test('two workers come to what one comes to, also when one of the two leaves in the middle', async () => {
    const together = jobView(await fleet.train(`${strategy.kind}-two`, spec))
    expect(together).toMatchObject({ state: 'completed', evaluation: { examples: 60 } })
    expect(together.evaluation?.accuracy).toBeGreaterThan(0.9)
    expect(together.traffic?.exchangeBytes).toBeGreaterThan(0)

    await using single = await House.stores()
    const running = await single.start()
    await single.worker(running, 1)
    const alone = jobView(await running.train('alone', spec))
    expect([alone.weights, alone.metrics, alone.evaluation]).toEqual([
      together.weights,
      together.metrics,
      together.evaluation,
    ])

    await using shaken = await House.stores()
    const shaking = await shaken.start()
    const stop = await shaken.worker(shaking, 1)
    await shaken.worker(shaking, 1)
    await shaking.submit('shaken', spec)
    await shaking.until('shaken', 'reducing')
    await shaking.until('shaken', 'collecting')
    await stop()
    await shaking.until('shaken', 'completed', 'failed')
    expect(jobView(await shaking.snapshot(address('job', 'shaken'))).weights).toBe(together.weights)
  })
})

describe('a checkpoint', () => {
  test('is gone on from by another job, which ends with the weights of the first', async () => {
    const snapshot = await fleet.snapshot(address('job', 'base'))
    const { checkpoints } = jobView(snapshot)
    expect(checkpoints.map(({ round }) => round)).toEqual([3, 4, 5])
    const resume = resumePoint(snapshot, 3)
    await fleet.submit('resumed', STRIPES, { resume })
    await fleet.until('resumed', 'completed', 'failed')
    const view = jobView(await fleet.snapshot(address('job', 'resumed')))
    expect(view).toMatchObject({ state: 'completed', weights, resumed: { job: 'base', round: 3 } })
  })

  test('that is not there cannot be', async () => {
    expect(resumePoint(await fleet.snapshot(address('job', 'base')), 1)).toBeNull()
  })
})

describe('a loss that diverges', () => {
  const wild = { kind: 'sgd', learningRate: 1e38, momentum: 0, nesterov: false } as const

  test('is gone on from with a lower rate where the spec says so, and the job says how often', async () => {
    const onDivergence = { restart: true, factor: 1e-20, times: 2, lossFactor: 1_000 }
    const view = jobView(await fleet.train('calmed', withTrain({ optimizer: wild, onDivergence })))
    expect(view).toMatchObject({ state: 'completed', restarts: 1 })
    const again = jobView(await fleet.train('calmed-again', withTrain({ optimizer: wild, onDivergence })))
    expect(again.weights).toBe(view.weights)
  })

  test('at the first step of a round has ruined the checkpoint: the one before is gone on from, and named', async () => {
    const jump = { ...wild, learningRate: 1e6 }
    const strategy = { kind: 'diloco', localSteps: 1, outer: { kind: 'average' }, precision: 'float32' } as const
    const onDivergence = { restart: true, factor: 1e-10, times: 1, lossFactor: 3 }
    const calmed = jobView(await fleet.train('ruined', withTrain({ optimizer: jump, strategy, onDivergence })))
    expect(calmed).toMatchObject({ state: 'completed', restarts: 1 })
    const once = withTrain({ optimizer: jump, strategy, onDivergence: { ...onDivergence, restart: false } })
    const { error } = jobView(await fleet.train('ruined-once', once))
    expect(error?.message).toMatch(/exploded at step 1 .*checkpoint is that of round 0, after step 0/)
  })

  test('ends the job after so many times, with step and checkpoint named', async () => {
    const onDivergence = { restart: true, factor: 0.5, times: 1, lossFactor: 1_000 }
    const view = jobView(await fleet.train('wild', withTrain({ optimizer: wild, onDivergence })))
    expect(view).toMatchObject({ state: 'failed', error: { code: 'loss.not-finite' } })
    expect(view.error?.message).toMatch(/step \d+ .*after 1 restarts.*checkpoint is that of round 0/)
  })
})

test('what a model is taken for is told: measures by class, and who was taken for whom', async () => {
  const { evaluation } = jobView(await fleet.snapshot(address('job', 'base')))
  expect(evaluation?.confusion?.flat().reduce((sum, count) => sum + count)).toBe(60)
  expect(evaluation?.f1).toBeGreaterThan(0.9)
  expect(evaluation?.auc).toBeGreaterThan(0.9)
  const report = new TextDecoder().decode(await house.blobs.bytes(evaluation?.report.sha256 ?? ''))
  expect(JSON.parse(report)).toMatchObject({ examples: 60, byClass: [{}, {}, {}], accuracy: evaluation?.accuracy })
})

describe('bad input', () => {
  test('a model that does not fit its data fails before anything is trained, naming every field', async () => {
    const spec = withTrain({ replicas: 500 })
    const view = jobView(
      await fleet.train('unfit', { ...spec, model: { class_name: 'Sequential', config: { layers: [] } } }),
    )
    expect(view).toMatchObject({ state: 'failed', error: { code: 'spec.not-admitted' }, workers: {} })
    expect(view.error?.message).toContain('model')
    expect(view.error?.message).toContain('train.replicas: expected at most 240')
  })

  test('a loss that explodes fails the job with the step, and is not tried again', async () => {
    const view = jobView(
      await fleet.train(
        'nan',
        withTrain({ optimizer: { kind: 'sgd', learningRate: 1e38, momentum: 0, nesterov: false } }),
      ),
    )
    expect(view).toMatchObject({ state: 'failed', error: { code: 'loss.not-finite' } })
    expect(view.error?.message).toMatch(/step \d+/)
  })

  test('a damaged data file fails the job by its checksum', async () => {
    await using damaged = await House.stores()
    const running = await damaged.start()
    const { manifest } = await damaged.datasets.resolve({ name: 'stripes' })
    const { splits } = JSON.parse(new TextDecoder().decode(await damaged.blobs.bytes(manifest))) as {
      splits: { train: { shards: { sha256: string }[] } }
    }
    const shard = splits.train.shards[0]?.sha256 ?? ''
    const path = join(damaged.folder, 'blobs', shard.slice(0, 2), shard)
    await chmod(path, 0o644)
    await writeFile(path, 'not what it was')
    await damaged.worker(running, 1)
    const view = jobView(await running.train('damaged', STRIPES))
    expect(view).toMatchObject({ state: 'failed', error: { code: 'dataset.damaged' } })
    expect(view.error?.message).toContain(shard)
  })
})

describe('cancelling', () => {
  test('a job that trains is cancelled, and its workers are free', async () => {
    await fleet.submit(
      'endless',
      withTrain({
        epochs: 100_000,
        strategy: { kind: 'diloco', localSteps: 1_000, outer: { kind: 'average' }, precision: 'float32' },
      }),
    )
    await fleet.until('endless', 'collecting')
    const answer = await fleet.client.ask(address('job', 'endless'), { type: 'cancel' })
    expect(answer.handled).toBe(true)
    await fleet.until('endless', 'cancelled')
    const view = jobView(await fleet.train('after', STRIPES))
    expect(view).toMatchObject({ state: 'completed', weights })
  })

  test('a job that waits for a worker of another pool is cancelled', async () => {
    await fleet.client.spawn(address('scheduler', 'empty'), { pool: 'empty' })
    await fleet.submit('waiting', { ...STRIPES, pool: 'empty' })
    await fleet.until('waiting', 'queued')
    await fleet.client.ask(address('job', 'waiting'), { type: 'cancel' })
    await fleet.until('waiting', 'cancelled')
    expect(jobView(await fleet.snapshot(address('job', 'waiting'))).endedAt).toBeGreaterThan(0)
  })
})

test('nothing was said to nobody: telemetry had no trouble', () => {
  expect(house.troubles).toEqual([])
})
