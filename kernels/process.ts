/**
 * The handle on a kernel process, one per worker slot. Compute runs in a child of its own: it blocks its event loop for
 * a whole training step, may hang, leak or die, and runs models that strangers sent. So it is forked under Node's
 * permission model (no child processes, no threads; files and add-ons as `launch.ts` says; the network is closed by
 * `sandbox.ts`), and is killed and replaced when it does not behave.
 *
 * Invariants:
 * 1. At most one request runs at a time; a second `run` waits for none and fails with `kernel.busy`.
 * 2. Every `run` settles: by a result, an error, the child's death, or the hang limit.
 * 3. After a cancellation that was not heeded, a hang, a leak or a death the next `run` has a fresh child.
 * 4. `auto` is settled by the first child that starts: those that replace it compute on the same back end.
 */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { BackendChoice, BackendName, Device } from './backend.ts'
import { KernelError } from './errors.ts'
import { CANCEL_GRACE_MS, HANG_LIMIT_MS, START_LIMIT_MS } from './limits.ts'
import { candidates, launchOf } from './launch.ts'
import type { FromKernel, KernelRequest, KernelResult, ToKernel } from './protocol.ts'
import type { Progress } from './round.ts'
import type { SyncMessage } from './sync.ts'

export interface KernelOptions {
  backend: BackendChoice
  /** Where the worker keeps blobs; the child reads below it. */
  cacheDir: string
  /** Where the child writes its outputs; made when missing. */
  scratchDir: string
  /** Where `tensorfleet backends install` puts back ends. */
  backendsDir?: string
  /** Memory above which a child counts as leaking: it is killed, or replaced when it has nothing to do. */
  memoryLimitBytes?: number
  /** Silence after which a running child counts as hung. */
  hangLimitMs?: number
  /** Time that a cancelled request gets to stop by itself. */
  cancelGraceMs?: number
  startLimitMs?: number
  /** Another program for the child, for tests of how this handle behaves. */
  entry?: URL
}

export interface KernelInfo {
  backend: BackendName
  fingerprint: string
  pid: number
  engine?: string
  device?: Device
}

export interface RunOptions {
  signal?: AbortSignal
  onProgress?: (progress: Progress) => void
  /** What a member of a synchronous window tells the others. */
  onTell?: (message: SyncMessage) => void
}

interface Pending {
  id: number
  settle: (outcome: { result: unknown } | { error: KernelError }) => void
  onProgress: RunOptions['onProgress']
  onTell: RunOptions['onTell']
}

interface Child {
  process: ChildProcess
  info: KernelInfo
}

export class KernelProcess {
  readonly #options: Required<Omit<KernelOptions, 'backend' | 'backendsDir'>>
  readonly #backendsDir: string | undefined
  /** The back ends that the child may have; one, once a child has started. */
  #backends: readonly BackendName[]
  #child: Promise<Child> | undefined
  /** The process behind #child, also while it starts. */
  #process: ChildProcess | undefined
  /** The end of each process that was forked, also of one that was replaced and is still dying. */
  readonly #exits = new Set<Promise<void>>()
  #pending: Pending | undefined
  #hangTimer: NodeJS.Timeout | undefined
  #requestId = 0
  #stopped = false

