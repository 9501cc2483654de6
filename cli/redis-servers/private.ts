/**
 * A `redis-server` of our own: a supervised child process whose data lies under `<dataDir>/redis`.
 *
 * It listens on a Unix socket that only this user may open, or, where the path would be too long for one, on a free
 * port of 127.0.0.1 behind a password made for the purpose. Every write goes to its append-only file, synced each
 * second, so that a crash of Redis loses nothing and a crash of the machine at most that second.
 *
 * Invariants: 1. one TensorFleet at a time uses a data folder, held by a lock that the system drops with the process.
 * 2. No two servers share one append-only file: one that a killed TensorFleet left is stopped first. 3. A server that
 * dies is started again at the same address, but not for ever.
 */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Child, describeExit } from '../child.ts'
import type { RedisServer, RedisServerOptions } from '../redis-server.ts'
import { isNewEnough, probe, RedisServerError, versionIn, VERSION_MIN } from './probe.ts'

const run = promisify(execFile)

/** `sockaddr_un` holds 108 bytes on Linux, 104 on macOS. */
const SOCKET_PATH_BYTES_MAX = 100
const ANSWER_MS = 15_000
const STOP_MS = 10_000
const RESTART = { when: 'always', intensity: 5, periodMs: 60_000 } as const

/** A program that may be run as Redis: from the PATH, or unpacked. */
export interface RedisProgram {
  readonly kind: 'private' | 'debian-package'
  readonly command: string
  readonly env: NodeJS.ProcessEnv
  readonly version: string
}

/** The program if it runs and is new enough, else the reason why not. */
export async function redisProgram(
  kind: RedisProgram['kind'],
  command: string,
  env: NodeJS.ProcessEnv,
): Promise<RedisProgram | { readonly reason: string }> {
  try {
    const { stdout } = await run(command, ['--version'], { env, timeout: 10_000 })
    const version = versionIn(stdout)
    if (version === undefined) return { reason: `${command} does not tell its version` }
    if (!isNewEnough(version)) return { reason: `${command} is version ${version}, and ${VERSION_MIN} is needed` }
    return { kind, command, env, version }
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string } // as execFile documents its errors
    return { reason: code === 'ENOENT' ? `there is no ${command}` : `${command} does not run: ${stderr?.trim()}` }
  }
}

export async function startPrivateRedis(program: RedisProgram, options: RedisServerOptions): Promise<RedisServer> {
  const { note } = options
  const folder = resolve(options.dataDir, 'redis')
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const lock = await lockFolder(folder)
  try {
    await stopLeftover(folder, note)
    const address = await chooseAddress(folder)
    const config = join(folder, 'redis.conf')
    await writeFile(config, configOf(folder, address), { mode: 0o600 })
    await rename(join(folder, 'redis.log'), join(folder, 'redis.log.1')).catch(() => undefined) // the first has none
    const { promise: lost, resolve: lose } = Promise.withResolvers<string>()
    const child = new Child({
      name: 'redis-server',
      command: program.command,
      args: [config],
      env: program.env,
      restart: RESTART,
      stopMs: STOP_MS,
      onExit: (exit) => {
        if (exit.next !== 'stopped') note(`${describeExit(exit)}; its log is ${join(folder, 'redis.log')}`)
        if (exit.next === 'given-up') lose(describeExit(exit))
      },
    })
    await child.start()
    // SIGTERM makes Redis sync its file and leave, as SHUTDOWN NOSAVE does, and needs no connection.
    const stop = async (): Promise<void> => {
      await child.stop()
      lock[Symbol.dispose]()
    }
    try {
      await untilReady(child, address.url, folder, options)
    } catch (error) {
      await stop()
      throw error
    }
    return {
      kind: program.kind,
      url: address.url,
      version: program.version,
      description: `Redis ${program.version} of our own (${address.place}, data in ${folder})`,
      lost,
      stop,
      [Symbol.asyncDispose]: stop,
    }
  } catch (error) {
    lock[Symbol.dispose]()
    throw error
  }
}

interface Address {
  readonly url: string
  readonly place: string
  readonly config: readonly string[]
}

async function chooseAddress(folder: string): Promise<Address> {
  const socket = join(folder, 'redis.sock')
  // ioredis reads a path as the path of a URL, and does not undo its escapes: only plain characters pass.
  if (Buffer.byteLength(socket) < SOCKET_PATH_BYTES_MAX && /^[\w./+=@,-]+$/.test(socket)) {
    return { url: `unix://${socket}`, place: socket, config: ['port 0', `unixsocket ${socket}`, 'unixsocketperm 700'] }
  }
  const port = await freePort()
  const password = randomBytes(24).toString('base64url')
  return {
    url: `redis://:${password}@127.0.0.1:${port}`,
    place: `127.0.0.1:${port}`,
    config: ['bind 127.0.0.1', `port ${port}`, `requirepass ${password}`],
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject).listen(0, '127.0.0.1', resolve)
  await promise
  const { port } = server.address() as AddressInfo // it listens on TCP
  server.close()
  return port
}

