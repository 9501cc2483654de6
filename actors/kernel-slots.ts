/**
 * A worker's kernels: one process per slot, lent to one task at a time. A task whose predecessor is still being stopped
 * waits here for its slot; the chart lets no more tasks in than there are slots.
 */
import type { KernelProcess } from '../kernels/mod.ts'
import type { Opened } from '../machines/worker.ts'
import { FleetError } from './errors.ts'

export type Kernel = Pick<KernelProcess, 'start' | 'run' | 'hear' | 'stop'>

export class KernelSlots {
  readonly #make: (slot: number) => Kernel
  readonly #kernels: Kernel[] = []
  readonly #free: Kernel[] = []
  readonly #waiting: ((kernel: Kernel) => void)[] = []

  constructor(make: (slot: number) => Kernel) {
    this.#make = make
  }

  /** Starts the kernels. All of them must be alike: a job's results must not depend on the slot. */
  async open(count: number): Promise<Opened> {
    while (this.#kernels.length < count) {
      const kernel = this.#make(this.#kernels.length)
      this.#kernels.push(kernel)
      this.#give(kernel)
    }
    const infos = await Promise.all(this.#kernels.map((kernel) => kernel.start()))
    const fingerprints = [...new Set(infos.map(({ fingerprint }) => fingerprint))]
    const [first] = infos
    if (first === undefined || fingerprints.length > 1) {
      throw new FleetError(
        'worker.backends-differ',
        `The ${count} kernels of this worker compute differently: ${fingerprints.join(', ')}`,
        { fingerprints },
      )
    }
    const { backend, fingerprint, device } = first
    return { backend, fingerprint, gpus: device?.isHardware === true ? [{ name: device.name }] : [] }
  }

  /** Runs `use` with a kernel that nobody else has. */
  async with<Result>(signal: AbortSignal, use: (kernel: Kernel) => Promise<Result>): Promise<Result> {
    const kernel = await this.#take(signal)
    try {
      return await use(kernel)
    } finally {
      this.#give(kernel)
    }
  }

  #take(signal: AbortSignal): Promise<Kernel> {
    signal.throwIfAborted()
    const free = this.#free.shift()
    if (free !== undefined) return Promise.resolve(free)
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(take), 1)
        reject(signal.reason as Error) // what an AbortSignal rejects with is its reason, by its contract
      }
      const take = (kernel: Kernel): void => {
        signal.removeEventListener('abort', abort)
        resolve(kernel)
      }
      this.#waiting.push(take)
      signal.addEventListener('abort', abort, { once: true })
    })
  }

  #give(kernel: Kernel): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free.push(kernel)
    else next(kernel)
  }
}
