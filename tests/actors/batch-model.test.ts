/** Batch jobs of a model, on real kernel processes: its evaluation and its predictions over a split of a dataset. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { admitBatch, batchView, jobView, pinnedBatch, planBatch } from '../../actors/mod.ts'
import { evaluateSpecSchema, predictSpecSchema } from '../../gateway/schemas/batch-spec.ts'
import { decodeNpy } from '../../kernels/mod.ts'
import type { BatchView, EvaluateSpec, PredictSpec } from '../../machines/batch-spec.ts'
import type { Evaluation } from '../../machines/training.ts'
import { address } from '../../runtime/mod.ts'
import { House, STRIPES } from './house.ts'
import type { RunningHouse } from './house.ts'

let house: House
let running: RunningHouse
let trained: Evaluation | undefined

beforeAll(async () => {
  house = await House.stores()
  running = await house.start()
  await house.worker(running, 1)
  await house.worker(running, 1)
  trained = jobView(await running.train('base', STRIPES)).evaluation
  await house.registry.setAlias({ name: 'stripes', version: 1 }, 'champion', 'ann')
})
afterAll(() => house.stop())

const evaluate = (changes: object = {}): EvaluateSpec =>
  evaluateSpecSchema.parse({ kind: 'evaluate', model: 'stripes@1', dataset: { name: 'stripes' }, ...changes })
const predict = (changes: object = {}): PredictSpec =>
  predictSpecSchema.parse({ kind: 'predict', model: 'stripes@1', dataset: { name: 'stripes' }, ...changes })

async function outputOf({ output }: BatchView): Promise<Uint8Array> {
  if (output === undefined) throw new Error('The job has no output')
  return house.blobs.bytes(output.sha256)
}

const textOf = async (view: BatchView): Promise<string[]> =>
  new TextDecoder()
    .decode(await outputOf(view))
    .trimEnd()
    .split('\n')

describe('an evaluation', () => {
  test('says of the test split what the training said of it, to the last bit', async () => {
    const view = await running.batch('evaluate-same', evaluate())
    expect(view).toMatchObject({ state: 'completed', name: 'stripes-evaluate', dataset: 'stripes@1' })
    expect(view.evaluation).toEqual(trained)
    expect(view.evaluation?.confusion?.flat().reduce((a, b) => a + b, 0)).toBe(60)
  })

  test('counts the same in chunks of any size, on all workers', async () => {
    const view = await running.batch('evaluate-small', evaluate({ chunkRows: 7 }))
    expect(view.progress).toEqual({ rows: 60, rowsTotal: 60, chunks: 9, chunksTotal: 9 })
    expect(Object.values(view.workers).reduce((a, b) => a + b, 0)).toBe(9)
    const { loss, report: _, ...counted } = view.evaluation ?? { loss: NaN, report: null }
    expect(trained).toMatchObject(counted)
    expect(loss).toBeCloseTo(trained?.loss ?? 0, 12)
  })

  test('of another split says something else', async () => {
    const { evaluation } = await running.batch('evaluate-train', evaluate({ split: 'train' }))
    expect(evaluation?.examples).toBe(240)
  })
})

describe('predictions', () => {
  test('are an array of the outputs of all rows, whatever the chunks', async () => {
    const whole = await running.batch('predict-whole', predict())
    expect(whole).toMatchObject({ state: 'completed', output: { format: 'npy', shape: [60, 3] } })
    const { shape, values } = decodeNpy(await outputOf(whole))
    expect(shape).toEqual([60, 3])
    const sums = Array.from({ length: 60 }, (_, row) => values.subarray(row * 3, row * 3 + 3).reduce((a, b) => a + b, 0)) // prettier-ignore
    expect(Math.max(...sums.map((sum) => Math.abs(sum - 1)))).toBeLessThan(1e-5)
    const cut = decodeNpy(await outputOf(await running.batch('predict-cut', predict({ chunkRows: 7 }))))
    expect(cut.values.every((value, i) => Math.abs(value - (values[i] ?? 0)) < 1e-6)).toBe(true)
  })

  test('are lines with the likeliest class, as right as the evaluation says', async () => {
    const [head, ...lines] = await textOf(await running.batch('predict-csv', predict({ format: 'csv', chunkRows: 7 })))
    expect(head).toBe('row,class,p 0,p 1,p 2')
    const rows = lines.map((line) => line.split(',').map(Number))
    expect(rows.map(([row]) => row)).toEqual(Array.from({ length: 60 }, (_, row) => row))
    const { rows: truth } = await house.datasets.rows({ name: 'stripes' }, { split: 'test', offset: 0, limit: 60 })
    const right = rows.filter(([, predicted], row) => predicted === truth[row]?.['label']).length
    expect(right / 60).toBeCloseTo(trained?.accuracy ?? 0, 12)
    const json = await textOf(await running.batch('predict-jsonl', predict({ format: 'jsonl' })))
    const first = JSON.parse(json[0] ?? '') as { row: number; class: number; outputs: number[] }
    expect(first).toMatchObject({ row: 0, class: rows[0]?.[1] })
    expect(first.outputs).toHaveLength(3)
  })

  test('come from data that lacks what is predicted', async () => {
    await house.table('flowers', 'width,kind\n1,a\n2,b\n3,a\n4,b\n', { target: 'kind', split: { seed: 1, validation: 0, test: 0 } }) // prettier-ignore
    const layers = [{ class_name: 'Dense', config: { units: 2, activation: 'softmax' } }]
    const model = { class_name: 'Sequential', config: { layers } }
    const train = { ...STRIPES.train, replicas: 1, epochs: 1, strategy: { kind: 'local', roundSteps: 5 } } as const
    const spec = {
      ...STRIPES,
      dataset: { name: 'flowers' },
      preprocess: [],
      model,
      train,
      register: { name: 'flowers' },
    }
    expect(jobView(await running.train('flowers', spec)).state).toBe('completed')
    await house.table('widths', 'width\n1\n2\n3\n', { split: { seed: 1, validation: 0, test: 0 } })
    const use = { model: 'flowers@1', dataset: { name: 'widths' }, split: 'train' }
    const [head, ...lines] = await textOf(await running.batch('predict-widths', predict({ ...use, format: 'csv' })))
    expect([head, lines.length]).toEqual(['row,class,p a,p b', 3])
    expect(await problems(evaluate(use))).toEqual([expect.stringMatching(/^dataset: expected a column "kind" of 2 categories \(a, b\)/)]) // prettier-ignore
  })
})

test('a batch goes on when a worker is lost in the middle of it, and comes to the same', async () => {
  await using shaken = await House.stores()
  const fleet = await shaken.start()
  const stop = await shaken.worker(fleet, 1)
  await fleet.train('base', STRIPES)
  const id = 'predict-shaken'
  await fleet.client.spawn(address('batch', id), { id, owner: 'ann', spec: predict({ chunkRows: 1 }) })
  await fleet.until(id, 'running')
  await stop()
  await shaken.worker(fleet, 1)
  await fleet.until(id, 'completed', 'failed')
  const view = batchView(await fleet.snapshot(address('batch', id)))
  expect([view.state, Object.keys(view.workers).toSorted()]).toEqual(['completed', ['w1', 'w2']])
  const whole = await running.batch('predict-shaken-not', predict({ chunkRows: 1 }))
  expect(view.output).toEqual(whole.output)
})

async function problems(spec: EvaluateSpec | PredictSpec): Promise<string[]> {
  const planned = await planBatch(house.batchPlan(running.client), spec, 'ann', new AbortController().signal)
  return 'problems' in planned ? planned.problems.map(({ message }) => message) : []
}

describe('a batch that cannot run is refused before it starts', () => {
  test.each([
    ['without its model', { model: 'none@1' }, /^model: expected a model that is there.*found none@1/],
    ['without its dataset', { dataset: { name: 'none' } }, /^dataset.name: expected one of .*found none/],
    ['on a split that is not there', { split: 'validation' }, /^split: expected one of train, test, found validation/],
    ['in a pool that is not there', { pool: 'none' }, /^pool: expected one of default/],
  ])('%s', async (_, changes, expected) => {
    expect(await problems(predict(changes))).toEqual([expect.stringMatching(expected)])
  })
})

test('a batch keeps the version that an alias means when it is submitted', async () => {
  expect(await pinnedBatch(house.batchPlan(running.client), predict({ model: 'stripes@champion' }))).toMatchObject({
    model: 'stripes@1',
  })
})

describe('a batch that comes after the job that trains its model', () => {
  const before = [{ job: 'chained', otherwise: 'fail' }] as const
  const chained = { model: 'chained@latest', after: before }

  test('is admitted with what can be said without the model', async () => {
    const admit = (spec: EvaluateSpec | PredictSpec): ReturnType<typeof admitBatch> =>
      admitBatch(house.batchPlan(running.client), spec, 'ann', new AbortController().signal)
    expect(await admit(predict(chained))).toEqual([])
    expect(await admit(predict({ ...chained, split: 'validation' }))).toMatchObject([{ path: 'split' }])
    expect(await admit(predict({ ...chained, model: 'chained@7' }))).toMatchObject([{ path: 'model' }])
    expect(await pinnedBatch(house.batchPlan(running.client), predict({ ...chained, model: 'stripes@champion' }))).toMatchObject({ model: 'stripes@champion' }) // prettier-ignore
  })

  test('uses the version that there is when that has completed, and so does a training', async () => {
    const submit = (id: string, spec: object): Promise<unknown> =>
      running.client.spawn(address('batch', id), { id, owner: 'ann', spec } as never)
    await running.submit('chained', { ...STRIPES, register: { name: 'chained' } })
    await submit('predict-chained', predict(chained))
    await submit('evaluate-chained', evaluate({ ...chained, after: [{ job: 'predict-chained', otherwise: 'fail' }] }))
    const { preprocess: _, ...rest } = STRIPES
    await running.submit('further', { ...rest, model: { from: 'chained' }, after: before, register: { name: 'more' } })
    await running.until('evaluate-chained', 'completed', 'failed')
    const view = batchView(await running.snapshot(address('batch', 'evaluate-chained')))
    expect(view).toMatchObject({ state: 'completed', spec: { model: 'chained@1' }, evaluation: trained })
    await running.until('further', 'completed', 'failed')
    const further = jobView(await running.snapshot(address('job', 'further')))
    expect(further).toMatchObject({ state: 'completed', spec: { model: { from: 'chained@1' } } })
  })
})
