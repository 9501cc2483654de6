/** Blobs to which nothing refers are removed, beside jobs that go on as if nothing had been. */
import { readdir, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { jobView, sweepBlobs } from '../../actors/mod.ts'
import type { BlobSweepReport } from '../../actors/mod.ts'
import type { SweepView } from '../../machines/sweep-spec.ts'
import type { JobView } from '../../machines/views.ts'
import { predictSpecSchema } from '../../gateway/schemas/batch-spec.ts'
import { address, systemClock } from '../../runtime/mod.ts'
import { House, STRIPES } from './house.ts'
import type { RunningHouse } from './house.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

let house: House
let running: RunningHouse
beforeAll(async () => {
  house = await House.stores()
  running = await house.start()
  await house.worker(running, 1)
  await house.worker(running, 1)
})
afterAll(() => house.stop())

const NO_JOBS = { removed: 0, trimmed: 0, ids: [] }

const SPEC = { ...STRIPES, train: { ...STRIPES.train, checkpoints: { everyRounds: 1, keepLast: 1 } } }

function sweep(more: { readonly isDryRun?: boolean; readonly jobsAgeMs?: number } = {}): Promise<BlobSweepReport> {
  const { blobs, collections } = house
  const services = { blobs, collections, client: running.client, clock: systemClock }
  return sweepBlobs(services, { minAgeMs: HOUR_MS, ...more })
}

/** Makes all blobs that are there now as old as if they had been stored yesterday. */
async function age(): Promise<void> {
  const yesterday = new Date(Date.now() - DAY_MS)
  const root = join(house.folder, 'blobs')
  for (const name of await readdir(root, { recursive: true })) {
    if (/[0-9a-f]{64}$/.test(name)) await utimes(join(root, name), yesterday, yesterday)
  }
}

/** A sweep's document, of which only what the sweep of blobs looks at is there. */
const sweepOf = (id: string, more: Partial<SweepView>): SweepView =>
  ({ id, kind: 'sweep', createdAt: 0, ...more }) as SweepView // see above

const put = async (text: string): Promise<string> => (await house.blobs.put(new TextEncoder().encode(text))).sha256

describe('a sweep', () => {
  test('removes what nothing refers to, and leaves data, models, results and what they are made of', async () => {
    await running.train('first', SPEC)
    await running.batch('predict-first', predictSpecSchema.parse({ kind: 'predict', model: 'stripes', dataset: { name: 'stripes' } })) // prettier-ignore
    const lost = await put('lost')
    await age()
    expect(await sweep({ isDryRun: true })).toMatchObject({ removed: expect.toSatisfy((count: number) => count > 5) })
    expect(await house.blobs.has(lost)).toBe(true)
    const report = await sweep()
    expect(report).toMatchObject({ young: 0, removed: expect.toSatisfy((count: number) => count > 5) })
    expect(await house.blobs.has(lost)).toBe(false)
    expect(await sweep()).toEqual({ removed: 0, removedBytes: 0, kept: report.kept, young: 0, jobs: NO_JOBS })
    // All that there was can still be used: data, the model, its report, an output.
    expect(jobView(await running.train('second', SPEC)).state).toBe('completed')
    const model = await house.registry.find('stripes', '1')
    for (const blob of [model?.weights, model?.topology, model?.pipeline, model?.evaluation?.report]) {
      expect(await house.blobs.has(blob?.sha256 ?? '')).toBe(true)
    }
    const { data, manifest } = await house.datasets.resolve({ name: 'stripes' })
    const shards = Object.values(data.splits).flatMap((split) => split.shards)
    for (const sha256 of [manifest, ...shards.map((shard) => shard.sha256)]) expect(await house.blobs.has(sha256)).toBe(true) // prettier-ignore
  })

  test('leaves what is young, and what was stored again', async () => {
    const young = await put('a moment ago')
    const again = await put('again')
    await age()
    await put('again')
    await put('a moment ago, too')
    expect(await sweep()).toMatchObject({ young: 2 })
    expect([await house.blobs.has(young), await house.blobs.has(again)]).toEqual([false, true])
  })

  test('leaves a paused job what it goes on from, to the same weights', async () => {
    await running.submit('paused', SPEC)
    await running.until('paused', 'reducing')
    const pause = { type: 'pause', isUrgent: true }
    await running.client.ask(address('job', 'paused'), pause)
    await running.until('paused', 'paused')
    await age()
    await sweep()
    await running.client.ask(address('job', 'paused'), { type: 'resume' })
    await running.until('paused', 'completed', 'failed')
    const { state, weights } = jobView(await running.snapshot(address('job', 'paused')))
    expect([state, weights]).toEqual(['completed', jobView(await running.snapshot(address('job', 'first'))).weights])
  })

  test('goes on beside a job that trains, which ends as it would have', async () => {
    await running.submit('beside', SPEC)
    const job = { isOver: false }
    const ended = running.until('beside', 'completed', 'failed').then(() => (job.isOver = true))
    let sweeps = 0
    for (; !job.isOver; sweeps++) await sweep()
    await ended
    expect(sweeps).toBeGreaterThan(0)
    const { state, weights } = jobView(await running.snapshot(address('job', 'beside')))
    expect([state, weights]).toEqual(['completed', jobView(await running.snapshot(address('job', 'first'))).weights])
  })

  test('takes the rows of a version that was removed, unless another version has them', async () => {
    const rows = Array.from({ length: 40 }, (_, i) => i).join('\n')
    const split = { seed: 1, validation: 0, test: 0.2 }
    await house.table('swept', `x\n${rows}\n`, { split })
    await house.table('sharing', `x\n${rows}\n`, { split }) // another name for the same rows
    const { splits } = (await house.datasets.resolve({ name: 'swept' })).data
    const shards = Object.values(splits).flatMap((part) => part.shards)
    const there = (): Promise<boolean[]> => Promise.all(shards.map(({ sha256 }) => house.blobs.has(sha256)))
    await age()
    await house.datasets.remove('swept', 1)
    await sweep()
    expect(await there()).toEqual([true, true])
    await house.datasets.remove('sharing', 1)
    await sweep()
    expect(await there()).toEqual([false, false])
  })

  test('takes jobs that ended long ago where it is asked to, but nothing on which a model, a sweep or a running job rests', async () => {
    const { jobs, models, sweeps } = house.collections
    const first = jobView(await running.snapshot(address('job', 'first')))
    const model = (await models.get('stripes@1'))?.value
    if (model === undefined) throw new Error('there is a model')
    const weights = new Map<string, string[]>()
    const remember = async (id: string, more: Partial<JobView> = {}): Promise<void> => {
      const stored = await Promise.all(
        [1, 2, 3].map((round) => house.blobs.put(new TextEncoder().encode(`${id} ${round}`))),
      )
      weights.set(id, stored.map(({ sha256 }) => sha256)) // prettier-ignore
      const checkpoints = stored.map((blob, i) => ({ round: i + 1, step: i + 1, weights: blob }))
      const { weights: _newest, sweep: _none, ...rest } = first
      await jobs.insert(id, { ...rest, id, endedAt: Date.now() - 40 * DAY_MS, checkpoints, ...more })
    }
    await remember('old')
    await remember('recent', { endedAt: Date.now() - 20 * DAY_MS })
    await remember('registered')
    await models.insert('other@1', { ...model, name: 'other', job: 'registered' })
    await sweeps.insert('ended', sweepOf('ended', { best: { trial: 0, job: 'winner' }, endedAt: Date.now() - 39 * DAY_MS })) // prettier-ignore
    await remember('winner', { sweep: { id: 'ended', trial: 0 } })
    await remember('loser', { sweep: { id: 'ended', trial: 1 } })
    await sweeps.insert('under-way', sweepOf('under-way', {}))
    await remember('trial', { sweep: { id: 'under-way', trial: 0 } })
    await remember('first') // whose record the runtime still has: a projector may write its document anew
    await age()
    const left = async (): Promise<Record<string, string>> => {
      const there = [...weights].map(async ([id, blobs]) => {
        const stays = await Promise.all(blobs.map((sha256) => house.blobs.has(sha256)))
        return [id, `${(await jobs.get(id))?.value.checkpoints.length ?? 'gone'}: ${stays.map(Number).join('')}`]
      })
      return Object.fromEntries(await Promise.all(there)) as Record<string, string>
    }
    const before = await left()
    const dry = await sweep({ jobsAgeMs: 30 * DAY_MS, isDryRun: true })
    expect(dry.jobs).toEqual({ removed: 2, trimmed: 2, ids: expect.arrayContaining(['old', 'loser']) as string[] })
    expect(await left()).toEqual(before)
    expect(await sweep({ jobsAgeMs: 30 * DAY_MS })).toEqual(dry)
    expect(await left()).toEqual({
      old: 'gone: 000',
      loser: 'gone: 000',
      recent: '3: 111',
      registered: '1: 001',
      winner: '1: 001',
      trial: '3: 111',
      first: '3: 111',
    })
  })

  test('removes nothing where a list of what is referred to cannot be read', async () => {
    const lost = await put('lost again')
    await age()
    const blobs = { ...house.blobs, list: () => house.blobs.list(), has: async () => true, delete: house.blobs.delete.bind(house.blobs), get: async () => Promise.reject(new Error('unreadable')) } // prettier-ignore
    const services = { blobs, collections: house.collections, client: running.client, clock: systemClock }
    await expect(sweepBlobs(services, { minAgeMs: HOUR_MS })).rejects.toThrow('unreadable')
    expect(await house.blobs.has(lost)).toBe(true)
  })
})
