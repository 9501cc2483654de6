/**
 * Files on their way into a dataset: received into a folder of their own, and gone with it, whether a version came of
 * them or not. What a process that died left behind is removed at the next start.
 */
import { createWriteStream } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { randomUUID } from 'node:crypto'
import type { IngestFile, SplitName } from '../kernels/mod.ts'
import type { Blobs } from '../stores/mod.ts'
import { FleetError } from './errors.ts'

export interface UploadedFile {
  readonly name: string
  readonly split?: SplitName
}

export interface UploadOptions {
  readonly sizeMaxBytes: number
  readonly signal?: AbortSignal
}

export class Uploads {
  readonly #folder: string
  readonly #blobs: Pick<Blobs, 'get'>

  constructor(folder: string, blobs: Pick<Blobs, 'get'>) {
    this.#folder = folder
    this.#blobs = blobs
  }

  /** Nobody else may have an upload open. */
  async removeLeftovers(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true })
  }

  async open(options: UploadOptions): Promise<Upload> {
    const folder = join(this.#folder, randomUUID())
    await mkdir(folder, { recursive: true })
    return new Upload(folder, this.#blobs, options)
  }
}

/** One request's files. Whoever opened it disposes of it. */
export class Upload implements AsyncDisposable {
  readonly files: IngestFile[] = []
  readonly #folder: string
  readonly #blobs: Pick<Blobs, 'get'>
  readonly #options: UploadOptions
  #sizeBytes = 0

  constructor(folder: string, blobs: Pick<Blobs, 'get'>, options: UploadOptions) {
    this.#folder = folder
    this.#blobs = blobs
    this.#options = options
  }

  /** Takes a file as its bytes come. Its name is for people: where it lies has nothing to do with it. */
  async take(file: UploadedFile, bytes: AsyncIterable<Uint8Array>): Promise<void> {
    const path = join(this.#folder, String(this.files.length))
    this.files.push({ ...file, path })
    const { signal } = this.#options
    await pipeline(Readable.from(this.#counted(bytes)), createWriteStream(path), {
      ...(signal !== undefined && { signal }),
    })
  }

  /** Takes a file that is in the fleet's object store: `blob:SHA256`. */
  async takeFrom(url: string, file: UploadedFile): Promise<void> {
    const sha256 = /^blob:([0-9a-f]{64})$/.exec(url)?.[1]
    if (sha256 === undefined) {
      const data = { path: 'files', expected: 'blob: and a SHA-256', found: url.slice(0, 200) }
      throw new FleetError('dataset.source-unknown', `files: expected ${data.expected}, found ${data.found}`, data)
    }
    await this.take(file, await this.#blobs.get(sha256))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true })
  }

  async *#counted(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const { sizeMaxBytes } = this.#options
    for await (const chunk of bytes) {
      this.#sizeBytes += chunk.byteLength
      if (this.#sizeBytes > sizeMaxBytes) {
        throw new FleetError('dataset.too-large', `Cannot take files of more than ${sizeMaxBytes} bytes in all`, {
          sizeMaxBytes,
        })
      }
      yield chunk
    }
  }
}
