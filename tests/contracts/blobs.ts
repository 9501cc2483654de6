/**
 * What every implementation of `Blobs` promises (stores/blobs.ts), as tests. `open` gives an empty store; `damage`
 * changes one stored byte behind its back, as a failing disk would.
 */
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { sha256Of, type Blobs } from '../../stores/mod.ts'

export interface BlobsUnderTest {
  readonly blobs: Blobs
  readonly damage: (sha256: string) => Promise<void>
  readonly remove: () => Promise<void>
}

export function blobsContract(name: string, open: () => Promise<BlobsUnderTest>): void {
  describe(`blobs: ${name}`, () => {
    let store: BlobsUnderTest
    let blobs: Blobs
    let scratch: string

    beforeEach(async () => {
      store = await open()
      blobs = store.blobs
      scratch = await mkdtemp(join(tmpdir(), 'tf-blobs-scratch-'))
    })
    afterEach(async () => {
      await store.remove()
      await rm(scratch, { recursive: true, force: true })
    })

    const hashesStored = async (): Promise<string[]> => (await Array.fromAsync(blobs.list())).map((info) => info.sha256)

    test('what was put comes back, whole and in any range', async () => {
      const law = fc.asyncProperty(
        fc.uint8Array({ maxLength: 5000 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        async (content, from, part) => {
          const ref = await blobs.put(content)
          expect(ref).toEqual({ sha256: sha256Of(content), sizeBytes: content.byteLength })
          expect(await blobs.bytes(ref.sha256)).toEqual(new Uint8Array(content))
          const offsetBytes = Math.floor(from * content.byteLength)
          const lengthBytes = Math.floor(part * (content.byteLength - offsetBytes))
          const range = await collect(await blobs.get(ref.sha256, { offsetBytes, lengthBytes }))
          expect(range).toEqual(new Uint8Array(content.slice(offsetBytes, offsetBytes + lengthBytes)))
          expect(await collect(await blobs.get(ref.sha256, { offsetBytes }))).toHaveLength(content.length - offsetBytes)
        },
      )
      await fc.assert(law, { numRuns: 20 })
    })

    test('the same bytes have the same name, whether they came from memory, a stream or a file', async () => {
      const content = randomBytes(1_000_000) // several chunks
      const path = join(scratch, 'content')
      await writeFile(path, content)
      const refs = [
        await blobs.put(content),
        await blobs.put(chunksOf(content, 77_777)),
        await blobs.put(new Blob([content]).stream()),
        await blobs.put({ path }),
      ]
      expect(new Set(refs.map((ref) => ref.sha256))).toEqual(new Set([sha256Of(content)]))
      expect(await hashesStored()).toEqual([sha256Of(content)])
      expect(await collect(await blobs.get(sha256Of(content)))).toEqual(content)
    })

    test('many who put the same bytes at once all succeed', async () => {
      const content = randomBytes(100_000)
      await Promise.all(Array.from({ length: 10 }, () => blobs.put(content)))
      expect(await blobs.bytes(sha256Of(content))).toEqual(content)
    })

    test('takes what has the hash that its sender named, and stores nothing of what has another', async () => {
      const content = randomBytes(10)
      await blobs.put(content, { sha256: sha256Of(content) })
      const other = randomBytes(10)
      await expect(blobs.put(other, { sha256: sha256Of(content) })).rejects.toMatchObject({
        code: 'blob.mismatch',
        remedy: 'fix-request',
        data: { expected: sha256Of(content), found: sha256Of(other), sizeBytes: 10 },
      })
      expect(await hashesStored()).toEqual([sha256Of(content)])
    })

    test('a source that fails, is too long or is aborted leaves nothing behind, and its own error comes through', async () => {
      const broken = new Error('the sender hung up')
      await expect(blobs.put(failingAfter(randomBytes(1000), broken))).rejects.toBe(broken)
      await expect(blobs.put(chunksOf(randomBytes(1000), 100), { sizeMaxBytes: 999 })).rejects.toMatchObject({
        code: 'blob.too-large',
      })
      const reason = new Error('changed my mind')
      const signal = AbortSignal.abort(reason)
      await expect(blobs.put(chunksOf(randomBytes(1000), 100), { signal })).rejects.toBe(reason)
      expect(await hashesStored()).toEqual([])
    })

    test('says which file it cannot read', async () => {
      const path = join(scratch, 'nothing-here')
      await expect(blobs.put({ path })).rejects.toMatchObject({ code: 'blob.unreadable-source', data: { path } })
      await expect(blobs.put({ path: scratch })).rejects.toMatchObject({ code: 'blob.unreadable-source' })
    })

    test('a blob that is not there is missing everywhere', async () => {
      const sha256 = sha256Of(randomBytes(10))
      expect(await blobs.has(sha256)).toBe(false)
      expect(await blobs.head(sha256)).toBeUndefined()
      expect(await blobs.delete(sha256)).toBe(false)
      const expected = { code: 'blob.missing', data: { sha256 }, message: expect.stringContaining(sha256) }
      await expect(blobs.get(sha256)).rejects.toMatchObject(expected)
      await expect(blobs.bytes(sha256)).rejects.toMatchObject(expected)
      await expect(blobs.materialise(sha256, scratch)).rejects.toMatchObject(expected)
    })

    test('refuses every id that is not a hash, so that no path can be made of it', async () => {
      const hash = sha256Of(randomBytes(1))
      const ids = ['', '../../etc/passwd', `../${hash}`, hash.toUpperCase(), hash.slice(1), `${hash}\n`, `${hash}/..`]
      for (const id of [...ids, encodeURIComponent('../x'), `${hash.slice(0, 62)}%2`]) {
        const refused = { code: 'blob.bad-id', remedy: 'fix-request' }
        for (const use of [
          () => blobs.get(id),
          () => blobs.bytes(id),
          () => blobs.head(id),
          () => blobs.has(id),
          () => blobs.delete(id),
          () => blobs.materialise(id, scratch),
          () => blobs.put(new Uint8Array(1), { sha256: id }),
        ]) {
          await expect(use()).rejects.toMatchObject(refused)
        }
      }
    })

    test('refuses a range that does not lie within the blob', async () => {
      const { sha256 } = await blobs.put(randomBytes(10))
      const ranges = [
        { offsetBytes: 11 },
        { offsetBytes: -1 },
        { lengthBytes: 11 },
        { offsetBytes: 5, lengthBytes: 6 },
        { offsetBytes: 0.5 },
        { offsetBytes: Number.NaN },
        { offsetBytes: 1, lengthBytes: -1 },
      ]
      for (const range of ranges) {
        await expect(blobs.get(sha256, range)).rejects.toMatchObject({
          code: 'blob.bad-range',
          data: { sizeBytes: 10 },
        })
      }
      expect(await collect(await blobs.get(sha256, { offsetBytes: 10 }))).toHaveLength(0)
    })

    test('a damaged blob is never taken for a good one, and putting the bytes again mends it', async () => {
      const content = randomBytes(600_000)
      const { sha256 } = await blobs.put(content)
      await store.damage(sha256)
      const expected = { code: 'blob.corrupt', data: { sha256 }, message: expect.stringContaining(sha256) }
      await expect(blobs.bytes(sha256)).rejects.toMatchObject(expected)
      await expect(blobs.get(sha256).then(collect)).rejects.toMatchObject(expected)
      await expect(blobs.materialise(sha256, scratch)).rejects.toMatchObject(expected)
      await blobs.put(content)
      expect(await blobs.bytes(sha256)).toEqual(content)
      expect(await readFile(await blobs.materialise(sha256, scratch))).toEqual(Buffer.from(content))
    })

    test('materialises a blob as a read-only file named by its hash, once for all who ask', async () => {
      const content = randomBytes(1000)
      const { sha256 } = await blobs.put(content)
      const folder = join(scratch, 'cache', 'blobs')
      const paths = await Promise.all(Array.from({ length: 5 }, () => blobs.materialise(sha256, folder)))
      expect(new Set(paths)).toEqual(new Set([join(folder, sha256)]))
      expect(await readFile(join(folder, sha256))).toEqual(Buffer.from(content))
      expect((await stat(join(folder, sha256))).mode & 0o222).toBe(0)
    })

    test('a materialised blob outlives the deletion of its original, and so does a stream of it', async () => {
      const content = randomBytes(1_000_000)
      const { sha256 } = await blobs.put(content)
      const path = await blobs.materialise(sha256, scratch)
      const stream = await blobs.get(sha256)
      expect(await blobs.delete(sha256)).toBe(true)
      expect(await blobs.has(sha256)).toBe(false)
      expect(await collect(stream)).toEqual(content)
      expect(await blobs.materialise(sha256, scratch)).toBe(path)
      expect(await readFile(path)).toEqual(Buffer.from(content))
    })

    test('deletes with a bound only what was not stored since, nor stored again', async () => {
      const content = randomBytes(1_000)
      const { sha256 } = await blobs.put(content)
      const { storedAtMs = 0 } = (await blobs.head(sha256)) ?? {}
      expect(await blobs.delete(sha256, { storedBeforeMs: storedAtMs })).toBe(false)
      expect(await blobs.bytes(sha256)).toEqual(content)
      expect(await blobs.delete(sha256, { storedBeforeMs: storedAtMs + 60_000 })).toBe(true)
      expect(await blobs.delete(sha256, { storedBeforeMs: storedAtMs + 60_000 })).toBe(false)
      expect(await blobs.has(sha256)).toBe(false)
    })

    test('lists what is stored in the order of the hashes, with size and time', async () => {
      const beganMs = Date.now()
      const refs = await Promise.all([3, 5, 7, 11].map((size) => blobs.put(randomBytes(size))))
      const infos = await Array.fromAsync(blobs.list())
      expect(infos.map((info) => info.sha256)).toEqual(refs.map((ref) => ref.sha256).toSorted())
      for (const info of infos) {
        expect(info.sizeBytes).toBe(refs.find((ref) => ref.sha256 === info.sha256)?.sizeBytes)
        expect(info.storedAtMs).toBeGreaterThanOrEqual(beganMs - 2000) // S3 tells whole seconds
        expect(await blobs.head(info.sha256)).toEqual(info)
      }
    })

    test('a reader who leaves early or aborts ends the stream', async () => {
      const { sha256 } = await blobs.put(randomBytes(2_000_000))
      for await (const chunk of await blobs.get(sha256)) {
        expect(chunk.byteLength).toBeGreaterThan(0)
        break
      }
      const ending = new AbortController()
      const stream = await blobs.get(sha256, { signal: ending.signal })
      const reader = stream.getReader()
      await reader.read()
      const reason = new Error('the client went away')
      ending.abort(reason)
      await expect(reader.closed).rejects.toBe(reason)
    })

    test('answers when asked whether it works', async () => {
      await expect(blobs.check()).resolves.toBeUndefined()
    })
  })
}

export async function collect(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  return new Uint8Array(Buffer.concat(await Array.fromAsync(stream)))
}

export function randomBytes(sizeBytes: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(sizeBytes)
  for (let at = 0; at < sizeBytes; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536)) // its limit
  return bytes
}

async function* chunksOf(content: Uint8Array, sizeBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.byteLength; at += sizeBytes) yield content.subarray(at, at + sizeBytes)
}

async function* failingAfter(content: Uint8Array, error: Error): AsyncGenerator<Uint8Array> {
  yield content
  throw error
}
