/** The commands of sweeps, run as a user runs them, against a fleet that runs. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { SweepView } from '../../machines/sweep-spec.ts'
import type { JobView } from '../../machines/views.ts'
import { tinyJob } from '../harness/jobs.ts'
import { ProcessFleet, temporaryFolder, tensorfleet } from '../harness/processes.ts'
import type { Ran, TemporaryFolder } from '../harness/processes.ts'

let fleet: ProcessFleet
let files: TemporaryFolder

beforeAll(async () => {
  files = await temporaryFolder()
  fleet = await ProcessFleet.start({ workers: 1, args: ['--transport', 'memory'] })
}, 180_000)

afterAll(async () => {
  await fleet[Symbol.asyncDispose]()
  await files[Symbol.asyncDispose]()
})

const SWEEP = {
  kind: 'sweep',
  name: 'tiny-sweep',
  job: { ...tinyJob, train: { ...tinyJob.train, replicas: 1, strategy: { kind: 'local', roundSteps: 5 } } },
  parameters: { 'train.optimizer.learningRate': [0.00001, 0.001, 0.00003], 'train.seed': [7] },
  metric: 'accuracy',
  scheduler: { kind: 'asha', minRounds: 1, maxRounds: 3, eta: 3 },
  parallelism: 1,
  model: 'tiny-best',
}
const run = (args: readonly string[], input = ''): Promise<Ran> =>
  tensorfleet(args, { env: { TENSORFLEET_DATA: fleet.folder }, input })

test('where there are none, that is said', async () => {
  expect(await run(['sweeps'])).toMatchObject({ code: 0, stdout: '', stderr: expect.stringContaining('No sweeps.') })
})

test('a sweep that is followed says how far it is, and in the end which trial is the best and where its model is', async () => {
  const path = join(files.path, 'sweep.json')
  await writeFile(path, JSON.stringify(SWEEP))
  const followed = await run(['sweep', path, '--follow'])
  expect(followed.code).toBe(0)
  expect(followed.stderr).toContain('tiny-sweep: running, 0 of 3 ended, 1 running, 0 waiting')
  expect(followed.stdout).toMatch(
    /tiny-sweep completed in .*: 3 trials, 25 steps\n  best      trial \d \(job .*\), accuracy 0\./,
  )
  expect(followed.stdout).toContain('train.optimizer.learningRate = 0.001')
  expect(followed.stdout).toMatch(/model     tiny-best@1/)

  const { stdout } = await run(['sweeps', '--json'])
  const [listed] = JSON.parse(stdout) as readonly SweepView[]
  expect(listed).toMatchObject({ name: 'tiny-sweep', state: 'completed', progress: { completed: 1, stopped: 2 } })
  expect((await run(['sweeps'])).stdout).toMatch(/tiny-sweep +completed +3\/3 +25 +0\.\d+ +tiny-best@1/)

  expect(followed.stderr).toMatch(/tiny-sweep: running, 0 of 3 ended, .*, 5 of 25 steps/)
  const trials = JSON.parse((await run(['ps', '--json', '--sweep', listed?.id ?? ''])).stdout) as readonly JobView[]
  expect(trials.map(({ state }) => state).toSorted()).toEqual(['completed', 'stopped', 'stopped'])
  const stopped = trials.find(({ state }) => state === 'stopped')
  expect(await run(['watch', stopped?.id ?? ''])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining(`Job ${stopped?.id} was stopped by its sweep at rung 1`),
  })

  const shown = await run(['sweep', 'show', listed?.id ?? '', '--limit', '2'])
  expect(shown.stdout).toMatch(/^tiny-sweep: completed, 3 of 3 trials started .*\n.*TRIAL +STATE +ACCURACY +RUNGS/)
  expect(shown.stdout).toMatch(/completed +0\.\d{4} +1 +3 +15 +0\.001/)
  expect(shown.stdout).toContain('… and 1 more')
})

test('a sweep is paused, goes on and is cancelled; options stand behind the word', async () => {
  const long = {
    ...SWEEP,
    job: { ...SWEEP.job, train: { ...SWEEP.job.train, epochs: 500 } },
    scheduler: { kind: 'none' },
  }
  const { stdout } = await run(['submit', '-', '--key', 'long'], JSON.stringify(long))
  const id = stdout.trim()
  expect((await run(['sweep', 'pause', id])).stdout).toMatch(new RegExp(`^${id} is paus(ing|ed)\n$`))
  await expect.poll(async () => (await (await fleet.api()).sweep(id)).state, { timeout: 60_000 }).toBe('paused')
  expect((await run(['sweep', 'resume', id])).stdout).toBe(`${id} is running\n`)
  const cancelled = await tensorfleet(['sweep', 'cancel', id, '--json', '--data', fleet.folder])
  expect((JSON.parse(cancelled.stdout) as SweepView).id).toBe(id)
  await expect.poll(async () => (await (await fleet.api()).sweep(id)).state, { timeout: 60_000 }).toBe('cancelled')
  expect(await run(['sweep', 'cancel', id])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('it is cancelled'),
  })
})

test('what is wrong with a sweep is said by field', async () => {
  const wrong = { ...SWEEP, parameters: { 'train.optimizer.learningRate': [0.1, 1_000] } }
  expect(await run(['sweep', '-'], JSON.stringify(wrong))).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('parameters.train.optimizer.learningRate: expected at most 100, found 1000'),
  })
})
