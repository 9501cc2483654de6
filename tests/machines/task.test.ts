import { describe, expect, test } from 'vitest'
import type { TaskContext } from '../../machines/task.ts'
import { backoffMs } from '../../machines/task.ts'
import { runLimitMs } from '../../machines/task-input.ts'
import { TASK_LIMITS } from '../../machines/limits.ts'
import { Chart, FAULTS, newTask, TASK_INPUT } from './chart.ts'
import { taskMachine } from '../../machines/task.ts'

const OUTPUT = { kind: 'initialise', weights: { sha256: 'w', sizeBytes: 1 }, elapsedMs: 5 }
const A = 'worker/a'
const B = 'worker/b'

const attemptOf = (task: Chart): number => (task.context as TaskContext).attempt
const assigned = (worker = A, task = newTask()): Chart =>
  task.send({ type: 'assigned', worker, attempt: attemptOf(task), fingerprint: 'f1' } as never)
const running = (worker = A, task = newTask()): Chart =>
  assigned(worker, task).send({ type: 'accepted', worker, attempt: attemptOf(task) } as never)
const say = (task: Chart, type: string, more: object = {}, worker = A): Chart =>
  task.send({ type, worker, attempt: attemptOf(task), ...more } as never)
const typesTold = (task: Chart): string[] => task.told.map(({ to, event }) => `${to} ${event.type}`)

describe('the way of a task', () => {
  test('a new task asks its scheduler for a worker', () => {
    expect(newTask().told).toEqual([
      {
        to: 'scheduler/default',
        event: {
          type: 'task.submit',
          task: 'task/J.0.1',
          attempt: 1,
          job: 'J',
          owner: 'ann',
          priority: 'normal',
          fingerprint: null,
        },
      },
    ])
  })

  test('an assigned task sends its work to the worker itself', () => {
    expect(typesTold(assigned())).toEqual(['worker/a run'])
  })

  test('a task that runs says so to its job', () => {
    expect(running().told).toEqual([{ to: 'job/J', event: { type: 'task.started', task: 'task/J.0.1', worker: A } }])
  })

  test('a result ends the task and reaches the job', () => {
    const task = say(running(), 'done', { output: OUTPUT })
    expect(task.value).toBe('succeeded')
    expect(task.told).toEqual([
      { to: 'job/J', event: { type: 'task.done', task: 'task/J.0.1', worker: A, fingerprint: 'f1', output: OUTPUT } },
    ])
  })
})

describe('errors', () => {
  test('an error that the user must mend is not tried again', () => {
    const task = say(running(), 'failed', { fault: FAULTS.user })
    expect(task.value).toBe('failed')
    expect(task.told).toEqual([{ to: 'job/J', event: { type: 'task.failed', task: 'task/J.0.1', fault: FAULTS.user } }])
  })

  test('an error worth retrying sends the task back to the queue after a pause', () => {
    const task = say(running(), 'failed', { fault: FAULTS.passing })
    expect([task.value, [...task.timers]]).toEqual(['backoff', [['backoff', TASK_LIMITS.backoffBaseMs]]])
    task.after('backoff')
    expect([task.value, attemptOf(task)]).toEqual(['queued', 2])
  })

  test('an error of the place asks for another place', () => {
    const task = say(running(), 'failed', { fault: FAULTS.here }).after('backoff')
    expect(task.told[0]?.event).toMatchObject({ type: 'task.submit', avoid: A })
  })

  test('retries are bounded, and the last error is what the job hears', () => {
    let task = newTask()
    for (let failure = 1; failure < TASK_LIMITS.failuresMax; failure++) {
      task = say(running(A, task), 'failed', { fault: FAULTS.passing }).after('backoff')
    }
    say(running(A, task), 'failed', { fault: FAULTS.passing })
    expect(task.value).toBe('failed')
    expect(task.told[0]?.event).toMatchObject({ type: 'task.failed', fault: { code: 'kernel.busy' } })
  })

  test('what hangs twice is not tried a third time', () => {
    const hung = { code: 'kernel.hung', message: 'no sign of life', remedy: 'retry-elsewhere' } as const
    const task = say(running(), 'failed', { fault: hung }).after('backoff')
    expect(task.value).toBe('queued')
    expect(say(running(A, task), 'failed', { fault: hung }).value).toBe('failed')
  })

  test('a run that takes too long is stopped and tried elsewhere', () => {
    const task = running().after('runLimit')
    expect(typesTold(task)).toEqual(['worker/a cancel'])
    expect(task.value).toBe('backoff')
    expect(task.after('backoff').told[0]?.event).toMatchObject({ avoid: A })
  })

  test('backoff grows and stays below its limit', () => {
    expect([1, 2, 3, 40].map(backoffMs)).toEqual([250, 500, 1000, TASK_LIMITS.backoffMaxMs])
  })

  test('a run gets a multiple of what the round before took', () => {
    expect([0, 1, 30_000, 1e9].map(runLimitMs)).toEqual([3_600_000, 120_000, 600_000, 3_600_000])
  })
})

