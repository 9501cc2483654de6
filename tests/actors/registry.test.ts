import { afterAll, beforeAll, expect, test } from 'vitest'
import * as kernels from '../../kernels/mod.ts'
import { recipeOf } from '../../machines/training.ts'
import type { RegisterInput } from '../../machines/training.ts'
import { House, STRIPES } from './house.ts'

let house: House
let manifest: string
let pipeline: { readonly sha256: string; readonly sizeBytes: number }
beforeAll(async () => {
  house = await House.stores()
  const signal = new AbortController().signal
  const dataset = await house.datasets.resolve({ name: 'stripes' }, { signal })
  manifest = dataset.manifest
  const planned = kernels.planPipeline(dataset.data, {}, STRIPES.preprocess ?? [])
  pipeline = await house.blobs.put(new TextEncoder().encode(JSON.stringify(planned.pipeline)))
})
afterAll(() => house.stop())

function input(job: string, name: string): RegisterInput {
  const topology = { sha256: 't'.repeat(64), sizeBytes: 1 }
  return {
    id: job,
    owner: 'ann',
    spec: { ...STRIPES, register: { name } },
    plan: {
      recipe: recipeOf(STRIPES, {
        topology: topology.sha256,
        manifest,
        pipeline: pipeline.sha256,
        dataset: 'stripes@1',
        steps: 1,
      }),
      dataset: { name: 'stripes', version: 1 },
      topology,
      pipeline,
      steps: 1,
      validationExamples: 0,
      testExamples: 0,
    },
    weights: { sha256: 'w'.repeat(64), sizeBytes: 2 },
    fingerprint: 'cpu-4-f1',
    evaluation: null,
    validation: null,
  }
}

const registered = (job: string, name: string): Promise<{ version: number }> =>
  house.registry.register(input(job, name))

test('jobs that end at the same moment get versions without a gap', async () => {
  const models = await Promise.all(Array.from({ length: 8 }, (_, i) => registered(`J${i}`, 'busy')))
  expect(models.map(({ version }) => version).toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
})

test('a model whose job does not say where it goes has the name of the job', async () => {
  const { register: _, ...spec } = STRIPES
  expect(await house.registry.register({ ...input('N', ''), spec: { ...spec, name: 'by-job' } })).toMatchObject({
    name: 'by-job',
    version: 1,
  })
})

test('a job gets one version, however often its effect runs', async () => {
  const runs = await Promise.all([registered('J', 'once'), registered('J', 'once'), registered('J', 'once')])
  expect(runs.map(({ version }) => version)).toEqual([1, 1, 1])
  const { items } = await house.collections.models.find({ where: { name: 'once' } })
  expect(items).toHaveLength(1)
})

test('a second run does not change what the first wrote', async () => {
  await registered('J', 'kept')
  const before = await house.collections.models.get('kept@1')
  await registered('J', 'kept')
  expect(await house.collections.models.get('kept@1')).toEqual(before)
})

test('a version keeps what was measured of it on either split', async () => {
  const measured = (loss: number) => ({ loss, examples: 4, report: { sha256: 'r'.repeat(64), sizeBytes: 1 } })
  await house.registry.register({ ...input('J', 'told'), evaluation: measured(2), validation: measured(1) })
  expect(await house.registry.find('told', '1')).toMatchObject({ evaluation: { loss: 2 }, validation: { loss: 1 } })
  await registered('K', 'untold')
  expect(Object.keys((await house.registry.find('untold', '1')) ?? {})).not.toContain('validation')
})

test('versions are counted for each name', async () => {
  await registered('J1', 'left')
  expect((await registered('J2', 'right')).version).toBe(1)
})
