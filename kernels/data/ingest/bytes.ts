/**
 * Bytes of a file in order, unpacked where the file is gzip (by its first two bytes, whatever its name). What comes out
 * of an archive is bounded in total and in ratio, since a few kilobytes can stand for petabytes.
 */
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { createGunzip } from 'node:zlib'
import { KernelError } from '../../errors.ts'
import { UNPACKED_BYTES_MAX, UNPACKED_RATIO_MAX } from '../../limits.ts'

/** Reads one thing from its beginning to its end. */
export interface ByteReader extends AsyncDisposable {
  readonly name: string
  /** How much of the file was read so far, as it lies there. */
  readonly position: number
  /** Fills `target`, less only at the end; gives how much. */
  read(target: Uint8Array): Promise<number>
}

export async function openBytes(path: string, name: string): Promise<ByteReader> {
  const file = await open(path, 'r')
  try {
    const magic = new Uint8Array(2)
    await file.read(magic, 0, 2, 0)
    if (magic[0] !== 0x1f || magic[1] !== 0x8b) return new PlainBytes(file, name)
    const { size } = await file.stat()
    await file.close()
    return new StreamBytes(gunzipped(path, name), name, size)
  } catch (error) {
    await file.close()
    throw error
  }
}

/** Bytes that a stream gives; the unpacked ones of an archive's entry, for one. */
export class StreamBytes implements ByteReader {
  readonly name: string
  readonly #source: AsyncIterator<Uint8Array>
  readonly #sizeBytes: number
  #rest: Uint8Array = new Uint8Array(0)
  #unpacked = 0
  #isOver = false

  /** `sizeBytes` is what it takes in its file: the whole of it counts as read at the end. */
  constructor(source: AsyncIterable<Uint8Array>, name: string, sizeBytes: number) {
    this.#source = source[Symbol.asyncIterator]()
    this.name = name
    this.#sizeBytes = sizeBytes
  }

  get position(): number {
    return this.#isOver ? this.#sizeBytes : Math.min(this.#sizeBytes, Math.round(this.#unpacked / 4))
  }

  async read(target: Uint8Array): Promise<number> {
    let filled = 0
    while (filled < target.byteLength) {
      if (this.#rest.byteLength === 0) {
        const next = await this.#source.next()
        if (next.done === true) {
          this.#isOver = true
          break
        }
        this.#rest = next.value
        this.#unpacked += next.value.byteLength
        checkUnpacked(this.name, this.#sizeBytes, this.#unpacked)
      }
      const piece = this.#rest.subarray(0, target.byteLength - filled)
      target.set(piece, filled)
      filled += piece.byteLength
      this.#rest = this.#rest.subarray(piece.byteLength)
    }
    return filled
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source.return?.()
  }
}

class PlainBytes implements ByteReader {
  readonly name: string
  readonly #file: FileHandle
  position = 0

  constructor(file: FileHandle, name: string) {
    this.#file = file
    this.name = name
  }

  async read(target: Uint8Array): Promise<number> {
    let filled = 0
    while (filled < target.byteLength) {
      const { bytesRead } = await this.#file.read(target, filled, target.byteLength - filled, this.position)
      if (bytesRead === 0) break
      filled += bytesRead
      this.position += bytesRead
    }
    return filled
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#file.close()
  }
}

export function checkUnpacked(name: string, packedBytes: number, unpackedBytes: number): void {
  const bytesMax = Math.min(UNPACKED_BYTES_MAX, Math.max(packedBytes, 1_024) * UNPACKED_RATIO_MAX)
  if (unpackedBytes <= bytesMax) return
  throw new KernelError(
    'data.malformed',
    `Cannot read ${name}: its ${packedBytes} bytes unpack to more than ${bytesMax}, which no data does`,
    { file: name, packedBytes, unpackedBytes },
  )
}

async function* gunzipped(path: string, name: string): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(path).pipe(createGunzip({ chunkSize: 1024 * 1024 }))
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new KernelError(
      'data.malformed',
      `Cannot read ${name}: it starts as gzip, but ${reason}`,
      { file: name },
      error,
    )
  }
}
