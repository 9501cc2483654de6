import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { idx, ingest } from './files.ts'

const pixels = Uint8Array.from({ length: 5 * 6 }, (_, i) => i)
const images = idx([5, 2, 3], pixels)
const labels = idx([5], Uint8Array.of(0, 1, 2, 1, 0))

describe('IDX files', () => {
  test('of pictures and labels become shards that hold every row once, in order', async () => {
    const read = await ingest({ images, labels }, {}, 4096 + 14)
    expect(read).toMatchObject({
      format: 'idx',
      target: 'label',
      columns: [
        { name: 'image', dtype: 'uint8', shape: [2, 3, 1] },
        { name: 'label', dtype: 'uint8', shape: [], categories: { count: 3 } },
      ],
    })
    expect(read.shards.map((shard) => shard.count)).toEqual([2, 2, 1])
    expect(read.values('image')).toEqual([...pixels])
    expect(read.values('label')).toEqual([0, 1, 2, 1, 0])
    expect(read.splits.train?.statistics[1]).toMatchObject({ classes: [2, 2, 1], count: 5 })
  })

  test('may be compressed, and bring a split of their own by their names', async () => {
    const read = await ingest({
      'train-images-idx3-ubyte.gz': gzipSync(images),
      'train-labels-idx1-ubyte.gz': gzipSync(labels),
      't10k-images-idx3-ubyte': idx([1, 2, 3], pixels.subarray(0, 6)),
      't10k-labels-idx1-ubyte': idx([1], Uint8Array.of(2)),
    })
    expect(read.split).toBe(null)
    expect([read.splits.train?.count, read.splits.test?.count]).toEqual([5, 1])
    expect(read.values('label', 'test')).toEqual([2])
  })

  test('of two splits give a third one out of the training rows where its share is asked for', async () => {
    const files = {
      'train-images': idx([5, 2, 3], pixels),
      'train-labels': labels,
      't10k-images': idx([1, 2, 3], pixels.subarray(0, 6)),
      't10k-labels': idx([1], Uint8Array.of(2)),
    }
    const read = await ingest(files, { format: 'idx', split: { validation: 0.4 } })
    const [train, validation] = [read.values('label'), read.values('label', 'validation')]
    expect([...train, ...validation].toSorted((a, b) => a - b)).toEqual([0, 0, 1, 1, 2])
    expect(validation.length).toBeGreaterThan(0)
    expect(read.values('label', 'test')).toEqual([2])
    expect(read.split).toEqual({ seed: 1, validation: 0.4, test: 0 })
    await expect(ingest(files, { format: 'idx', split: { test: 0.2 } })).rejects.toThrow(
      'split.test: expected nothing: the files have rows for test already, found 0.2',
    )
  })

  test('of other numbers than bytes are read as big-endian', async () => {
    const floats = new DataView(new ArrayBuffer(12))
    for (const [i, value] of [1.5, -2, 1e10].entries()) floats.setFloat32(i * 4, value)
    const read = await ingest({ x: idx([3, 1], new Uint8Array(floats.buffer), 0x0d) }, { format: 'idx' })
    expect(read.values('x')).toEqual([1.5, -2, 1e10])
  })

  const wrong: [why: string, files: Record<string, Uint8Array>, message: RegExp][] = [
    ['is empty', { images: new Uint8Array(0), labels }, /images as IDX: it has 0 bytes/],
    ['has another magic', { images: Uint8Array.of(1, 2, 8, 3, 0), labels }, /starts with bytes 1 2/],
    ['holds an unknown type', { images: idx([5, 2, 3], pixels, 0x0a), labels }, /type 0xa/],
    ['is cut short', { images: images.subarray(0, images.length - 1), labels }, /cut short: \[5, 2, 3\] needs 5 rows, it has 4/],
    ['ends in its header', { images: images.subarray(0, 10), labels }, /within its header/],
    ['is too long', { images: idx([4, 2, 3], pixels), labels: idx([4], new Uint8Array(4)) }, /too long/],
    ['has another number of labels', { images, labels: idx([4], new Uint8Array(4)) }, /it has 4 rows, images has 5/],
    ['is there twice', { images, more: images }, /second file of pictures/],
    ['has a dimension of zero', { images: idx([5, 0, 3], new Uint8Array(0)), labels }, /dimensions are \[5, 0, 3\]/],
    ['is a broken archive', { 'images-idx3-ubyte.gz': gzipSync(images).subarray(0, 30) }, /starts as gzip, but/],
  ] // prettier-ignore
  test.each(wrong)('one that %s is refused', async (_, files, message) => {
    await expect(ingest(files, { format: 'idx' })).rejects.toMatchObject({
      code: 'data.malformed',
      message: expect.stringMatching(message) as string,
    })
  })

  test('that unpack to a multiple that no data has are refused before they fill anything', async () => {
    const bomb = gzipSync(idx([50_000, 28, 28], new Uint8Array(50_000 * 784)))
    await expect(ingest({ 'images-idx3-ubyte.gz': bomb })).rejects.toThrow(/unpack to more than/)
  })
})
