/**
 * Redis in a container, where Docker answers: its port on loopback, its append-only file in the data folder. The image
 * is Docker's official one unless TENSORFLEET_REDIS_IMAGE names another. A container is named after its data folder, so
 * one that a killed TensorFleet left is found and replaced.
 */
import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { RedisServer, RedisServerOptions } from '../redis-server.ts'
import { probe, RedisServerError } from './probe.ts'

const run = promisify(execFile)

const ANSWER_MS = 30_000
const PULL_MS = 300_000

export async function startRedisContainer(
  options: RedisServerOptions,
): Promise<RedisServer | { readonly reason: string }> {
  const { env, note } = options
  const docker = async (args: readonly string[], timeoutMs = 30_000): Promise<string> =>
    (await run('docker', args, { env, timeout: timeoutMs })).stdout.trim()
  try {
    await docker(['version', '--format', '{{.Server.Version}}'], 5_000)
  } catch {
    return { reason: 'no Docker answers' }
  }
  const image = env['TENSORFLEET_REDIS_IMAGE'] ?? 'redis:7'
  const folder = resolve(options.dataDir, 'redis')
  const name = `tensorfleet-redis-${createHash('sha256').update(folder).digest('hex').slice(0, 12)}`
  const password = randomBytes(24).toString('base64url')
  const user = process.getuid === undefined ? [] : ['--user', `${process.getuid()}:${process.getgid?.() ?? 0}`]
  note(`starting Redis in a container of ${image}`)
  try {
    await mkdir(join(folder, 'container'), { recursive: true, mode: 0o700 })
    await docker(['rm', '--force', name]).catch(() => undefined) // there is none, unless a killed run left it
    await docker(
      [
        'run --detach --rm --publish 127.0.0.1::6379 --name'.split(' '),
        [name, ...user, '--volume', `${join(folder, 'container')}:/data`, image],
        'redis-server --appendonly yes --appendfsync everysec --maxmemory-policy noeviction'.split(' '),
        ['--save', '', '--requirepass', password],
      ].flat(),
      PULL_MS,
    )
    const port = /:(\d+)$/m.exec(await docker(['port', name, '6379/tcp']))?.[1]
    const url = `redis://:${password}@127.0.0.1:${port}`
    const stop = async (): Promise<void> => {
      await docker(['stop', '--time', '10', name]).catch(() => undefined) // --rm took it away if it ended by itself
    }
    const deadlineMs = performance.now() + ANSWER_MS
    for (;;) {
      try {
        const { version } = await probe(url, 2_000)
        const description = `Redis ${version} in the container ${name} (data in ${folder}/container)`
        const lost = new Promise<string>(() => undefined) // Docker's to watch; the runtime reconnects and reports
        return { kind: 'container', url, version, description, lost, stop, [Symbol.asyncDispose]: stop }
      } catch (error) {
        if (!(error instanceof RedisServerError) || performance.now() > deadlineMs) {
          await stop()
          throw error
        }
        await sleep(100, undefined, { signal: options.signal })
      }
    }
  } catch (error) {
    options.signal?.throwIfAborted()
    return { reason: `Docker answers, but a container of ${image} cannot be had: ${String(error).split('\n')[0]}` }
  }
}
