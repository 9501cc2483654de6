import { describe, expect, test } from 'vitest'
import { datasetInMemory, encodeShard, planPipeline } from '../../../kernels/mod.ts'
import type { Column, DatasetManifest, Pipeline, PreprocessStep, Selection, Values } from '../../../kernels/mod.ts'
import { ChunkCache, shardsInMemory } from '../../../kernels/data/chunks.ts'
import { openDataset } from '../../../kernels/data/dataset.ts'
import { SplitStatistics } from '../../../kernels/data/statistics.ts'
import { transform } from '../../../kernels/data/transform.ts'
import { decodeShard } from '../../../kernels/data/shard.ts'

const columns: Column[] = [
  { name: 'size', dtype: 'float32', shape: [] },
  { name: 'colour', dtype: 'int32', shape: [], categories: { count: 3, names: ['red', 'green', 'blue'] } },
  { name: 'price', dtype: 'float32', shape: [] },
]
/** Training sizes 1, 3, none, 5: mean 3, deviation √(8/3). */
const train: Values[] = [
  Float32Array.of(1, 3, Number.NaN, 5),
  Int32Array.of(0, 1, 1, -1),
  Float32Array.of(100, 200, 300, 400),
]
const test0: Values[] = [Float32Array.of(1_000), Int32Array.of(2), Float32Array.of(9_999)]

const bytes = encodeShard(columns, 4, train)
const data = { columns, target: 'price', splits: { train: split(train, 4), test: split(test0, 1) } }

function split(values: Values[], count: number): DatasetManifest['splits']['train'] {
  const statistics = new SplitStatistics(columns)
  statistics.take(decodeShard(encodeShard(columns, count, values)))
  return { count, shards: [], statistics: statistics.result() }
}

function planned(steps: readonly PreprocessStep[], selection: Selection = {}): Pipeline {
  const { pipeline, problems } = planPipeline(data, selection, steps)
  expect(problems).toEqual([])
  if (pipeline === undefined) throw new Error('no pipeline')
  return pipeline
}

function read(pipeline: Pipeline): { features: number[]; targets: number[] } {
  const shards = [{ sha256: 's', sizeBytes: bytes.byteLength, count: 4, path: 's' }]
  const cache = new ChunkCache(shardsInMemory(new Map([['s', bytes]])))
  const batch = openDataset({ columns, pipeline, shards }, cache).read(Uint32Array.of(0, 1, 2, 3))
  return { features: [...batch.features], targets: [...batch.targets] }
}

const round = (values: Iterable<number>): number[] => Array.from(values, (value) => Math.round(value * 1e4) / 1e4 + 0)

describe('a pipeline', () => {
  test('is fitted on the training split alone, and applies the same constants to what it never saw', () => {
    const pipeline = planned([
      { op: 'impute', with: 'mean' },
      { op: 'standardise', columns: ['size'] },
      { op: 'onehot' },
    ])
    expect(pipeline.input).toEqual({ shape: [4], dtype: 'float32' })
    const deviation = Math.sqrt(8 / 3)
    expect(round(read(pipeline).features)).toEqual(
      round([-2 / deviation, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 2 / deviation, 0, 0, 0]),
    )
    const unseen = transform(pipeline, [Float32Array.of(1_000), Float32Array.of(2)], 1)
    expect(round(unseen)).toEqual(round([997 / deviation, 0, 0, 1]))
  })

  test('knows which columns may miss a value when it predicts: those of which a step says what to make then', () => {
    const nullable = (steps: readonly PreprocessStep[]): unknown[] =>
      planned([{ op: 'impute', with: 0, columns: ['size'] }, ...steps]).features.map((feature) => feature.nullable)
    expect(nullable([{ op: 'impute', with: 'mode' }])).toEqual([true, true])
    expect(nullable([{ op: 'onehot' }])).toEqual([true, true])
    const { features } = planned([{ op: 'impute', with: 'mean' }], { target: null, features: ['price'] })
    expect(features[0]?.nullable).toBe(true)
    expect(planned([], { target: null, features: ['price'] }).features[0]?.nullable).toBeUndefined()
  })

  test('moves what it learnt along with what earlier steps did', () => {
    const steps: PreprocessStep[] = [
      { op: 'scale', factor: -2 },
      { op: 'shift', by: 10 },
      { op: 'impute', with: 'mean' },
      { op: 'minmax' },
    ]
    const { features } = read(planned(steps, { features: ['size'] }))
    expect(round(features)).toEqual([1, 0.5, 0.5, 0])
  })

  test('scales a target that it names, and says how to turn it back', () => {
    const pipeline = planned([{ op: 'impute', with: 0 }, { op: 'minmax', columns: ['price'] }, { op: 'shift', by: 1, columns: ['price'] }], { features: ['size'] }) // prettier-ignore
    const { targets } = read(pipeline)
    expect(round(targets)).toEqual([1, 1.3333, 1.6667, 2])
    const { output } = pipeline
    if (output.kind !== 'value' || output.unscale === undefined) throw new Error('no way back')
    const { factor, offset } = output.unscale
    expect(round(targets.map((value) => value * factor + offset))).toEqual([100, 200, 300, 400])
  })

  test('gives an autoencoder its own input to be compared with', () => {
    const pipeline = planned([{ op: 'impute', with: 0 }], { target: null, features: ['size'] })
    expect(pipeline.output).toEqual({ kind: 'value', shape: [1] })
    const { features, targets } = read(pipeline)
    expect(targets).toEqual(features)
  })

  test.each<[string, Selection, PreprocessStep[], string]>([
    ['an unknown target', { target: 'cost' }, [], 'dataset.target: expected one of size, colour, price, found cost'],
    ['an unknown feature', { features: ['weight'] }, [], 'dataset.features[0]: expected one of size, colour, found weight'],
    ['a missing value', { features: ['size'] }, [], 'preprocess: expected an impute step for "size", which lacks 1 values, found none'],
    ['a step on a column that it does not suit', {}, [{ op: 'impute', with: 0 }, { op: 'standardise', columns: ['colour'] }], 'preprocess[1].columns[0]: expected a column of numbers: one of size, price, found colour'],
    ['a picture where there is none', {}, [{ op: 'impute', with: 0 }, { op: 'resize', height: 2, width: 2, columns: ['size'] }], 'preprocess[1].columns[0]: expected a picture of shape [height, width, channels] (there is none), found size'],
  ])('names %s', (_, selection, steps, message) => {
    expect(planPipeline(data, selection, steps).problems.map((problem) => problem.message)).toContain(message)
  }) // prettier-ignore
})

