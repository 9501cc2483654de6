import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Problem } from '../../gateway/problems.ts'
import type { DatasetDetailView, DatasetView } from '../../machines/views.ts'
import { modelOf, startFleet, type Fleet } from './fleet.ts'
import { EventStream, type ReceivedEvent } from './event-stream.ts'

let fleet: Fleet
beforeEach(async () => {
  fleet = await startFleet()
})
afterEach(async () => {
  await fleet[Symbol.asyncDispose]()
})

const FLOWERS = `length,species\n${Array.from({ length: 40 }, (_, i) => `${i},${i % 2 === 0 ? 'rose' : 'tulip'}`).join('\n')}\n`

function form(
  name: string,
  files: Readonly<Record<string, string>>,
  options: object = { target: 'species' },
): FormData {
  const data = new FormData()
  data.set('name', name)
  data.set('options', JSON.stringify(options))
  for (const [file, text] of Object.entries(files)) data.append('file', new Blob([text]), file)
  return data
}

async function post(
  body: FormData | string,
  { as, headers = {} }: { as?: string; headers?: Record<string, string> } = {},
): Promise<Response> {
  const json = typeof body === 'string' ? { 'content-type': 'application/json' } : {}
  return fleet.request('/v1/datasets', { method: 'POST', body, headers: { ...json, ...headers }, ...(as && { as }) })
}

async function lastOf(response: Response): Promise<ReceivedEvent | undefined> {
  await using stream = new EventStream(response)
  let last: ReceivedEvent | undefined
  for (let event = await stream.next(); event !== undefined; event = await stream.next()) last = event
  return last
}

/** What uploads left in the data folder. */
const leftovers = (): Promise<string[]> => readdir(join(fleet.folder, 'uploads')).catch(() => [])

