/**
 * Whatever dies or stands still while a batch job runs, its output is the one of an undisturbed run, bit for bit; and
 * it is cancelled at once, whatever a chunk is doing. Real processes, as in training.test.ts.
 */
import { beforeAll, describe, expect, test } from 'vitest'
import type { BatchView } from '../../machines/batch-spec.ts'
import { JOB_MS, ProcessFleet } from '../harness/processes.ts'

const LIMIT_MS = 2 * JOB_MS
const CHUNKS = 150

/** Every point takes all of its steps, so that a chunk takes a while and the job can be disturbed in the middle. */
const SPEC = {
  kind: 'kernel',
  name: 'orbits',
  output: [300, CHUNKS],
  chunkRows: 1,
  constants: { steps: 40_000 },
  source: `function () {
    const cx = 0.1 * (this.thread.x / this.output.x);
    const cy = 0.1 * (this.thread.y / this.output.y);
    let x = 0.0;
    let y = 0.0;
    for (let i = 0; i < this.constants.steps; i++) {
      const next = x * x - y * y + cx;
      y = 2 * x * y + cy;
      x = next;
    }
    return x + y;
  }`,
}

const resultOf = ({ state, output, progress, error }: BatchView): object => ({ state, output, progress, error })
const isEnded = ({ endedAt }: BatchView): boolean => endedAt !== undefined
const underWay = ({ progress: { chunks } }: BatchView): boolean => chunks >= 5 && chunks < CHUNKS / 2

let undisturbed: object

beforeAll(async () => {
  await using fleet = await ProcessFleet.start({ workers: 1 })
  undisturbed = resultOf(await fleet.untilBatch(await fleet.submitBatch(SPEC), isEnded))
}, LIMIT_MS)

describe('a batch job', () => {
  test('loses nothing to a worker and a control process that are killed', { timeout: LIMIT_MS }, async () => {
    await using fleet = await ProcessFleet.start()
    const id = await fleet.submitBatch(SPEC)
    await fleet.untilBatch(id, underWay)
    fleet.kill(await fleet.busyWorker())
    const { progress } = await fleet.untilBatch(id, underWay)
    fleet.kill(fleet.one('control'))
    await fleet.untilBatch(id, ({ progress: { chunks } }) => chunks > progress.chunks)
    const job = await fleet.untilBatch(id, isEnded)
    expect(job).toMatchObject({ state: 'completed', progress: { chunks: CHUNKS } })
    expect(resultOf(job)).toEqual(undisturbed)
    expect(Object.values(job.workers).reduce((sum, chunks) => sum + chunks, 0)).toBe(CHUNKS)
    expect(fleet.output).toMatch(/control \(pid \d+\) was killed by SIGKILL and is started again/)
  })

  test('does not wait for a worker that is frozen, nor counts what it brings late', { timeout: LIMIT_MS }, async () => {
    await using fleet = await ProcessFleet.start()
    const id = await fleet.submitBatch(SPEC)
    await fleet.untilBatch(id, underWay)
    const frozen = await fleet.busyWorker()
    fleet.freeze(frozen)
    await fleet.untilGone(frozen)
    fleet.thaw(frozen)
    const job = await fleet.untilBatch(id, isEnded)
    expect(resultOf(job)).toEqual(undisturbed)
    expect(Object.values(job.workers).reduce((sum, chunks) => sum + chunks, 0)).toBe(CHUNKS)
  })

  test('has a chunk that does not come on computed elsewhere', { timeout: LIMIT_MS }, async () => {
    await using fleet = await ProcessFleet.start()
    const id = await fleet.submitBatch(SPEC)
    await fleet.untilBatch(id, underWay)
    const kernel = fleet.kernelOf(await fleet.busyWorker())
    fleet.freeze(kernel) // its worker lives: nothing but the chunk's time tells
    const job = await fleet.untilBatch(id, isEnded)
    expect(resultOf(job)).toEqual(undisturbed)
    const tasks = await (await fleet.api()).actors({ kind: 'task', state: 'succeeded' })
    expect(tasks.map(({ actor }) => actor)).toContainEqual(expect.stringMatching(/-twin$/))
  })

  test(
    'is cancelled at once while its kernels stand still, and they serve others then',
    { timeout: LIMIT_MS },
    async () => {
      await using fleet = await ProcessFleet.start({ workers: 1 })
      const api = await fleet.api()
      const id = await fleet.submitBatch(SPEC)
      await fleet.untilBatch(id, underWay)
      const kernel = fleet.kernelOf(await fleet.busyWorker())
      fleet.freeze(kernel)
      const { changedAt: askedAt } = await api.steerBatch(id, 'cancel')
      const { state, endedAt = Infinity } = await fleet.untilBatch(id, isEnded)
      expect(state).toBe('cancelled')
      expect(endedAt - askedAt).toBeLessThan(2_000)
      const next = await fleet.untilBatch(await fleet.submitBatch(SPEC), isEnded)
      expect(resultOf(next)).toEqual(undisturbed)
      expect(fleet.processes().map(({ pid }) => pid)).not.toContain(kernel.pid)
    },
  )
})
