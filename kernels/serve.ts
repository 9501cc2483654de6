/**
 * The loop inside a kernel process: takes requests from the parent's channel, one at a time, runs them, answers. See
 * `child.ts` for its surroundings and `protocol.ts` for the messages.
 */
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Backend } from './backend.ts'
import { compileModel, writeWeights } from './compiled.ts'
import type { CompiledModel } from './compiled.ts'
import { ChunkCache } from './data/chunks.ts'
import type { FeatureSpec } from './data/column.ts'
import { openDataset } from './data/dataset.ts'
import type { DatasetSlice } from './data/manifest.ts'
import { KernelError } from './errors.ts'
import { evaluateSlice } from './evaluate.ts'
import { initialise, restart } from './initialise.ts'
import { PROGRESS_INTERVAL_MS } from './limits.ts'
import { predictRows, predictSplit } from './predict.ts'
import { predictionLines } from './prediction-text.ts'
import type { BlobFile, FromKernel, KernelRequest, OutputFile, ToKernel } from './protocol.ts'
import { trainRound } from './round.ts'
import type { StepReport } from './round.ts'
import { trainTogether } from './sync.ts'
import type { Exchange, SyncMessage } from './sync.ts'
import type { ModelTopology } from './topology.ts'

type Answer = Extract<FromKernel, { type: 'result' }>['result']

export async function serveKernel(start: () => Promise<Backend>, scratchDir: string): Promise<void> {
  // The parent is gone: nobody would take a result, and an orphan would hold memory for ever.
  process.on('disconnect', () => process.exit(0))
  try {
    const backend = await start()
    const kernel = new Kernel(backend, scratchDir)
    process.on('message', (message: ToKernel) => kernel.take(message))
    const { name, fingerprint, traits } = backend
    const { engine, device } = traits
    send({ type: 'ready', backend: name, fingerprint, ...(engine && { engine }), ...(device && { device }) })
  } catch (error) {
    send({ type: 'error', id: undefined, error: KernelError.from(error).toJSON() })
    process.exitCode = 1
    process.disconnect?.()
  }
}

/** A slot trains one job for long; predictions go to and fro between models. */
const MODELS_KEPT = 4

interface WarmModel {
  readonly compiled: CompiledModel
  /** sha256 of the weights in it; null when anything may be there. */
  holds: string | null
}

class Kernel {
  readonly #backend: Backend
  readonly #scratchDir: string
  readonly #chunks = new ChunkCache()
  /** By topology and input, the one used least recently first. */
  readonly #models = new Map<string, WarmModel>()
  #running: { id: number; abort: AbortController; ear: Ear } | undefined

  constructor(backend: Backend, scratchDir: string) {
    this.#backend = backend
    this.#scratchDir = scratchDir
  }

