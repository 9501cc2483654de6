/** Predictions by a real kernel process: together under load, and the same as alone. */
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Predictor } from '../../cli/predictor.ts'
import type { Predictions } from '../../gateway/services.ts'
import { initialise } from '../../kernels/mod.ts'
import type { ModelVersionView } from '../../machines/views.ts'
import { openFileSystemBlobs } from '../../stores/mod.ts'
import type { Blobs } from '../../stores/mod.ts'
import { modelOf } from '../gateway/fleet.ts'
import { temporaryFolder } from '../harness/processes.ts'
import type { TemporaryFolder } from '../harness/processes.ts'
import { IMAGES, PIPELINE, seededValues, smallCnn } from '../kernels/models.ts'

let folder: TemporaryFolder
let blobs: Blobs
let predictor: Predictor
let runs: number[]

beforeEach(async () => {
  folder = await temporaryFolder()
  blobs = await openFileSystemBlobs(join(folder.path, 'blobs'))
  runs = []
  predictor = new Predictor({
    blobs,
    cacheDir: join(folder.path, 'cache'),
    scratchDir: join(folder.path, 'scratch'),
    observeRun: (requests) => runs.push(requests),
  })
})

afterEach(async () => {
  await predictor.stop()
  await folder[Symbol.asyncDispose]()
})

async function registered(version: number): Promise<ModelVersionView> {
  const store = (value: unknown) => blobs.put(new TextEncoder().encode(JSON.stringify(value)))
  const weights = await blobs.put(initialise(smallCnn, version, IMAGES))
  return modelOf('m', version, { weights, topology: await store(smallCnn), pipeline: await store(PIPELINE) })
}

const rowsOf = (count: number, seed: number): { values: Float32Array<ArrayBuffer> } => ({
  values: Float32Array.from(seededValues(count * 64, seed, 0, 255)),
})
const never = new AbortController().signal

test('requests that come while a run is under way go into the next one together, each with its own answer', async () => {
  const models = [await registered(1), await registered(2)] as const
  const asked = Array.from({ length: 12 }, (_, i) => ({ model: models[i % 2 === 0 ? 0 : 1], rows: rowsOf(1 + i, i) }))
  const alone: Predictions[] = []
  for (const { model, rows } of asked) alone.push(await predictor.predict(model, rows, never))
  runs.length = 0

  const together = await Promise.all(asked.map(({ model, rows }) => predictor.predict(model, rows, never)))

  expect(together).toEqual(alone)
  expect(runs.length).toBeLessThan(asked.length / 2)
  expect(runs.reduce((sum, requests) => sum + requests, 0)).toBe(asked.length)
})

test('a model that was used before another gives what it gave', async () => {
  const [first, second] = [await registered(1), await registered(2)]
  const said = await predictor.predict(first, rowsOf(2, 7), never)
  expect(await predictor.predict(second, rowsOf(2, 7), never)).not.toEqual(said)
  expect(await predictor.predict(first, rowsOf(2, 7), never)).toEqual(said)
})

test('who gives up hears so at once, and holds up nobody', async () => {
  const model = await registered(1)
  const gone = new AbortController()
  const first = predictor.predict(model, rowsOf(1, 1), never)
  const given = predictor.predict(model, rowsOf(1, 2), gone.signal)
  const last = predictor.predict(model, rowsOf(1, 3), never)
  gone.abort(new Error('enough'))

  await expect(given).rejects.toThrow('enough')
  expect((await first).rows + (await last).rows).toBe(2)
  expect(runs).toEqual([1, 1])
})

test('a model whose files are lost is refused, and the next request is served', async () => {
  const lost = { ...(await registered(2)), weights: { sha256: 'f'.repeat(64), sizeBytes: 1 } }
  await expect(predictor.predict(lost, rowsOf(1, 1), never)).rejects.toMatchObject({ code: 'blob.missing' })
  expect((await predictor.predict(await registered(1), rowsOf(1, 1), never)).rows).toBe(1)
})
