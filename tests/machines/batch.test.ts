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
const done = (batch: Chart, chunk: number, task = `task/predict-B.${chunk}`): Chart =>
  batch.send({
    type: 'task.done',
    task,
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
    const batch = [3, 1, 2].reduce((each, chunk) => done(each, chunk), running())
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

const told = (batch: Chart): string[] => batch.told.map(({ to, event }) => `${to} ${event.type}`)
const cancelled = (batch: Chart, ...tasks: string[]): Chart =>
  tasks.reduce((each, task) => each.send({ type: 'task.cancelled', task: `task/predict-B.${task}` } as never), batch)

describe('a batch that is paused', () => {
  test('stops what is under way, and is paused when nothing of it runs, with the chunks that are there', () => {
    const batch = done(running(), 2).send({ type: 'pause' })
    expect([batch.value, told(batch)]).toEqual(['pausing', ['task/predict-B.1 cancel', 'task/predict-B.3 cancel']])
    done(batch, 3) // it was done before the order came
    expect(cancelled(batch, '1').value).toBe('paused')
    expect(contextOf(batch).results).toEqual(['c0', null, 'c2', 'c3'])
  })

  test('goes on with the chunks that are missing, as tasks of their own, and ends as one that never paused', () => {
    const batch = cancelled(done(running(), 2).send({ type: 'pause' }), '1', '3').send({ type: 'resume' })
    expect(batch.value).toBe('running')
    expect(taskOf(batch)).toMatchObject([
      { id: 'predict-B.1-1', fingerprint: 'f1', work: { chunk: 1 } },
      { id: 'predict-B.3-1', fingerprint: 'f1', work: { chunk: 3 } },
    ])
    done(done(batch, 3, 'task/predict-B.3-1'), 1, 'task/predict-B.1-1')
    expect(batch.effects.get('finish')?.input).toMatchObject({ chunks: ['c0', 'c1', 'c2', 'c3'] })
  })

  test('does not wait for chunks that are silent, nor hear of them when it has gone on', () => {
    const batch = running().send({ type: 'pause' }).after('pauseLimit')
    expect(batch.value).toBe('paused')
    done(batch.send({ type: 'resume' }), 1)
    expect(contextOf(batch).results).toEqual(['c0', null, null, null])
  })

  test('before its first chunk is there begins with that again, and before its plan is there with that', () => {
    const first = cancelled(queued().send({ type: 'pause' }), '0')
    expect([first.value, first.send({ type: 'resume' }).value]).toEqual(['paused', 'queued'])
    expect(taskOf(first)).toMatchObject([{ id: 'predict-B.0-1', backend: 'cpu' }])
    const unplanned = newBatch().send({ type: 'pause' })
    expect([unplanned.value, unplanned.effects.size]).toEqual(['paused', 0])
    expect(unplanned.send({ type: 'resume' }).finish('prepare', PLAN).value).toBe('queued')
  })

  test('is cancelled as it is', () => {
    expect(newBatch().send({ type: 'pause' }).send({ type: 'cancel' }).value).toBe('cancelled')
  })
})

describe('a chunk that takes too long', () => {
  const slow = (): Chart => running().send({ type: 'task.slow', task: 'task/predict-B.2', worker: 'worker/a' } as never)

  test('gets a twin elsewhere, once', () => {
    const batch = slow()
    expect(taskOf(batch)).toMatchObject([{ id: 'predict-B.2-twin', avoid: 'worker/a', work: { chunk: 2 } }])
    batch.send({ type: 'task.slow', task: 'task/predict-B.2', worker: 'worker/a' } as never)
    expect(taskOf(batch)).toEqual([])
  })

  test('is there when one of the two is, and the other is told to stop', () => {
    const batch = done(slow(), 2, 'task/predict-B.2-twin')
    expect(told(batch)).toEqual(['task/predict-B.2 cancel'])
    done(done(batch, 2), 1) // the other had done as well
    expect(contextOf(batch)).toMatchObject({ results: ['c0', 'c1', 'c2', null], workers: { 'worker/a': 3 } })
    expect(done(batch, 3).value).toBe('finishing')
  })

  test('fails its job only when both have failed', () => {
    const failed = (batch: Chart, task: string): Chart =>
      batch.send({ type: 'task.failed', task, fault: FAULTS.user } as never)
    const batch = failed(slow(), 'task/predict-B.2')
    expect(batch.value).toBe('running')
    expect(failed(batch, 'task/predict-B.2-twin').value).toBe('cancelling')
  })

  test('counts once when both are done before the order to stop has come', () => {
    const batch = slow().send({ type: 'pause' })
    done(done(batch, 2, 'task/predict-B.2-twin'), 2)
    expect(contextOf(batch)).toMatchObject({ results: ['c0', null, 'c2', null], workers: { 'worker/a': 2 } })
  })

  test('is stopped with its twin by a pause', () => {
    const batch = slow().send({ type: 'pause' })
    expect(told(batch)).toContain('task/predict-B.2-twin cancel')
    expect(cancelled(batch, '1', '2', '3', '2-twin').send({ type: 'resume' }).value).toBe('running')
    expect(taskOf(batch)).toHaveLength(3)
  })
})
