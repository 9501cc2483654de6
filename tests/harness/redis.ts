/** A private, real Redis for one test file: its own socket and append-only file in a temporary folder. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'

export class TestRedis {
  readonly url: string
  readonly #dir: string
  readonly #args: readonly string[]
  #process: ChildProcess | null = null

  private constructor(dir: string, args: readonly string[]) {
    this.#dir = dir
    this.#args = args
    this.url = join(dir, 'redis.sock')
  }

  static async start(...args: string[]): Promise<TestRedis> {
    const redis = new TestRedis(await mkdtemp(join(tmpdir(), 'tf-redis-')), args)
    await redis.start()
    return redis
  }

  /** Starts the server (again) on the same data, and resolves when it serves. */
  async start(): Promise<void> {
    const options = ['--port', '0', '--unixsocket', this.url, '--dir', this.#dir, '--appendonly', 'yes', '--save', '']
    this.#process = spawn('redis-server', [...options, ...this.#args], { stdio: 'ignore' })
    const failed = once(this.#process, 'error').then(([error]) => Promise.reject(error as Error))
    const probe = new Redis({ path: this.url, retryStrategy: () => 20, maxRetriesPerRequest: null })
    probe.on('error', () => {}) // until it serves, every attempt fails
    await Promise.race([probe.ping(), failed])
    probe.disconnect()
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#process
    if (child === null || child.exitCode !== null) return
    const exit = once(child, 'exit')
    child.kill(signal)
    await exit
    this.#process = null
  }

  /** SIGSTOP and SIGCONT: a server that is there and does not answer. */
  freeze(): void {
    this.#process?.kill('SIGSTOP')
  }

  thaw(): void {
    this.#process?.kill('SIGCONT')
  }

  async stop(): Promise<void> {
    await this.kill()
    await rm(this.#dir, { recursive: true, force: true })
  }
}