describe('a dataset', () => {
  test('is made of an uploaded form, and seen with its columns, splits, statistics and rows', async () => {
    const made = await post(form('flowers', { 'flowers.csv': FLOWERS }))
    expect(made.status).toBe(201)
    expect(await made.json()).toMatchObject({ name: 'flowers', version: 1, owner: 'ada', rows: 40, format: 'csv' })
    const detail = (await (await fleet.request('/v1/datasets/flowers/versions/latest')).json()) as DatasetDetailView
    expect(detail.columns.map(({ name }) => name)).toEqual(['length', 'species'])
    expect([detail.splits.train.count, detail.splits.validation?.count, detail.splits.test?.count]).toEqual([32, 4, 4])
    expect(detail.files).toMatchObject([{ name: 'flowers.csv', sizeBytes: FLOWERS.length }])
    const rows = await (await fleet.request('/v1/datasets/flowers/versions/1/rows?limit=2')).json()
    expect(rows).toMatchObject({ count: 32, rows: [{ species: expect.stringMatching(/rose|tulip/) as string }, {}] })
    const listed = (await (await fleet.request('/v1/datasets')).json()) as { items: DatasetView[] }
    expect(listed.items.map(({ name, version }) => `${name}@${version}`)).toEqual(['flowers@1'])
    expect(await leftovers()).toEqual([])
  })

  test('of the same content is the same version', async () => {
    expect((await post(form('flowers', { 'a.csv': FLOWERS }))).status).toBe(201)
    const again = await post(form('flowers', { 'b.csv': FLOWERS }))
    expect([again.status, ((await again.json()) as DatasetView).version]).toEqual([200, 1])
  })

  test('tells its progress and its end where a stream is asked for', async () => {
    const response = await post(form('flowers', { 'a.csv': FLOWERS }), { headers: { accept: 'text/event-stream' } })
    expect(await lastOf(response)).toMatchObject({ event: 'done', data: { isNew: true, dataset: { name: 'flowers' } } })
    const wrong = await post(form('flowers', { 'a.csv': 'x,y\n1\n' }, {}), { headers: { accept: 'text/event-stream' } })
    expect(await lastOf(wrong)).toMatchObject({
      event: 'problem',
      data: { code: 'data.malformed', detail: expect.stringContaining('a.csv, line 2') as string },
    })
  })

  test('is made of a file of the object store too', async () => {
    const { sha256 } = await fleet.blobs.put(new TextEncoder().encode(FLOWERS))
    const made = await post(JSON.stringify({ name: 'stored', files: [{ url: `blob:${sha256}`, name: 'x.csv' }] }))
    expect([made.status, await made.json()]).toMatchObject([201, { rows: 40 }])
  })

  test.each<[string, () => FormData | string, number, string]>([
    ['a column that is not there', () => form('f', { 'a.csv': FLOWERS }, { target: 'colour' }), 422, 'target: expected one of the columns length, species, found colour'],
    ['a field that fits no column', () => form('f', { 'a.csv': 'x,y\n1,2\n1,two\n' }, { types: { y: 'number' } }), 422, 'a.csv, line 3, column "y": expected a number, found "two"'],
    ['an unknown option', () => form('f', { 'a.csv': FLOWERS }, { tagret: 'x' }), 422, 'Unknown field options.tagret'],
    ['shares that leave too little', () => form('f', { 'a.csv': FLOWERS }, { split: { validation: 0.8, test: 0.5 } }), 422, 'options.split.test: expected at most 0.9 together with the share of validation, found 0.5'],
    ['a share that leaves too little', () => form('f', { 'a.csv': FLOWERS }, { split: { validation: 0.85 } }), 422, 'options.split.validation: expected at most 0.9 together with the share of test, found 0.85'],
    ['a name that is none', () => form('../f', { 'a.csv': FLOWERS }), 422, 'name: expected a name'],
    ['no file', () => form('f', {}), 422, 'files: expected at least one file, found none'],
    ['a file that the store lacks', () => JSON.stringify({ name: 'f', files: [{ url: `blob:${'0'.repeat(64)}`, name: 'a.csv' }] }), 404, 'Cannot find blob'],
    ['an address elsewhere', () => JSON.stringify({ name: 'f', files: [{ url: 'file:///etc/passwd', name: 'a.csv' }] }), 422, 'files[0].url: expected blob: and a SHA-256'],
  ])('with %s is refused, and nothing is left of it', async (_, body, status, message) => {
    const response = await post(body())
    const problem = (await response.json()) as Problem
    expect([response.status, problem.detail]).toEqual([status, expect.stringContaining(message)])
    expect((await (await fleet.request('/v1/datasets')).json()) as object).toEqual({ items: [] })
    expect(await leftovers()).toEqual([])
  }) // prettier-ignore

  test('whose upload breaks off leaves neither a version nor a file', async () => {
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(new TextEncoder().encode('--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\nx,y\n1,')) // prettier-ignore
      },
      pull(controller) {
        controller.error(new Error('the cable was pulled'))
      },
    })
    const init = {
      method: 'POST',
      body,
      duplex: 'half',
      headers: { 'content-type': 'multipart/form-data; boundary=b' },
    }
    const response = await fleet.request('/v1/datasets', init)
    expect(response.status).toBe(400)
    expect(await leftovers()).toEqual([])
  })

  test('whose upload breaks off in the middle of a file leaves nothing of that file', async () => {
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(new TextEncoder().encode(`--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n${'1,2\n'.repeat(100_000)}`)) // prettier-ignore
      },
      async pull(controller) {
        const written = async (): Promise<number> => {
          const [folder] = await leftovers()
          if (folder === undefined) return 0
          return (await stat(join(fleet.folder, 'uploads', folder, '0')).catch(() => ({ size: 0 }))).size
        }
        await vi.waitUntil(async () => (await written()) > 0)
        controller.error(new Error('the cable was pulled'))
      },
    })
    const headers = { 'content-type': 'multipart/form-data; boundary=b' }
    const init = { method: 'POST', body, duplex: 'half', headers }
    const response = await fleet.request('/v1/datasets', init)
    expect(response.status).toBe(400)
    expect(await leftovers()).toEqual([])
  })

  test('belongs to who made its first version', async () => {
    await post(form('flowers', { 'a.csv': FLOWERS }))
    const bob = await fleet.token('user', 'bob')
    expect((await post(form('flowers', { 'a.csv': 'x\n1\n2\n' }, {}), { as: bob })).status).toBe(403)
    const remove = (as: string): Promise<Response> =>
      fleet.request('/v1/datasets/flowers/versions/1', { method: 'DELETE', as })
    expect((await remove(bob)).status).toBe(403)
    expect((await remove(await fleet.token('viewer'))).status).toBe(403)
    expect((await remove(await fleet.token('admin', 'root'))).status).toBe(204)
    expect((await fleet.request('/v1/datasets/flowers/versions/1')).status).toBe(404)
  })

  test('that a model rests on is not removed', async () => {
    await post(form('flowers', { 'a.csv': FLOWERS }))
    await fleet.models.put('m@1', modelOf('m', 1, { dataset: { name: 'flowers', version: 1 } }))
    const refused = await fleet.request('/v1/datasets/flowers/versions/1', { method: 'DELETE' })
    expect([refused.status, ((await refused.json()) as Problem).detail]).toEqual([409, expect.stringContaining('model m@1 rests on it')]) // prettier-ignore
  })
})
