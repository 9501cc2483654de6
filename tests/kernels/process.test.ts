/**
 * The kernel process, for real: forked, sandboxed, killed, hung, orphaned.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { decodeTensors, initialise, KernelProcess } from '../../kernels/mod.ts'
import type { KernelOptions, KernelRequest, Progress } from '../../kernels/mod.ts'
import { BlobFolder, IMAGES, PIPELINE, settings, sha256Of, smallCnn, stripedShard } from './models.ts'

function kernelOf(folder: BlobFolder, options: Partial<KernelOptions> = {}): KernelProcess {
  return new KernelProcess({ backend: 'wasm', cacheDir: folder.root, scratchDir: folder.scratchDir, ...options })
}

type RoundRequest = Extract<KernelRequest, { op: 'round' }>

function roundRequest(folder: BlobFolder, localSteps = 4): RoundRequest {
  const weights = folder.write(initialise(smallCnn, 3, IMAGES))
  const data = folder.slice({ bytes: stripedShard(150, 1), count: 150 }, { bytes: stripedShard(90, 2), count: 90 })
  return { op: 'round', model: smallCnn, weights, data, settings: { ...settings, localSteps } }
}

const childFile = (name: string): URL => new URL(`./children/${name}.ts`, import.meta.url)

describe('a kernel process', () => {
  it('computes rounds, evaluations and predictions, and its outputs are what it says they are', async () => {
    using folder = new BlobFolder()
    await using kernel = kernelOf(folder)
    const info = await kernel.start()
    expect(info).toMatchObject({ backend: 'wasm', fingerprint: expect.stringMatching(/^wasm-4\.22\.0-/) })
    const made = await kernel.run({ op: 'initialise', model: smallCnn, seed: 3, input: IMAGES })
    expect(new Uint8Array(readFileSync(made.weights.path))).toEqual(initialise(smallCnn, 3, IMAGES))
    const request = roundRequest(folder, 40)
    const progress: Progress[] = []
    const round = await kernel.run(request, { onProgress: (p) => progress.push(p) })
    expect(round.metrics).toMatchObject({ steps: 40, examples: 640 })
    expect(progress.at(-1)).toMatchObject({ step: 40, steps: 40, examples: 640, accuracy: expect.any(Number) })
    const bytes = readFileSync(round.weights.path)
    expect({ sha256: sha256Of(bytes), sizeBytes: bytes.length }).toEqual({
      sha256: round.weights.sha256,
      sizeBytes: round.weights.sizeBytes,
    })
    expect(decodeTensors(readFileSync(round.optimizerState.path)).metadata).toEqual({ optimizer: 'adam' })
    const { model, data } = request
    const evaluation = await kernel.run({ op: 'evaluate', model, weights: round.weights, data, slice: { index: 0, of: 1 }, batchSize: 64, loss: settings.loss }) // prettier-ignore
    expect(evaluation.examples).toBe(240)
    expect((evaluation.classes?.correct ?? 0) / 240).toBeGreaterThan(0.8)
    const rows = { values: new Float32Array(128) }
    const predictions = await kernel.run({ op: 'predict', model, weights: round.weights, rows, pipeline: PIPELINE }) // prettier-ignore
    expect(predictions).toMatchObject({ rows: 2, shape: [3] })
  })

  it('gives in two processes the same bytes', async () => {
    using folder = new BlobFolder()
    await using a = kernelOf(folder)
    await using b = kernelOf(folder)
    const request = roundRequest(folder)
    const [first, second] = await Promise.all([a.run(request), b.run(request)])
    expect(second.weights.sha256).toBe(first.weights.sha256)
    expect((await a.start()).fingerprint).toBe((await b.start()).fingerprint)
  })

  it('reaches no network, no file but its own, no other process, and no environment', async () => {
    using folder = new BlobFolder()
    await using kernel = kernelOf(folder, { entry: childFile('intruder') })
    // The intruder answers any request with a report of its own.
    const report: unknown = await kernel.run(roundRequest(folder))
    const { outcomes, environment } = report as { outcomes: Record<string, string>; environment: string[] }
    expect(Object.entries(outcomes).filter(([, outcome]) => outcome !== 'refused')).toEqual([])
    expect(Object.keys(outcomes).length).toBeGreaterThan(10)
    expect(environment.filter((name) => !name.startsWith('NODE_CHANNEL'))).toEqual([])
  })

  it('may load machine code for a native back end, and none once its doors are closed', async () => {
    using folder = new BlobFolder()
    await using kernel = kernelOf(folder, { backend: 'webgpu-software', entry: childFile('intruder') })
    const report: unknown = await kernel.run(roundRequest(folder))
    const { outcomes } = report as { outcomes: Record<string, string> }
    expect(Object.entries(outcomes).filter(([, outcome]) => outcome !== 'refused')).toEqual([])
    expect(outcomes).toHaveProperty('load an add-on')
  })

  it('takes the best back end that the host has, and stays with it', async () => {
    using folder = new BlobFolder()
    await using kernel = kernelOf(folder, { backend: 'auto', backendsDir: folder.root })
    const { backend, pid } = await kernel.start()
    // Nothing is installed in this folder, and software is no GPU.
    expect(['webgpu', 'wasm']).toContain(backend)
    process.kill(pid, 'SIGKILL')
    await expect.poll(() => isAlive(pid)).toBe(false)
    expect(await kernel.start()).toMatchObject({ backend })
  })

  it('says what is to be done when a back end is not installed', async () => {
    using folder = new BlobFolder()
    await using kernel = kernelOf(folder, { backend: 'tensorflow', backendsDir: folder.root })
    await expect(kernel.start()).rejects.toMatchObject({
      code: 'backend.unavailable',
      remedy: 'retry-elsewhere',
      message: expect.stringMatching(/not installed.*tensorfleet backends install tensorflow/),
    })
  })

  it('refuses a blob whose bytes are not those of its name, and names it', async () => {
    using folder = new BlobFolder()
    await using kernel = kernelOf(folder)
    const request = roundRequest(folder)
    const shard = request.data.shards[1]
    if (!shard) throw new Error('The test has two shards')
    const bytes = readFileSync(shard.path)
    bytes[500] = (bytes[500] ?? 0) ^ 1
    writeFileSync(shard.path, bytes)
    await expect(kernel.run(request)).rejects.toMatchObject({
      code: 'blob.corrupt',
      remedy: 'retry',
      data: { sha256: shard.sha256 },
    })
    const missing = { ...request, weights: { path: `${folder.root}/none`, sha256: '0' } }
    await expect(kernel.run(missing)).rejects.toMatchObject({ code: 'blob.missing' })
  })

  it('stops within a step when it is asked, and goes on with the next request in the same process', async () => {
    using folder = new BlobFolder()
    await using kernel = kernelOf(folder)
    const { pid } = await kernel.start()
    const abort = new AbortController()
    const running = kernel.run(roundRequest(folder, 100_000), { signal: abort.signal, onProgress: () => abort.abort() })
    await expect(running).rejects.toMatchObject({ code: 'kernel.cancelled' })
    expect((await kernel.run(roundRequest(folder))).metrics.steps).toBe(4)
    expect((await kernel.start()).pid).toBe(pid)
  })

  it('is killed and replaced when it does not heed a cancellation', async () => {
    using folder = new BlobFolder()
    await using kernel = kernelOf(folder, { entry: childFile('hung'), cancelGraceMs: 50 })
    const { pid } = await kernel.start()
    const abort = new AbortController()
    const running = kernel.run(roundRequest(folder), { signal: abort.signal })
    abort.abort()
    await expect(running).rejects.toMatchObject({ code: 'kernel.cancelled' })
    expect((await kernel.start()).pid).not.toBe(pid)
  })

  it('is killed when it shows no sign of life, and the task may be tried elsewhere', async () => {
    using folder = new BlobFolder()
    await using kernel = kernelOf(folder, { entry: childFile('hung'), hangLimitMs: 100 })
    const { pid } = await kernel.start()
    await expect(kernel.run(roundRequest(folder))).rejects.toMatchObject({
      code: 'kernel.hung',
      remedy: 'retry-elsewhere',
      data: { pid },
    })
    await expect.poll(() => isAlive(pid)).toBe(false)
  })

  it('is killed when it takes more memory than it may have, and the task may be tried elsewhere', async () => {
    using folder = new BlobFolder()
    const memoryLimitBytes = 256 * 1024 * 1024
    await using kernel = kernelOf(folder, { entry: childFile('leaking'), memoryLimitBytes })
    const { pid } = await kernel.start()
    await expect(kernel.run(roundRequest(folder))).rejects.toMatchObject({
      code: 'kernel.memory',
      remedy: 'retry-elsewhere',
      data: { pid, memoryLimitBytes },
    })
    await expect.poll(() => isAlive(pid)).toBe(false)
    expect((await kernel.start()).pid).not.toBe(pid)
  })

  it('that leaked and still brought its result keeps the result, and is replaced', async () => {
    using folder = new BlobFolder()
    await using kernel = kernelOf(folder, { entry: childFile('leaking'), memoryLimitBytes: 256 * 1024 * 1024 })
    const { pid } = await kernel.start()
    const request = { op: 'initialise', model: smallCnn, seed: 3, input: IMAGES } as const
    expect(await kernel.run(request)).toEqual({ weights: null })
    await expect.poll(() => isAlive(pid)).toBe(false)
    expect((await kernel.start()).pid).not.toBe(pid)
  })

  it('that is killed fails its request with the signal, and the next request has a new one', async () => {
    using folder = new BlobFolder()
    await using kernel = kernelOf(folder)
    const { pid } = await kernel.start()
    const running = kernel.run(roundRequest(folder, 100_000), { onProgress: () => process.kill(pid, 'SIGKILL') })
    await expect(running).rejects.toMatchObject({
      code: 'kernel.died',
      remedy: 'retry-elsewhere',
      data: { signal: 'SIGKILL', pid },
    })
    expect((await kernel.run(roundRequest(folder))).metrics.steps).toBe(4)
  })

  it('runs one request at a time and says so', async () => {
    using folder = new BlobFolder()
    await using kernel = kernelOf(folder)
    const first = kernel.run(roundRequest(folder))
    await expect(kernel.run(roundRequest(folder))).rejects.toMatchObject({ code: 'kernel.busy' })
    expect((await first).metrics.steps).toBe(4)
  })

  it('says why it cannot start', async () => {
    using folder = new BlobFolder()
    await using kernel = kernelOf(folder, { backend: 'abacus' as 'wasm' })
    await expect(kernel.start()).rejects.toMatchObject({
      code: 'request.invalid',
      message: expect.stringMatching(/Unknown back end "abacus"/),
    })
  })

  it('ends when its parent dies', async () => {
    using folder = new BlobFolder()
    const parent = fork(fileURLToPath(childFile('parent')), [folder.root, folder.scratchDir])
    const [pid] = (await once(parent, 'message')) as [number]
    expect(isAlive(pid)).toBe(true)
    parent.kill('SIGKILL')
    await expect.poll(() => isAlive(pid), { timeout: 10_000 }).toBe(false)
  })
})

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
