/**
 * A fleet of real processes, as a user starts it: `tensorfleet up` from the command line, on a data folder of its own,
 * and with it the control process, the workers, their kernels and Redis. `up` is the supervisor under test too, so what
 * the tests do to processes is only what a machine does to them: they are killed, frozen, thawed and asked to stop.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { vi } from 'vitest'
import { findApi } from '../../cli/api.ts'
import type { Api } from '../../cli/api.ts'
import type { BatchView } from '../../machines/batch-spec.ts'
import type { JobView, LogLine, WorkerView } from '../../machines/views.ts'
import { isAlive } from '../cli/alive.ts'

export const PROGRAM = fileURLToPath(new URL('../../cli/tensorfleet.ts', import.meta.url))

/** Long waits are for hangs alone: a machine that runs everything else beside the tests is slow. */
const START_MS = 60_000
export const JOB_MS = 150_000
const EACH_MS = 50
export const WAIT = { timeout: 60_000, interval: EACH_MS } as const

export type Role = 'up' | 'control' | 'worker' | 'kernel' | 'redis'

export interface Running {
  readonly pid: number
  readonly role: Role
  /** `worker-1`, for a worker. */
  readonly name: string
}

export interface StartOptions {
  readonly workers?: number
  /** An existing data folder, for another start on it. */
  readonly folder?: string
  readonly env?: NodeJS.ProcessEnv
  readonly args?: readonly string[]
}

export interface TemporaryFolder extends AsyncDisposable {
  readonly path: string
}

