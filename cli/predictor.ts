/**
 * Predictions for the gateway: one kernel process beside the node, started at the first request, that keeps the models
 * it has seen. Requests take turns; training is never in their way, nor they in its.
 */
import { mkdir } from 'node:fs/promises'
import { KernelProcess } from '../kernels/mod.ts'
import type { ModelTopology, Pipeline } from '../kernels/mod.ts'
import type { Services } from '../gateway/services.ts'
import type { Blobs } from '../stores/mod.ts'

export class Predictor {
  readonly #blobs: Blobs
  readonly #cacheDir: string
  readonly #kernel: KernelProcess
  #turn: Promise<unknown> = Promise.resolve()

  constructor(blobs: Blobs, folders: { readonly cacheDir: string; readonly scratchDir: string }) {
    this.#blobs = blobs
    this.#cacheDir = folders.cacheDir
    this.#kernel = new KernelProcess({ backend: 'auto', ...folders })
  }

  readonly predict: Services['predict'] = async (model, rows, signal) => {
    const mine = this.#turn.then(() => this.#predict(model, rows, signal))
    this.#turn = mine.catch(() => {}) // whoever asked hears of it; the next in turn need not
    return mine
  }

  stop(): Promise<void> {
    return this.#kernel.stop()
  }

  async #predict(...[model, rows, signal]: Parameters<Services['predict']>): ReturnType<Services['predict']> {
    signal.throwIfAborted()
    await mkdir(this.#cacheDir, { recursive: true })
    const { sha256 } = model.weights
    const path = await this.#blobs.materialise(sha256, this.#cacheDir)
    const [topology, pipeline] = await Promise.all([
      this.#json(model.topology.sha256),
      this.#json(model.pipeline.sha256),
    ])
    return this.#kernel.run(
      {
        op: 'predict',
        // The registry's blobs were checked and made before training.
        model: topology as ModelTopology,
        pipeline: pipeline as Pipeline,
        weights: { sha256, path },
        rows,
      },
      { signal },
    )
  }

  async #json(sha256: string): Promise<unknown> {
    return JSON.parse(new TextDecoder().decode(await this.#blobs.bytes(sha256)))
  }
}
