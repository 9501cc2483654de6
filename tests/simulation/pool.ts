/** Threads that run simulations side by side. */
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { MutationName } from './mutations.ts'
import type { Reduction } from './scenario.ts'
import type { RunResult } from './simulator.ts'

export interface Job {
  readonly seed: number
  readonly reduction: Reduction
  readonly traced: boolean
}

export interface Summary {
  readonly seeds: number
  readonly faults: number
  /** Seeds that violated something. */
  readonly violations: number
  readonly seen: Readonly<Record<string, number>>
  readonly virtualMs: number
  readonly failures: readonly RunResult[]
}

export class Pool {
  readonly #workers: readonly Worker[]
  readonly #idle: Worker[]
  readonly #waiting: ((worker: Worker) => void)[] = []

  constructor(options: { readonly mutation?: MutationName | null; readonly threads?: number } = {}) {
    const workerData = { mutation: options.mutation ?? null }
    const threads = options.threads ?? Math.min(8, availableParallelism())
    const url = new URL('./worker.ts', import.meta.url)
    this.#workers = Array.from({ length: threads }, () => new Worker(url, { workerData, execArgv: [] }))
    this.#idle = [...this.#workers]
  }

  get threads(): number {
    return this.#workers.length
  }

  async run(seed: number, reduction: Reduction = {}, traced = false): Promise<RunResult> {
    const worker = this.#idle.pop() ?? (await new Promise<Worker>((resolve) => this.#waiting.push(resolve)))
    try {
      return await new Promise<RunResult>((resolve, reject) => {
        const failed = (error: Error): void => reject(error)
        worker.once('error', failed)
        worker.once('message', (result: RunResult) => {
          worker.off('error', failed)
          resolve(result)
        })
        const job: Job = { seed, reduction, traced }
        // eslint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
        worker.postMessage(job)
      })
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#idle.push(worker)
      else next(worker)
    }
  }

  /** Runs seeds from `first` on. Stops early when `enough` says so after a result. */
  async runAll(first: number, count: number, enough: (summary: Summary) => boolean = () => false): Promise<Summary> {
    const failures: RunResult[] = []
    const seen: Record<string, number> = {}
    let summary: Summary = { seeds: 0, faults: 0, violations: 0, seen, virtualMs: 0, failures }
    let next = first
    let over = false
    const lane = async (): Promise<void> => {
      while (next < first + count && !over) {
        const result = await this.run(next++)
        if (result.violations.length > 0) failures.push(result)
        for (const [what, count] of Object.entries(result.seen)) seen[what] = (seen[what] ?? 0) + count
        summary = {
          seeds: summary.seeds + 1,
          faults: summary.faults + result.faults.length,
          violations: failures.length,
          seen,
          virtualMs: summary.virtualMs + result.virtualMs,
          failures,
        }
        over ||= enough(summary)
      }
    }
    await Promise.all(Array.from({ length: this.threads }, lane))
    return summary
  }

  async stop(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}
