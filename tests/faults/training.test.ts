/**
 * Whatever dies on the way, a job ends with the model that it would have had undisturbed, bit for bit. Real processes,
 * a real Redis, real deaths; every result here is compared with one run that nothing disturbed.
 */
import { beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { TestRedis } from '../harness/redis.ts'
import { JOB_MS, ProcessFleet, temporaryFolder, tensorfleet, WAIT } from '../harness/processes.ts'
import { resultOf, ROUNDS, smallJob } from '../harness/jobs.ts'

const LIMIT_MS = 2 * JOB_MS

/** The run that nothing disturbed, with one worker. */
let undisturbed: object

beforeAll(async () => {
  await using fleet = await ProcessFleet.start({ workers: 1 })
  undisturbed = resultOf(await fleet.untilEnded(await fleet.submit(smallJob)))
}, LIMIT_MS)

test('a job has the same weights with one worker and with three', { timeout: LIMIT_MS }, async () => {
  await using fleet = await ProcessFleet.start({ workers: 3 })
  const job = await fleet.untilEnded(await fleet.submit(smallJob))
  expect(job).toMatchObject({ state: 'completed', progress: { round: ROUNDS }, weights: expect.any(String) })
  expect(Object.keys(job.workers).length).toBeGreaterThan(1)
  expect(resultOf(job)).toEqual(undisturbed)
})

test('a worker killed in the middle of a round costs nothing but time', { timeout: LIMIT_MS }, async () => {
  await using fleet = await ProcessFleet.start()
  const id = await fleet.submit(smallJob)
  await fleet.untilRound(id, 3)
  fleet.kill(await fleet.busyWorker())
  const job = await fleet.untilEnded(id)
  expect(resultOf(job)).toEqual(undisturbed)
  expect(fleet.output).toMatch(/worker-\d \(pid \d+\) was killed by SIGKILL and is started again/)
})

test(
  'a worker frozen past its lease comes back as another, and nothing counts twice',
  { timeout: LIMIT_MS },
  async () => {
    await using fleet = await ProcessFleet.start()
    const id = await fleet.submit(smallJob)
    await fleet.untilRound(id, 3)
    const frozen = await fleet.busyWorker()
    fleet.freeze(frozen)
    await fleet.untilGone(frozen)
    fleet.thaw(frozen)
    await fleet.untilWorker(({ id, pid, state }) => pid === frozen.pid && id !== frozen.id && state !== 'gone')
    const job = await fleet.untilEnded(id)
    expect(resultOf(job)).toEqual(undisturbed)
    const roundsCounted = Object.values(job.workers).reduce((sum, rounds) => sum + rounds, 0)
    expect(roundsCounted).toBe(ROUNDS * smallJob.train.replicas)
    expect(await (await fleet.api()).models()).toHaveLength(1)
  },
)

test(
  'a control process killed in the middle goes on where it was, and so does who watches',
  { timeout: LIMIT_MS },
  async () => {
    await using fleet = await ProcessFleet.start()
    const id = await fleet.submit(smallJob)
    const { url } = await fleet.api()
    const watched = await tensorfleet(['watch', id, '--data', fleet.folder], {
      when: { says: /round 3/, act: () => fleet.kill(fleet.one('control')) },
    })
    expect(watched).toMatchObject({ code: 0, stdout: expect.stringContaining('small completed') })
    const job = await fleet.untilEnded(id)
    expect((await fleet.api()).url).toBe(url)
    expect(resultOf(job)).toEqual(undisturbed)
  },
)

test.each(['SIGKILL', 'SIGTERM'] as const)(
  'Redis ended by %s and back after ten seconds is a pause',
  { timeout: LIMIT_MS },
  async (signal) => {
    const redis = await TestRedis.start()
    onTestFinished(() => redis.stop())
    await using fleet = await ProcessFleet.start({ env: { REDIS_URL: redis.url } })
    const id = await fleet.submit(smallJob)
    await fleet.untilRound(id, 3)
    await redis.kill(signal)
    // The promise is about ten seconds: longer than a lease, a reconnection's patience and a command's time limit.
    const backAt = Date.now() + 10_000
    await vi.waitUntil(() => Date.now() >= backAt, { timeout: 20_000 })
    await redis.start()
    const job = await fleet.untilEnded(id)
    expect(resultOf(job)).toEqual(undisturbed)
  },
)

test('a job that Ctrl-C interrupted goes on at the next start', { timeout: LIMIT_MS }, async () => {
  await using folder = await temporaryFolder()
  await using first = await ProcessFleet.start({ folder: folder.path })
  const id = await first.submit(smallJob)
  await first.untilRound(id, 3)
  await first.interrupt()
  await using second = await ProcessFleet.start({ folder: folder.path })
  await expect.poll(() => second.output, WAIT).toContain('Found 1 job (1 going on)')
  expect(resultOf(await second.untilEnded(id))).toEqual(undisturbed)
})
