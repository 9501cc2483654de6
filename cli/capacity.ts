/**
 * How much a worker offers: slots by cores, memory and devices, and the memory that each of its kernels may take before
 * it counts as leaking. And how busy the host's GPUs are, told to the worker's actor as long as it lives.
 */
import { availableParallelism, totalmem } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { GpuReading } from '../kernels/mod.ts'

export interface Host {
  readonly cores: number
  readonly memoryBytes: number
  /** Whether what computes is a GPU: there is one, and kernels beside each other on it only wait for each other. */
  readonly isGpu: boolean
}

const GIB = 1024 ** 3
/** What a kernel needs to train models of the size that is meant here. */
const SLOT_BYTES = 1.5 * GIB
/** Left to the system, to the worker itself, and to whatever else runs here. */
const RESERVED = 0.1

export function slotsOf({ cores, memoryBytes, isGpu }: Host): number {
  if (isGpu) return 1
  return Math.max(1, Math.min(cores, Math.floor((memoryBytes * (1 - RESERVED)) / SLOT_BYTES)))
}

export function memoryLimitOf({ memoryBytes }: Host, slots: number): number {
  return Math.floor((memoryBytes * (1 - RESERVED)) / slots)
}

/** A container's limits count, not the machine's. */
export function thisHost(isGpu: boolean): Host {
  const limit = process.constrainedMemory()
  const memoryBytes = limit > 0 && limit < totalmem() ? limit : totalmem()
  return { cores: availableParallelism(), memoryBytes, isGpu }
}

const LOOK_EVERY_MS = 10_000

/** Calls `tell` with each reading that differs from the one before, until the signal aborts. */
export async function watchGpus(
  read: () => Promise<GpuReading[] | undefined>,
  tell: (gpus: GpuReading[]) => Promise<unknown>,
  signal: AbortSignal,
): Promise<void> {
  let told = ''
  while (!signal.aborted) {
    const gpus = await read()
    if (gpus === undefined) return // no tool, now or later
    const text = JSON.stringify(gpus)
    if (text !== told) await tell(gpus)
    told = text
    await sleep(LOOK_EVERY_MS, undefined, { signal, ref: false }).catch(() => {}) // aborted: the loop ends
  }
}
