/**
 * A back end: where tensor operations run. A driver (`backends/`) says whether the host has it and brings what tfjs
 * lacks there; this file chooses and starts one, once per process, and takes its numerics fingerprint.
 *
 * Two processes with one fingerprint give bit-equal gradients. Results of different fingerprints are close and not
 * equal, so a job admits workers of one fingerprint only.
 */
import { createHash } from 'node:crypto'
import { KernelError } from './errors.ts'
import { probeGradients } from './probe.ts'
import { loadTfjs } from './tfjs.ts'
import type { Tf, TfLayers } from './tfjs.ts'

/** By preference: the first that a host has is `auto`. */
export const BACKENDS = ['wasm', 'cpu'] as const
export type BackendName = (typeof BACKENDS)[number]
export type BackendChoice = BackendName | 'auto'

/** What a driver says about how it computes; everything that can change a bit of a result belongs here. */
export interface BackendTraits {
  /** Raised whenever our own kernels of this back end change what they compute. */
  kernelVersion: number
  simd: boolean
  threads: number
}

export interface BackendDriver {
  name: BackendName
  /** Registers and selects the back end in tfjs; throws a KernelError where the host does not have it. */
  start(tf: Tf): Promise<BackendTraits>
}

export interface Backend {
  name: BackendName
  tf: Tf
  layers: TfLayers
  traits: BackendTraits
  /** For example `wasm-4.22.0-1f0c22a7d9e4b3aa`. */
  fingerprint: string
}

const DRIVERS: Record<BackendName, () => Promise<BackendDriver>> = {
  wasm: async () => (await import('./backends/wasm.ts')).wasmBackend,
  cpu: async () => (await import('./backends/cpu.ts')).cpuBackend,
}

export async function startBackend(choice: BackendChoice): Promise<Backend> {
  const candidates = choice === 'auto' ? BACKENDS : [choice]
  const failures: string[] = []
  for (const name of candidates) {
    const open = DRIVERS[name]
    if (!open)
      throw new KernelError(
        'request.invalid',
        `Unknown back end ${JSON.stringify(name)}; known: auto, ${BACKENDS.join(', ')}`,
      )
    const { tf, layers } = await loadTfjs()
    try {
      const driver = await open()
      const traits = await driver.start(tf)
      return { name, tf, layers, traits, fingerprint: await fingerprint(name, tf, traits) }
    } catch (error) {
      failures.push(`${name}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  throw new KernelError('backend.unavailable', `Cannot start a compute back end (${failures.join('; ')})`, {
    choice,
    failures,
  })
}

async function fingerprint(name: BackendName, tf: Tf, traits: BackendTraits): Promise<string> {
  const hash = createHash('sha256')
  // WebAssembly's arithmetic is fixed by its specification and V8's Math by its version: both are in, with a probe
  // that would notice what this list forgets.
  const engine = process.versions.v8.split('.').slice(0, 2).join('.')
  hash.update(
    JSON.stringify([name, tf.version_core, traits.kernelVersion, traits.simd, traits.threads, process.arch, engine]),
  )
  for (const values of await probeGradients(tf))
    hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
  return `${name}-${tf.version_core}-${hash.digest('hex').slice(0, 16)}`
}
