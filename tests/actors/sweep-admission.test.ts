import { afterAll, beforeAll, expect, test } from 'vitest'
import { admitSweep } from '../../actors/mod.ts'
import { checkJob } from '../../gateway/schemas/job-spec.ts'
import * as kernels from '../../kernels/mod.ts'
import type { SweepSpec } from '../../machines/sweep-spec.ts'
import { House, namedPools, STRIPES } from './house.ts'

let house: House
beforeAll(async () => {
  house = await House.stores()
})
afterAll(() => house.stop())

const SWEEP: SweepSpec = {
  kind: 'sweep',
  name: 'stripes-sweep',
  job: STRIPES,
  parameters: { 'train.optimizer.learningRate': [0.1, 0.01] },
  search: { kind: 'grid', seed: 1 },
  metric: 'accuracy',
  scheduler: { kind: 'none' },
  parallelism: 2,
}
const range = { min: 0.001, max: 0.1, scale: 'log', integer: false } as const

async function admitted(changes: Partial<SweepSpec> = {}): ReturnType<typeof admitSweep> {
  const { blobs, datasets, registry } = house
  const services = { blobs, datasets, registry, kernels, pools: namedPools('default'), checkJob }
  return admitSweep(services, { ...SWEEP, ...changes })
}

async function messagesOf(changes: Partial<SweepSpec>): Promise<readonly string[]> {
  const answer = await admitted(changes)
  return 'problems' in answer ? answer.problems.map(({ message }) => message) : []
}

test('a sweep of jobs that may run is admitted as it is', async () => {
  expect(await admitted()).toEqual({ spec: SWEEP })
})

test('parameters lead to fields that the job has, among those that say what it computes', async () => {
  const parameters = { 'train.optimizer.lernRate': [1], 'model.config.layers[9].config.units': [1], pool: ['a'], train: [1] } // prettier-ignore
  expect(await messagesOf({ parameters })).toEqual([
    'parameters.train.optimizer.lernRate: expected the path of a field that the job has, found train.optimizer.lernRate',
    'parameters.model.config.layers[9].config.units: expected the path of a field that the job has, found model.config.layers[9].config.units', // prettier-ignore
    'parameters.pool: expected a path that begins with train., model., preprocess., dataset., found pool',
    'parameters.train: expected a path that begins with train., model., preprocess., dataset., found train',
  ])
})

test('every trial is looked at before any is started, and a value that cannot be is named by its parameter', async () => {
  const parameters = { 'train.optimizer.learningRate': [0.1, 200], 'model.config.layers[3].config.units': [3, 7] }
  expect(await messagesOf({ parameters })).toEqual(
    expect.arrayContaining([
      'parameters.train.optimizer.learningRate: expected at most 100, found 200',
      expect.stringMatching(/^parameters\.model\.config\.layers\[3\]\.config\.units: expected 3/),
    ]),
  )
})

test('what is wrong with the job itself is said once, with a trial in which it is', async () => {
  expect(await messagesOf({ job: { ...STRIPES, dataset: { name: 'strips' } } })).toEqual([
    expect.stringMatching(/^job\.dataset\.name: expected one of stripes, found strips \(with train\.optimizer/),
  ])
})

test('a grid needs steps, and not more trials than a sweep may have', async () => {
  expect(await messagesOf({ parameters: { 'train.optimizer.learningRate': range } })).toEqual([
    'parameters.train.optimizer.learningRate.step: expected a step, for a grid, found nothing',
  ])
  const seeds = Array.from({ length: 1_001 }, (_, seed) => seed)
  expect(await messagesOf({ parameters: { 'train.seed': seeds } })).toEqual([
    'search.trials: expected at most 1000 trials, found 1001 combinations',
  ])
  expect(await messagesOf({ parameters: { 'train.seed': seeds }, search: { kind: 'grid', trials: 3, seed: 1 } })).toEqual([]) // prettier-ignore
  expect(await messagesOf({ parameters: { 'train.optimizer.learningRate': range }, search: { kind: 'random', trials: 3, seed: 1 } })).toEqual([]) // prettier-ignore
})

test('trials are compared by what is measured of them', async () => {
  expect(await messagesOf({ metric: 'f1' })).toEqual([
    'metric: expected loss or accuracy, where job.train.validation is left out, found f1',
  ])
  const regression = { ...STRIPES, train: { ...STRIPES.train, validation: { everyRounds: 1 } } }
  expect(await messagesOf({ metric: 'r2', job: regression })).toEqual(
    expect.arrayContaining([expect.stringMatching(/^metric: expected one of .*accuracy.*, found r2/)]),
  )
  const early = { metric: 'loss', patience: 2, minDelta: 0 } as const
  expect(await messagesOf({ job: { ...regression, train: { ...regression.train, earlyStopping: early } } })).toEqual([
    'job.train.earlyStopping.metric: expected accuracy, by which the sweep compares, found loss',
  ])
})

test('a whole object as a value gets the fields that it would get in a job', async () => {
  const answer = await admitted({ parameters: { 'train.optimizer': [{ kind: 'sgd' }, { kind: 'adam', learningRate: 0.01 }] } }) // prettier-ignore
  expect(answer).toMatchObject({
    spec: {
      parameters: {
        'train.optimizer': [
          { kind: 'sgd', learningRate: 0.01, momentum: 0, nesterov: false },
          { kind: 'adam', learningRate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-7 },
        ],
      },
    },
  })
  expect(await messagesOf({ parameters: { 'train.optimizer': [{ kind: 'smd' }] } })).toEqual([
    expect.stringMatching(/^parameters\.train\.optimizer\.kind: expected one of .*"adam".*, found "smd"/),
  ])
})
