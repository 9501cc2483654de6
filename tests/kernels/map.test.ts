/**
 * Chunks of kernel jobs, in kernel processes: gpu.js on the back ends that this machine has gives what plain JavaScript
 * gives, however the output is cut, and never on another mode than was meant.
 */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { mapChunk } from '../../kernels/gpujs/map.ts'
import type { MapSettings } from '../../kernels/gpujs/map.ts'
import { decodeShard, KernelProcess, rawPipeline } from '../../kernels/mod.ts'
import type { BackendName, KernelRequest } from '../../kernels/mod.ts'
import { decodeNpy, npyHeader } from '../../kernels/npy.ts'
import { has } from '../harness/parts.ts'
import { BlobFolder, COLUMNS, IMAGES, seededValues, stripedShard } from './models.ts'

const TESTED: { backend: BackendName; mode: string; isThere: boolean }[] = [
  { backend: 'cpu', mode: 'cpu', isThere: true },
  { backend: 'wasm', mode: 'webasm', isThere: true },
  { backend: 'webgpu-software', mode: 'webgpu', isThere: has('software-gpu') },
]

type MapRequest = Extract<KernelRequest, { op: 'map' }>

const DISTANCES = `function (a, b) {
  let sum = 0;
  for (let i = 0; i < 5; i++) {
    const d = a[this.thread.y][i] - b[this.thread.x][i];
    sum += d * d;
  }
  return Math.sqrt(sum) + this.thread.y * this.constants.step;
}`

/** 13 points of 5 numbers, from each to each. */
function distances(start: number, rows: number): MapRequest {
  const values = [...seededValues(65, 4)]
  const input = { from: 'values' as const, shape: [13, 5], values }
  return {
    op: 'map',
    settings: { source: DISTANCES, constants: { step: 100 }, output: [13, 13], start, rows },
    inputs: [
      { name: 'a', mapped: true, ...input },
      { name: 'b', mapped: false, ...input },
    ],
  }
}

function plainDistance(x: number, y: number): number {
  const values = seededValues(65, 4)
  let sum = 0
  for (let i = 0; i < 5; i++) sum += ((values[y * 5 + i] ?? 0) - (values[x * 5 + i] ?? 0)) ** 2
  return Math.sqrt(sum) + y * 100
}

for (const { backend, mode, isThere } of TESTED) {
  describe.skipIf(!isThere)(`a kernel job's chunk on ${backend}`, () => {
    const folder = new BlobFolder()
    let kernel: KernelProcess
    beforeAll(() => {
      kernel = new KernelProcess({ backend, cacheDir: folder.root, scratchDir: folder.scratchDir })
    })
    afterAll(async () => {
      await kernel.stop()
      folder[Symbol.dispose]()
    })

    async function run(request: MapRequest): Promise<Float32Array> {
      const { chunk, mode: took } = await kernel.run(request)
      expect(took).toBe(mode)
      return new Float32Array(new Uint8Array(readFileSync(chunk.path)).buffer)
    }

    it('is what plain JavaScript gives, wherever it starts', async () => {
      for (const [start, rows] of [
        [0, 13],
        [4, 6],
        [12, 1],
      ] as const) {
        const found = await run(distances(start, rows))
        const expected = Float32Array.from({ length: rows * 13 }, (_, i) => plainDistance(i % 13, start + Math.floor(i / 13))) // prettier-ignore
        expect(found.length).toBe(expected.length)
        for (const [i, value] of expected.entries()) expect(found[i]).toBeCloseTo(value, 3)
      }
    })

    it('reads rows of a dataset, across its shards, and NPY files', async () => {
      const scaled = folder.slice({ bytes: stripedShard(15, 1), count: 15 }, { bytes: stripedShard(9, 2), count: 9 })
      const column = (name: string) => ({
        ...scaled,
        pipeline: rawPipeline(COLUMNS.filter((each) => each.name === name)),
      })
      const weights = Float32Array.from({ length: 8 }, (_, i) => i + 1)
      const bytes = Buffer.concat([npyHeader([8]), new Uint8Array(weights.buffer)])
      const source = `function (images, labels, weights) {
        let sum = 0;
        for (let i = 0; i < 8; i++) { sum += images[this.thread.x][i][2] * weights[i]; }
        return sum * 10 + labels[this.thread.x];
      }`
      const found = await run({
        op: 'map',
        settings: { source, constants: {}, output: [24], start: 10, rows: 9 },
        inputs: [
          { name: 'images', mapped: true, from: 'dataset', data: column('image') },
          { name: 'labels', mapped: true, from: 'dataset', data: column('label') },
          { name: 'weights', mapped: false, from: 'npy', file: folder.write(bytes) },
        ],
      })
      const all = [stripedRows(15, 1), stripedRows(9, 2)].flat()
      const expected = all.slice(10, 19).map(({ image, label }) => {
        let sum = 0
        for (let i = 0; i < 8; i++) sum += (image[i * 8 + 2] ?? 0) * (i + 1)
        return sum * 10 + label
      })
      expect([...found]).toEqual(expected)
    })

    it('is refused when the function is not in the grammar, whoever asks', async () => {
      const request = distances(0, 13)
      const settings = { ...request.settings, source: 'function (a, b) { return process.pid }' }
      await expect(kernel.run({ ...request, settings })).rejects.toMatchObject({
        code: 'request.invalid',
        message: expect.stringContaining('process.pid'),
      })
      expect(await run(distances(0, 13))).toHaveLength(169)
    })

    it('stops when it is asked', async () => {
      const abort = new AbortController()
      const source = `function () {
        let x = 0.0;
        for (let i = 0; i < 20000; i++) { x += Math.sin(i * this.thread.y); }
        return x;
      }`
      const request: MapRequest = {
        op: 'map',
        settings: { source, constants: {}, output: [4096, 4096], start: 0, rows: 4096 },
        inputs: [],
      }
      const running = kernel.run(request, { signal: abort.signal })
      abort.abort()
      await expect(running).rejects.toMatchObject({ code: 'kernel.cancelled' })
    })
  })
}

