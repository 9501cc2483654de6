/**
 * Debian's (or Ubuntu's) own redis-server for who may not install it: apt downloads the package and the libraries that
 * this host lacks, checked by its signatures as ever, and dpkg-deb unpacks them under `<dataDir>/redis-dist`. Nothing
 * of the system is changed and no root is needed. The next start finds it there.
 */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { RedisServerOptions } from '../redis-server.ts'
import { redisProgram, type RedisProgram } from './private.ts'

const run = promisify(execFile)

const DOWNLOAD_MS = 120_000
/** libsystemd0 needs libgcrypt20 needs libgpg-error0: what a package needs, and what that needs. */
const DEPENDENCY_ROUNDS_MAX = 4

/** The program, or the reason why it cannot be had. */
export async function getDebianRedis(options: RedisServerOptions): Promise<RedisProgram | { readonly reason: string }> {
  const dist = join(options.dataDir, 'redis-dist')
  const cached = await programIn(dist, options.env)
  if ('command' in cached) return cached
  for (const tool of ['apt-get', 'dpkg-deb']) {
    if (!(await succeeds(tool, ['--version'], options))) return { reason: `there is no ${tool} to get a package with` }
  }
  options.note('no redis-server here: getting Debian’s package (about 2 MB), without installing it')
  await mkdir(options.dataDir, { recursive: true })
  const staging = await mkdtemp(join(options.dataDir, 'redis-dist-'))
  try {
    const program = await unpackInto(staging, options)
    if (!('command' in program)) return program
    await rm(dist, { recursive: true, force: true })
    await rename(join(staging, 'root'), dist)
    return await programIn(dist, options.env)
  } catch (error) {
    options.signal?.throwIfAborted()
    return { reason: `Debian’s package cannot be had: ${lastLineOf(error)}` }
  } finally {
    await rm(staging, { recursive: true, force: true })
  }
}

async function unpackInto(
  staging: string,
  options: RedisServerOptions,
): Promise<RedisProgram | { readonly reason: string }> {
  const root = join(staging, 'root')
  await mkdir(root)
  const apt = await aptThatKnows('redis-server', staging, options)
  const seen = new Set<string>()
  let wanted = ['redis-server', 'redis-tools']
  for (let round = 0; ; round++) {
    const folder = join(staging, `packages-${round}`)
    await mkdir(folder)
    for (const name of wanted) seen.add(name)
    await apt(['download', ...wanted], folder)
    const packages = (await readdir(folder)).map((name) => join(folder, name))
    for (const path of packages) await run('dpkg-deb', ['--extract', path, root], { env: options.env })
    const program = await programIn(root, options.env)
    // Most hosts have nearly all of its libraries: packages are fetched only as long as it does not run.
    if ('command' in program || round === DEPENDENCY_ROUNDS_MAX) return program
    const depends = await Promise.all(packages.map((path) => librariesNeededBy(path, options)))
    wanted = [...new Set(depends.flat())].filter((name) => !seen.has(name))
    if (wanted.length === 0) return program
  }
}

/** Its program, run with the libraries that were unpacked beside it. */
async function programIn(root: string, env: NodeJS.ProcessEnv): Promise<RedisProgram | { readonly reason: string }> {
  const folders = ['usr/lib', 'lib'].map((name) => join(root, name))
  const nested = await Promise.all(
    folders.map(async (folder) => {
      const entries = await readdir(folder, { withFileTypes: true }).catch(() => []) // a package need not have both
      return entries
        .filter((entry) => entry.isDirectory() && entry.name.includes('-linux-'))
        .map((e) => join(folder, e.name))
    }),
  )
  const libraryPath = [...nested.flat(), ...folders].join(':')
  return redisProgram('debian-package', join(root, 'usr/bin/redis-server'), { ...env, LD_LIBRARY_PATH: libraryPath })
}

type Apt = (args: readonly string[], cwd: string) => Promise<void>

/** apt with the host's package lists where they serve, else with lists of our own: a bare image comes without any. */
async function aptThatKnows(name: string, staging: string, options: RedisServerOptions): Promise<Apt> {
  const plain = ['-oAcquire::Retries=2', '-oAcquire::http::Timeout=20', '-oAPT::Sandbox::User=']
  const aptWith = (settings: readonly string[]): Apt => {
    return async (args, cwd) => {
      const { env, signal } = options
      await run('apt-get', [...plain, ...settings, ...args], {
        cwd,
        env,
        timeout: DOWNLOAD_MS,
        ...(signal && { signal }),
      })
    }
  }
  const trial = join(staging, 'trial')
  await mkdir(trial)
  const host = aptWith([])
  try {
    await host(['download', name], trial)
    return host
  } catch {
    options.signal?.throwIfAborted()
    options.note('the package lists of this host are missing or out of date: reading new ones into a folder of our own')
  }
  const state = join(staging, 'apt')
  await mkdir(join(state, 'lists/partial'), { recursive: true })
  await mkdir(join(state, 'cache/archives/partial'), { recursive: true })
  const own = aptWith([
    `-oDir::State=${state}`,
    '-oDir::State::status=/var/lib/dpkg/status',
    `-oDir::Cache=${join(state, 'cache')}`,
    // The host's clean-up hooks (Docker images have some) work on the host's own cache, which is not ours to touch.
    '-oDPkg::Post-Invoke=',
    '-oAPT::Update::Post-Invoke=',
    '-oAPT::Update::Post-Invoke-Success=',
  ])
  await own(['update'], staging).catch(() => undefined) // one broken source of many fails it: the download will tell
  return own
}

async function librariesNeededBy(path: string, options: RedisServerOptions): Promise<string[]> {
  const { stdout } = await run('dpkg-deb', ['--field', path, 'Depends'], { env: options.env })
  return stdout
    .split(',')
    .map((alternatives) => /^\s*([a-z0-9][a-z0-9+.-]+)/.exec(alternatives)?.[1] ?? '')
    .filter((name) => name.startsWith('lib') && name !== 'libc6') // the C library must be the host's
}

async function succeeds(command: string, args: readonly string[], options: RedisServerOptions): Promise<boolean> {
  return run(command, args, { env: options.env, timeout: 10_000 }).then(
    () => true,
    () => false,
  )
}

function lastLineOf(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message?: string } // as execFile documents its errors
  return (stderr?.trim() || message || String(error)).split('\n').at(-1) ?? ''
}
