import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Problem } from '../../gateway/problems.ts'
import type { Rows } from '../../gateway/services.ts'
import type { ModelVersionView } from '../../machines/views.ts'
import { modelOf, startFleet, type Fleet } from './fleet.ts'

let fleet: Fleet
let seen: Rows | undefined

beforeEach(async () => {
  fleet = await startFleet({
    services: {
      predict: async ({ target }, rows) => {
        seen = rows
        const count = rows.values.length / 6
        const values = Float32Array.from({ length: count * 2 }, (_, i) => [0.75, 0.25, 0.125, 0.875][i % 4] ?? 0)
        const names = target.kind === 'class' ? { classes: ['cat', 'dog'].slice(0, count) } : {}
        return { rows: count, shape: [2], values, ...names }
      },
    },
  })
  for (const version of [1, 2, 10]) await fleet.models.put(`mnist@${version}`, modelOf('mnist', version))
  await fleet.models.put('iris@1', modelOf('iris', 1, { target: { kind: 'value', shape: [2] } }))
})

afterEach(() => fleet[Symbol.asyncDispose]())

function predict(inputs: unknown, model = 'mnist'): Promise<Response> {
  return fleet.request(`/v1/models/${model}/versions/latest/predict`, {
    method: 'POST',
    body: JSON.stringify({ inputs }),
    headers: { 'content-type': 'application/json' },
  })
}

test('versions are listed newest first, by number and not by letter', async () => {
  const { items } = (await (await fleet.request('/v1/models/mnist')).json()) as { items: ModelVersionView[] }

  expect(items.map(({ version }) => version)).toEqual([10, 2, 1])
})

test('latest is the newest version', async () => {
  const response = await fleet.request('/v1/models/mnist/versions/latest')

  expect(await response.json()).toMatchObject({ name: 'mnist', version: 10 })
})

test('what is not there is unknown', async () => {
  for (const path of ['/v1/models/no', '/v1/models/mnist/versions/3', '/v1/models/mnist/versions/0x1']) {
    expect((await fleet.request(path)).status).toBe(404)
  }
})

test('weights and topology are downloaded under a good name, with their hash as ETag', async () => {
  const weights = await fleet.blobs.put(new TextEncoder().encode('weights'))
  const topology = await fleet.blobs.put(new TextEncoder().encode('{}'))
  await fleet.models.put('mnist@11', modelOf('mnist', 11, { weights, topology }))
  const path = '/v1/models/mnist/versions/11/download'

  const first = await fleet.request(path)
  const again = await fleet.request(path, { headers: { 'if-none-match': `"${weights.sha256}"` } })
  const json = await fleet.request(`${path}?file=topology`)

  expect(await first.text()).toBe('weights')
  expect(first.headers.get('etag')).toBe(`"${weights.sha256}"`)
  expect(first.headers.get('content-disposition')).toBe('attachment; filename="mnist-v11.safetensors"')
  expect(again.status).toBe(304)
  expect(await json.json()).toEqual({})
  expect(json.headers.get('content-type')).toBe('application/json')
  expect(json.headers.get('content-disposition')).toContain('mnist-v11.json')
})

test.each(['tfjs', 'keras'])('a model is had as %s, a file at a time', async (format) => {
  const path = `/v1/models/mnist/versions/latest/${format}`

  expect(await (await fleet.request(`${path}/model.json`)).json()).toEqual({ format })
  expect((await (await fleet.request(`${path}/weights.bin`)).bytes()).byteLength).toBe(4)
  expect((await fleet.request(`${path}/model.py`)).status).toBe(404)
})

test('a model whose weights are lost says so, and names no path', async () => {
  const response = await fleet.request('/v1/models/mnist/versions/1/download')

  expect(response.status).toBe(404)
  expect(((await response.json()) as Problem).code).toBe('blob.missing')
})

test('predictions come with the classes by their names', async () => {
  const response = await predict([
    [
      [1, 2, 3],
      [4, 5, 6],
    ],
    [7, 8, 9, 10, 11, 12],
  ])

  expect(await response.json()).toEqual({
    model: { name: 'mnist', version: 10 },
    outputs: [
      [0.75, 0.25],
      [0.125, 0.875],
    ],
    classes: ['cat', 'dog'],
  })
  expect([...(seen?.values ?? [])]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
})

test('a model of values has no classes', async () => {
  expect(await (await predict([[0, 0, 0, 0, 0, 0]], 'iris')).json()).not.toHaveProperty('classes')
})

test('inputs of another shape are refused, each with its place', async () => {
  const response = await predict([
    [[1, 2, 3]],
    [
      [1, 2, 3],
      [4, 5],
    ],
    [
      [1, 2, 3],
      [4, 'x', 6],
    ],
    7,
  ])

  expect(response.status).toBe(422)
  const { errors } = (await response.json()) as Problem
  expect(errors?.map(({ message }) => message)).toEqual([
    'inputs[0]: expected 2 lists, as the shape [2, 3] says, found [[1,2,3]]',
    'inputs[1][1]: expected 3 numbers, found [4,5]',
    'inputs[2][1][1]: expected a number, found x',
    'inputs[3]: expected 2 lists, as the shape [2, 3] says, found 7',
  ])
})

test('a viewer may look at models and not run them', async () => {
  const as = await fleet.token('viewer')
  const init = { as, method: 'POST', body: '{"inputs":[[0]]}', headers: { 'content-type': 'application/json' } }

  expect((await fleet.request('/v1/models', { as })).status).toBe(200)
  expect((await fleet.request('/v1/models/mnist/versions/1/predict', init)).status).toBe(403)
})
