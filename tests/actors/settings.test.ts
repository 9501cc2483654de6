/** Settings of a training that say nothing of numbers: they depend on the data, or on the fleet. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { admit, jobView } from '../../actors/mod.ts'
import * as kernels from '../../kernels/mod.ts'
import type { JobSpec } from '../../machines/spec.ts'
import { address } from '../../runtime/mod.ts'
import { House, namedPools, STRIPES } from './house.ts'
import type { RunningHouse } from './house.ts'

let house: House
let running: RunningHouse
beforeAll(async () => {
  house = await House.stores()
  running = await house.start()
  await house.worker(running, 2, 'cpu')
  await house.worker(running, 1, 'wasm')
})
afterAll(() => house.stop())

const withTrain = (train: Partial<JobSpec['train']>): JobSpec => ({
  ...STRIPES,
  train: { ...STRIPES.train, epochs: 1, ...train },
})

describe('a back end', () => {
  test('that a job asks for is what all of its rounds ran on, and stands in the model', async () => {
    for (const [backend, worker] of [
      ['wasm', 'w2'],
      ['cpu', 'w1'],
    ] as const) {
      const view = jobView(await running.train(`on-${backend}`, withTrain({ backend })))
      expect([view.state, Object.keys(view.workers)]).toEqual(['completed', [worker]])
      const model = await house.registry.find('stripes', String(view.model?.version))
      expect(model?.fingerprint).toMatch(new RegExp(`^${backend}-`))
    }
  })

  test('that no worker has keeps a job in the queue', async () => {
    await running.submit('on-gpu', withTrain({ backend: 'webgpu' }))
    await running.until('on-gpu', 'queued')
    await running.client.ask(address('job', 'on-gpu'), { type: 'cancel' }, { control: true })
    await running.until('on-gpu', 'cancelled')
    expect(jobView(await running.snapshot(address('job', 'on-gpu'))).workers).toEqual({})
  })
})

describe('class weights', () => {
  const layers = [{ class_name: 'Dense', config: { units: 2, activation: 'softmax' } }]
  const spec: JobSpec = {
    ...STRIPES,
    dataset: { name: 'rare' },
    preprocess: [],
    model: { class_name: 'Sequential', config: { layers } },
    register: { name: 'rare' },
  }

  test('that are balanced are those of the training split, written out', async () => {
    const rows = Array.from({ length: 40 }, (_, i) => `${i % 7},${i % 8 === 0 ? 'rare' : 'usual'}`)
    const split = { seed: 1, validation: 0, test: 0 }
    await house.table('rare', `size,kind\n${rows.join('\n')}\n`, { target: 'kind', split })
    const train = { ...STRIPES.train, epochs: 1, backend: 'cpu' }
    const balanced = jobView(
      await running.train('balanced', { ...spec, train: { ...train, classWeights: 'balanced' } }),
    )
    const written = jobView(
      await running.train('written', { ...spec, train: { ...train, classWeights: [4, 40 / 70] } }),
    )
    const plain = jobView(await running.train('plain', { ...spec, train }))
    expect(balanced).toMatchObject({ state: 'completed', weights: written.weights })
    expect(balanced.weights).not.toBe(plain.weights)
  })

  test('are refused where the target is no class', async () => {
    const { blobs, datasets, registry } = house
    await house.table('sizes', 'size,price\n1,2.5\n2,3.5\n3,4.5\n')
    const dataset = { name: 'sizes', target: 'price' }
    const train = { ...STRIPES.train, loss: 'meanSquaredError', classWeights: 'balanced', replicas: 1 } as const
    const problems = await admit(
      { blobs, datasets, registry, kernels, pools: namedPools('default') },
      { ...spec, dataset, train },
    )
    expect(problems.map(({ path }) => path)).toContain('train.classWeights')
  })
})
