/** A disk that lies, and a disk that is full: the job ends with a sentence that helps, and nothing is half done. */
import { execFile } from 'node:child_process'
import { open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { tinyJob } from '../harness/jobs.ts'
import { ProcessFleet, temporaryFolder } from '../harness/processes.ts'
import { smallDisk } from '../stores/small-disk.ts'

const run = promisify(execFile)
const LIMIT_MS = 180_000

test(
  'a data file that went bad fails the job that needs it, by name, and is not tried for ever',
  { timeout: LIMIT_MS },
  async () => {
    await using folder = await temporaryFolder()
    await using first = await ProcessFleet.start({ folder: folder.path })
    await first.untilEnded(await first.submit(tinyJob)) // brings the dataset in
    await first.interrupt()
    await using fleet = await ProcessFleet.start({ folder: folder.path })
    const sha256 = await damageLargestBlob(folder.path)
    const id = await fleet.submit(tinyJob)
    const job = await fleet.untilEnded(id)
    expect(job).toMatchObject({ state: 'failed', error: { code: 'dataset.damaged' } })
    expect(job.error?.message).toMatch(new RegExp(`^Dataset mnist@1 is damaged: .*${sha256}`))
    const attempts = (await fleet.logs(id)).filter(({ level }) => level === 'error')
    expect(attempts.length).toBeGreaterThan(0)
    expect(attempts.length).toBeLessThanOrEqual(tinyJob.train.replicas)
  },
)

test(
  'a full disk refuses the job that would bring its data in, says what is missing, and with more room the same job runs',
  { timeout: LIMIT_MS },
  async (context) => {
    // Redis and the documents fit, the 55 MB of MNIST do not.
    const disk = await smallDisk(context, 40_000_000)
    await using fleet = await ProcessFleet.start({ folder: disk.folder })
    await expect(fleet.submit(tinyJob)).rejects.toThrow(new RegExp(`${disk.folder}.*its disk is full`))
    expect(await readdir(join(disk.folder, 'blobs', 'incoming'))).toEqual([])
    await run('mount', ['-o', 'remount,size=400m', disk.folder])
    expect(await fleet.untilEnded(await fleet.submit(tinyJob))).toMatchObject({ state: 'completed' })
  },
)

/** Changes one byte in the middle of it. Returns its name. */
async function damageLargestBlob(folder: string): Promise<string> {
  const root = join(folder, 'blobs')
  const names = (await readdir(root, { recursive: true })).filter((name) => /[0-9a-f]{64}$/.test(name))
  const sizes = await Promise.all(names.map(async (name) => ({ name, size: (await stat(join(root, name))).size })))
  const largest = sizes.toSorted((a, b) => b.size - a.size)[0]
  if (largest === undefined) throw new Error(`No blobs in ${root}`)
  await using file = await open(join(root, largest.name), 'r+')
  const at = Math.floor(largest.size / 2)
  const byte = new Uint8Array(1)
  await file.read(byte, 0, 1, at)
  await file.write(
    byte.map((value) => value ^ 0xff),
    0,
    1,
    at,
  )
  return largest.name.slice(-64)
}
