/** Training from the command line, on a fleet of real processes: a preset, and what is done with its checkpoints. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { decodeTensors } from '../../kernels/mod.ts'
import type { BatchView } from '../../machines/batch-spec.ts'
import type { JobView } from '../../machines/views.ts'
import { JOB_MS, ProcessFleet, tensorfleet } from '../harness/processes.ts'

const LIMIT_MS = 2 * JOB_MS

let fleet: ProcessFleet
let job: JobView
let trained: Awaited<ReturnType<typeof tensorfleet>>

beforeAll(async () => {
  fleet = await ProcessFleet.start({ workers: 1, args: ['--pool', 'spare=1'] })
  trained = await run('train', 'iris', '--preset', 'mlp', '--target', 'species', '--epochs', '30', '--watch')
  const [first] = await (await fleet.api()).jobs()
  if (first === undefined) throw new Error('there is no job')
  job = first
}, LIMIT_MS)
afterAll(() => fleet[Symbol.asyncDispose]())

const run = (...args: string[]): ReturnType<typeof tensorfleet> => tensorfleet([...args, '--data', fleet.folder])

test('a preset says the whole specification that was made of it, and what came of it', () => {
  expect(trained).toMatchObject({ code: 0, stderr: expect.stringMatching(/class_name: Sequential/) })
  expect(trained.stdout).toMatch(
    /iris-mlp completed[^]*accuracy[^]*confusion[^]*setosa +versicolor +virginica\n +setosa +\d/,
  )
})

test('a job of a preset is stored whole', () => {
  expect(job.spec).toMatchObject({ name: 'iris-mlp', train: { epochs: 30, loss: 'sparseCategoricalCrossentropy' } })
})

test('its checkpoints are listed', async () => {
  const { stdout } = await run('checkpoint', 'ls', job.id)
  expect(stdout.trim().split('\n')).toHaveLength(1 + job.checkpoints.length)
})

test('a checkpoint is taken home as safetensors and Keras JSON', async () => {
  const round = String(job.checkpoints[0]?.round)
  const out = join(fleet.folder, 'home')
  const { stdout } = await run('checkpoint', 'export', job.id, round, '--out', out)
  const [weights = '', topology = ''] = stdout.trim().split('\n')
  expect(decodeTensors(readFileSync(weights)).tensors.map(({ name }) => name)).toContain('dense_0/kernel')
  expect(JSON.parse(readFileSync(topology, 'utf8'))).toMatchObject({ class_name: 'Sequential' })
})

test('a checkpoint is gone on from by a new job, to the same weights', { timeout: LIMIT_MS }, async () => {
  const round = job.checkpoints[0]?.round
  const { stdout } = await run('checkpoint', 'restore', job.id, String(round))
  const restored = await fleet.untilEnded(stdout.trim())
  expect(restored).toMatchObject({ state: 'completed', weights: job.weights, resumed: { job: job.id, round } })
})

test('a checkpoint that is not there is named, with those that are', async () => {
  const { code, stderr } = await run('checkpoint', 'restore', job.id, '77')
  expect(code).not.toBe(0)
  expect(stderr).toMatch(/has no checkpoint "77"; there are those of the rounds/)
})

test('a preset that does not suit its data is refused by its field', async () => {
  const { code, stderr } = await run('train', 'cars', '--preset', 'logistic')
  expect(code).toBe(2)
  expect(stderr).toMatch(/preset: expected linear or mlp: mpg is a number, found logistic/)
})

test('a model is measured on a dataset as its training measured it', { timeout: LIMIT_MS }, async () => {
  const { code, stdout } = await run('evaluate', 'iris-mlp', '--dataset', 'iris', '--json')
  const { evaluation } = JSON.parse(stdout) as BatchView
  expect([code, evaluation]).toEqual([0, job.evaluation])
})

test('a model predicts for a dataset into a file', { timeout: LIMIT_MS }, async () => {
  const path = join(fleet.folder, 'species.csv')
  const { code, stdout } = await run('predict', 'iris-mlp@1', '--dataset', 'iris', '-o', path)
  expect([code, stdout.trim()]).toEqual([0, path])
  const [head, ...lines] = readFileSync(path, 'utf8').trimEnd().split('\n')
  expect(head).toMatch(/^row,class,p \w+,p \w+,p \w+$/)
  expect(lines).toHaveLength(job.evaluation?.examples ?? 0)
  const { stdout: rows } = await run('ps', '--json')
  expect((JSON.parse(rows) as BatchView[]).map(({ id, state }) => `${id.split('-')[0]} ${state}`)).toContain('predict completed') // prettier-ignore
})

test('a batch job is followed to its end by its events, and says what it did', { timeout: LIMIT_MS }, async () => {
  const { stdout: id } = await run('evaluate', 'iris-mlp@1', '--dataset', 'iris', '--detach')
  const watched = await run('watch', id.trim())
  expect([watched.code, watched.stdout]).toEqual([0, expect.stringMatching(/^Measured on \d+ rows of iris@1/)])
  expect(watched.stderr).toMatch(/^prepare: \d+ rows in 1 chunks$/m)
  expect(watched.stderr).toMatch(/^iris-mlp-evaluate: completed/m)
  const { stdout } = await run('watch', id.trim(), '--json')
  const events = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { type: string; job?: BatchView })
  expect(events.at(-1)?.job?.state ?? events[0]?.job?.state).toBe('completed')
  expect((await run('logs', id.trim())).stdout).toMatch(/prepare: \d+ rows/)
})

test('a batch job is paused, resumed and cancelled by its id', { timeout: LIMIT_MS }, async () => {
  // It waits for a worker that is not there, so that nothing can be over before it is steered.
  const { stdout } = await run('evaluate', 'iris-mlp@1', '--dataset', 'iris', '--backend', 'webgpu', '--detach')
  const id = stdout.trim()
  expect((await run('pause', id)).stdout).toMatch(/ is paus(ed|ing)/)
  await expect.poll(async () => (JSON.parse((await run('ps', '--json')).stdout) as BatchView[]).find((each) => each.id === id)?.state, { timeout: LIMIT_MS }).toBe('paused') // prettier-ignore
  expect((await run('resume', id)).stdout).toMatch(/ is (queued|preparing)/)
  expect((await run('cancel', id)).code).toBe(0)
  const watched = await run('watch', id)
  expect([watched.code, watched.stderr]).toEqual([1, expect.stringContaining(`Job ${id} was cancelled`)])
})

test('a model is trained further, and its next version names its parent', { timeout: LIMIT_MS }, async () => {
  const { code } = await run('train', 'iris', '--from', 'iris-mlp', '--epochs', '1', '--watch')
  const { stdout } = await run('model', 'card', 'iris-mlp', '--json')
  expect([code, JSON.parse(stdout)]).toEqual([0, expect.objectContaining({ version: 3, parent: { name: 'iris-mlp', version: 2 } })]) // prettier-ignore
})

test('a pool of its own has its own workers, and a job runs where it says', { timeout: LIMIT_MS }, async () => {
  const api = await fleet.api()
  await expect.poll(async () => (await api.workers()).map(({ pool }) => pool).toSorted()).toEqual(['default', 'spare'])
  expect((await run('pool')).stdout).toMatch(/^default: .*\n[^]*^spare: 0 of 1 slots in use$/m)
  expect((await run('pool', '--name', 'spare', '--slots-per-owner', '3')).stdout).toMatch(/slots 3, jobs any number/)
  expect((await run('pool', '--name', 'spare', '--slots-per-owner', 'none')).stdout).toMatch(/slots any number/)
  const { stdout } = await run('clone', job.id, '--set', 'pool=spare', '--set', 'train.epochs=1')
  const ended = await fleet.untilEnded(stdout.trim())
  expect([ended.state, Object.keys(ended.workers)]).toEqual(['completed', [expect.stringMatching(/^worker-spare-1-/)]])
  const { code, stderr } = await run('clone', job.id, '--set', 'pool=none')
  expect([code, stderr]).toEqual([2, expect.stringContaining('pool: expected one of default, spare, found none')])
})
