/**
 * The kernel process: forked by `KernelProcess`, it computes one request after another and nothing else. It has no
 * network, sees only the folders that its parent named, and ends when its parent does.
 *
 * Between requests it keeps what is costly to make and safe to keep: verified shards and built models. A request's
 * result does not depend on what was kept (`round.ts`, invariant 1).
 */
import type { ChildSettings } from './launch.ts'
import { closeDoors } from './sandbox.ts'

const { backend, native, scratchDir, backendsDir } = JSON.parse(process.argv[2] ?? '') as ChildSettings // our parent's

// Everything is loaded behind closed doors, but for the machine code of a native back end, which cannot be.
if (!native) closeDoors()
const { loadBackend } = await import('./backend.ts')
const loaded = loadBackend(backend, { backendsDir })
await loaded.catch(() => {}) // the server says it
closeDoors()
const { serveKernel } = await import('./serve.ts')
await serveKernel(async () => await (await loaded)(), scratchDir)
