/**
 * A worker's blob cache: files named by their hash in one folder, where the kernels read them. What is used again and
 * again (the shards of a dataset) stays. What a round needs (weights, optimiser states) stays for a while after its last
 * use, since the next round of the same replica often goes on from it, and then gives way to newer ones, or a long job
 * would fill the disk.
 */
import { rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Blobs } from '../stores/mod.ts'

export interface CachedFile {
  readonly path: string
  readonly sha256: string
}

/** What is kept of what nobody uses at the moment. */
const IDLE_BYTES_MAX = 512 * 1024 * 1024
const IDLE_FILES_MAX = 64

export class BlobCache {
  readonly #blobs: Pick<Blobs, 'materialise'>
  readonly #folder: string
  readonly #users = new Map<string, number>()
  /** Size by hash, the longest idle first. */
  readonly #idle = new Map<string, number>()

  constructor(blobs: Pick<Blobs, 'materialise'>, folder: string) {
    this.#blobs = blobs
    this.#folder = folder
  }

  /** Brings a blob here, to stay. */
  async keep(sha256: string): Promise<CachedFile> {
    return { path: await this.#blobs.materialise(sha256, this.#folder), sha256 }
  }

  /** The file of a blob that is here; null where it would have to be brought. */
  async find(sha256: string): Promise<{ readonly path: string; readonly sizeBytes: number } | null> {
    const path = join(this.#folder, sha256)
    const found = await stat(path).catch(() => null)
    return found === null ? null : { path, sizeBytes: found.size }
  }

  /** Takes over a file whose content has this hash, as what is used next. */
  async adopt(path: string, sha256: string): Promise<void> {
    await rename(path, join(this.#folder, sha256))
    await this.#rest(sha256)
  }

  /**
   * Brings blobs here for as long as `use` runs. `brought` is told of each that was not here, with its size.
   */
  async lend<Result>(
    hashes: readonly string[],
    use: (files: readonly CachedFile[]) => Promise<Result>,
    brought: (sha256: string, sizeBytes: number) => void = () => {},
  ): Promise<Result> {
    for (const sha256 of hashes) {
      this.#users.set(sha256, (this.#users.get(sha256) ?? 0) + 1)
      this.#idle.delete(sha256)
    }
    try {
      const files: CachedFile[] = []
      for (const sha256 of hashes) {
        const before = await this.find(sha256)
        files.push(await this.keep(sha256))
        if (before === null) brought(sha256, (await this.find(sha256))?.sizeBytes ?? 0)
      }
      return await use(files)
    } finally {
      for (const sha256 of hashes) await this.#release(sha256)
    }
  }

  /** Forgets the local copy, so that the next use brings it anew and verified. */
  async drop(sha256: string): Promise<void> {
    this.#idle.delete(sha256)
    await rm(join(this.#folder, sha256), { force: true })
  }

  async #release(sha256: string): Promise<void> {
    const users = (this.#users.get(sha256) ?? 1) - 1
    if (users > 0) {
      this.#users.set(sha256, users)
      return
    }
    this.#users.delete(sha256)
    await this.#rest(sha256)
  }

  async #rest(sha256: string): Promise<void> {
    if (this.#users.has(sha256)) return
    const found = await this.find(sha256)
    if (found === null) return
    this.#idle.delete(sha256)
    this.#idle.set(sha256, found.sizeBytes)
    let idleBytes = 0
    for (const sizeBytes of this.#idle.values()) idleBytes += sizeBytes
    for (const [oldest, sizeBytes] of this.#idle) {
      if (idleBytes <= IDLE_BYTES_MAX && this.#idle.size <= IDLE_FILES_MAX) break
      idleBytes -= sizeBytes
      await this.drop(oldest)
    }
  }
}
