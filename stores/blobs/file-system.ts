/**
 * Blobs in a folder: the embedded default, and the shape of every worker's cache.
 *
 * Layout: `<root>/<first two digits>/<sha256>`, mode 0444, so that a folder holds a 256th and nobody writes a blob in
 * place; `<root>/incoming/<random>` while it is written. A put writes there, syncs the file, renames it to its name
 * and syncs the folder: a rename is atomic, so a crash leaves a leftover in `incoming` (swept at the next open) and
 * never half a blob. Several processes may share a root without a lock, since all they could disagree on is content,
 * and that is the name. `materialise` links, so that a cache on the same file system costs no second copy.
 */
import { constants as fsConstants, type Stats } from 'node:fs'
import * as fs from 'node:fs/promises'
import { randomUUID } from 'node:crypto'
import { dirname, join, resolve } from 'node:path'
import {
  checkExpected,
  checkRange,
  corrupt,
  Digest,
  missing,
  parseSha256,
  type BlobInfo,
  type BlobRef,
  type Blobs,
  type BlobSource,
  type GetOptions,
  type PutOptions,
  type Sha256,
} from '../blobs.ts'
import { codeOf, diskError, diskFull, freeBytesOf } from '../disk.ts'
import { StoreError } from '../errors.ts'
import { LIMITS } from '../limits.ts'

/** Opens the folder, making it where it is not, and sweeps what a crashed process left in it. */
export async function openFileSystemBlobs(root: string): Promise<Blobs> {
  const blobs = new FileSystemBlobs(resolve(root))
  await blobs.open()
  return blobs
}

class FileSystemBlobs implements Blobs {
  readonly description: string
  readonly #root: string
  readonly #incoming: string

  constructor(root: string) {
    this.#root = root
    this.#incoming = join(root, 'incoming')
    this.description = `files in ${root}`
  }

