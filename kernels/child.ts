/**
 * The kernel process: forked by `KernelProcess`, it computes one request after another and nothing else. It has no
 * network, sees only the folders that its parent named, and ends when its parent does.
 *
 * Between requests it keeps what is costly to make and safe to keep: verified shards and built models. A request's
 * result does not depend on what was kept (`round.ts`, invariant 1).
 */
import { closeDoors } from './sandbox.ts'

closeDoors()

// Everything else is loaded behind closed doors.
const { serveKernel } = await import('./serve.ts')
await serveKernel(process.argv[2] ?? 'auto', process.argv[3] ?? '.')
