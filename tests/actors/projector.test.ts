import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { jobView, Projector } from '../../actors/mod.ts'
import type { JobView } from '../../machines/views.ts'
import { address, shardOf, systemClock } from '../../runtime/mod.ts'
import type { Stored } from '../../stores/mod.ts'
import { House, STRIPES } from './house.ts'
import type { RunningHouse } from './house.ts'

let house: House
let fleet: RunningHouse
beforeEach(async () => {
  house = await House.stores()
  fleet = await house.start()
})
afterEach(() => house.stop())

function projector(): Projector {
  return new Projector({
    client: fleet.client,
    directory: fleet.fleet.directory,
    collections: house.collections,
    clock: systemClock,
    trouble: (_, error) => house.troubles.push(error),
  })
}

/** The job's document, once it is in this state. */
function documentOf(id: string, state: JobView['state']): Promise<Stored<JobView>> {
  return vi.waitFor(async () => {
    const document = await house.collections.jobs.get(id)
    if (document?.value.state !== state) throw new Error(`${id} is ${document?.value.state ?? 'not there'}`)
    return document
  })
}

test('a job is found in the read model, as its snapshot tells it', async () => {
  await using running = projector()
  running.start()
  await fleet.submit('J', { ...STRIPES, dataset: { name: 'nope' } })
  await fleet.until('J', 'failed')
  const { value } = await documentOf('J', 'failed')
  expect(value).toEqual(JSON.parse(JSON.stringify(jobView(await fleet.snapshot(address('job', 'J'))))))
  expect(house.troubles).toEqual([])
})

test('what happened while no projector ran is caught up with', async () => {
  await fleet.submit('J', { ...STRIPES, dataset: { name: 'nope' } })
  await fleet.until('J', 'failed')
  await using running = projector()
  running.start()
  expect((await documentOf('J', 'failed')).value.error?.code).toBe('spec.not-admitted')
})

test('a projector goes on from where the last one stopped', async () => {
  const first = projector()
  first.start()
  await fleet.submit('J', STRIPES)
  await documentOf('J', 'queued')
  await first.stop()
  const shard = shardOf(address('job', 'J'), fleet.fleet.directory)
  expect(await house.collections.positions.get(`jobs:${shard}`)).toBeDefined()
  await fleet.client.ask(address('job', 'J'), { type: 'cancel' })
  await using second = projector()
  second.start()
  await fleet.until('J', 'cancelled')
  expect((await documentOf('J', 'cancelled')).value.endedAt).toBeGreaterThan(0)
})

test('two projectors leave one document, the newest', async () => {
  await using one = projector()
  await using two = projector()
  one.start()
  two.start()
  await fleet.submit('J', STRIPES)
  await fleet.until('J', 'queued')
  await fleet.client.ask(address('job', 'J'), { type: 'cancel' })
  const { value } = await documentOf('J', 'cancelled')
  expect(value.seq).toBe((await fleet.snapshot(address('job', 'J'))).seq)
})

test('an older view never replaces a newer one', async () => {
  await fleet.submit('J', STRIPES)
  await fleet.until('J', 'queued')
  const newer = { ...jobView(await fleet.snapshot(address('job', 'J'))), seq: 1_000 }
  await house.collections.jobs.put('J', newer)
  await projector().project(address('job', 'J'))
  expect((await house.collections.jobs.get('J'))?.value.seq).toBe(1_000)
})