function configOf(folder: string, address: Address): string {
  return [
    '# Written by `tensorfleet up` at each start; changes here are lost.',
    ...address.config,
    'protected-mode yes',
    `dir ${quote(folder)}`,
    `pidfile ${quote(join(folder, 'redis.pid'))}`,
    `logfile ${quote(join(folder, 'redis.log'))}`,
    'daemonize no',
    'set-proc-title no', // so that the command line tells whose server it is
    'appendonly yes',
    'appendfsync everysec',
    'save ""',
    'maxmemory-policy noeviction',
    '',
  ].join('\n')
}

/** As redis.conf reads a value with spaces in it. */
function quote(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
}

/** Waits until it answers and has loaded its data; a server that ends instead is an error with its last words. */
async function untilReady(child: Child, url: string, folder: string, options: RedisServerOptions): Promise<void> {
  const deadlineMs = performance.now() + ANSWER_MS
  const firstPid = child.pid
  for (let isLoading = false; ; await sleep(isLoading ? 250 : 20, undefined, { signal: options.signal })) {
    if (child.pid !== firstPid) throw await notStarted(folder)
    try {
      const found = await probe(url, 2_000)
      if (found.processId === child.pid) return
      throw new RedisServerError('redis.in-use', `Cannot start Redis: another server answers at ${url}.`, { url })
    } catch (error) {
      if (!(error instanceof RedisServerError) || error.code !== 'redis.unreachable') throw error
      const loads = error.message.includes('LOADING')
      if (loads && !isLoading) options.note('Redis reads its data back from the disk')
      isLoading = loads
      // Reading back takes as long as there is data; only a server that says nothing at all is given up.
      if (!loads && performance.now() > deadlineMs) throw await notStarted(folder)
    }
  }
}

async function notStarted(folder: string): Promise<RedisServerError> {
  const path = join(folder, 'redis.log')
  const log = await readFile(path, 'utf8').catch(() => '') // it may have ended before it wrote one
  const lastLines = log.trimEnd().split('\n').slice(-5)
  const advice = /Bad file format reading the append only file|Unexpected end of file/i.test(log)
    ? ` Its append-only file is damaged: mend it with redis-check-aof --fix, or move ${folder} away to start empty.`
    : ''
  return new RedisServerError(
    'redis.not-started',
    `Cannot start Redis: it ended or does not answer.${advice} The end of ${path}:\n${lastLines.join('\n')}`,
    { log: path, lastLines },
  )
}

/** Invariant 1. SQLite's lock on a file is the system's: it cannot be left behind, as a file with a pid can. */
async function lockFolder(folder: string): Promise<Disposable> {
  const path = join(folder, 'lock')
  const owner = join(folder, 'owner')
  const lock = new DatabaseSync(path, { timeout: 0 })
  try {
    lock.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    lock.close()
    const pid = (await readFile(owner, 'utf8').catch(() => 'unknown')).trim() // for the message alone
    throw new RedisServerError(
      'redis.in-use',
      `Cannot start Redis in ${folder}: another TensorFleet (pid ${pid}) uses this data folder. ` +
        'Stop that one, or choose another folder.',
      { folder, pid },
      error,
    )
  }
  await writeFile(owner, `${process.pid}\n`)
  return {
    [Symbol.dispose]: () => {
      if (lock.isOpen) lock.close()
    },
  }
}

/** Invariant 2. Its pid file alone proves nothing, since numbers are used again: its command line must name our file. */
async function stopLeftover(folder: string, note: (line: string) => void): Promise<void> {
  const pid = Number(await readFile(join(folder, 'redis.pid'), 'utf8').catch(() => ''))
  if (!Number.isInteger(pid) || pid <= 1) return
  const isOurs = async (): Promise<boolean> => (await commandLineOf(pid)).includes(join(folder, 'redis.conf'))
  if (!(await isOurs())) return
  note(`stopping the redis-server (pid ${pid}) that an earlier run left behind`)
  for (const [signal, limitMs] of [
    ['SIGTERM', STOP_MS],
    ['SIGKILL', 5_000],
  ] as const) {
    signalTo(pid, signal)
    const deadlineMs = performance.now() + limitMs
    while (performance.now() < deadlineMs) {
      if (!(await isOurs())) return
      await sleep(20)
    }
  }
  throw new RedisServerError('redis.in-use', `Cannot stop the redis-server that an earlier run left (pid ${pid}).`, {
    folder,
    pid,
  })
}

function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error // gone in between: what we wanted
  }
}

/** Empty for a process that is gone or a zombie. */
async function commandLineOf(pid: number): Promise<string> {
  try {
    return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).replaceAll('\0', ' ')
  } catch {
    // No such process, or no /proc (macOS): `ps` knows both.
    const { stdout } = await run('ps', ['-ww', '-o', 'args=', '-p', String(pid)]).catch(() => ({ stdout: '' }))
    return stdout
  }
}