  async open(): Promise<void> {
    try {
      await fs.mkdir(this.#incoming, { recursive: true })
      const olderThanMs = Date.now() - LIMITS.leftoverMs
      for (const name of await fs.readdir(this.#incoming)) {
        const path = join(this.#incoming, name)
        const found = await statOf(path)
        if (found !== undefined && found.mtimeMs < olderThanMs) await fs.rm(path, { force: true })
      }
    } catch (error) {
      throw diskError(error, this.#root)
    }
  }

  async put(source: BlobSource, options: PutOptions = {}): Promise<BlobRef> {
    const expected = options.sha256 === undefined ? undefined : parseSha256(options.sha256)
    const known = await sizeOf(source)
    // What cannot fit is refused before it fills a disk that others (Redis's own file) also need.
    if (known !== undefined && known > (freeBytesOf(this.#root) ?? known)) throw diskFull(this.#root, known)
    const staged = join(this.#incoming, randomUUID())
    try {
      const ref = await writeStaged(staged, this.#root, source, known, options)
      checkExpected(ref, expected)
      const path = this.#path(ref.sha256)
      // Renamed even where the blob is there already: that refreshes its age, and mends a damaged copy.
      await fs.mkdir(dirname(path), { recursive: true })
      await fs.rename(staged, path)
      await syncFolder(dirname(path))
      return ref
    } catch (error) {
      await fs.rm(staged, { force: true })
      throw diskError(error, this.#root, known)
    }
  }

  async get(sha256: string, options: GetOptions = {}): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    const hash = parseSha256(sha256)
    const file = await this.#openBlob(hash)
    try {
      const { size } = await file.stat()
      const range = checkRange({ sha256: hash, sizeBytes: size }, options)
      return streamOf(file, range, hash, this.#path(hash), options.signal)
    } catch (error) {
      await file.close()
      throw error
    }
  }

  async bytes(sha256: string): Promise<Uint8Array<ArrayBuffer>> {
    const hash = parseSha256(sha256)
    const file = await this.#openBlob(hash)
    try {
      const bytes = new Uint8Array(await file.readFile())
      verify(bytes, hash, this.#path(hash))
      return bytes
    } catch (error) {
      throw diskError(error, this.#root)
    } finally {
      await file.close()
    }
  }

  async head(sha256: string): Promise<BlobInfo | undefined> {
    const hash = parseSha256(sha256)
    const found = await statOf(this.#path(hash))
    return found === undefined ? undefined : infoOf(hash, found)
  }

  async has(sha256: string): Promise<boolean> {
    return (await this.head(sha256)) !== undefined
  }

  async *list(): AsyncGenerator<BlobInfo> {
    for (const folder of await namesIn(this.#root, /^[0-9a-f]{2}$/)) {
      for (const name of await namesIn(join(this.#root, folder), /^[0-9a-f]{64}$/)) {
        const info = await this.head(name)
        if (info !== undefined) yield info
      }
    }
  }

  async delete(sha256: string, { storedBeforeMs }: { readonly storedBeforeMs?: number } = {}): Promise<boolean> {
    const path = this.#path(parseSha256(sha256))
    if (storedBeforeMs !== undefined) return this.#deleteOld(path, storedBeforeMs)
    try {
      await fs.unlink(path)
      return true
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return false
      throw diskError(error, this.#root)
    }
  }

  /**
   * A put could come between a look at the age and the removal. So the file is moved aside first: what is put then stands
   * in its place, and what was put before is seen to be young, and goes back.
   */
  async #deleteOld(path: string, storedBeforeMs: number): Promise<boolean> {
    const isOld = (found: Stats | undefined): boolean => found !== undefined && found.mtimeMs < storedBeforeMs
    if (!isOld(await statOf(path))) return false
    const aside = join(this.#incoming, randomUUID())
    try {
      await fs.rename(path, aside)
      const old = isOld(await statOf(aside))
      if (!old) await fs.link(aside, path).catch((error: unknown) => ignoreExisting(error))
      await fs.rm(aside, { force: true })
      return old
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return false // somebody else was faster
      throw diskError(error, this.#root)
    }
  }

  async materialise(sha256: string, intoFolder: string): Promise<string> {
    const hash = parseSha256(sha256)
    const path = this.#path(hash)
    const target = join(resolve(intoFolder), hash)
    const source = await statOf(path)
    const there = await statOf(target)
    // What is there was verified when it was made, and is read-only.
    if (there !== undefined && (source === undefined || there.size === source.size)) return target
    if (source === undefined) throw missing(hash, this.description)
    try {
      await fs.mkdir(intoFolder, { recursive: true })
      await linkOrCopy(path, target, hash)
      return target
    } catch (error) {
      throw diskError(error, resolve(intoFolder), source.size)
    }
  }

  async check(): Promise<void> {
    try {
      await fs.access(this.#incoming, fsConstants.R_OK | fsConstants.W_OK | fsConstants.X_OK)
    } catch (error) {
      throw diskError(error, this.#root)
    }
  }

  #path(sha256: Sha256): string {
    return join(this.#root, sha256.slice(0, 2), sha256)
  }

  async #openBlob(sha256: Sha256): Promise<fs.FileHandle> {
    try {
      return await fs.open(this.#path(sha256), 'r')
    } catch (error) {
      if (codeOf(error) === 'ENOENT') throw missing(sha256, this.description)
      throw diskError(error, this.#root)
    }
  }
}

/** The same bytes, put meanwhile. */
function ignoreExisting(error: unknown): void {
  if (codeOf(error) !== 'EEXIST') throw error
}

/** Writes a source to a new file and makes it durable. `place` is what an error names. */
async function writeStaged(
  path: string,
  place: string,
  source: BlobSource,
  sizeBytes: number | undefined,
  options: PutOptions,
): Promise<BlobRef> {
  const digest = new Digest(options.sizeMaxBytes)
  const file = await fs.open(path, 'wx', 0o444)
  try {
    for await (const chunk of chunksOf(source)) {
      options.signal?.throwIfAborted()
      digest.take(chunk)
      await file.writeFile(chunk) // writes on from where the file stands, all of the chunk
    }
    await file.sync()
  } catch (error) {
    throw diskError(error, place, Math.max(sizeBytes ?? 0, digest.sizeBytes))
  } finally {
    await file.close()
  }
  return digest.ref()
}

async function* chunksOf(source: BlobSource): AsyncGenerator<Uint8Array> {
  if (source instanceof Uint8Array) {
    for (let at = 0; at < source.byteLength; at += LIMITS.chunkBytes) yield source.subarray(at, at + LIMITS.chunkBytes)
  } else if ('path' in source) {
    const file = await fs.open(source.path, 'r').catch((error: unknown) => {
      throw unreadable(source.path, error)
    })
    try {
      yield* chunksOfFile(file, 0, Infinity)
    } finally {
      await file.close()
    }
  } else {
    yield* source
  }
}

/** Reads from `start` to `end` or the end of the file. */
async function* chunksOfFile(file: fs.FileHandle, start: number, end: number): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (let at = start; at < end;) {
    const chunk = new Uint8Array(Math.min(LIMITS.chunkBytes, end - at))
    const { bytesRead } = await file.read(chunk, 0, chunk.byteLength, at)
    if (bytesRead === 0) return
    at += bytesRead
    yield chunk.subarray(0, bytesRead)
  }
}

/** A stream of an open blob, which owns the file: it closes it at its end, on cancel, on an error and on an abort. */
function streamOf(
  file: fs.FileHandle,
  range: { start: number; end: number; whole: boolean },
  sha256: Sha256,
  path: string,
  signal: AbortSignal | undefined,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const digest = new Digest()
  const chunks = chunksOfFile(file, range.start, range.end)
  const ended = new AbortController() // ends the listening on `signal`
  const close = async (): Promise<void> => {
    if (ended.signal.aborted) return
    ended.abort()
    await file.close()
  }
  return new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      start(controller) {
        const abort = (): void => {
          controller.error(signal?.reason)
          void close().catch(() => undefined) // its reader has been told of the abort, and nothing was written
        }
        if (signal?.aborted === true) return abort()
        signal?.addEventListener('abort', abort, { once: true, signal: ended.signal })
      },
      async pull(controller) {
        try {
          const next = await chunks.next()
          if (ended.signal.aborted) return
          if (next.done !== true) {
            if (range.whole) digest.take(next.value)
            return controller.enqueue(next.value)
          }
          await close()
          const found = range.whole ? digest.ref().sha256 : sha256
          if (found !== sha256) throw corrupt(sha256, found, path)
          controller.close()
        } catch (error) {
          await close()
          throw diskError(error, path)
        }
      },
      cancel: close,
    },
    { highWaterMark: 1 },
  )
}

/** Gives `target` the blob's bytes, verified: by a link where the file system allows it, else by a copy. */
async function linkOrCopy(path: string, target: string, sha256: Sha256): Promise<void> {
  const staged = `${target}.${randomUUID()}`
  try {
    const linked = await fs.link(path, staged).then(
      () => true,
      (error: unknown) => {
        if (['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP', 'EOPNOTSUPP'].includes(codeOf(error) ?? '')) return false
        throw error
      },
    )
    const ref = linked
      ? await digestOfFile(staged)
      : await writeStaged(staged, dirname(target), { path }, undefined, {})
    if (ref.sha256 !== sha256) throw corrupt(sha256, ref.sha256, path)
    await fs.rename(staged, target) // over what another process may have put there meanwhile: the same bytes
  } finally {
    // Renaming one link of a file over another link of the same file does nothing at all (POSIX): the staged one stays.
    await fs.rm(staged, { force: true })
  }
}

async function digestOfFile(path: string): Promise<BlobRef> {
  const digest = new Digest()
  for await (const chunk of chunksOf({ path })) digest.take(chunk)
  return digest.ref()
}

function verify(bytes: Uint8Array, sha256: Sha256, path: string): void {
  const digest = new Digest()
  digest.take(bytes)
  const found = digest.ref().sha256
  if (found !== sha256) throw corrupt(sha256, found, path)
}

/** A rename is durable only when its folder is. */
async function syncFolder(path: string): Promise<void> {
  const folder = await fs.open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

async function namesIn(folder: string, pattern: RegExp): Promise<string[]> {
  try {
    return (await fs.readdir(folder)).filter((name) => pattern.test(name)).toSorted()
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return []
    throw diskError(error, folder)
  }
}

async function sizeOf(source: BlobSource): Promise<number | undefined> {
  if (source instanceof Uint8Array) return source.byteLength
  if (!('path' in source)) return undefined
  const found = await statOf(source.path)
  if (found?.isFile() === true) return found.size
  throw unreadable(source.path, found === undefined ? 'there is no such file' : 'it is not a file')
}

async function statOf(path: string): Promise<Stats | undefined> {
  try {
    return await fs.stat(path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined
    throw diskError(error, path)
  }
}

function infoOf(sha256: Sha256, found: Stats): BlobInfo {
  return { sha256, sizeBytes: found.size, storedAtMs: Math.floor(found.mtimeMs) }
}

function unreadable(path: string, cause: unknown): StoreError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new StoreError('blob.unreadable-source', `Cannot read ${path}: ${reason}.`, { path, reason }, { cause })
}
