import { afterEach, beforeEach, expect, test } from 'vitest'
import { modelCard } from '../../gateway/model-card.ts'
import { compareModels } from '../../gateway/model-comparison.ts'
import type { Problem } from '../../gateway/problems.ts'
import type { ModelAliasView, ModelVersionView } from '../../machines/views.ts'
import { modelOf, SPEC, startFleet, type Fleet } from './fleet.ts'

let fleet: Fleet

beforeEach(async () => {
  fleet = await startFleet()
  for (const version of [1, 2, 3]) await fleet.models.put(`mnist@${version}`, modelOf('mnist', version))
})

afterEach(() => fleet[Symbol.asyncDispose]())

const put = (path: string, body: unknown, as?: string): Promise<Response> =>
  fleet.request(path, {
    method: 'PUT',
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json' },
    ...(as !== undefined && { as }),
  })

test('a version moves from stage to stage, and its history says who moved it and why', async () => {
  await put('/v1/models/mnist/versions/2/stage', { stage: 'staging' })
  await put('/v1/models/mnist/versions/2/stage', { stage: 'production', note: 'beats 1 by a point' })

  const model = (await (await fleet.request('/v1/models/mnist/versions/2')).json()) as ModelVersionView
  expect(model.stage).toBe('production')
  expect(model.stages).toMatchObject([
    { stage: 'staging', by: 'ada' },
    { stage: 'production', by: 'ada', note: 'beats 1 by a point' },
  ])
})

test('a version that is in a stage already stays as it is', async () => {
  for (const _ of [1, 2]) await put('/v1/models/mnist/versions/1/stage', { stage: 'staging' })

  expect((await fleet.models.get('mnist@1'))?.value.stages).toHaveLength(1)
})

test('stages that are set at the same moment are all in the history', async () => {
  const stages = ['staging', 'production', 'archived', 'none', 'staging', 'production']
  await Promise.all(stages.map((stage) => put('/v1/models/mnist/versions/1/stage', { stage })))

  const history = (await fleet.models.get('mnist@1'))?.value.stages ?? []
  for (const [i, { stage }] of history.entries()) expect(stage).not.toBe(history[i - 1]?.stage)
  expect((await fleet.models.get('mnist@1'))?.value.stage).toBe(history.at(-1)?.stage)
})

test('an alias can be used wherever a version is meant, moves, and remembers where it was', async () => {
  await put('/v1/models/mnist/aliases/champion', { version: 1 })
  await put('/v1/models/mnist/aliases/champion', { version: 3 })

  expect(await (await fleet.request('/v1/models/mnist/versions/champion')).json()).toMatchObject({ version: 3 })
  const page = await (await fleet.request('/v1/models/mnist/aliases')).json()
  expect((page as { items: ModelAliasView[] }).items).toMatchObject([
    { alias: 'champion', version: 3, history: [{ version: 1 }, { version: 3 }] },
  ])
})

test('an alias that was removed points nowhere', async () => {
  await put('/v1/models/mnist/aliases/champion', { version: 1 })
  await fleet.request('/v1/models/mnist/aliases/champion', { method: 'DELETE' })

  expect((await fleet.request('/v1/models/mnist/versions/champion')).status).toBe(404)
  expect((await fleet.request('/v1/models/mnist/aliases/champion', { method: 'DELETE' })).status).toBe(404)
})

test('what would be taken for a version is no alias', async () => {
  for (const alias of ['latest', '7', 'Champion', '-x', 'a'.repeat(41)]) {
    const response = await put(`/v1/models/mnist/aliases/${alias}`, { version: 1 })
    expect(response.status).toBe(422)
    expect(((await response.json()) as Problem).errors?.[0]?.path).toBe('alias')
  }
})

test('an alias of a version that is not there, or a stage that is none, is refused and changes nothing', async () => {
  expect((await put('/v1/models/mnist/aliases/champion', { version: 9 })).status).toBe(404)
  const response = await put('/v1/models/mnist/versions/1/stage', { stage: 'live' })
  expect(response.status).toBe(422)
  expect(((await response.json()) as Problem).errors?.[0]?.path).toBe('stage')
  expect((await fleet.models.get('mnist@1'))?.value.stage).toBe('none')
})

