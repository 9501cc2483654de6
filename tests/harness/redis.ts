/** A private, real Redis for one test file: its own socket and append-only file in a temporary folder. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Redis } from 'ioredis'
import { RedisProcess } from './redis-process.ts'

export class TestRedis {
  readonly url: string
  readonly #dir: string
  readonly #process: RedisProcess

  private constructor(dir: string, args: readonly string[]) {
    this.#dir = dir
    this.url = join(dir, 'redis.sock')
    const options = ['--port', '0', '--unixsocket', this.url, '--dir', dir, '--appendonly', 'yes', '--save', '']
    this.#process = new RedisProcess({ path: this.url }, [...options, ...args])
  }

  static async start(...args: string[]): Promise<TestRedis> {
    const redis = new TestRedis(await mkdtemp(join(tmpdir(), 'tf-redis-')), args)
    await redis.start()
    return redis
  }

  /** For asking it things, past every proxy. */
  get admin(): Redis {
    return this.#process.admin
  }

  /** Starts the server (again) on the same data, and resolves when it serves. */
  start(): Promise<void> {
    return this.#process.start()
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    return this.#process.kill(signal)
  }

  freeze(): void {
    this.#process.freeze()
  }

  thaw(): void {
    this.#process.thaw()
  }

  async stop(): Promise<void> {
    await this.#process.stop()
    await rm(this.#dir, { recursive: true, force: true })
  }
}
