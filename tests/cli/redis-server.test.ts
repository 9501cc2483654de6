/** The Redis of `tensorfleet up`, by every way that this host offers. The servers, and their deaths, are real. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, mkdir, mkdtemp, open, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test, vi } from 'vitest'
import { isAlive } from './alive.ts'
import { TestCluster } from '../harness/redis-cluster.ts'
import { getRedisServer, type NoRedisServer, type RedisServer } from '../../cli/redis-server.ts'

const run = promisify(execFile)
const moduleUrl = import.meta.resolve('../../cli/redis-server.ts')
/** The user `nobody` of Debian, and of nearly all others. */
const NOBODY = 65534

test('a private Redis keeps its data over a stop, and is gone when stopped', async () => {
  const dataDir = await temporaryFolder()
  const first = await started(dataDir)
  expect(first.description).toContain(dataDir)
  await set(first.url, 'kept')
  const pid = await pidIn(dataDir)
  await first.stop()
  await first.stop()
  expect(isAlive(pid)).toBe(false)
  const second = await started(dataDir)
  expect(await get(second.url)).toBe('kept')
})

test('listens on a Unix socket that only its user may open', async () => {
  const server = await started(await temporaryFolder())
  expect(server.url).toMatch(/^unix:\/\/\/.*\/redis\.sock$/)
  const { stdout } = await run('stat', ['--format', '%a', server.url.slice('unix://'.length)])
  expect(stdout.trim()).toBe('700')
})

test('listens on loopback behind a password where the path is too long for a socket', async () => {
  const server = await started(join(await temporaryFolder(), 'x'.repeat(120)))
  expect(server.url).toMatch(/^redis:\/\/:[\w-]{32}@127\.0\.0\.1:\d+$/)
  await set(server.url, 'there')
  const withoutPassword = server.url.replace(/:[\w-]+@/, '')
  await expect(getRedisServer(optionsFor('/nowhere', { REDIS_URL: withoutPassword }))).rejects.toMatchObject({
    code: 'redis.denied',
  })
  expect(server.description).not.toContain(new URL(server.url).password)
})

test('a Redis that is killed comes back at the same address with its data', async () => {
  const dataDir = await temporaryFolder()
  const notes: string[] = []
  const server = await started(dataDir, notes)
  await set(server.url, 'kept')
  const pid = await pidIn(dataDir)
  process.kill(pid, 'SIGKILL')
  await vi.waitFor(async () => expect(await pidIn(dataDir)).not.toBe(pid), { timeout: 10_000 })
  await vi.waitFor(async () => expect(await get(server.url)).toBe('kept'), { timeout: 10_000 })
  expect(notes.join()).toMatch(/redis-server \(pid \d+\) was killed by SIGKILL and is started again/)
})

test('a Redis that keeps dying is given up, and that is told', async () => {
  const dataDir = await temporaryFolder()
  const server = await started(dataDir)
  const killed = new Set<number>()
  const isLost = server.lost.then((reason) => reason)
  const killing = vi.waitUntil(
    async () => {
      const pid = await pidIn(dataDir)
      // Only what was killed counts: a server that starts empties the file first, and no pid reads as 0.
      if (!killed.has(pid) && isAlive(pid)) {
        process.kill(pid, 'SIGKILL')
        killed.add(pid)
      }
      return killed.size === 6 // the first, and the five restarts that it is allowed
    },
    { timeout: 30_000, interval: 20 },
  )
  expect(await isLost).toMatch(/too often/)
  await killing
})

test('a Redis that a killed TensorFleet left is stopped first, and its data taken over', async () => {
  const dataDir = await temporaryFolder()
  const program = `
    import { getRedisServer } from ${JSON.stringify(moduleUrl)}
    const server = await getRedisServer({ dataDir: ${JSON.stringify(dataDir)}, env: process.env, note: () => {} })
    console.log(server.url)
    process.stdin.resume()
  `
  const parent = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const [url] = (await once(parent.stdout, 'data')) as [Buffer] // one line
  await set(url.toString().trim(), 'kept')
  parent.kill('SIGKILL')
  await once(parent, 'exit')
  const leftover = await pidIn(dataDir)
  expect(isAlive(leftover)).toBe(true)

  const notes: string[] = []
  const server = await started(dataDir, notes)
  expect(notes.join()).toContain(`stopping the redis-server (pid ${leftover}) that an earlier run left behind`)
  expect(isAlive(leftover)).toBe(false)
  expect(await get(server.url)).toBe('kept')
})

test('a process that only has the number of an old Redis is left alone', async () => {
  const dataDir = await temporaryFolder()
  await mkdir(join(dataDir, 'redis'))
  await writeFile(join(dataDir, 'redis', 'redis.pid'), String(process.pid)) // as after a reboot
  const notes: string[] = []
  await started(dataDir, notes)
  expect(notes).toEqual([])
})

