/**
 * What a host has: each back end is started in a kernel process of its own, as a worker would, and says what it is or
 * why it is not there.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BACKENDS } from './backend.ts'
import type { BackendName } from './backend.ts'
import { KernelError } from './errors.ts'
import { KernelProcess } from './process.ts'
import type { KernelInfo } from './process.ts'

export type HostBackend =
  | ({ name: BackendName; isThere: true } & Omit<KernelInfo, 'pid' | 'backend'>)
  | { name: BackendName; isThere: false; reason: string }

/** By preference. One after the other: a GPU is not asked by two at once. */
export async function hostBackends(backendsDir: string): Promise<HostBackend[]> {
  const folder = await mkdtemp(join(tmpdir(), 'tensorfleet-backends-'))
  try {
    const found: HostBackend[] = []
    for (const name of BACKENDS) found.push(await tryBackend(name, folder, backendsDir))
    return found
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function tryBackend(name: BackendName, folder: string, backendsDir: string): Promise<HostBackend> {
  await using kernel = new KernelProcess({ backend: name, cacheDir: folder, scratchDir: folder, backendsDir })
  try {
    const { pid: _pid, backend: _backend, ...what } = await kernel.start()
    return { name, isThere: true, ...what }
  } catch (error) {
    return { name, isThere: false, reason: KernelError.from(error).message }
  }
}