export async function temporaryFolder(): Promise<TemporaryFolder> {
  const path = await mkdtemp(join(tmpdir(), 'tf-fleet-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true, maxRetries: 5 }) }
}

export class ProcessFleet {
  readonly folder: string
  readonly #ownFolder: TemporaryFolder | null
  readonly #up: ChildProcess
  readonly #ended: Promise<number | null>
  #output = ''

  private constructor(folder: string, ownFolder: TemporaryFolder | null, up: ChildProcess) {
    this.folder = folder
    this.#ownFolder = ownFolder
    this.#up = up
    up.stdout?.on('data', (chunk: Buffer) => (this.#output += chunk.toString('utf8')))
    up.stderr?.on('data', (chunk: Buffer) => (this.#output += chunk.toString('utf8')))
    const { promise, resolve } = Promise.withResolvers<number | null>()
    up.once('close', resolve)
    this.#ended = promise
  }

  /** Resolves when the API answers and the workers have joined. */
  static async start(options: StartOptions = {}): Promise<ProcessFleet> {
    const { workers = 2, env, args = [] } = options
    const ownFolder = options.folder === undefined ? await temporaryFolder() : null
    const folder = options.folder ?? ownFolder?.path ?? ''
    const { REDIS_URL: _, CI: __, ...inherited } = process.env // the tests' own Redis is not what is asked for here
    const up = spawn(
      process.execPath,
      [PROGRAM, 'up', '--data', folder, '--port', '0', '--workers', String(workers), ...args],
      { stdio: ['ignore', 'pipe', 'pipe'], env: { ...inherited, ...env } },
    )
    const fleet = new ProcessFleet(folder, ownFolder, up)
    try {
      await vi.waitUntil(() => fleet.#isUp(workers), { timeout: START_MS, interval: EACH_MS })
    } catch (error) {
      const told = await fleet.#story()
      await fleet[Symbol.asyncDispose]()
      throw new Error(`The fleet did not start\n${told}`, { cause: error })
    }
    return fleet
  }

  /** Kills what is still there of it, and removes the folder if it made it. */
  async [Symbol.asyncDispose](): Promise<void> {
    // `up` first, or it would start again what is killed.
    const all = this.processes().toSorted((a, b) => Number(b.role === 'up') - Number(a.role === 'up'))
    for (const running of all) this.kill(running)
    await vi.waitUntil(() => this.processes().length === 0, { timeout: 10_000, interval: EACH_MS })
    await this.#ownFolder?.[Symbol.asyncDispose]()
  }

  /** What `up` has printed so far. */
  get output(): string {
    return this.#output
  }

  /** The API at its present address: each `up` on port 0 has another one. */
  async api(): Promise<Api> {
    return findApi({ data: this.folder, env: {} })
  }

  async submit(spec: object): Promise<string> {
    const api = await this.api()
    return (await api.submit(JSON.stringify(spec), 'application/json')).id
  }

  async submitBatch(spec: object): Promise<string> {
    const api = await this.api()
    return (await api.submitBatch(JSON.stringify(spec), 'application/json')).id
  }

  /** The job as it is when it first meets the condition. Rejects when it ends without having met it. */
  async waitUntil(id: string, condition: (job: JobView) => boolean): Promise<JobView> {
    return this.#until((api) => api.job(id), condition)
  }

  /** A batch job, likewise. */
  async untilBatch(id: string, condition: (job: BatchView) => boolean): Promise<BatchView> {
    return this.#until((api) => api.batch(id), condition)
  }

  async #until<View extends { readonly endedAt?: number }>(
    read: (api: Api) => Promise<View>,
    condition: (job: View) => boolean,
  ): Promise<View> {
    let last: View | null = null
    const look = async (): Promise<View | false> => {
      // The control process may be down at the moment: that is what many of these tests are about.
      const job = await this.api()
        .then(read)
        .catch(() => null)
      last = job ?? last
      if (job === null) return false
      if (condition(job)) return job
      if (job.endedAt !== undefined) throw new Error('The job has ended')
      return false
    }
    try {
      return await vi.waitUntil(look, { timeout: JOB_MS, interval: EACH_MS })
    } catch (cause) {
      throw new Error(`Waited in vain, last for ${JSON.stringify(last)}\n${await this.#story()}`, { cause })
    }
  }

  async untilRound(id: string, round: number): Promise<JobView> {
    return this.waitUntil(id, (job) => job.progress.round >= round)
  }

  async untilEnded(id: string): Promise<JobView> {
    return this.waitUntil(id, (job) => job.endedAt !== undefined)
  }

  async workers(): Promise<readonly WorkerView[]> {
    return (await this.api()).workers()
  }

  async logs(id: string): Promise<readonly LogLine[]> {
    return (await this.api()).logs(id)
  }

  /** A living worker that has a task at this moment: one just killed is listed as busy until its lease has ended. */
  async busyWorker(): Promise<WorkerView> {
    return this.untilWorker(({ pid, state }) => state === 'busy' && this.processes().some((it) => it.pid === pid))
  }

  /** The first worker that meets the condition, as soon as there is one. */
  async untilWorker(condition: (worker: WorkerView) => boolean): Promise<WorkerView> {
    let last: readonly WorkerView[] = []
    const look = async (): Promise<WorkerView | undefined> => (last = await this.workers()).find(condition)
    try {
      return await vi.waitUntil(look, WAIT)
    } catch (cause) {
      throw new Error(`Waited in vain, last for ${JSON.stringify(last)}\n${await this.#story()}`, { cause })
    }
  }

  /** The kernel process of a worker with one slot. */
  kernelOf(worker: Pick<Running, 'pid'>): Running {
    const found = this.processes().find(({ pid, role }) => role === 'kernel' && parentOf(pid) === worker.pid)
    if (found === undefined) throw new Error(`Process ${worker.pid} has no kernel: ${JSON.stringify(this.processes())}`)
    return found
  }

  /** Every process that works on this fleet's data folder, found by its command line. */
  processes(): readonly Running[] {
    return processesOf(this.folder)
  }

  /** The first one in this role. */
  one(role: Role): Running {
    const found = this.processes().find((running) => running.role === role)
    if (found === undefined) throw new Error(`No process in the role "${role}": ${JSON.stringify(this.processes())}`)
    return found
  }

  /** Until the fleet has given a worker up: its lease is over. */
  async untilGone({ id }: Pick<WorkerView, 'id'>): Promise<void> {
    await this.untilWorker((it) => it.id === id && it.state === 'gone')
  }

  kill({ pid }: Pick<Running, 'pid'>): void {
    process.kill(pid, 'SIGKILL')
  }

  freeze({ pid }: Pick<Running, 'pid'>): void {
    process.kill(pid, 'SIGSTOP')
  }

  thaw({ pid }: Pick<Running, 'pid'>): void {
    process.kill(pid, 'SIGCONT')
  }

  /** Ctrl-C, and the exit code that follows. */
  async interrupt(): Promise<number | null> {
    this.#up.kill('SIGINT')
    return this.#ended
  }

  async #isUp(workers: number): Promise<boolean> {
    if (this.#up.exitCode !== null || this.#up.signalCode !== null) throw new Error(`"up" ended:\n${this.#output}`)
    try {
      // Those of an earlier run on this folder may be listed still.
      const pids = new Set(this.processes().map(({ pid }) => pid))
      const joined = (await this.workers()).filter(({ pid, state }) => pids.has(pid) && state !== 'gone')
      return joined.length >= workers && /^Page|  Page/m.test(this.#output)
    } catch {
      return false // it is not there yet
    }
  }

  /** What a person would look at first. */
  async #story(): Promise<string> {
    const folder = join(this.folder, 'logs')
    const names = await readdir(folder).catch(() => [])
    const logs = await Promise.all(
      names.map(async (name) => `== ${name}\n${await readFile(join(folder, name), 'utf8')}`),
    )
    return `== up\n${this.#output}\n${logs.join('\n')}`
  }
}

export function processesOf(folder: string): readonly Running[] {
  return readdirSync('/proc').flatMap((entry) => {
    const pid = Number(entry)
    if (!Number.isInteger(pid) || pid === process.pid || !isAlive(pid)) return []
    const words = commandLineOf(pid)
    if (!words.some((word) => word.includes(folder))) return []
    const role = roleOf(words)
    return role === null ? [] : [{ pid, role, name: words[words.indexOf('--name') + 1] ?? '' }]
  })
}

function roleOf(words: readonly string[]): Role | null {
  if (words[0]?.includes('redis-server') === true) return 'redis'
  if (words.includes('--permission')) return 'kernel'
  const command = words[words.indexOf(PROGRAM) + 1]
  return command === 'up' || command === 'control' || command === 'worker' ? command : null
}

function parentOf(pid: number): number {
  return Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
}

function commandLineOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  } catch {
    return [] // gone in between
  }
}

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly env?: NodeJS.ProcessEnv
  readonly input?: string
  /** What is done to it, or to others, as soon as it has printed this. */
  readonly when?: { readonly says: RegExp; readonly act: (child: ChildProcess) => void }
}

/** Runs the command line to its end. */
export async function tensorfleet(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const { env, input = '' } = options
  let { when } = options
  const { REDIS_URL: _, ...inherited } = process.env // the tests' own Redis is not what is asked for here
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...inherited, ...env },
  })
  const said = { stdout: '', stderr: '' }
  const hear = (source: 'stdout' | 'stderr', chunk: Buffer): void => {
    said[source] += chunk.toString('utf8')
    if (when?.says.test(said[source]) !== true) return
    when.act(child)
    when = undefined
  }
  child.stdout.on('data', (chunk: Buffer) => hear('stdout', chunk))
  child.stderr.on('data', (chunk: Buffer) => hear('stderr', chunk))
  child.stdin.end(input)
  const { promise, resolve } = Promise.withResolvers<number | null>()
  child.once('close', resolve)
  return { code: await promise, ...said }
}