test('a second TensorFleet on the same folder is refused, and the first not disturbed', async () => {
  const dataDir = await temporaryFolder()
  const first = await started(dataDir)
  await set(first.url, 'mine')
  await expect(getRedisServer(optionsFor(dataDir))).rejects.toMatchObject({
    code: 'redis.in-use',
    message: expect.stringContaining(`(pid ${process.pid})`),
  })
  expect(await get(first.url)).toBe('mine')
})

test('a damaged append-only file is an error with advice, not an empty Redis', async () => {
  const dataDir = await temporaryFolder()
  const server = await started(dataDir)
  for (let i = 0; i < 10; i++) await set(server.url, `value ${i}`)
  await server.stop()
  const folder = join(dataDir, 'redis', 'appendonlydir')
  const name = (await readdir(folder)).find((file) => file.endsWith('.incr.aof')) ?? ''
  const file = await open(join(folder, name), 'r+')
  await file.write('garbage', 30)
  await file.close()
  await expect(getRedisServer(optionsFor(dataDir))).rejects.toMatchObject({
    code: 'redis.not-started',
    message: expect.stringContaining('redis-check-aof --fix'),
  })
})

test('uses the Redis of REDIS_URL, and leaves it running', async () => {
  const own = await started(await temporaryFolder())
  const given = await getRedisServer(optionsFor('/nowhere', { REDIS_URL: own.url }))
  expect(given).toMatchObject({ kind: 'given', url: own.url, version: own.version })
  if (given.kind !== 'none') await given.stop()
  await set(own.url, 'still there')
})

test('warns of a given Redis that may forget', async () => {
  const own = await started(await temporaryFolder())
  await command(own.url, ['CONFIG', 'SET', 'maxmemory', '100mb'])
  await command(own.url, ['CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru'])
  await command(own.url, ['CONFIG', 'SET', 'appendonly', 'no'])
  const notes: string[] = []
  await getRedisServer(optionsFor('/nowhere', { REDIS_URL: own.url }, notes))
  expect(notes).toEqual([expect.stringContaining('may evict keys'), expect.stringContaining('no append-only file')])
})

test('a REDIS_URL where nothing answers is a clear error without its password', async () => {
  const REDIS_URL = 'redis://me:secret@127.0.0.1:1'
  const refused = getRedisServer(optionsFor('/nowhere', { REDIS_URL }))
  await expect(refused).rejects.toMatchObject({
    code: 'redis.unreachable',
    remedy: 'retry',
    message: expect.stringMatching(/redis:\/\/me:\*\*\*@127\.0\.0\.1:1: .*ECONNREFUSED.*unset REDIS_URL/),
  })
})

test('a REDIS_URL may name a Cluster, and one that cannot be read is said to be', async () => {
  const cluster = await TestCluster.start()
  onTestFinished(() => cluster.stop())
  const given = await getRedisServer(optionsFor('/nowhere', { REDIS_URL: cluster.url }))
  expect(given).toMatchObject({ kind: 'given', url: cluster.url, version: expect.stringMatching(/^\d+\.\d+/) })
  const wrong = getRedisServer(optionsFor('/nowhere', { REDIS_URL: 'redis+sentinel://:secret@127.0.0.1:26379' }))
  await expect(wrong).rejects.toThrow(
    /sentinel:\/\/\*\*\*@.*the master's name is wrong: expected as in redis\+sentinel/,
  )
})

test('a given replica is refused, since it takes no writes', async () => {
  const own = await started(await temporaryFolder())
  await command(own.url, ['REPLICAOF', '127.0.0.1', '1'])
  await expect(getRedisServer(optionsFor('/nowhere', { REDIS_URL: own.url }))).rejects.toMatchObject({
    code: 'redis.unsuitable',
    message: expect.stringContaining('replica'),
  })
})

test('a given Redis that is too old is refused, with what was expected and found', async () => {
  // No such server can be had here: one that introduces itself as Redis 6 stands in, which is all that is asked of it.
  const server = createServer((socket) => {
    const info = 'redis_version:6.0.16\r\nrole:master\r\n'
    socket.on('data', (data) => {
      for (const asked of data
        .toString()
        .toLowerCase()
        .split(/^\*\d+\r\n/m)
        .slice(1)) {
        if (asked.includes('\r\ninfo\r\n') && !asked.includes('command')) socket.write(`$${info.length}\r\n${info}\r\n`)
        else socket.write(asked.includes('command') ? '*0\r\n' : '+OK\r\n')
      }
    })
  }).listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // it listens on TCP
  await expect(
    getRedisServer(optionsFor('/nowhere', { REDIS_URL: `redis://127.0.0.1:${port}` })),
  ).rejects.toMatchObject({
    code: 'redis.too-old',
    remedy: 'fix-request',
    data: { expected: '7.0.0', found: '6.0.16' },
  })
})