describe('gpu.js', () => {
  const settings: MapSettings = { source: 'function () { return this.thread.x; }', constants: {}, output: [4], start: 0, rows: 4 } // prettier-ignore

  it('is not let to compute in another mode than was meant', async () => {
    vi.spyOn(console, 'warn').mockImplementation(() => {})
    // What it cannot do in WebAssembly, gpu.js does in plain JavaScript, with a warning.
    const { WebAssemblyKernel } = await import('gpu.js')
    const translate = vi
      .spyOn(WebAssemblyKernel.prototype as unknown as { translateSource(): boolean }, 'translateSource')
      .mockReturnValue(false)
    await expect(mapChunk('webasm', settings, [])).rejects.toMatchObject({
      code: 'gpu.fell-back',
      remedy: 'retry-elsewhere',
      data: { mode: 'webasm', took: 'cpu' },
    })
    translate.mockRestore()
    expect([...(await mapChunk('webasm', settings, []))]).toEqual([0, 1, 2, 3])
  })

  it('is not asked for a GPU where there is none', async () => {
    await expect(mapChunk('webgpu', settings, [])).rejects.toMatchObject({ code: 'gpu.fell-back' })
  })
})

describe('an NPY file', () => {
  it('is read as it was written', () => {
    const values = Float32Array.of(1, 2, 3, 4, 5, 6)
    const bytes = Buffer.concat([npyHeader([2, 3]), new Uint8Array(values.buffer)])
    expect(bytes.length % 8).toBe(0)
    expect(decodeNpy(bytes)).toEqual({ shape: [2, 3], values })
  })

  it.each([
    ['no NPY at all', Buffer.from('PK, a zip')],
    ['too short for its shape', Buffer.concat([npyHeader([4]), Buffer.alloc(12)])],
    ['longer than its shape', Buffer.concat([npyHeader([2]), Buffer.alloc(12)])],
  ])('that is %s is refused', (_, bytes) => {
    expect(() => decodeNpy(bytes)).toThrow(/no NPY file that can be read/)
  })
})

function stripedRows(count: number, seed: number): { image: number[]; label: number }[] {
  const [pixels, labels] = decodeShard(stripedShard(count, seed)).blocks
  const size = IMAGES.shape.reduce((a, b) => a * b, 1)
  return Array.from({ length: count }, (_, row) => ({
    image: [...(pixels?.subarray(row * size, (row + 1) * size) ?? [])],
    label: labels?.[row] ?? 0,
  }))
}
