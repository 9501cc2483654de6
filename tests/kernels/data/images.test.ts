import { encode as encodePng } from 'fast-png'
import jpeg from 'jpeg-js'
import { describe, expect, test } from 'vitest'
import { ingest } from './files.ts'
import { zipOf } from './zips.ts'

function png(height: number, width: number, channels: number, value: number): Uint8Array {
  const data = new Uint8Array(height * width * channels).fill(value)
  return encodePng({ height, width, channels, data })
}

function jpg(height: number, width: number, value: number): Uint8Array {
  const data = Buffer.alloc(height * width * 4, value)
  return new Uint8Array(jpeg.encode({ data, width, height }, 95).data)
}

describe('a zip of pictures', () => {
  test('has a class for each folder, in the order of their names', async () => {
    const zip = await zipOf({
      'pets/dog/1.png': png(2, 3, 3, 200),
      'pets/cat/1.png': png(2, 3, 3, 10),
      'pets/cat/2.jpg': jpg(2, 3, 90),
    })
    const read = await ingest({ 'pets.zip': zip })
    expect(read.target).toBe('label')
    expect(read.columns).toEqual([
      { name: 'image', dtype: 'uint8', shape: [2, 3, 3] },
      { name: 'label', dtype: 'int32', shape: [], categories: { count: 2, names: ['cat', 'dog'] } },
    ])
    expect(read.values('label')).toEqual([0, 0, 1])
    const pixels = read.values('image')
    expect(pixels.slice(0, 18)).toEqual(Array.from({ length: 18 }, () => 10))
    for (const value of pixels.slice(18, 36)) expect(Math.abs(value - 90)).toBeLessThan(4)
    expect(pixels.slice(36)).toEqual(Array.from({ length: 18 }, () => 200))
  })

  test('has the split that its folders say, and one size and number of channels where that is asked for', async () => {
    const zip = await zipOf({
      'd/train/a/1.png': png(4, 4, 3, 100),
      'd/train/b/1.png': png(8, 6, 1, 50),
      'd/test/a/1.png': png(2, 2, 4, 30),
    })
    const read = await ingest({ 'd.zip': zip }, { image: { height: 2, width: 2, channels: 1 } })
    expect([read.splits.train?.count, read.splits.test?.count]).toEqual([2, 1])
    expect(read.values('image')).toEqual([100, 100, 100, 100, 50, 50, 50, 50])
    expect(read.values('image', 'test')).toEqual([30, 30, 30, 30])
  })

  test('may have what systems leave in folders, and pictures of every kind of PNG and JPEG', async () => {
    const leftover = Buffer.from('x')
    const zip = await zipOf({
      '__MACOSX/d/cat/._1.png': leftover,
      'd/.DS_Store': leftover,
      'd/cat/.DS_Store': leftover,
      'd/cat/Thumbs.db': leftover,
      'd/dog/desktop.ini': leftover,
      'd/cat/1.png': png(8, 8, 3, 60),
      'd/cat/2.png': png(8, 8, 1, 60),
      'd/cat/3.PNG': png(8, 8, 4, 60),
      'd/dog/4.png': png(8, 8, 2, 60),
      'd/dog/5.JPEG': jpg(8, 8, 60),
    })
    const read = await ingest({ 'd.zip': zip })
    expect(read.columns.map(({ name, shape }) => [name, shape])).toEqual([['image', [8, 8, 3]], ['label', []]]) // prettier-ignore
    expect(read.values('label')).toEqual([0, 0, 0, 1, 1])
    for (const value of read.values('image')) expect(Math.abs(value - 60)).toBeLessThan(4)
  })

  test.each<[string, Record<string, Uint8Array>, string]>([
    ['another size', { 'a/1.png': png(2, 2, 1, 0), 'b/2.png': png(3, 2, 1, 0) }, 'd.zip/b/2.png: expected 2 × 2 pixels as the first picture has (or say a size: image), found 3 × 2'],
    ['colour after grey', { 'a/1.png': png(2, 2, 1, 0), 'b/2.png': png(2, 2, 4, 0) }, 'd.zip/b/2.png: expected a grey picture as the first one is (or say how many channels: image), found one in colour'],
    ['four inks', { 'a/1.jpg': inks(jpg(8, 8, 90)) }, 'd.zip/a/1.jpg: expected a JPEG file in grey or RGB, found one of four inks (CMYK)'],
    ['no picture', { 'a/1.png': Buffer.from('hello, this is no picture at all') }, 'd.zip/a/1.png: expected a PNG or JPEG file'],
    ['the beginning of a PNG before something else', { 'a/1.png': Buffer.concat([png(2, 2, 1, 0).subarray(0, 8), Buffer.from('garbage'.repeat(9))]) }, 'd.zip/a/1.png: expected a PNG or JPEG file, found something else'],
    ['a picture outside of the folders', { 'a/1.png': png(2, 2, 1, 0), 'b/1.png': png(2, 2, 1, 0), '2.png': png(2, 2, 1, 0) }, 'd.zip/2.png: expected a folder that says the class, as the other pictures have, found none'],
    ['another file', { 'a/1.png': png(2, 2, 1, 0), 'a/notes.txt': Buffer.from('x') }, 'd.zip/a/notes.txt: expected a picture that ends in .png, .jpg or .jpeg'],
    ['more pixels than fit', { 'a/1.png': claiming(100_000, 100_000) }, 'd.zip/a/1.png: expected at most 67108864 pixels, found 100000 × 100000'],
    ['half a picture', { 'a/1.png': png(20, 20, 3, 7).subarray(0, 50) }, 'd.zip/a/1.png: expected a picture that can be decoded'],
  ])('with %s is refused, by its name', async (_, files, message) => {
    await expect(ingest({ 'd.zip': await zipOf(files) })).rejects.toThrow(message)
  }) // prettier-ignore
})

/** A JPEG whose frame claims four components. */
function inks(bytes: Uint8Array): Uint8Array {
  const frame = bytes.findIndex((byte, i) => byte === 0xff && bytes[i + 1] === 0xc0)
  return bytes.with(frame + 9, 4)
}

/** A small PNG whose header claims another size. */
function claiming(height: number, width: number): Uint8Array {
  const bytes = Buffer.from(png(2, 2, 1, 0))
  bytes.writeUInt32BE(width, 16)
  bytes.writeUInt32BE(height, 20)
  return bytes
}
