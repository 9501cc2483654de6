import { describe, expect, test } from 'vitest'
import { WORKER_LIMITS } from '../../machines/limits.ts'
import type { WorkerContext } from '../../machines/worker.ts'
import { FAULTS, newWorker, RECIPE } from './chart.ts'
import type { Chart } from './chart.ts'

const OPENED = { backend: 'wasm', fingerprint: 'f1', gpus: [] }
const WORK = { kind: 'initialise', recipe: RECIPE }
const OUTPUT = { kind: 'initialise', weights: { sha256: 'w', sizeBytes: 1 }, elapsedMs: 5 }

const ready = (slots = 1): Chart => newWorker('a', slots).finish('open', OPENED).send({ type: 'welcome' })
const order = (worker: Chart, task: string, attempt = 1, more: object = {}): Chart =>
  worker.send({ type: 'run', task, attempt, job: 'J', work: WORK, expectedMs: 0, ...more } as never)
const cancel = (worker: Chart, task: string, attempt = 1): Chart =>
  worker.send({ type: 'cancel', task, attempt, ack: true } as never)
const typesTold = (worker: Chart): string[] => worker.told.map(({ to, event }) => `${to} ${event.type}`)

describe('joining', () => {
  test('a worker joins once its kernels are open, with what they are', () => {
    const worker = newWorker('a', 2).finish('open', OPENED)
    expect(worker.told[0]).toMatchObject({
      to: 'scheduler/default',
      event: { type: 'worker.joined', worker: 'worker/a', slots: 2, backend: 'wasm', fingerprint: 'f1' },
    })
  })

  test('a worker that is not welcomed says again that it is there', () => {
    const worker = newWorker('a').finish('open', OPENED).after('welcomeAgain')
    expect(typesTold(worker)).toEqual(['scheduler/default worker.joined'])
    expect(worker.send({ type: 'welcome' }).value).toEqual({ ready: 'idle' })
  })

  test('how busy its GPUs are is kept, and told to the scheduler', () => {
    const gpus = [{ name: 'L4', memoryBytes: 24, usedBytes: 6, utilisation: 0.5 }]
    const worker = ready(1).send({ type: 'gpus', gpus } as never)
    expect(worker.told.at(-1)).toEqual({
      to: 'scheduler/default',
      event: { type: 'worker.gpus', worker: 'worker/a', gpus },
    })
    expect(worker.context).toMatchObject({ gpus })
  })

  test('a worker whose kernels do not open is gone', () => {
    expect(newWorker('a').fail('open', FAULTS.here).value).toBe('gone')
  })
})

describe('running', () => {
  test('a worker accepts as many tasks as it has slots, and refuses the next', () => {
    const worker = ready(2)
    expect(typesTold(order(worker, 'task/J.0.0'))).toEqual(['task/J.0.0 accepted'])
    expect(typesTold(order(worker, 'task/J.0.1'))).toEqual(['task/J.0.1 accepted'])
    expect(typesTold(order(worker, 'task/J.0.2'))).toEqual(['task/J.0.2 rejected'])
    expect([...worker.effects.keys()]).toEqual(['task/J.0.0', 'task/J.0.1'])
    expect(worker.value).toEqual({ ready: 'busy' })
  })

  test('a result goes to its task, and the slot to the scheduler', () => {
    const worker = order(ready(), 'task/J.0.0', 3).finish('task/J.0.0', OUTPUT)
    expect(worker.told).toEqual([
      { to: 'task/J.0.0', event: { type: 'done', worker: 'worker/a', attempt: 3, output: OUTPUT } },
      {
        to: 'scheduler/default',
        event: { type: 'worker.freed', worker: 'worker/a', task: 'task/J.0.0', attempt: 3 },
      },
    ])
    expect(worker.value).toEqual({ ready: 'idle' })
  })

  /** What is said of a run of the job: when it begins, and of the worker's pace when it is done. */
  const said = (worker: Chart, task: string, job = 'J'): unknown[] => {
    const [accepted] = order(worker, task, 1, { job, expectedMs: 1_000 }).told
    const [, freed] = worker.finish(task, { ...OUTPUT, elapsedMs: 3_000 }).told
    return [accepted?.event['isWarm'], freed?.event['pace']]
  }

  test('the first run of a job in each kernel says nothing of the pace, and later ones do', () => {
    const worker = ready(2)
    expect(said(worker, 'task/J.0.0')).toEqual([false, undefined])
    expect(said(worker, 'task/J.1.0')).toEqual([false, undefined])
    expect(said(worker, 'task/J.2.0')).toEqual([true, 3])
    expect(said(worker, 'task/K.0.0', 'K')).toEqual([false, undefined])
  })

  test('a run that was stopped has warmed nothing', () => {
    const worker = ready()
    cancel(order(worker, 'task/J.0.0'), 'task/J.0.0')
    expect(said(worker, 'task/J.1.0')).toEqual([false, undefined])
  })

  test('a worker remembers its last jobs, and no others', () => {
    const worker = ready()
    said(worker, 'task/J.0.0')
    said(worker, 'task/old.0.0', 'old')
    for (let i = 0; i < WORKER_LIMITS.jobsKept - 2; i++) said(worker, `task/${i}.0.0`, `job ${i}`)
    said(worker, 'task/J.1.0')
    said(worker, 'task/new.0.0', 'new')
    expect(said(worker, 'task/J.2.0')[0]).toBe(true)
    expect(said(worker, 'task/old.1.0', 'old')[0]).toBe(false)
  })

  test('an error goes to its task as a fault', () => {
    const worker = order(ready(), 'task/J.0.0').fail('task/J.0.0', FAULTS.user)
    expect(worker.told[0]?.event).toMatchObject({ type: 'failed', fault: FAULTS.user })
  })

  test('a second order for a task that runs starts nothing, and is answered for by the run under way', () => {
    const worker = order(ready(), 'task/J.0.0', 1)
    order(worker, 'task/J.0.0', 2)
    expect(worker.ops.filter(({ op }) => op === 'start')).toEqual([])
    expect(worker.finish('task/J.0.0', OUTPUT).told[0]?.event).toMatchObject({ type: 'done', attempt: 2 })
  })
})

