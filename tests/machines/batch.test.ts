import { describe, expect, test } from 'vitest'
import { batchMachine } from '../../machines/batch.ts'
import type { BatchContext } from '../../machines/batch.ts'
import type { BatchPlan } from '../../machines/batch-plan.ts'
import type { PredictSpec } from '../../machines/batch-spec.ts'
import { Chart, FAULTS, RECIPE } from './chart.ts'

const SPEC: PredictSpec = {
  kind: 'predict',
  name: 'guess',
  model: 'digits@1',
  dataset: { name: 'mnist' },
  split: 'test',
  format: 'npy',
  backend: 'cpu',
  pool: 'default',
  priority: 'normal',
}
const PLAN: BatchPlan = {
  rows: 10,
  chunks: 4,
  data: 'm',
  work: { kind: 'predict', recipe: RECIPE, split: 'test', weights: 'w', format: 'npy' },
}

const newBatch = (): Chart => new Chart('batch', batchMachine, { id: 'predict-B', owner: 'ann', spec: SPEC })
const queued = (plan = PLAN): Chart => newBatch().finish('prepare', plan)
const done = (batch: Chart, chunk: number): Chart =>
  batch.send({
    type: 'task.done',
    task: `task/predict-B.${chunk}`,
    worker: 'worker/a',
    fingerprint: 'f1',
    output: { kind: 'predict', chunk, blob: { sha256: `c${chunk}`, sizeBytes: 1 }, elapsedMs: 5 },
  } as never)
const running = (): Chart => done(queued(), 0)
const contextOf = (batch: Chart): BatchContext => batch.context as BatchContext
const taskOf = (batch: Chart): object[] => batch.spawned.map(({ input }) => input as object)

describe('a batch', () => {
  test('runs its first chunk alone, on the back end that it asks for, and the others where it ran', () => {
    expect(taskOf(queued())).toMatchObject([
      { id: 'predict-B.0', backend: 'cpu', fingerprint: null, work: { start: 0, rows: 2 } },
    ])
    const others = taskOf(running())
    expect(others).toMatchObject([
      { id: 'predict-B.1', fingerprint: 'f1', work: { chunk: 1, start: 2, rows: 3 } },
      { id: 'predict-B.2', fingerprint: 'f1', work: { chunk: 2, start: 5, rows: 2 } },
      { id: 'predict-B.3', fingerprint: 'f1', work: { chunk: 3, start: 7, rows: 3 } },
    ])
    expect(others[0]).not.toHaveProperty('backend')
  })

  test('is finished from its chunks in order, whatever order they came in', () => {
    const batch = [3, 1, 2].reduce(done, running())
    expect(batch.value).toBe('finishing')
    expect(batch.effects.get('finish')?.input).toMatchObject({ chunks: ['c0', 'c1', 'c2', 'c3'] })
    batch.finish('finish', { output: { sha256: 'o', sizeBytes: 4, format: 'npy' } })
    expect([batch.value, contextOf(batch).workers]).toEqual(['completed', { 'worker/a': 4 }])
  })

  test('of one chunk is finished after it', () => {
    expect(done(queued({ ...PLAN, chunks: 1 }), 0).value).toBe('finishing')
  })

  test('that fails stops its other chunks, and has failed when none of them runs', () => {
    const batch = running().send({ type: 'task.failed', task: 'task/predict-B.2', fault: FAULTS.user } as never)
    expect(batch.told.map(({ to, event }) => `${to} ${event.type}`)).toEqual([
      'task/predict-B.1 cancel',
      'task/predict-B.3 cancel',
    ])
    batch.send({ type: 'task.cancelled', task: 'task/predict-B.1' } as never)
    expect(done(batch, 3).value).toBe('failed')
    expect(contextOf(batch).fault).toEqual(FAULTS.user)
  })

  test('that is cancelled ends without the word of chunks that are silent', () => {
    const batch = running().send({ type: 'cancel' })
    expect(batch.value).toBe('cancelling')
    expect(batch.after('cancelLimit').value).toBe('cancelled')
  })

  test('does not hear the word of a task that it does not wait for', () => {
    expect(contextOf(done(running(), 0)).workers).toEqual({ 'worker/a': 1 })
  })
})
