/**
 * A worker's blob cache: files named by their hash in one folder, where the kernels read them. What is used again (the
 * shards of a dataset) stays; what one round alone needs (weights, optimiser states) goes when nobody uses it any more,
 * or a long job would fill the disk.
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Blobs } from '../stores/mod.ts'

export interface CachedFile {
  readonly path: string
  readonly sha256: string
}

export class BlobCache {
  readonly #blobs: Pick<Blobs, 'materialise'>
  readonly #folder: string
  readonly #users = new Map<string, number>()

  constructor(blobs: Pick<Blobs, 'materialise'>, folder: string) {
    this.#blobs = blobs
    this.#folder = folder
  }

  /** Brings a blob here, to stay. */
  async keep(sha256: string): Promise<CachedFile> {
    return { path: await this.#blobs.materialise(sha256, this.#folder), sha256 }
  }

  /** Brings blobs here for as long as `use` runs. */
  async lend<Result>(
    hashes: readonly string[],
    use: (files: readonly CachedFile[]) => Promise<Result>,
  ): Promise<Result> {
    for (const sha256 of hashes) this.#users.set(sha256, (this.#users.get(sha256) ?? 0) + 1)
    try {
      const files: CachedFile[] = []
      for (const sha256 of hashes) files.push(await this.keep(sha256))
      return await use(files)
    } finally {
      for (const sha256 of hashes) await this.#release(sha256)
    }
  }

  /** Forgets the local copy, so that the next use brings it anew and verified. */
  async drop(sha256: string): Promise<void> {
    await rm(join(this.#folder, sha256), { force: true })
  }

  async #release(sha256: string): Promise<void> {
    const users = (this.#users.get(sha256) ?? 1) - 1
    if (users > 0) {
      this.#users.set(sha256, users)
      return
    }
    this.#users.delete(sha256)
    await this.drop(sha256)
  }
}
