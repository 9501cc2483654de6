/** Files to take home: of a model, of a checkpoint, of a batch job. All by one way. */
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { BatchView } from '../../machines/batch-spec.ts'
import { modelOf, startFleet, type Fleet } from './fleet.ts'

let fleet: Fleet
let paths: readonly string[]

beforeAll(async () => {
  fleet = await startFleet()
  const blob = await fleet.blobs.put(new TextEncoder().encode('{}'))
  await fleet.models.put('mnist@1', modelOf('mnist', 1, { weights: blob, topology: blob }))
  const { id } = await fleet.submit()
  await fleet.request(`/v1/jobs/${id}/cancel`, { method: 'POST' })
  await fleet.reached(id, 'cancelled')
  await fleet.project(id)
  const job = await fleet.jobs.get(id)
  await fleet.jobs.put('done', { ...job!.value, id: 'done', checkpoints: [{ round: 3, step: 9, weights: blob }] })
  const batch = { id: 'predict-1', kind: 'predict', name: 'p', state: 'completed', owner: 'ada', output: { ...blob, format: 'csv' } } // prettier-ignore
  await fleet.batches.put('predict-1', batch as unknown as BatchView) // as much of it as a download looks at
  paths = [
    '/v1/models/mnist/versions/1/download',
    '/v1/models/mnist/versions/1/download?file=topology',
    '/v1/jobs/done/checkpoints/3/download',
    '/v1/batches/predict-1/output',
  ]
})
afterAll(() => fleet[Symbol.asyncDispose]())

test('a file has its hash as ETag, its size, and a good name', async () => {
  for (const path of paths) {
    const response = await fleet.request(path)
    expect([path, response.status, await response.text()]).toEqual([path, 200, '{}'])
    expect(response.headers.get('content-length')).toBe('2')
    expect(response.headers.get('content-disposition')).toMatch(
      /^attachment; filename="[\w.-]+\.(safetensors|json|csv)"$/,
    )
  }
})

test('who only asks for the head, or has the file already, opens none', async () => {
  const opened = vi.spyOn(fleet.blobs, 'get')
  for (const path of paths) {
    const head = await fleet.request(path, { method: 'HEAD' })
    const etag = head.headers.get('etag') ?? ''
    const again = await fleet.request(path, { headers: { 'if-none-match': etag } })
    expect([path, head.status, head.headers.get('content-length'), again.status]).toEqual([path, 200, '2', 304])
  }
  expect(opened).not.toHaveBeenCalled()
})
