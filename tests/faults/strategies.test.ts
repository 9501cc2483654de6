/**
 * The weights at the end are a matter of spec, seed and data: not of how many workers there were, which of them died, or
 * whether everything was stopped and started again. Real processes, for both strategies, dropout and normalisation
 * included; every run is compared, bit for bit, with one that nothing disturbed.
 */
import { describe, expect, test } from 'vitest'
import { DISTURBED_ROUND, resultOf, strategyJobs } from '../harness/jobs.ts'
import { JOB_MS, ProcessFleet, temporaryFolder } from '../harness/processes.ts'

const LIMIT_MS = 3 * JOB_MS

describe.each(Object.entries(strategyJobs))('by %s', (_, spec) => {
  /** One worker, undisturbed; trained once. */
  let undisturbed: Promise<object> | undefined
  const expected = (): Promise<object> =>
    (undisturbed ??= (async () => {
      await using fleet = await ProcessFleet.start({ workers: 1 })
      return resultOf(await fleet.untilEnded(await fleet.submit(spec)))
    })())

  test.each([2, 4])('%i workers come to the weights of one', { timeout: LIMIT_MS }, async (workers) => {
    await using fleet = await ProcessFleet.start({ workers })
    const job = await fleet.untilEnded(await fleet.submit(spec))
    expect(job).toMatchObject({ state: 'completed', weights: expect.any(String) })
    expect(resultOf(job)).toEqual(await expected())
  })

  test('workers killed again and again cost nothing but time', { timeout: LIMIT_MS }, async () => {
    await using fleet = await ProcessFleet.start()
    const id = await fleet.submit(spec)
    let kills = 0
    for (const round of [2, 4, 6]) {
      await fleet.untilRound(id, round)
      fleet.kill(await fleet.busyWorker())
      kills += 1
    }
    const job = await fleet.untilEnded(id)
    expect(kills).toBe(3)
    expect(resultOf(job)).toEqual(await expected())
  })

  test(
    'a job that is paused in the middle of a round, and resumed, goes on as it would have',
    { timeout: LIMIT_MS },
    async () => {
      await using fleet = await ProcessFleet.start()
      const id = await fleet.submit(spec)
      await fleet.untilRound(id, DISTURBED_ROUND)
      const api = await fleet.api()
      await api.pause(id, { now: true })
      await fleet.waitUntil(id, ({ state }) => state === 'paused')
      await api.resume(id)
      expect(resultOf(await fleet.untilEnded(id))).toEqual(await expected())
    },
  )

  test('all processes ended and started again go on where they were', { timeout: LIMIT_MS }, async () => {
    await using folder = await temporaryFolder()
    await using first = await ProcessFleet.start({ folder: folder.path })
    const id = await first.submit(spec)
    await first.untilRound(id, DISTURBED_ROUND)
    await first.interrupt()
    await using second = await ProcessFleet.start({ folder: folder.path })
    expect(resultOf(await second.untilEnded(id))).toEqual(await expected())
  })
})
