/** A job's limit of time, with time that the test moves: the chart on the real runtime, its tasks in the test's hands. */
import { setup } from 'xstate'
import { expect, test } from 'vitest'
import { jobMachine } from '../../machines/job.ts'
import { defineActor } from '../../runtime/mod.ts'
import { createTestWorld } from '../../runtime/testing/mod.ts'
import { PLAN, SPEC } from '../machines/chart.ts'

const never = (): Promise<never> => new Promise(() => {})
const job = defineActor({
  kind: 'job',
  version: 1,
  machine: jobMachine,
  effects: { validate: async () => null, prepare: async () => PLAN, reduce: never, score: never, register: never },
})
const task = defineActor({ kind: 'task', version: 1, machine: setup({}).createMachine({}), effects: {} })

test('a job’s time stands still while it is paused, also when its owner changes meanwhile', async () => {
  await using world = await createTestWorld({ actors: [job, task] })
  const one = world.actor(job, 'J')
  await one.spawn({ id: 'J', owner: 'ann', spec: { ...SPEC, limits: { time: 60 } } })
  const stateOf = async (): Promise<string> => JSON.stringify((await one.read())?.value)
  const begin = (take: string): Promise<void> =>
    one.tell({ type: 'task.started', task: `task/J.init${take}`, worker: 'worker/a' })
  await world.advance('10 min') // it waits for its first worker
  await begin('')
  await world.advance('40 s')
  await one.tell({ type: 'pause', isUrgent: true })
  await one.tell({ type: 'task.cancelled', task: 'task/J.init' })
  expect(await stateOf()).toBe('"paused"')
  await world.advance('1 h')
  await world.stop()
  await world.start()
  await one.tell({ type: 'resume' })
  await begin('-1')
  await world.advance('19 s')
  expect(await stateOf()).toBe('{"training":"initialising"}')
  await world.advance('1 s')
  expect(await stateOf()).toBe('"cancelling"')
  await world.advance('2 s')
  expect((await one.read())?.context).toMatchObject({ fault: { code: 'job.time-limit' } })
})

test('a job that was paused before its first round has its limit all the same', async () => {
  await using world = await createTestWorld({ actors: [job, task] })
  const one = world.actor(job, 'J')
  await one.spawn({ id: 'J', owner: 'ann', spec: { ...SPEC, limits: { time: 60 } } })
  await world.settled()
  await one.tell({ type: 'pause', isUrgent: true })
  await one.tell({ type: 'task.cancelled', task: 'task/J.init' })
  await one.tell({ type: 'resume' })
  await one.tell({ type: 'task.started', task: 'task/J.init-1', worker: 'worker/a' })
  await world.advance('62 s')
  expect((await one.read())?.context).toMatchObject({ fault: { code: 'job.time-limit' } })
})