describe('augmentation', () => {
  const picture: Column[] = [{ name: 'image', dtype: 'uint8', shape: [6, 6, 1] }]
  const pixels = Uint8Array.from({ length: 8 * 36 }, (_, i) => (i * 37) % 251)
  const shard = encodeShard(picture, 8, [pixels])
  const dataset = (step: Omit<Extract<PreprocessStep, { op: 'augment' }>, 'op'>): ReturnType<typeof datasetInMemory> =>
    datasetInMemory(picture, null, [{ op: 'augment', ...step }], [shard])
  const all = Uint32Array.from({ length: 8 }, (_, i) => i)
  const everything = { flip: 'both', shift: 2, rotate: 20, crop: 0.3, brightness: 0.2, noise: 0.1 } as const

  test('follows from seed, epoch and row alone, in whatever batch the row comes', () => {
    const rows = dataset(everything)
    const { features } = rows.read(all, { seed: 3, epoch: 1 })
    const alone = rows.read(Uint32Array.of(5), { seed: 3, epoch: 1 }).features
    expect(alone).toEqual(features.subarray(5 * 36, 6 * 36))
    expect(rows.read(all, { seed: 3, epoch: 2 }).features).not.toEqual(features)
    expect(rows.read(all, { seed: 4, epoch: 1 }).features).not.toEqual(features)
  })

  test('touches nothing outside of training', () => {
    expect([...dataset(everything).read(all).features]).toEqual([...pixels])
  })

  test('by flips and shifts only moves pixels', () => {
    const flipped = dataset({ flip: 'horizontal' }).read(all, { seed: 1, epoch: 0 }).features
    const sorted = (values: Iterable<number>): number[] => [...values].toSorted((a, b) => a - b)
    for (const row of all) {
      expect(sorted(flipped.subarray(row * 36, (row + 1) * 36))).toEqual(
        sorted(pixels.subarray(row * 36, (row + 1) * 36)),
      )
    }
    expect([...flipped]).not.toEqual([...pixels])
  })
})

test('a picture is resized as a constant one stays constant, and a gradient stays a gradient', () => {
  const picture: Column[] = [{ name: 'image', dtype: 'uint8', shape: [2, 4, 1] }]
  const shard = encodeShard(picture, 1, [Uint8Array.of(0, 80, 160, 240, 0, 80, 160, 240)])
  const rows = datasetInMemory(picture, null, [{ op: 'resize', height: 1, width: 2 }, { op: 'flatten' }], [shard])
  expect([...rows.read(Uint32Array.of(0)).features]).toEqual([40, 200])
  expect(rows.input).toEqual({ shape: [2], dtype: 'float32' })
})