describe('stopping a task', () => {
  test('a cancelled task is stopped and its slot is free', () => {
    const worker = cancel(order(ready(), 'task/J.0.0'), 'task/J.0.0')
    expect(worker.ops).toContainEqual({ op: 'stop', id: 'task/J.0.0' })
    expect(typesTold(worker)).toEqual(['task/J.0.0 stopped', 'scheduler/default worker.freed'])
    expect(worker.value).toEqual({ ready: 'idle' })
  })

  test('an order to stop an earlier attempt leaves the later one alone', () => {
    const worker = cancel(order(ready(), 'task/J.0.0', 2), 'task/J.0.0', 1)
    expect([...worker.effects.keys()]).toEqual(['task/J.0.0'])
  })
})

describe('leaving', () => {
  test('a draining worker takes nothing new, ends what it has, and is gone', () => {
    const worker = order(ready(), 'task/J.0.0').send({ type: 'drain' })
    expect(typesTold(worker)).toEqual(['scheduler/default worker.draining'])
    expect(typesTold(order(worker, 'task/J.0.1'))).toEqual(['task/J.0.1 rejected'])
    worker.finish('task/J.0.0', OUTPUT)
    expect(worker.value).toBe('gone')
    expect(typesTold(worker)).toEqual([
      'task/J.0.0 done',
      'scheduler/default worker.freed',
      'scheduler/default worker.gone',
    ])
  })

  test('draining has an end: what still runs then is given back', () => {
    const worker = order(ready(), 'task/J.0.0').send({ type: 'drain' }).after('drainLimit')
    expect(worker.ops).toContainEqual({ op: 'stop', id: 'task/J.0.0' })
    expect(typesTold(worker)).toEqual(['task/J.0.0 worker.lost', 'scheduler/default worker.gone'])
  })

  test('a worker whose process stops gives back at once what it has', () => {
    const worker = order(ready(), 'task/J.0.0').send({ type: 'leave' })
    expect(worker.ops).toContainEqual({ op: 'stop', id: 'task/J.0.0' })
    expect(typesTold(worker)).toEqual(['task/J.0.0 worker.lost', 'scheduler/default worker.gone'])
  })

  test('a worker whose process died gives its tasks back and says that it is gone', () => {
    const worker = order(ready(2), 'task/J.0.0').fail('task/J.0.0', FAULTS.lost)
    expect(typesTold(worker)).toEqual(['task/J.0.0 worker.lost'])
    expect(typesTold(worker.send({ type: 'owner.lost' }))).toEqual(['scheduler/default worker.gone'])
  })

  test('a worker that is gone answers orders until everybody can have heard', () => {
    const worker = ready().send({ type: 'owner.lost' })
    expect(typesTold(order(worker, 'task/J.0.0'))).toEqual(['task/J.0.0 worker.lost'])
    expect(worker.after('linger').status).toBe('done')
  })

  test.each([
    ['opening', () => newWorker('a')],
    ['registering', () => newWorker('a').finish('open', OPENED)],
    ['idle', () => ready()],
    ['busy', () => order(ready(), 'task/J.0.0')],
    ['draining', () => order(ready(), 'task/J.0.0').send({ type: 'drain' })],
  ])('a worker that loses its process while %s is gone, and nothing of it runs', (_, make) => {
    const worker = make()
    for (const id of Array.from(worker.effects.keys())) worker.fail(id, FAULTS.lost)
    worker.send({ type: 'owner.lost' })
    expect([worker.value, (worker.context as WorkerContext).running]).toEqual(['gone', {}])
  })
})
