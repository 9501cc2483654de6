/**
 * Blobs: immutable bytes named by their own SHA-256 (dataset shards, checkpoints, weights, uploads). This file is the
 * contract; the implementations stand in `blobs/`. A name that is a hash makes everything else simple: to put twice is
 * to put once, a cache never goes stale, and whoever reads can tell whether these are the right bytes.
 *
 * Invariants, held by every implementation and checked by tests/contracts/blobs.ts:
 * 1. A blob is there whole or not at all, whatever dies in the middle of a put.
 * 2. When `put` resolves the blob is durable.
 * 3. A reader of a whole blob gets the bytes that have the hash, or `blob.corrupt`; never other bytes in silence.
 *    (A range cannot be checked by itself; what trains is materialised or read whole.)
 * 4. A blob is reached by a checked hash only; nothing that a client sends becomes part of a path or key unchecked.
 */
import { createHash } from 'node:crypto'
import { StoreError } from './errors.ts'
import { LIMITS } from './limits.ts'

declare const sha256Brand: unique symbol
/** 64 lower-case hexadecimal digits. */
export type Sha256 = string & { readonly [sha256Brand]: true }

export interface BlobRef {
  readonly sha256: Sha256
  readonly sizeBytes: number
}

export interface BlobInfo extends BlobRef {
  /** When it was last put. */
  readonly storedAtMs: number
}

/** Bytes in memory, a stream of them (a ReadableStream is an AsyncIterable), or a file of this host. */
export type BlobSource = Uint8Array | AsyncIterable<Uint8Array> | { readonly path: string }

export interface PutOptions {
  /** What the sender says it is. If it is not, nothing is stored: `blob.mismatch`. */
  readonly sha256?: string
  /** A source that turns out longer is refused: `blob.too-large`. */
  readonly sizeMaxBytes?: number
  readonly signal?: AbortSignal
}

export interface GetOptions {
  /** From where, and how much: both must lie within the blob. Without them, all of it, verified. */
  readonly offsetBytes?: number
  readonly lengthBytes?: number
  readonly signal?: AbortSignal
}

export interface Blobs {
  /** What it is and where, for messages. */
  readonly description: string
  put(source: BlobSource, options?: PutOptions): Promise<BlobRef>
  /** Rejects at once where there is no such blob or range; a blob found corrupt on the way errors the stream. */
  get(sha256: string, options?: GetOptions): Promise<ReadableStream<Uint8Array<ArrayBuffer>>>
  /** All of a blob in memory, verified. */
  bytes(sha256: string): Promise<Uint8Array<ArrayBuffer>>
  head(sha256: string): Promise<BlobInfo | undefined>
  has(sha256: string): Promise<boolean>
  /** All blobs in the order of their hashes. One put or deleted meanwhile may be seen or not. */
  list(): AsyncGenerator<BlobInfo>
  /**
   * Whether there was something to delete. Those who are reading it, or have materialised it, keep it. With a bound: only
   * what was not stored since, nor stored again; whoever puts the same bytes at the same moment has them.
   */
  delete(sha256: string, options?: { readonly storedBeforeMs?: number }): Promise<boolean>
  /**
   * Makes the blob a read-only file, named by its hash, in a folder of this host, and gives its path. It is verified
   * on its way; a store on the same file system links instead of copying. Finding it there already costs nothing.
   */
  materialise(sha256: string, intoFolder: string): Promise<string>
  /** Resolves when blobs can be read and written; for readiness checks. */
  check(): Promise<void>
}

/** Every hash passes through here before it becomes part of a path or key (invariant 4). */
export function parseSha256(text: string): Sha256 {
  if (/^[0-9a-f]{64}$/.test(text)) return text as Sha256 // the only place where one is made from text
  const found = JSON.stringify(text.slice(0, 80))
  throw new StoreError('blob.bad-id', `Cannot parse ${found} as a SHA-256: expected 64 digits of 0-9 and a-f.`, {
    found,
  })
}

/** The hash of bytes in memory. */
export function sha256Of(bytes: Uint8Array): Sha256 {
  return parseSha256(createHash('sha256').update(bytes).digest('hex'))
}

// ---- What implementations share. ----

/** Counts and hashes what flows through, and stops a source that is too long or told to stop. */
export class Digest {
  readonly #hash = createHash('sha256')
  readonly #sizeMaxBytes: number
  sizeBytes = 0

  constructor(sizeMaxBytes: number = LIMITS.blobBytesMax) {
    this.#sizeMaxBytes = sizeMaxBytes
  }

  take(chunk: Uint8Array): void {
    this.sizeBytes += chunk.byteLength
    if (this.sizeBytes > this.#sizeMaxBytes) {
      throw new StoreError('blob.too-large', `Cannot store the blob: it has more than ${this.#sizeMaxBytes} bytes.`, {
        sizeMaxBytes: this.#sizeMaxBytes,
      })
    }
    this.#hash.update(chunk)
  }

  /** Ends the digest. */
  ref(): BlobRef {
    return { sha256: parseSha256(this.#hash.digest('hex')), sizeBytes: this.sizeBytes }
  }
}

export function checkExpected(ref: BlobRef, expected: string | undefined): void {
  if (expected === undefined || ref.sha256 === expected) return
  throw new StoreError(
    'blob.mismatch',
    `Cannot store the blob: expected SHA-256 ${expected}, found ${ref.sha256} (${ref.sizeBytes} bytes). ` +
      'It was damaged on its way, or is another file.',
    { expected, found: ref.sha256, sizeBytes: ref.sizeBytes },
  )
}

/** The checked range: from where, up to where (exclusive), and whether that is the whole blob. */
export function checkRange(info: BlobRef, options: GetOptions): { start: number; end: number; whole: boolean } {
  const { offsetBytes = 0, lengthBytes } = options
  const end = lengthBytes === undefined ? info.sizeBytes : offsetBytes + lengthBytes
  if (!isCount(offsetBytes) || !isCount(end - offsetBytes) || end > info.sizeBytes) {
    throw new StoreError(
      'blob.bad-range',
      `Cannot read ${lengthBytes ?? 'all'} bytes from ${offsetBytes} of blob ${info.sha256}: it has ${info.sizeBytes}.`,
      {
        sha256: info.sha256,
        offsetBytes,
        ...(lengthBytes !== undefined && { lengthBytes }),
        sizeBytes: info.sizeBytes,
      },
    )
  }
  return { start: offsetBytes, end, whole: offsetBytes === 0 && end === info.sizeBytes }
}

function isCount(n: number): boolean {
  return Number.isSafeInteger(n) && n >= 0
}

export function missing(sha256: Sha256, place: string): StoreError<'blob.missing'> {
  return new StoreError('blob.missing', `Cannot find blob ${sha256} in ${place}.`, { sha256, place })
}

export function corrupt(sha256: Sha256, found: string, path: string): StoreError<'blob.corrupt'> {
  return new StoreError(
    'blob.corrupt',
    `Cannot use blob ${sha256}: what is stored at ${path} has SHA-256 ${found}. ` +
      'The copy is damaged; delete it and put the blob again.',
    { sha256, found, path },
  )
}
