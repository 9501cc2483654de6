/** One real redis-server (or Sentinel) of a test: started, killed, frozen, and asked things. Loopback only. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { Redis } from 'ioredis'
import type { RedisOptions } from 'ioredis'
import { systemClock } from '../../runtime/clock.ts'

export const LOOPBACK = '127.0.0.1'

export class RedisProcess {
  /** For asking it things, past everything that the test puts between it and its clients. */
  readonly admin: Redis
  readonly #args: readonly string[]
  #process: ChildProcess | null = null
  #frozen = false

  /** `at` is how it is reached when `args` are what it is started with. */
  constructor(at: RedisOptions, args: readonly string[]) {
    this.admin = new Redis({ ...at, lazyConnect: true, maxRetriesPerRequest: null, retryStrategy: () => 20 })
    this.admin.on('error', () => {}) // while it is down, every attempt fails
    this.#args = args
  }

  get port(): number {
    return this.admin.options.port ?? 0
  }

  /** It is there, and answers. */
  get alive(): boolean {
    return this.#process !== null && !this.#frozen
  }

  /** Starts it (again), and resolves when it serves. */
  async start(): Promise<void> {
    const child = spawn('redis-server', [...this.#args], { stdio: 'ignore' })
    this.#process = child
    const failed = Promise.race([once(child, 'error'), once(child, 'exit')]).then(([why]) =>
      Promise.reject(new Error(`redis-server ${this.#args.join(' ')} did not start: ${String(why)}`)),
    )
    await Promise.race([this.admin.ping(), failed])
    failed.catch(() => {}) // it ends one day
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#process
    if (child === null) return
    this.#process = null
    this.#frozen = false
    if (child.exitCode !== null || child.signalCode !== null) return
    const exit = once(child, 'exit')
    child.kill(signal)
    await exit
  }

  /** SIGSTOP and SIGCONT: a server that is there and does not answer. */
  freeze(): void {
    this.#frozen = true
    this.#process?.kill('SIGSTOP')
  }

  thaw(): void {
    this.#frozen = false
    this.#process?.kill('SIGCONT')
  }

  async stop(): Promise<void> {
    this.admin.disconnect()
    await this.kill()
  }

  /**
   * Of a replica: from now on nothing of its master reaches it, though it tries. A frozen replica would still find what
   * stands in its socket.
   */
  async cutFromMaster(): Promise<void> {
    await this.admin.config('SET', 'masterauth', 'a password that the master does not know')
    await this.admin.client('KILL', 'TYPE', 'master')
    await until(async () => (await this.admin.info('replication')).includes('master_link_status:down'))
  }
}

/** Resolves when it holds. The caller's own time limit is the limit. */
export async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await systemClock.sleep(20)
}

/** Ports that nobody listens on now. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, LOOPBACK)
      await once(server, 'listening')
      return server
    }),
  )
  const ports = servers.map((server) => (server.address() as AddressInfo).port) // of a listening TCP server
  await Promise.all(servers.map((server) => once(server.close(), 'close')))
  return ports
}
