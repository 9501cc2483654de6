/**
 * How fast files become shards: megabytes a second of the file as it lies there, from the first byte read to the last
 * shard durable in the blob store, with all checks, statistics and the split by seed. Beside it the disk alone: the same
 * bytes put into the same store without being understood. What is measured is what a fleet does, in its own parts.
 * A second of a processor is counted too, over both threads: it says what the work costs where others share the machine.
 */
import { mkdtemp, open, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { ingestFiles, random } from '../kernels/mod.ts'
import type { IngestOptions } from '../kernels/mod.ts'
import { openFileSystemBlobs } from '../stores/mod.ts'
import type { Blobs } from '../stores/mod.ts'
import type { Benchmark } from './bench.ts'

const MB = 1_000_000
const BINARY_MB = 128
const TEXT_MB = 40
const REPEATS = 3

export const run: Benchmark = async (say) => {
  const folder = await mkdtemp(join(tmpdir(), 'tf-bench-ingest-'))
  try {
    const files = await makeFiles(folder, say)
    const figures: Record<string, number[]> = {}
    // Interleaved, because a shared machine's speed moves by the minute; the median of each.
    for (let repeat = 0; repeat < REPEATS; repeat++) {
      for (const [name, { paths, options }] of Object.entries(files)) {
        const blobs = await openFileSystemBlobs(join(folder, `blobs-${name}`))
        const before = process.cpuUsage()
        const rate = name === 'disk' ? await copy(blobs, paths) : await ingest(blobs, paths, options)
        const { user, system } = process.cpuUsage(before)
        await rm(join(folder, `blobs-${name}`), { recursive: true })
        const perCpuS = (await sizeOf(paths)) / (user + system)
        say(`  ${name.padEnd(8)} ${Math.round(rate)} MB/s, ${Math.round(perCpuS)} MB for a second of a processor`)
        ;(figures[`${name}_mb_per_s`] ??= []).push(rate)
        ;(figures[`${name}_mb_per_cpu_s`] ??= []).push(perCpuS)
      }
    }
    return Object.fromEntries(Object.entries(figures).map(([name, rates]) => [name, Math.round(median(rates))]))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

interface Input {
  readonly paths: readonly string[]
  readonly options: IngestOptions
}

async function makeFiles(folder: string, say: (line: string) => void): Promise<Readonly<Record<string, Input>>> {
  say('making files …')
  const at = (name: string): string => join(folder, name)
  const pixels = noise(BINARY_MB * MB)
  const rows = Math.floor((BINARY_MB * MB) / 784)
  await write(at('images-idx3-ubyte'), idxHeader([rows, 28, 28]), pixels.subarray(0, rows * 784))
  await write(
    at('labels-idx1-ubyte'),
    idxHeader([rows]),
    pixels.subarray(0, rows).map((value) => value % 10),
  )
  const vectors = Math.floor((BINARY_MB * MB) / 256)
  await write(at('x.npy'), npyHeader([vectors, 64]), floats(vectors * 64))
  await writeFile(at('table.csv'), table(TEXT_MB * MB))
  await writeFile(at('rows.jsonl'), lines((TEXT_MB / 2) * MB))
  await writeFile(at('table.parquet'), parquet(400_000))
  const plain: IngestOptions = { split: { seed: 1, validation: 0.1, test: 0.1 } }
  return {
    disk: { paths: [at('x.npy')], options: {} },
    idx: { paths: [at('images-idx3-ubyte'), at('labels-idx1-ubyte')], options: { ...plain, target: 'label' } },
    npy: { paths: [at('x.npy')], options: plain },
    csv: { paths: [at('table.csv')], options: { ...plain, target: 'label' } },
    jsonl: { paths: [at('rows.jsonl')], options: plain },
    parquet: { paths: [at('table.parquet')], options: plain },
  }
}

async function ingest(blobs: Blobs, paths: readonly string[], options: IngestOptions): Promise<number> {
  const files = paths.map((path) => ({ path, name: path.replace(/^.*\//, '') }))
  const bytes = await sizeOf(paths)
  const start = performance.now()
  await ingestFiles({ files, options }, { store: ({ bytes: shard }) => blobs.put(shard) })
  return bytes / MB / ((performance.now() - start) / 1_000)
}

async function copy(blobs: Blobs, paths: readonly string[]): Promise<number> {
  const bytes = await sizeOf(paths)
  const start = performance.now()
  for (const path of paths) await blobs.put({ path })
  return bytes / MB / ((performance.now() - start) / 1_000)
}

async function sizeOf(paths: readonly string[]): Promise<number> {
  const sizes = await Promise.all(paths.map(async (path) => (await stat(path)).size))
  return sizes.reduce((sum, size) => sum + size, 0)
}

function noise(length: number): Uint8Array<ArrayBuffer> {
  const generator = random(1)
  const bytes = new Uint8Array(length)
  const words = new Uint32Array(bytes.buffer, 0, Math.floor(length / 4))
  for (let i = 0; i < words.length; i++) words[i] = generator.nextUint32()
  return bytes
}

function floats(count: number): Uint8Array {
  const generator = random(2)
  const values = Float32Array.from({ length: count }, () => generator.nextUnit() * 100 - 50)
  return new Uint8Array(values.buffer)
}

/** Numbers as tables have them, and a label. */
function table(bytes: number): string {
  const generator = random(3)
  const parts = ['a,b,c,d,e,label']
  for (let size = 0; size < bytes;) {
    const line = `${(generator.nextUnit() * 100).toFixed(3)},${generator.nextUnit().toFixed(6)},${generator.nextBelow(1_000_000)},${generator.nextBelow(100)},${(generator.nextUnit() - 0.5).toFixed(4)},class-${generator.nextBelow(7)}`
    parts.push(line)
    size += line.length + 1
  }
  return `${parts.join('\n')}\n`
}

function lines(bytes: number): string {
  const generator = random(4)
  const parts: string[] = []
  for (let size = 0; size < bytes;) {
    const line = JSON.stringify({
      a: generator.nextUnit(),
      b: generator.nextBelow(1_000),
      label: `c${generator.nextBelow(5)}`,
    })
    parts.push(line)
    size += line.length + 1
  }
  return parts.join('\n')
}

function parquet(rows: number): Uint8Array {
  const generator = random(5)
  const column = (): number[] => Array.from({ length: rows }, () => generator.nextUnit())
  const columnData = ['a', 'b', 'c', 'd'].map((name) => ({ name, data: column(), type: 'DOUBLE' as const }))
  return new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize: 100_000 }))
}

function idxHeader(shape: readonly number[]): Uint8Array {
  const header = Buffer.alloc(4 + shape.length * 4)
  header.writeUInt32BE(0x0800 + shape.length)
  for (const [i, dimension] of shape.entries()) header.writeUInt32BE(dimension, 4 + i * 4)
  return header
}

function npyHeader(shape: readonly number[]): Uint8Array {
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(', ')}), }`.padEnd(117) + '\n'
  const prefix = Buffer.from('\x93NUMPY\x01\x00\x00\x00', 'latin1')
  prefix.writeUInt16LE(text.length, 8)
  return Buffer.concat([prefix, Buffer.from(text, 'latin1')])
}

async function write(path: string, ...parts: readonly Uint8Array[]): Promise<void> {
  await using file = await open(path, 'w')
  for (const part of parts) await file.writeFile(part)
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}