describe('lost workers', () => {
  test('a lost worker sends the task back to the queue at once, without counting as a failure', () => {
    const task = say(running(), 'worker.lost')
    expect(task.value).toBe('queued')
    expect(task.context).toMatchObject({ failures: 0, losses: 1, attempt: 2 })
  })

  test('a task that is given to the same lost worker again waits until its scheduler has heard', () => {
    const task = say(running(), 'worker.lost')
    expect(task.told[0]?.event).toMatchObject({ type: 'task.submit', avoid: A })
    expect(say(assigned(A, task), 'worker.lost').value).toBe('backoff')
    expect(task.after('backoff').value).toBe('queued')
  })

  test('a worker that never says it has the task counts as lost, and is told to leave it', () => {
    const task = assigned().after('assignLimit')
    expect(typesTold(task)).toEqual(['worker/a cancel', 'scheduler/default task.submit'])
  })

  test('a task that takes every worker down with it fails in the end', () => {
    const task = newTask()
    for (let loss = 1; loss <= TASK_LIMITS.lossesMax; loss++) {
      const worker = `worker/${loss}`
      say(running(worker, task), 'worker.lost', {}, worker)
    }
    expect(task.value).toBe('failed')
    expect(task.told[0]?.event).toMatchObject({ fault: { code: 'task.workers-lost' } })
  })

  test('a result of an earlier attempt is taken, and the later one is stopped', () => {
    const task = running()
    say(task, 'worker.lost')
    running(B, task)
    task.send({ type: 'done', worker: A, attempt: 1, output: OUTPUT } as never)
    expect(task.value).toBe('succeeded')
    expect(typesTold(task)).toEqual(['worker/b cancel', 'job/J task.done'])
  })

  test('a result that comes while the next attempt waits ends the task once that has left the queue', () => {
    const task = say(running(), 'worker.lost')
    task.send({ type: 'done', worker: A, attempt: 1, output: OUTPUT } as never)
    expect(typesTold(task)).toEqual(['scheduler/default task.withdraw'])
    expect(typesTold(task.send({ type: 'withdrawn' }))).toEqual(['job/J task.done'])
  })

  test('a failure of an earlier attempt is not heard', () => {
    const task = running()
    say(task, 'worker.lost')
    running(B, task)
    task.send({ type: 'failed', worker: A, attempt: 1, fault: FAULTS.user } as never)
    expect([task.value, task.told]).toEqual(['running', []])
  })

  test('a worker that takes up an attempt given up before is told to stop it', () => {
    const task = assigned().after('assignLimit')
    task.send({ type: 'accepted', worker: A, attempt: 1 } as never)
    expect(task.told).toEqual([{ to: A, event: { type: 'cancel', task: 'task/J.0.1', attempt: 1, ack: false } }])
  })
})

