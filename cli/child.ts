/**
 * A child process under supervision: `tensorfleet up` runs Redis, the node and the workers as such.
 *
 * - It is the leader of a process group of its own. Ctrl-C in a terminal signals the foreground group, and would
 *   otherwise reach every child at the same moment, Redis before those who still have something to commit. So the
 *   parent alone hears it and stops its children in order, and what a child leaves behind is killed with its group.
 * - It is started again as in OTP: at most `intensity` times in `periodMs`, then it is given up. A child that cannot
 *   live must not burn the machine in silence.
 * - Its stdin is a pipe that nothing is written to. It closes when the parent dies, however it dies: a child that must
 *   not outlive its parent ends at the end of stdin (`process.stdin.resume().on('end', ...)`).
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

export interface ChildOptions {
  /** In messages: `worker-1`. */
  readonly name: string
  readonly command: string
  /** Asked for at each start where it is a function: what comes back may have to be where it was. */
  readonly args?: readonly string[] | (() => readonly string[])
  readonly cwd?: string
  /** The whole environment; the parent's own where absent. */
  readonly env?: NodeJS.ProcessEnv
  /** Never restarted where absent. */
  readonly restart?: RestartPolicy
  /** How long after SIGTERM it is killed. */
  readonly stopMs?: number
  readonly onLine?: (line: string, source: 'stdout' | 'stderr') => void
  /** Each time its process ends, with what follows from that. */
  readonly onExit?: (exit: ChildExit) => void
}

export interface RestartPolicy {
  /** OTP's permanent and transient: after every end that was not asked for, or only after a failure. */
  readonly when: 'always' | 'on-failure'
  readonly intensity: number
  readonly periodMs: number
  /** How long to wait before each new start. */
  readonly delayMs?: number
}

export interface ChildExit {
  readonly name: string
  readonly pid: number
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** `stopped`: we asked. `restarting`: it comes back. `ended`: by itself, for good. `given-up`: it failed too often. */
  readonly next: 'stopped' | 'restarting' | 'ended' | 'given-up'
}

export class ChildError extends Error {
  override readonly name = 'ChildError'
  readonly code = 'child.not-started'
  readonly remedy = 'fix-request'
  readonly data: { readonly name: string; readonly command: string }

  constructor(options: ChildOptions, cause: unknown) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    super(`Cannot start ${options.name} (${options.command}): ${reason}`, { cause })
    this.data = { name: options.name, command: options.command }
  }
}

/**
 * Invariants: 1. at most one process of a child runs at a time. 2. After `stop` none runs, none is started, and nothing
 * of its group is left. 3. `ended` resolves once, when no process of this child will run any more.
 */
export class Child {
  readonly name: string
  /** How it ended for good: after `stop`, or when it is not restarted. */
  readonly ended: Promise<ChildExit | undefined>

  readonly #options: ChildOptions
  readonly #resolveEnded: (exit: ChildExit | undefined) => void
  readonly #stopping = new AbortController()
  /** When it was restarted, within the last period. */
  #restartsAtMs: number[] = []
  #process: ChildProcess | undefined
  #restartTimer: NodeJS.Timeout | undefined

  constructor(options: ChildOptions) {
    this.name = options.name
    this.#options = options
    const { promise, resolve } = Promise.withResolvers<ChildExit | undefined>()
    this.ended = promise
    this.#resolveEnded = resolve
  }

  /** Of the process that runs now. */
  get pid(): number | undefined {
    return this.#process?.pid
  }