  take(message: ToKernel): void {
    if (message.type === 'stop') process.exit(0)
    else if (message.type === 'cancel') {
      if (this.#running?.id === message.id) this.#running.abort.abort()
    } else if (message.type === 'hear') {
      if (this.#running?.id === message.id) this.#running.ear.hear(message.message)
    } else void this.#answer(message.id, message.request)
  }

  async #answer(id: number, request: KernelRequest): Promise<void> {
    const abort = new AbortController()
    try {
      if (this.#running) throw new KernelError('kernel.busy', 'A kernel process runs one request at a time')
      const ear = new Ear()
      this.#running = { id, abort, ear }
      const result = await this.#run(request, id, ear, abort.signal)
      send({ type: 'result', id, result, rssBytes: process.memoryUsage.rss() })
    } catch (error) {
      const known = abort.signal.aborted
        ? new KernelError('kernel.cancelled', 'The request was cancelled')
        : KernelError.from(error)
      send({ type: 'error', id, error: known.toJSON() })
    } finally {
      if (this.#running?.id === id) this.#running = undefined
    }
  }

  async #run(request: KernelRequest, id: number, ear: Ear, signal: AbortSignal): Promise<Answer> {
    switch (request.op) {
      case 'initialise': {
        const { model, seed, input } = request
        const from = request.from && readVerified(request.from)
        return {
          weights: this.#write(id, 'weights', from ? restart(model, from, input) : initialise(model, seed, input)),
        }
      }
      case 'round':
      case 'sync': {
        const { compiled } = await this.#compiled(request.model, request.data.pipeline.input)
        const state = request.optimizerState && readVerified(request.optimizerState)
        const dataset = openDataset(request.data, this.#chunks)
        const onStep = progressSender(id)
        const given = [compiled, readVerified(request.weights), state, dataset, request.settings] as const
        const result =
          request.op === 'round'
            ? await trainRound(...given, { signal, onStep })
            : await trainTogether(...given, exchangeOf(request.member, id, ear), { signal, onStep })
        const { metrics, kernelMs, wallMs } = result
        const weights = this.#write(id, 'weights', result.weights)
        return {
          weights,
          optimizerState: this.#write(id, 'optimizer', result.optimizerState),
          metrics,
          kernelMs,
          wallMs,
        }
      }
      case 'evaluate': {
        const { compiled } = await this.#compiled(request.model, request.data.pipeline.input)
        const dataset = openDataset(request.data, this.#chunks)
        const onBatch = throttled(() => send({ type: 'alive', id, rssBytes: process.memoryUsage.rss() }))
        return await evaluateSlice(compiled, readVerified(request.weights), dataset, request, { signal, onBatch })
      }
      case 'map': {
        // Not at the head: a kernel that trains has no use for gpu.js.
        const [{ GPU_MODES, mapChunk }, { inputOf }] = await Promise.all([
          import('./gpujs/map.ts'),
          import('./gpujs/request.ts'),
        ])
        const readers = { bytes: readVerified, dataset: (slice: DatasetSlice) => openDataset(slice, this.#chunks) }
        const inputs = request.inputs.map((input) => inputOf(input, readers))
        const mode = GPU_MODES[this.#backend.name]
        const onStrip = throttled(() => send({ type: 'alive', id, rssBytes: process.memoryUsage.rss() }))
        const values = await mapChunk(mode, request.settings, inputs, { signal, onStrip })
        return { chunk: this.#write(id, 'chunk', new Uint8Array(values.buffer)), mode }
      }
      case 'predict': {
        const { model, weights, rows, pipeline } = request
        return await predictRows(await this.#holding(model, pipeline.input, weights), rows, pipeline, { signal })
      }
      case 'predictSplit': {
        const { model, weights, data, start, format } = request
        const compiled = await this.#holding(model, data.pipeline.input, weights)
        const dataset = openDataset(data, this.#chunks)
        const onBatch = throttled(() => send({ type: 'alive', id, rssBytes: process.memoryUsage.rss() }))
        const { rows, values } = await predictSplit(compiled, dataset, request, { signal, onBatch })
        const bytes =
          format === 'npy'
            ? new Uint8Array(values.buffer)
            : new TextEncoder().encode(predictionLines(format, dataset.target, { start, rows, values }))
        return { chunk: this.#write(id, 'chunk', bytes) }
      }
      default:
        throw new KernelError(
          'request.invalid',
          `Unknown kernel request ${JSON.stringify((request as { op?: unknown }).op)}`,
        )
    }
  }

  /** The model, built, with these weights in it. */
  async #holding(model: ModelTopology, input: FeatureSpec, weights: BlobFile): Promise<CompiledModel> {
    const entry = await this.#compiled(model, input, weights.sha256)
    if (entry.holds === null) writeWeights(entry.compiled, readVerified(weights))
    entry.holds = weights.sha256
    return entry.compiled
  }

  /** The model, built; with these weights in it already where an earlier request has put them there. */
  async #compiled(model: ModelTopology, input: FeatureSpec, weights?: string): Promise<WarmModel> {
    const key = JSON.stringify([model, input])
    let warm = this.#models.get(key)
    this.#models.delete(key)
    warm ??= { compiled: await compileModel(this.#backend, model, input), holds: null }
    if (warm.holds !== weights) warm.holds = null
    this.#models.set(key, warm)
    for (const [oldest, { compiled }] of this.#models) {
      if (this.#models.size <= MODELS_KEPT) break
      compiled.dispose()
      this.#models.delete(oldest)
    }
    return warm
  }

  #write(id: number, kind: string, bytes: Uint8Array): OutputFile {
    // The process id keeps apart what a slot's earlier process may have left.
    const path = join(this.#scratchDir, `${process.pid}-${id}-${kind}`)
    writeFileSync(path, bytes)
    return { path, sha256: sha256(bytes), sizeBytes: bytes.byteLength }
  }
}

/** What others said and nobody has taken yet. */
class Ear {
  #messages: SyncMessage[] = []
  #wake: (() => void) | undefined

  hear(message: SyncMessage): void {
    this.#messages.push(message)
    this.#wake?.()
  }

  take(): SyncMessage[] {
    const messages = this.#messages
    this.#messages = []
    return messages
  }

  async wait(ms: number): Promise<void> {
    if (this.#messages.length > 0) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.#wake = undefined
  }
}

function exchangeOf(member: string, id: number, ear: Ear): Exchange {
  return {
    member,
    tell: (message) => send({ type: 'tell', id, message }),
    heard: () => ear.take(),
    wait: (ms) => ear.wait(ms),
  }
}

/** Reads a blob whole and believes it only when its hash is its name. */
function readVerified({ path, sha256: expected }: BlobFile): Uint8Array {
  let bytes: Uint8Array
  try {
    bytes = readFileSync(path)
  } catch (error) {
    throw new KernelError(
      'blob.missing',
      `Cannot read blob ${expected}: ${error instanceof Error ? error.message : String(error)}`,
      { sha256: expected, path },
      error,
    )
  }
  const found = sha256(bytes)
  if (found === expected) return bytes
  throw new KernelError('blob.corrupt', `Blob ${expected} is corrupt: its ${bytes.byteLength} bytes hash to ${found}`, {
    sha256: expected,
    found,
    path,
  })
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** Sums steps up and reports a few times a second: the channel is not for every step. */
function progressSender(id: number): (report: StepReport) => void {
  let [loss, correct, rows, steps, examples, sentAt] = [0, 0, 0, 0, 0, performance.now()]
  return (report) => {
    loss += report.loss
    correct += report.correct ?? 0
    rows += report.rows
    examples += report.rows
    steps += 1
    const now = performance.now()
    if (now - sentAt < PROGRESS_INTERVAL_MS && report.step < report.steps) return
    const accuracy = report.correct === undefined ? {} : { accuracy: correct / rows }
    send({
      type: 'progress',
      id,
      rssBytes: process.memoryUsage.rss(),
      progress: { step: report.step, steps: report.steps, loss: loss / steps, ...accuracy, examples },
    })
    ;[loss, correct, rows, steps, sentAt] = [0, 0, 0, 0, now]
  }
}

function throttled(action: () => void): () => void {
  let ranAt = performance.now()
  return () => {
    const now = performance.now()
    if (now - ranAt < PROGRESS_INTERVAL_MS) return
    ranAt = now
    action()
  }
}

function send(message: FromKernel): void {
  // Without a channel the parent is gone, and 'disconnect' ends this process.
  if (process.connected) process.send?.(message)
}
