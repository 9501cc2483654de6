/** Blobs in a folder: the contract, and what only a real disk and a real crash can show. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { openFileSystemBlobs, sha256Of, STORE_LIMITS } from '../../stores/mod.ts'
import { blobsContract, randomBytes } from '../contracts/blobs.ts'
import { smallDisk } from './small-disk.ts'

blobsContract('file system', async () => {
  const root = await mkdtemp(join(tmpdir(), 'tf-blobs-'))
  return {
    blobs: await openFileSystemBlobs(root),
    damage: (sha256) => flipOneByte(join(root, sha256.slice(0, 2), sha256)),
    remove: () => rm(root, { recursive: true }),
  }
})

describe('blobs in a folder', () => {
  test('a cache on the same file system is a link and takes no space of its own', async () => {
    const root = await temporaryFolder()
    const blobs = await openFileSystemBlobs(join(root, 'blobs'))
    const { sha256 } = await blobs.put(randomBytes(1000))
    const path = await blobs.materialise(sha256, join(root, 'cache'))
    const original = await stat(join(root, 'blobs', sha256.slice(0, 2), sha256))
    expect((await stat(path)).ino).toBe(original.ino)
    expect(await readdir(join(root, 'cache'))).toEqual([sha256])
  })

  test('what is put while the old copy of it is deleted is there afterwards', async () => {
    const root = await temporaryFolder()
    const blobs = await openFileSystemBlobs(root)
    const content = randomBytes(1000)
    const hourAgoMs = Date.now() - 3_600_000
    for (let round = 0; round < 100; round++) {
      const { sha256 } = await blobs.put(content)
      const yesterday = new Date(hourAgoMs - 24 * 3_600_000)
      await utimes(join(root, sha256.slice(0, 2), sha256), yesterday, yesterday)
      await Promise.all([blobs.put(content), blobs.delete(sha256, { storedBeforeMs: hourAgoMs })])
      expect(await blobs.bytes(sha256)).toEqual(content)
    }
  })

  test('a cache on another file system is a verified copy', async (context) => {
    const disk = await smallDisk(context, 1024 * 1024)
    const root = await temporaryFolder()
    const blobs = await openFileSystemBlobs(root)
    const content = randomBytes(100_000)
    const { sha256 } = await blobs.put(content)
    const path = await blobs.materialise(sha256, disk.folder)
    expect(await readFile(path)).toEqual(Buffer.from(content))
    expect((await stat(path)).mode & 0o222).toBe(0)
    await rm(path)
    await flipOneByte(join(root, sha256.slice(0, 2), sha256))
    await expect(blobs.materialise(sha256, disk.folder)).rejects.toMatchObject({ code: 'blob.corrupt' })
    expect(await readdir(disk.folder)).toEqual([])
  })

  test('a full disk is a clear error that names folder, need and room, and leaves nothing half written', async (context) => {
    const disk = await smallDisk(context, 512 * 1024)
    const blobs = await openFileSystemBlobs(disk.folder)
    const small = await blobs.put(randomBytes(10))
    const expected = {
      code: 'store.full',
      remedy: 'retry-elsewhere',
      message: expect.stringContaining(disk.folder),
    }
    // Known to be too large, so refused before anything is written.
    await expect(blobs.put(randomBytes(600_000))).rejects.toMatchObject({
      ...expected,
      data: { folder: disk.folder, neededBytes: 600_000, freeBytes: expect.any(Number) },
    })
    // Of unknown length: the disk fills while it is written.
    await expect(blobs.put(new Blob([randomBytes(600_000)]).stream())).rejects.toMatchObject({
      ...expected,
      data: { folder: disk.folder, neededBytes: expect.any(Number), freeBytes: expect.any(Number) },
    })
    expect(await readdir(join(disk.folder, 'incoming'))).toEqual([])
    expect(await Array.fromAsync(blobs.list())).toHaveLength(1)
    expect(await blobs.has(small.sha256)).toBe(true)
    // There is room again for what fits: the failures gave back what they took.
    await blobs.put(randomBytes(200_000))
  })

  test('a full disk of a cache is named too', async (context) => {
    const disk = await smallDisk(context, 64 * 1024)
    const blobs = await openFileSystemBlobs(await temporaryFolder())
    const { sha256 } = await blobs.put(randomBytes(100_000))
    await expect(blobs.materialise(sha256, disk.folder)).rejects.toMatchObject({
      code: 'store.full',
      data: { folder: disk.folder, neededBytes: 100_000 },
    })
    expect(await readdir(disk.folder)).toEqual([])
  })

  test('a process killed in the middle of a put leaves no blob, and its leftover is swept when it is old', async () => {
    const root = await temporaryFolder()
    const program = `
      import { openFileSystemBlobs } from ${JSON.stringify(import.meta.resolve('../../stores/mod.ts'))}
      const blobs = await openFileSystemBlobs(${JSON.stringify(root)})
      async function* endless() {
        yield new Uint8Array(100000)
        process.stdout.write('writing')
        yield new Uint8Array(100000)
        await new Promise(() => setInterval(() => {}, 1000))
      }
      await blobs.put(endless())
    `
    const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(child.stdout, 'data')
    child.kill('SIGKILL')
    await once(child, 'exit')
    const young = await openFileSystemBlobs(root)
    const leftovers = await readdir(join(root, 'incoming'))
    expect(leftovers).toHaveLength(1) // it could be a living process's: its age will tell
    expect(await Array.fromAsync(young.list())).toEqual([])
    const longAgo = new Date(Date.now() - STORE_LIMITS.leftoverMs - 1000)
    await utimes(join(root, 'incoming', leftovers[0] ?? ''), longAgo, longAgo)
    await openFileSystemBlobs(root)
    expect(await readdir(join(root, 'incoming'))).toEqual([])
  })

  test('says that it may not use a place that is no folder', async () => {
    const path = join(await temporaryFolder(), 'file')
    await writeFile(path, '')
    await expect(openFileSystemBlobs(path)).rejects.toMatchObject({ name: 'StoreError', data: { place: path } })
  })

  test('a file that is no blob of ours is neither listed nor in the way', async () => {
    const root = await temporaryFolder()
    const blobs = await openFileSystemBlobs(root)
    const { sha256 } = await blobs.put(randomBytes(1))
    await writeFile(join(root, 'README'), 'x')
    await writeFile(join(root, sha256.slice(0, 2), `${sha256}.bak`), 'x')
    expect(await Array.fromAsync(blobs.list())).toHaveLength(1)
  })

  test('knows the hash of nothing', () => {
    // FIPS 180-4's empty message.
    expect(sha256Of(new Uint8Array())).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
  })
})

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tf-blobs-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  return folder
}

async function flipOneByte(path: string): Promise<void> {
  const bytes = await readFile(path)
  const middle = Math.floor(bytes.byteLength / 2)
  bytes[middle] = (bytes[middle] ?? 0) ^ 1
  await chmod(path, 0o644)
  await writeFile(path, bytes)
  await chmod(path, 0o444)
}
