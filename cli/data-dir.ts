/**
 * The data folder of a fleet on one machine, `.tensorfleet` where the command runs: Redis's files, documents, blobs, the
 * secret that signs tokens, and `api.json`, by which the other commands find the API and are let in.
 */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { CliError } from './errors.ts'

export interface ApiAccess {
  readonly url: string
  readonly token: string
}

export class DataDir {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  /** Makes the folder when it is not there. Only its owner may read it: it holds the secret. */
  static async open(path: string): Promise<DataDir> {
    const dir = new DataDir(resolve(path))
    try {
      await mkdir(dir.path, { recursive: true, mode: 0o700 })
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new CliError(`Cannot make the data folder ${dir.path}: ${reason}`, { cause })
    }
    return dir
  }

  static at(path: string): DataDir {
    return new DataDir(resolve(path))
  }

  file(...parts: string[]): string {
    return join(this.path, ...parts)
  }

  /** The secret that signs this fleet's tokens, made by `make` at the first start. */
  async secret(make: () => Uint8Array): Promise<Uint8Array> {
    const path = this.file('secret')
    try {
      await writeFile(path, Buffer.from(make()).toString('base64'), { mode: 0o600, flag: 'wx' })
    } catch (error) {
      if (!isCode(error, 'EEXIST')) throw error
    }
    return new Uint8Array(Buffer.from((await readFile(path, 'utf8')).trim(), 'base64'))
  }

  /**
   * A folder is one fleet's: another would take its checkpoints for what nobody refers to. Which one is written into it by
   * the first control process.
   */
  async belongTo(fleetId: string): Promise<void> {
    const path = this.file('fleet')
    await writeFile(path, `${fleetId}\n`, { flag: 'wx' }).catch((error: unknown) => {
      if (!isCode(error, 'EEXIST')) throw error
    })
    const found = (await readFile(path, 'utf8')).trim()
    if (found === fleetId) return
    throw new CliError(`The data folder ${this.path} belongs to a fleet with another Redis`, {
      details: [
        `Expected the fleet ${fleetId} of this Redis, found ${found} in ${path}.`,
        'Give this fleet a folder of its own (--data). If the other Redis is gone for good, or has lost what it kept, remove that file.',
      ],
    })
  }

  async writeAccess(access: ApiAccess): Promise<void> {
    const path = this.file('api.json')
    const fresh = `${path}.${process.pid}`
    await writeFile(fresh, `${JSON.stringify(access, null, 2)}\n`, { mode: 0o600 })
    await rename(fresh, path)
  }

  async readAccess(): Promise<ApiAccess | null> {
    try {
      return JSON.parse(await readFile(this.file('api.json'), 'utf8')) as ApiAccess // written by writeAccess
    } catch (error) {
      if (isCode(error, 'ENOENT')) return null
      throw new CliError(`Cannot read ${this.file('api.json')}: start the fleet again with "tensorfleet up"`, {
        cause: error,
      })
    }
  }

  async removeAccess(): Promise<void> {
    await rm(this.file('api.json'), { force: true })
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
