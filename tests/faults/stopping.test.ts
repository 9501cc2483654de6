/** How a fleet ends: asked to, or not. Nothing of it may stay behind, and nothing that it made may be lost. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ProcessFleet, temporaryFolder, WAIT } from '../harness/processes.ts'
import { smallJob, tinyJob } from '../harness/jobs.ts'

const LIMIT_MS = 180_000

test('Ctrl-C in the middle of training leaves no process behind', { timeout: LIMIT_MS }, async () => {
  await using fleet = await ProcessFleet.start()
  await fleet.untilRound(await fleet.submit(smallJob), 1)
  const roles = new Set(fleet.processes().map(({ role }) => role))
  expect(roles).toEqual(new Set(['up', 'control', 'worker', 'kernel', 'redis']))
  expect(await fleet.interrupt()).toBe(0)
  expect(fleet.processes()).toEqual([])
  expect(fleet.output).not.toMatch(/was killed|is started again|^\s+at /m)
})

test('a second start finds jobs and models', { timeout: LIMIT_MS }, async () => {
  await using folder = await temporaryFolder()
  await using first = await ProcessFleet.start({ folder: folder.path })
  const job = await first.untilEnded(await first.submit(tinyJob))
  await first.interrupt()
  await using second = await ProcessFleet.start({ folder: folder.path })
  await expect.poll(() => second.output, WAIT).toContain('Found 1 job and 1 model')
  const api = await second.api()
  expect(await api.job(job.id)).toEqual(job)
  expect(await api.models()).toMatchObject([{ name: 'tiny', version: 1, weights: { sha256: job.weights } }])
})

test(
  'when "up" itself is killed, control process, workers and kernels end by themselves',
  { timeout: LIMIT_MS },
  async () => {
    await using fleet = await ProcessFleet.start()
    await fleet.untilRound(await fleet.submit(smallJob), 1)
    fleet.kill(fleet.one('up'))
    // Redis keeps what the others told it; the next start on this folder takes its data over and stops it.
    await expect.poll(() => fleet.processes().map(({ role }) => role), WAIT).toEqual(['redis'])
  },
)

test('a fleet starts again after "up" was killed', { timeout: LIMIT_MS }, async () => {
  await using folder = await temporaryFolder()
  await using first = await ProcessFleet.start({ folder: folder.path })
  const id = await first.submit(tinyJob)
  first.kill(first.one('up'))
  await using second = await ProcessFleet.start({ folder: folder.path })
  expect(await second.untilEnded(id)).toMatchObject({ state: 'completed' })
  // What the killed workers kept is gone: only those of the present ones are there.
  expect(await readdir(join(folder.path, 'workers'))).toHaveLength(2)
})

test('a cancelled job ends within two seconds, and its kernels serve the next one', { timeout: LIMIT_MS }, async () => {
  await using fleet = await ProcessFleet.start()
  const id = await fleet.submit(smallJob)
  await fleet.untilRound(id, 1)
  await fleet.busyWorker()
  const kernels = fleet.processes().filter(({ role }) => role === 'kernel')
  const askedAt = Date.now()
  await (await fleet.api()).cancel(id)
  const job = await fleet.untilEnded(id)
  expect(job).toMatchObject({ state: 'cancelled' })
  expect((job.endedAt ?? Infinity) - askedAt).toBeLessThan(2_000)
  expect(await fleet.untilEnded(await fleet.submit(tinyJob))).toMatchObject({ state: 'completed' })
  expect(fleet.processes().filter(({ role }) => role === 'kernel')).toEqual(kernels)
})
