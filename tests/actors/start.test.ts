/** A training that goes on from a registered version: what it starts from, what it is checked against, what it leaves. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { admit, jobView, pinned } from '../../actors/mod.ts'
import * as kernels from '../../kernels/mod.ts'
import type { JobSpec } from '../../machines/spec.ts'
import { address } from '../../runtime/mod.ts'
import { House, namedPools, STRIPES } from './house.ts'
import type { RunningHouse } from './house.ts'

let house: House
let fleet: RunningHouse
let parent: string

beforeAll(async () => {
  house = await House.stores()
  fleet = await house.start()
  await house.worker(fleet, 1)
  await house.worker(fleet, 1)
  parent = jobView(await fleet.train('parent', STRIPES)).weights ?? ''
})
afterAll(() => house.stop())

const { preprocess: _, ...rest } = STRIPES
const FURTHER: JobSpec = {
  ...rest,
  name: 'further',
  model: { from: 'stripes@1' },
  train: { ...STRIPES.train, epochs: 1, checkpoints: { everyRounds: 1, keepLast: 100 } },
  register: { name: 'further' },
}

const problemsOf = (spec: JobSpec): ReturnType<typeof admit> =>
  admit(
    { blobs: house.blobs, datasets: house.datasets, registry: house.registry, kernels, pools: namedPools('default') },
    spec,
  )

describe('a job that starts from a version', () => {
  test("has that version's weights before its first round, and leaves a model that names its parent", async () => {
    const view = jobView(await fleet.train('further', FURTHER))
    expect(view).toMatchObject({ state: 'completed', model: { name: 'further', version: 1 } })
    expect(view.checkpoints[0]).toMatchObject({ round: 0, weights: { sha256: parent } })
    expect(view.weights).not.toBe(parent)
    const before = await house.registry.find('stripes', '1')
    expect(await house.registry.find('further', 'latest')).toMatchObject({
      parent: { name: 'stripes', version: 1 },
      topology: before?.topology,
      pipeline: before?.pipeline,
      preprocess: STRIPES.preprocess,
    })
  })

  test('comes to the same weights with one worker, and after a pause', async () => {
    const together = jobView(await fleet.snapshot(address('job', 'further'))).weights
    await using single = await House.stores()
    const running = await single.start()
    await single.worker(running, 1)
    await running.train('parent', STRIPES)
    await running.submit('paused', FURTHER)
    await running.until('paused', 'collecting')
    const pause = { type: 'pause', isUrgent: true }
    await running.client.ask(address('job', 'paused'), pause)
    await running.until('paused', 'paused')
    await running.client.ask(address('job', 'paused'), { type: 'resume' })
    await running.until('paused', 'completed', 'failed')
    expect(jobView(await running.snapshot(address('job', 'paused')))).toMatchObject({ state: 'completed', weights: together }) // prettier-ignore
  })

  test('starts from the same weights where it brings a preprocessing of its own', async () => {
    const spec = { ...FURTHER, preprocess: [{ op: 'scale', factor: 1 / 510 }] } as const
    const view = jobView(await fleet.train('otherwise', spec))
    expect(view.checkpoints[0]?.weights.sha256).toBe(parent)
    const before = await house.registry.find('stripes', '1')
    const model = await house.registry.find('further', 'latest')
    expect(model?.preprocess).toEqual(spec.preprocess)
    expect(model?.pipeline.sha256).not.toBe(before?.pipeline.sha256)
  })
})

describe('admission', () => {
  test('names a model that is not there', async () => {
    for (const from of ['strips', 'stripes@7', 'stripes@champion']) {
      expect(await problemsOf({ ...FURTHER, model: { from } })).toMatchObject([{ path: 'model.from', found: from }])
    }
  })

  test('names a dataset that lacks the columns which the version reads', async () => {
    await house.table('numbers', 'a,b\n1,2\n3,4\n5,6\n')
    const problems = await problemsOf({ ...FURTHER, dataset: { name: 'numbers' } })
    expect(problems.map(({ path }) => path)).toEqual(['dataset', 'dataset'])
    expect(problems[0]).toMatchObject({ expected: expect.stringContaining('[8, 8, 1]'), found: 'a, b' })
  })

  test('names the version where its output does not fit the data that a preprocessing of its own makes', async () => {
    await house.table('two', 'a,b,kind\n1,2,x\n3,4,y\n5,6,x\n7,8,y\n')
    const problems = await problemsOf({ ...FURTHER, dataset: { name: 'two', target: 'kind' }, preprocess: [] })
    expect(problems.map(({ path }) => path)).toContain('model.from')
  })

  test('refuses other columns beside the preprocessing of the version', async () => {
    const dataset = { name: 'stripes', target: null }
    expect(await problemsOf({ ...FURTHER, dataset })).toMatchObject([{ path: 'dataset.target', found: 'null' }])
  })
})

test('an alias becomes the version that it points to when the job is admitted', async () => {
  await house.registry.setAlias({ name: 'stripes', version: 1 }, 'champion', 'ann')
  const spec = await pinned(house, { ...FURTHER, model: { from: 'stripes@champion' } })
  expect(spec.model).toEqual({ from: 'stripes@1' })
  expect((await pinned(house, { ...FURTHER, model: { from: 'stripes' } })).model).toEqual({ from: 'stripes@1' })
})