test('without any way to a Redis it gives the reasons, one for each way', async () => {
  const dataDir = await temporaryFolder()
  const PATH = await temporaryFolder()
  expect(await getRedisServer({ ...optionsFor(dataDir), env: { PATH } })).toEqual({
    kind: 'none',
    reason: 'there is no redis-server; there is no apt-get to get a package with; no Docker answers',
  })
  await writeFile(join(PATH, 'redis-server'), '#!/bin/sh\necho "Redis server v=6.0.16 sha=00000000:0"\n')
  await chmod(join(PATH, 'redis-server'), 0o755)
  expect(await getRedisServer({ ...optionsFor(dataDir), env: { PATH } })).toMatchObject({
    kind: 'none',
    reason: expect.stringContaining('redis-server is version 6.0.16, and 7.0.0 is needed'),
  })
})

test('without redis-server on the PATH, a user without rights gets Debian’s package, once', async (context) => {
  const unable = await whyNoPackages()
  if (unable !== undefined) {
    if (process.env['CI'] === 'true') throw new Error(unable)
    context.skip(unable)
  }
  const folder = await temporaryFolder()
  await chmod(folder, 0o777)
  // Everything that the host has, except what is looked for.
  const PATH = join(folder, 'bin')
  await mkdir(PATH)
  for (const name of await readdir('/usr/bin')) {
    if (!/^(redis|docker)/.test(name)) await symlink(join('/usr/bin', name), join(PATH, name))
  }
  const dataDir = join(folder, 'data')
  await mkdir(dataDir)
  const isRoot = process.getuid?.() === 0
  if (isRoot) await chown(dataDir, NOBODY, NOBODY)
  const program = `
    import { getRedisServer } from ${JSON.stringify(moduleUrl)}
    const notes = []
    const server = await getRedisServer({ dataDir: ${JSON.stringify(dataDir)}, env: process.env, note: (line) => notes.push(line) })
    const { kind, version, reason } = server
    if (kind !== 'none') await server.stop()
    console.log(JSON.stringify({ kind, version, reason, notes, uid: process.getuid() }))
  `
  const node = [process.execPath, '--input-type=module', '--eval', program]
  const asNobody = isRoot ? ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'] : ['env']
  const start = async (): Promise<unknown> => {
    const [command = '', ...args] = [...asNobody, ...node]
    return JSON.parse((await run(command, args, { env: { PATH, HOME: dataDir } })).stdout)
  }
  expect(await start()).toMatchObject({
    kind: 'debian-package',
    version: expect.stringMatching(/^[78]\./),
    notes: expect.arrayContaining([expect.stringContaining('without installing it')]),
    ...(isRoot && { uid: NOBODY }),
  })
  expect(await start()).toMatchObject({ kind: 'debian-package', notes: [] })
})

function optionsFor(
  dataDir: string,
  env: NodeJS.ProcessEnv = {},
  notes: string[] = [],
): Parameters<typeof getRedisServer>[0] {
  const { REDIS_URL: _, ...inherited } = process.env // the tests' own Redis is not what is asked for here
  return { dataDir, env: { ...inherited, ...env }, note: (line) => void notes.push(line) }
}

/** A server by whichever way this host offers, stopped with the test. */
async function started(dataDir: string, notes: string[] = []): Promise<RedisServer> {
  const server: RedisServer | NoRedisServer = await getRedisServer(optionsFor(dataDir, {}, notes))
  if (server.kind === 'none') throw new Error(`these tests need a Redis: ${server.reason}`)
  onTestFinished(() => server.stop())
  return server
}

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tf-redis-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  return folder
}

async function command(url: string, words: readonly [string, ...string[]]): Promise<unknown> {
  const redis = new Redis(url, { retryStrategy: () => null, maxRetriesPerRequest: 0 })
  redis.on('error', () => undefined) // the command rejects
  try {
    const [name, ...args] = words
    return await redis.call(name, ...args)
  } finally {
    redis.disconnect()
  }
}

async function set(url: string, value: string): Promise<void> {
  await command(url, ['SET', 'key', value])
}

async function get(url: string): Promise<unknown> {
  return command(url, ['GET', 'key'])
}

async function pidIn(dataDir: string): Promise<number> {
  return Number(await readFile(join(dataDir, 'redis', 'redis.pid'), 'utf8'))
}

async function whyNoPackages(): Promise<string | undefined> {
  const folder = await temporaryFolder()
  return run('apt-get', ['download', '--print-uris', 'redis-server'], { cwd: folder }).then(
    () => undefined,
    (error: unknown) => `Debian’s package needs apt and a package source: ${String(error)}`,
  )
}
