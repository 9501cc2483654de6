/**
 * A back end: where tensor operations run. A driver (`backends/`) says whether the host has it and brings what tfjs
 * lacks there; this file chooses and starts one, once per process, and takes its numerics fingerprint.
 *
 * Starting has two halves, since a kernel process may run machine code only before its doors close (`sandbox.ts`): a
 * native driver's `load` brings its add-on in, `start` computes with it.
 *
 * Two processes with one fingerprint give bit-equal gradients. Results of different fingerprints are close and not
 * equal, so a job admits workers of one fingerprint only.
 */
import { createHash } from 'node:crypto'
import { KernelError } from './errors.ts'
import { probeGradients } from './probe.ts'
import { loadTfjs } from './tfjs.ts'
import type { Tf, TfLayers } from './tfjs.ts'

/** By preference: the first that a host has is `auto`, but for software that only pretends to be a GPU. */
export const BACKENDS = ['tensorflow-gpu', 'tensorflow', 'webgpu', 'wasm', 'cpu', 'webgpu-software'] as const
export type BackendName = (typeof BACKENDS)[number]
export type BackendChoice = BackendName | 'auto'

/** What a driver says about how it computes; everything that can change a bit of a result belongs here. */
export interface BackendTraits {
  /** Raised whenever our own kernels of this back end change what they compute. */
  kernelVersion: number
  simd: boolean
  threads: number
  /** What computes, where that is not tfjs itself: a library's version and flags, a GPU and its driver. */
  engine?: string
  device?: Device
}

/** A GPU that a back end computes on. */
export interface Device {
  name: string
  /** False for software that only pretends to be one. */
  isHardware: boolean
}

export interface BackendDriver {
  name: BackendName
  /** What tfjs calls it. */
  tfName: string
  /** Loads machine code, from where `tensorfleet backends install` put it or from a package. */
  load?(place: BackendPlace): Promise<void>
  /** Registers and selects the back end in tfjs; throws a KernelError where the host does not have it. */
  start(tf: Tf): Promise<BackendTraits>
}

export interface BackendPlace {
  /** Where `tensorfleet backends install` puts back ends; a folder each. */
  backendsDir: string | undefined
}

export interface Backend {
  name: BackendName
  /** What tfjs calls it. */
  tfName: string
  tf: Tf
  layers: TfLayers
  traits: BackendTraits
  /** For example `wasm-4.22.0-1f0c22a7d9e4b3aa`. */
  fingerprint: string
}

const DRIVERS: Record<BackendName, () => Promise<BackendDriver>> = {
  'tensorflow-gpu': async () => (await import('./backends/tensorflow.ts')).tensorflowGpuBackend,
  tensorflow: async () => (await import('./backends/tensorflow.ts')).tensorflowBackend,
  webgpu: async () => (await import('./backends/webgpu.ts')).webgpuBackend,
  wasm: async () => (await import('./backends/wasm.ts')).wasmBackend,
  cpu: async () => (await import('./backends/cpu.ts')).cpuBackend,
  'webgpu-software': async () => (await import('./backends/webgpu.ts')).softwareGpuBackend,
}

/** Both halves at once, for a process that closes no doors. */
export async function startBackend(choice: BackendChoice, place: BackendPlace = nowhere): Promise<Backend> {
  const candidates = choice === 'auto' ? BACKENDS.filter((name) => name !== 'webgpu-software') : [choice]
  const failures: string[] = []
  for (const name of candidates) {
    try {
      return await (
        await loadBackend(name, place)
      )()
    } catch (error) {
      if (error instanceof KernelError && error.code === 'request.invalid') throw error
      failures.push(`${name}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  throw new KernelError('backend.unavailable', `Cannot start a compute back end (${failures.join('; ')})`, {
    choice,
    failures,
  })
}

/** The first half: brings in what the back end needs. What it returns is the second, which starts it. */
export async function loadBackend(name: BackendName, place: BackendPlace): Promise<() => Promise<Backend>> {
  const open = DRIVERS[name]
  if (!open) {
    throw new KernelError(
      'request.invalid',
      `Unknown back end ${JSON.stringify(name)}; known: auto, ${BACKENDS.join(', ')}`,
    )
  }
  const driver = await open()
  const { tf, layers } = await loadTfjs()
  await driver.load?.(place)
  return async () => {
    const traits = await driver.start(tf)
    const { tfName } = driver
    return { name, tfName, tf, layers, traits, fingerprint: await fingerprint(name, tf, traits) }
  }
}

/** Raised whenever what all back ends compute in a step changes: layers (`linear.ts`), losses (`loss.ts`). */
const STEP = 2

const nowhere: BackendPlace = { backendsDir: undefined }

async function fingerprint(name: BackendName, tf: Tf, traits: BackendTraits): Promise<string> {
  const hash = createHash('sha256')
  // WebAssembly's arithmetic is fixed by its specification and V8's Math by its version: both are in, with a probe
  // that would notice what this list forgets.
  const v8 = process.versions.v8.split('.').slice(0, 2).join('.')
  const { kernelVersion, simd, threads, engine = '' } = traits
  hash.update(JSON.stringify([name, tf.version_core, STEP, kernelVersion, simd, threads, engine, process.arch, v8]))
  for (const values of await probeGradients(tf))
    hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
  return `${name}-${tf.version_core}-${hash.digest('hex').slice(0, 16)}`
}
