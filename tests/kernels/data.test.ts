import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { dataOrder, datasetInMemory, decodeShard, encodeShard, evaluationRange, ingestIdx } from '../../kernels/mod.ts'
import { codeOf } from './models.ts'
import { permutation } from '../../kernels/random.ts'

function idx(dims: number[], values: Uint8Array, type = 8): Uint8Array {
  const bytes = new Uint8Array(4 + dims.length * 4 + values.length)
  bytes.set([0, 0, type, dims.length])
  const header = new DataView(bytes.buffer)
  for (const [i, dimension] of dims.entries()) header.setUint32(4 + i * 4, dimension)
  bytes.set(values, 4 + dims.length * 4)
  return bytes
}

const pixels = Uint8Array.from({ length: 5 * 6 }, (_, i) => i)
const images = idx([5, 2, 3], pixels)
const labels = idx([5], Uint8Array.of(0, 1, 2, 1, 0))

describe('ingestIdx', () => {
  it('cuts images and labels into shards that hold every row once, in order', async () => {
    const { features, target, count, shards } = ingestIdx({ images, labels, shardBytes: 4096 + 14 })
    expect({ features, target, count }).toEqual({
      features: { shape: [2, 3, 1], dtype: 'uint8' },
      target: { kind: 'class', classes: 3 },
      count: 5,
    })
    const cut = []
    for await (const shard of shards) cut.push(shard)
    expect(cut.map((shard) => shard.count)).toEqual([2, 2, 1])
    const dataset = datasetInMemory(
      features,
      target,
      cut.map(({ bytes }) => bytes),
    )
    const batch = dataset.read(Uint32Array.of(4, 0, 3, 1, 2), [{ op: 'scale', factor: 2 }])
    expect([...batch.targets]).toEqual([0, 0, 1, 1, 2])
    expect(Array.from(batch.features.subarray(0, 6))).toEqual([48, 50, 52, 54, 56, 58])
  })

  const wrong: [why: string, source: { images: Uint8Array; labels: Uint8Array; classes?: number }, message: RegExp][] = [
    ['is empty', { images: new Uint8Array(0), labels }, /images: it has 0 bytes/],
    ['has another magic', { images: Uint8Array.of(1, 2, 8, 3, 0), labels }, /starts with bytes 1 2/],
    ['is still compressed', { images: Uint8Array.of(0x1f, 0x8b, 8, 0), labels }, /gzip/],
    ['holds another type than bytes', { images: idx([5, 2, 3], pixels, 0x0d), labels }, /type 0xd/],
    ['is cut short', { images: images.subarray(0, images.length - 1), labels }, /cut short: \[5, 2, 3\] needs 30 values, it has 29/],
    ['ends in its header', { images: images.subarray(0, 10), labels }, /within its header/],
    ['is too long', { images: idx([4, 2, 3], pixels), labels }, /too long/],
    ['has another number of labels', { images, labels: idx([4], new Uint8Array(4)) }, /4 labels, the images file has 5/],
    ['has the two files exchanged', { images: labels, labels: images }, /images: it has 1 dimension/],
    ['has a label beyond the classes', { images, labels, classes: 2 }, /label 2 does not fit 2 classes/],
    ['has a dimension of zero', { images: idx([5, 0, 3], new Uint8Array(0)), labels }, /dimensions are \[5, 0, 3\]/],
  ] // prettier-ignore
  for (const [why, source, message] of wrong) {
    it(`refuses a file that ${why}`, () => {
      expect(() => ingestIdx(source)).toThrow(
        expect.objectContaining({ code: 'data.malformed', message: expect.stringMatching(message) }),
      )
    })
  }
})

describe('a shard', () => {
  const layout = {
    count: 3,
    features: { shape: [2], dtype: 'float32' },
    target: { dtype: 'float32', elements: 1 },
  } as const
  const bytes = encodeShard(layout, Float32Array.of(1, 2, 3, 4, 5, 6), Float32Array.of(0.5, 1.5, 2.5))

  it('gives back its rows as views into its own bytes', () => {
    const shard = decodeShard(bytes)
    expect(shard).toMatchObject(layout)
    expect([...shard.featureValues, ...shard.targetValues]).toEqual([1, 2, 3, 4, 5, 6, 0.5, 1.5, 2.5])
    expect(shard.featureValues.buffer).toBe(bytes.buffer)
  })

  it('answers damage with data.malformed, never with another error', () => {
    fc.assert(
      fc.property(fc.nat(bytes.length), fc.nat(120), fc.nat(255), (length, at, value) => {
        const damaged = bytes.slice(0, length)
        if (at < damaged.length) damaged[at] = value
        expect(codeOf(() => decodeShard(damaged))).toMatch(/^(none|data\.malformed)$/)
      }),
    )
  })
})

describe('the order of data', () => {
  it('gives the replicas of an epoch different rows, and every row of a batch once', () => {
    const settings = { count: 103, seed: 5, batchSizes: [8, 8, 8] }
    const seen = new Set<number>()
    for (const replica of [0, 1, 2]) {
      const order = dataOrder({ ...settings, replica })
      expect(order.stepsPerEpoch).toBe(4)
      for (let step = 0; step < order.stepsPerEpoch; step++) for (const row of order.rowsAt(step)) seen.add(row)
    }
    expect(seen.size).toBe(3 * 4 * 8)
  })

  it('knows the rows of any step without the steps before it', () => {
    const settings = { count: 100, seed: 5, batchSizes: [7, 7], replica: 1 }
    const walked = dataOrder(settings)
    const steps = Array.from({ length: 30 }, (_, step) => [...walked.rowsAt(step)])
    expect([...dataOrder(settings).rowsAt(29)]).toEqual(steps[29])
    expect(steps[0]).not.toEqual(steps[walked.stepsPerEpoch])
  })

  it('makes one batch of what is less than a batch, and refuses fewer rows than replicas', () => {
    expect(dataOrder({ count: 10, seed: 1, batchSizes: [64, 64, 64], replica: 2 }).rowsAt(0)).toHaveLength(3)
    expect(() => dataOrder({ count: 2, seed: 1, batchSizes: [64, 64, 64], replica: 0 })).toThrow(/Cannot cut 2 rows/)
  })

  it('covers every row once in evaluation parts, however many', () => {
    fc.assert(
      fc.property(fc.nat(500), fc.integer({ min: 1, max: 20 }), (count, of) => {
        let end = 0
        for (let index = 0; index < of; index++) {
          const range = evaluationRange(count, index, of)
          expect(range.start).toBe(end)
          end = range.end
        }
        expect(end).toBe(count)
      }),
    )
  })

  it('permutes without losing a row', () => {
    fc.assert(
      fc.property(fc.nat(300), fc.integer(), (count, seed) => {
        expect([...permutation(count, seed)].toSorted((a, b) => a - b)).toEqual(
          Array.from({ length: count }, (_, i) => i),
        )
      }),
    )
  })
})
