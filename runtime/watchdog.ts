/**
 * The watchdog of a process: a thread that sees its event loop beat, and ends the process when it has stood still for too
 * long. A transition in an endless loop stops everything of its node: it loses its leases, others go on and find the message
 * that did it (`care.ts`), but the process itself would stay, with its memory and a core, and nobody would start it anew.
 *
 * Invariants:
 * W1. A process that was frozen, or a machine that slept, is not stuck: only what the thread itself has seen counts, and it
 *     was frozen too.
 * W2. A process that is being debugged may stand still.
 */
import { url as debuggerUrl } from 'node:inspector'
import { Worker } from 'node:worker_threads'

/** Beats within the time after which a process is stuck. */
export const BEATS = 10

/** What both threads see: how often the event loop has beaten, and whether somebody debugs it. */
export const BEAT = 0
export const DEBUGGED = 1

export interface WatchdogData {
  readonly shared: SharedArrayBuffer
  readonly name: string
  readonly stuckMs: number
}

export class Watchdog {
  readonly #thread: Worker
  readonly #heart: NodeJS.Timeout

  /** `name`: of whom the last words speak. */
  constructor(name: string, stuckMs: number) {
    const shared = new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT)
    const seen = new Int32Array(shared)
    this.#heart = setInterval(() => {
      Atomics.store(seen, DEBUGGED, debuggerUrl() === undefined ? 0 : 1)
      Atomics.add(seen, BEAT, 1)
    }, stuckMs / BEATS)
    this.#heart.unref()
    this.#thread = new Worker(new URL('./watchdog-thread.ts', import.meta.url), {
      workerData: { shared, name, stuckMs } satisfies WatchdogData,
      resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 },
    })
    this.#thread.unref()
    this.#thread.on('error', () => {}) // nobody watches then: no reason to end
  }

  async stop(): Promise<void> {
    clearInterval(this.#heart)
    await this.#thread.terminate()
  }
}