  constructor({ backend, backendsDir, ...options }: KernelOptions) {
    this.#backendsDir = backendsDir
    this.#backends = candidates(backend, backendsDir)
    this.#options = {
      memoryLimitBytes: Number.POSITIVE_INFINITY,
      hangLimitMs: HANG_LIMIT_MS,
      cancelGraceMs: CANCEL_GRACE_MS,
      startLimitMs: START_LIMIT_MS,
      entry: new URL('./child.ts', import.meta.url),
      ...options,
    }
  }

  /** Forks the child if there is none, and waits until its back end runs. */
  async start(): Promise<KernelInfo> {
    return (await this.#live()).info
  }

  async run<R extends KernelRequest>(
    request: R,
    { signal, onProgress, onTell }: RunOptions = {},
  ): Promise<KernelResult<R>> {
    if (this.#pending) throw new KernelError('kernel.busy', 'A kernel process runs one request at a time')
    if (signal?.aborted === true) throw new KernelError('kernel.cancelled', 'The request was cancelled before it began')
    const { promise, resolve, reject } = Promise.withResolvers<KernelResult<R>>()
    const id = ++this.#requestId
    let settled = false
    const settle: Pending['settle'] = (outcome) => {
      if (settled) return
      settled = true
      clearTimeout(this.#hangTimer)
      this.#pending = undefined
      if ('error' in outcome) reject(outcome.error)
      else resolve(outcome.result as KernelResult<R>) // the child answers a request with its own kind of result
    }
    this.#pending = { id, settle, onProgress, onTell }
    const cancel = (): void => void this.#cancel(id)
    signal?.addEventListener('abort', cancel, { once: true })
    try {
      const child = await this.#live()
      if (!settled) {
        this.#watchForHang(child)
        child.process.send({ type: 'run', id, request } satisfies ToKernel)
      }
    } catch (error) {
      settle({ error: KernelError.from(error) })
    }
    try {
      return await promise
    } finally {
      signal?.removeEventListener('abort', cancel)
    }
  }

  /** Passes on what another member told; without a running request it is for nobody. */
  hear(message: SyncMessage): void {
    const id = this.#pending?.id
    if (id !== undefined) this.#process?.send({ type: 'hear', id, message } satisfies ToKernel)
  }

  /** Ends the child and everything it runs, and waits until its files are nobody's; the handle is of no use afterwards. */
  async stop(): Promise<void> {
    this.#stopped = true
    const starting = this.#child
    this.#child = undefined
    this.#pending?.settle({ error: new KernelError('kernel.cancelled', 'The kernel process was stopped') })
    const child = await starting?.catch(() => undefined)
    child?.process.kill('SIGKILL')
    await Promise.all(this.#exits)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #live(): Promise<Child> {
    if (this.#stopped) throw new KernelError('kernel.cancelled', 'The kernel process was stopped')
    this.#child ??= this.#startFirst()
    const child = this.#child
    try {
      return await child
    } catch (error) {
      if (this.#child === child) this.#child = undefined
      throw error
    }
  }

  /** The first of the back ends that starts. */
  async #startFirst(): Promise<Child> {
    const failures: string[] = []
    for (const backend of this.#backends) {
      try {
        const child = await this.#fork(backend)
        this.#backends = [backend]
        return child
      } catch (error) {
        if (this.#backends.length === 1 || !(error instanceof KernelError)) throw error
        failures.push(`${backend}: ${error.message}`)
      }
    }
    throw new KernelError('backend.unavailable', `Cannot start a compute back end (${failures.join('; ')})`, {
      failures,
    })
  }

  async #fork(backend: BackendName): Promise<Child> {
    const { entry, scratchDir, startLimitMs } = this.#options
    mkdirSync(scratchDir, { recursive: true })
    mkdirSync(this.#options.cacheDir, { recursive: true })
    const scratch = realpathSync(scratchDir)
    const { settings, execArgv, env } = launchOf(backend, {
      cacheDir: realpathSync(this.#options.cacheDir),
      scratchDir: scratch,
      backendsDir:
        this.#backendsDir !== undefined && existsSync(this.#backendsDir) ? realpathSync(this.#backendsDir) : undefined,
    })
    const child = fork(fileURLToPath(entry), [JSON.stringify(settings)], {
      execArgv,
      env,
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      cwd: scratch,
    })
    this.#process = child
    let lastWords = ''
    child.stderr?.on('data', (chunk: Buffer) => {
      lastWords = (lastWords + chunk.toString('utf8')).slice(-2_000)
    })
    const started = Promise.withResolvers<Child>()
    const exited = Promise.withResolvers<void>()
    this.#exits.add(exited.promise)
    const timer = setTimeout(() => {
      started.reject(new KernelError('kernel.start', `The kernel process did not start within ${startLimitMs} ms`))
      child.kill('SIGKILL')
    }, startLimitMs)
    child.on('message', (message: FromKernel) => {
      if (message.type === 'ready') {
        clearTimeout(timer)
        const { type: _type, ...what } = message
        started.resolve({ process: child, info: { ...what, pid: child.pid ?? 0 } })
      } else if (message.type === 'error' && message.id === undefined) {
        clearTimeout(timer)
        started.reject(KernelError.fromJSON(message.error))
      } else {
        this.#receive(message, child)
      }
    })
    const died = (code: number | null, signal: string | null, cause?: Error): void => {
      clearTimeout(timer)
      exited.resolve()
      this.#exits.delete(exited.promise)
      const how = cause ? cause.message : signal ? `signal ${signal}` : `exit code ${code}`
      const error = new KernelError('kernel.died', `The kernel process died (${how})`, {
        exitCode: code,
        signal,
        pid: child.pid,
        stderr: lastWords,
      })
      started.reject(
        new KernelError(
          'kernel.start',
          `The kernel process did not start (${how}): ${lastWords.trim().slice(-500)}`,
          error.data,
        ),
      )
      if (this.#process !== child) return
      this.#process = undefined
      this.#child = undefined
      this.#pending?.settle({ error })
    }
    child.on('exit', (code, signal) => {
      // What the child said last may still be on the way: the channel closes after it.
      if (child.connected) child.once('disconnect', () => died(code, signal))
      else died(code, signal)
    })
    child.on('error', (cause) => died(null, null, cause))
    return await started.promise
  }

  #receive(message: Exclude<FromKernel, { type: 'ready' }>, from: ChildProcess): void {
    const pending = this.#pending
    if (!pending || message.id !== pending.id) return
    this.#hangTimer?.refresh()
    if ('rssBytes' in message && message.rssBytes > this.#options.memoryLimitBytes && from === this.#process) {
      this.#replaceLeaking(from, message)
    }
    if (message.type === 'progress') pending.onProgress?.(message.progress)
    else if (message.type === 'tell') pending.onTell?.(message.message)
    else if (message.type === 'result') pending.settle({ result: message.result })
    else if (message.type === 'error') pending.settle({ error: KernelError.fromJSON(message.error) })
  }

  #watchForHang(child: Child): void {
    const { hangLimitMs } = this.#options
    this.#hangTimer = setTimeout(() => {
      this.#replace(
        child,
        new KernelError('kernel.hung', `The kernel process showed no sign of life for ${hangLimitMs / 1_000} s`, {
          pid: child.info.pid,
          hangLimitMs,
        }),
      )
    }, hangLimitMs)
  }

  /** Asks first: a child that stops by itself keeps its shards and models. One that does not is killed. */
  async #cancel(id: number): Promise<void> {
    const child = await this.#child?.catch(() => undefined)
    if (this.#pending?.id !== id) return
    const error = new KernelError('kernel.cancelled', 'The request was cancelled')
    if (!child) {
      this.#pending.settle({ error })
      return
    }
    child.process.send({ type: 'cancel', id } satisfies ToKernel)
    const grace = setTimeout(() => {
      if (this.#pending?.id === id) this.#replace(child, error)
    }, this.#options.cancelGraceMs)
    grace.unref()
  }

  /** One that brought its result keeps it; the next request has a fresh child. */
  #replaceLeaking(child: ChildProcess, { type, rssBytes }: { type: string; rssBytes: number }): void {
    const { memoryLimitBytes } = this.#options
    const size = (bytes: number): string => `${Math.round(bytes / 1024 / 1024)} MiB`
    const error = new KernelError(
      'kernel.memory',
      `The kernel process took ${size(rssBytes)} of memory, and may have ${size(memoryLimitBytes)}`,
      { pid: child.pid, rssBytes, memoryLimitBytes },
    )
    this.#drop(child)
    if (type !== 'result') this.#pending?.settle({ error })
  }

  /** Kills the child; the next request forks another. */
  #replace(child: Child, error: KernelError): void {
    this.#drop(child.process)
    this.#pending?.settle({ error })
  }

  #drop(child: ChildProcess): void {
    this.#child = undefined
    this.#process = undefined
    child.kill('SIGKILL')
  }
}