test("only a model's owner and admins change how it is used", async () => {
  const [other, admin] = [await fleet.token('user', 'bob'), await fleet.token('admin', 'root')]
  await put('/v1/models/mnist/aliases/champion', { version: 1 })

  expect((await put('/v1/models/mnist/versions/1/stage', { stage: 'production' }, other)).status).toBe(403)
  expect((await put('/v1/models/mnist/aliases/champion', { version: 2 }, other)).status).toBe(403)
  expect((await fleet.request('/v1/models/mnist/aliases/champion', { method: 'DELETE', as: other })).status).toBe(403)
  expect((await put('/v1/models/mnist/versions/1/stage', { stage: 'production' }, admin)).status).toBe(200)
})

test('two versions are compared by how they were made and by what they reached', async () => {
  const spec = (epochs: number): ModelVersionView['spec'] =>
    ({ ...SPEC, train: { ...SPEC.train, epochs } }) as unknown as ModelVersionView['spec'] // the parts that are compared
  const left = modelOf('m', 1, {
    spec: spec(2),
    evaluation: { loss: 0.5, accuracy: 0.75, examples: 8, report: { sha256: 'r'.repeat(64), sizeBytes: 1 } },
    validation: { loss: 0.75, examples: 4, report: { sha256: 'q'.repeat(64), sizeBytes: 1 } },
  })
  const right = modelOf('m', 2, {
    spec: spec(5),
    evaluation: { loss: 0.25, accuracy: 0.875, examples: 8, report: { sha256: 'r'.repeat(64), sizeBytes: 1 } },
    validation: { loss: 0.5, examples: 4, report: { sha256: 's'.repeat(64), sizeBytes: 1 } },
  })

  expect(compareModels(left, right)).toEqual({
    differences: [
      { path: 'spec.train.epochs', left: 2, right: 5 },
      { path: 'evaluation.loss', left: 0.5, right: 0.25 },
      { path: 'evaluation.accuracy', left: 0.75, right: 0.875 },
      { path: 'validation.loss', left: 0.75, right: 0.5 },
    ],
    gains: { loss: -0.25, accuracy: 0.125, examples: 0, 'validation.loss': -0.25, 'validation.examples': 0 },
  })
  const response = await fleet.request('/v1/models/mnist/compare?left=1&right=latest')
  expect(await response.json()).toMatchObject({ left: { version: 1 }, right: { version: 3 }, differences: [] })
})

test('a model card says what a version is asked with and what it predicts', () => {
  const card = modelCard(
    modelOf('m', 1, {
      features: [
        { name: 'size', dtype: 'float32', shape: [], nullable: true },
        { name: 'city', dtype: 'int32', shape: [], categories: { count: 2, names: ['Bern', 'Basel'] } },
        { name: 'picture', dtype: 'uint8', shape: [8, 8, 1] },
      ],
      targetColumn: 'price',
      target: { kind: 'value', shape: [] },
    }),
    [],
  )
  expect(card).toContain(
    '| Asked with | size: a number (or missing); city: 2 classes: Bern, Basel; picture: uint8 [8, 8, 1] |',
  )
  expect(card).toContain('| Predicts | price |')
  expect(card).toContain('| Output | a number |')
})

test('a model card tells what a version is, and takes no marks from what users wrote', async () => {
  await put('/v1/models/mnist/aliases/champion', { version: 2 })
  const response = await fleet.request('/v1/models/mnist/versions/champion/card')

  expect(response.headers.get('content-type')).toContain('text/markdown')
  expect(await response.text()).toContain('| Aliases | champion |')
  const measured = { loss: 0.5, examples: 4, report: { sha256: 'r'.repeat(64), sizeBytes: 1 } }
  expect(modelCard(modelOf('m', 1, { validation: measured }), [])).toContain('On 4 validation examples:')
  const hostile = modelOf('m', 1, { owner: '<script>|[x](y)' })
  expect(modelCard(hostile, [])).toContain(String.raw`\<script\>\|\[x\]\(y\)`)
})