describe('a slow run', () => {
  const slow = (isWarm = true): Chart => {
    const task = assigned(A, new Chart('task', taskMachine, { ...TASK_INPUT, expectedMs: 4_000 }))
    return task.send({ type: 'accepted', worker: A, attempt: 1, isWarm } as never)
  }

  test('is told to the job soon after it should have ended, and to the scheduler when it takes twice as long', () => {
    expect([slow().timers.get('slowLimit'), slow().timers.get('slowerLimit')]).toEqual([4_600, 7_200])
    expect(typesTold(slow().after('slowLimit'))).toEqual(['job/J task.slow'])
    const told = (isWarm: boolean): Chart['told'] => slow(isWarm).after('slowerLimit').told
    expect(told(true)).toMatchObject([{ event: { type: 'worker.slow', worker: A, pace: 2 } }])
    expect(told(false)).toEqual([]) // the first of its job takes long everywhere
  })

  test('is not known where nothing is known about its time', () => {
    expect(running().timers.get('slowLimit')).toBeGreaterThan(running().timers.get('runLimit') ?? 0)
  })
})

describe('preemption', () => {
  test.each([
    ['assigned', assigned],
    ['running', running],
  ] as const)('a task that is %s and preempted stops there, and comes back to the front of its queue', (_, make) => {
    const task = make().send({ type: 'preempted', attempt: 1 } as never)
    expect(typesTold(task)).toEqual(['worker/a cancel', 'scheduler/default task.submit'])
    expect(task.told[1]?.event).toMatchObject({ attempt: 2, isBack: true })
    expect(task.context).toMatchObject({ failures: 0, losses: 0, isBack: false })
  })

  test('word about an earlier attempt preempts nothing', () => {
    const task = running(B, say(running(), 'worker.lost')).send({ type: 'preempted', attempt: 1 } as never)
    expect(task.value).toBe('running')
  })
})

describe('cancelling', () => {
  test('a task that is parked says where', () => {
    const task = newTask().send({ type: 'parked', attempt: 1, page: 'page/default.q1.0' } as never)
    expect(task.send({ type: 'cancel' }).told[0]?.event).toMatchObject({ page: 'page/default.q1.0', ack: true })
  })

  test('one that is parked while its withdrawal is on the way withdraws from there as well', () => {
    const task = newTask().send({ type: 'cancel' })
    task.send({ type: 'parked', attempt: 1, page: 'page/default.q1.0' } as never)
    expect(task.told[0]?.event).toMatchObject({ type: 'task.withdraw', page: 'page/default.q1.0', ack: false })
    expect(task.send({ type: 'withdrawn' }).value).toBe('cancelled')
  })

  test('a queued task leaves the queue and then says that it is cancelled', () => {
    const task = newTask().send({ type: 'cancel' })
    expect(typesTold(task)).toEqual(['scheduler/default task.withdraw'])
    expect(typesTold(task.send({ type: 'withdrawn' }))).toEqual(['job/J task.cancelled'])
  })

  test('an assignment that crosses the withdrawal starts nothing', () => {
    const task = newTask().send({ type: 'cancel' })
    assigned(A, task)
    expect([task.value, task.told]).toEqual(['withdrawing', []])
  })

  test('a running task is stopped on its worker, and waits until it is', () => {
    const task = running().send({ type: 'cancel' })
    expect(typesTold(task)).toEqual(['worker/a cancel'])
    expect(task.value).toBe('stopping')
    expect(typesTold(say(task, 'stopped'))).toEqual(['job/J task.cancelled'])
  })

  test.each([
    ['queued', newTask, 'withdrawLimit'],
    ['backoff', () => say(running(), 'failed', { fault: FAULTS.passing }), 'withdrawLimit'],
    ['assigned', assigned, 'stopLimit'],
    ['running', running, 'stopLimit'],
  ] as const)('a cancelled task that was %s ends even when nobody answers', (_, make, limit) => {
    expect(make().send({ type: 'cancel' }).after(limit).value).toBe('cancelled')
  })
})

test('every state of a task that waits has a limit', () => {
  const waiting = [
    newTask(),
    assigned(),
    running(),
    say(running(), 'failed', { fault: FAULTS.passing }),
    newTask().send({ type: 'cancel' }),
    running().send({ type: 'cancel' }),
  ]
  expect(waiting.map((task) => [...task.timers.keys()])).toEqual([
    ['queueLimit'],
    ['assignLimit'],
    ['slowLimit', 'slowerLimit', 'runLimit'],
    ['backoff'],
    ['withdrawLimit'],
    ['stopLimit'],
  ])
})
