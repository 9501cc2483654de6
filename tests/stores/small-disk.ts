/** A disk that is really full: a small tmpfs, which only root may mount. Elsewhere the test is skipped, and says so. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { onTestFinished, type TestContext } from 'vitest'

const run = promisify(execFile)

export interface SmallDisk {
  readonly folder: string
  /** Leaves no room for another byte. */
  fill(): Promise<void>
  /** Takes back what `fill` took. */
  empty(): Promise<void>
}

export async function smallDisk(context: TestContext, sizeBytes: number): Promise<SmallDisk> {
  const folder = await mkdtemp(join(tmpdir(), 'tf-disk-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${sizeBytes}`, 'tmpfs', folder])
  } catch (error) {
    // With CI=true a skip for a missing part is a failure.
    if (process.env['CI'] === 'true') throw error
    context.skip('a full disk needs a small tmpfs, and mounting one needs root on Linux')
  }
  onTestFinished(async () => {
    await run('umount', ['--lazy', folder])
  })
  const ballast = join(folder, 'ballast')
  return {
    folder,
    fill: async () => {
      await writeFile(ballast, new Uint8Array(sizeBytes)).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOSPC') throw error // it fills until it fails
      })
    },
    empty: () => rm(ballast),
  }
}