  /** Resolves when the process exists; whether it is ready, its own protocol must tell. */
  async start(): Promise<void> {
    if (this.#process !== undefined || this.#stopping.signal.aborted) {
      throw new ChildError(this.#options, new Error('it has been started already'))
    }
    try {
      await this.#spawn()
    } catch (error) {
      this.#resolveEnded(undefined)
      throw error
    }
  }

  /** SIGTERM, then SIGKILL after the limit. Calling it twice waits for the same end. */
  async stop(): Promise<void> {
    if (!this.#stopping.signal.aborted) {
      this.#stopping.abort()
      clearTimeout(this.#restartTimer)
      if (this.#process === undefined) this.#resolveEnded(undefined)
    }
    const running = this.#process
    if (running !== undefined) {
      running.kill('SIGTERM')
      const timer = setTimeout(() => killGroup(running, 'SIGKILL'), this.#options.stopMs ?? 10_000)
      try {
        await this.ended
      } finally {
        clearTimeout(timer)
      }
    }
    await this.ended
  }

  /** A signal to its process as it is, for tests and for handing on SIGHUP and the like. */
  kill(signal: NodeJS.Signals): void {
    this.#process?.kill(signal)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #spawn(): Promise<void> {
    const { command, args = [], cwd, env, onLine } = this.#options
    const words = typeof args === 'function' ? args() : args
    const child = spawn(command, words, { cwd, env: env ?? process.env, detached: true, stdio: 'pipe' })
    for (const source of ['stdout', 'stderr'] as const) {
      // Read even where nobody asks: a child whose pipe is full stands still.
      createInterface({ input: child[source] }).on('line', (line) => onLine?.(line, source))
    }
    child.stdin.on('error', () => undefined) // nothing is ever written: only a broken pipe could be reported
    // A process that could be started has its pid at once, before any await: a `stop` in between finds it.
    if (child.pid !== undefined) {
      this.#process = child
      register(child)
      // 'close' follows 'exit' when its output has been read. A grandchild may hold the pipes: it is killed first.
      child.once('exit', () => killGroup(child, 'SIGKILL'))
      child.once('close', (code, signal) => this.#exited(child, code, signal))
    }
    try {
      await once(child, 'spawn')
    } catch (error) {
      throw new ChildError(this.#options, error)
    }
  }

  #exited(child: ChildProcess, code: number | null, signal: NodeJS.Signals | null): void {
    unregister(child)
    this.#process = undefined
    const next = this.#whatFollows(code, signal)
    const exit: ChildExit = { name: this.name, pid: child.pid ?? 0, code, signal, next }
    this.#options.onExit?.(exit)
    if (next !== 'restarting') return this.#resolveEnded(exit)
    this.#restartTimer = setTimeout(() => {
      this.#spawn().catch(() => {
        // It was there and is not any more (its file was removed, no more processes allowed): it cannot be restarted.
        this.#resolveEnded({ ...exit, next: 'given-up' })
        this.#options.onExit?.({ ...exit, next: 'given-up' })
      })
    }, this.#options.restart?.delayMs ?? 100)
  }

  #whatFollows(code: number | null, signal: NodeJS.Signals | null): ChildExit['next'] {
    if (this.#stopping.signal.aborted) return 'stopped'
    const policy = this.#options.restart
    if (policy === undefined || (policy.when === 'on-failure' && code === 0 && signal === null)) return 'ended'
    const nowMs = performance.now()
    this.#restartsAtMs = this.#restartsAtMs.filter((atMs) => atMs > nowMs - policy.periodMs)
    if (this.#restartsAtMs.length >= policy.intensity) return 'given-up'
    this.#restartsAtMs.push(nowMs)
    return 'restarting'
  }
}

/** A person's sentence of an end: `worker-1 (pid 17) was killed by SIGKILL and is started again`. */
export function describeExit(exit: ChildExit): string {
  const how = exit.signal === null ? `ended with code ${exit.code}` : `was killed by ${exit.signal}`
  const next = {
    stopped: ' as asked',
    restarting: ' and is started again',
    ended: '',
    'given-up': ' too often, and is not started again',
  }[exit.next]
  return `${exit.name} (pid ${exit.pid}) ${how}${next}`
}

/** What runs now. If this process ends without having stopped its children (an uncaught error), they are told to end. */
const running = new Set<ChildProcess>()

function register(child: ChildProcess): void {
  if (running.size === 0) process.on('exit', terminateAll)
  running.add(child)
}

function unregister(child: ChildProcess): void {
  running.delete(child)
  if (running.size === 0) process.off('exit', terminateAll)
}

function terminateAll(): void {
  for (const child of running) child.kill('SIGTERM')
}

function killGroup(leader: ChildProcess, signal: NodeJS.Signals): void {
  if (leader.pid === undefined) return
  try {
    process.kill(-leader.pid, signal)
  } catch (error) {
    // ESRCH: nobody is left in the group, as it should be. EPERM: macOS says so of a group of zombies.
    const { code } = error as NodeJS.ErrnoException // process.kill throws system errors alone
    if (code !== 'ESRCH' && code !== 'EPERM') throw error
  }
}
