/** A private Redis for one benchmark: append-only file at `everysec`, on a unix socket in a temporary folder. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getRedisServer } from '../cli/redis-server.ts'
import { owned } from './started.ts'

export interface BenchRedis extends AsyncDisposable {
  readonly url: string
}

export async function startRedis(say: (line: string) => void): Promise<BenchRedis> {
  const dataDir = await mkdtemp(join(tmpdir(), 'tf-bench-'))
  const redis = await getRedisServer({ dataDir, env: { ...process.env, REDIS_URL: '' }, note: say })
  if (redis.kind === 'none') throw new Error(`This benchmark needs a Redis: ${redis.reason}`)
  const stop = owned(async () => {
    await redis.stop()
    await rm(dataDir, { recursive: true, force: true })
  })
  return { url: redis.url, [Symbol.asyncDispose]: stop }
}

/** The same address as ioredis and BullMQ take it in their options. */
export function pathOf(url: string): { path: string } | { host: string; port: number; password?: string } {
  if (url.startsWith('unix://')) return { path: url.slice('unix://'.length) }
  const { hostname, port, password } = new URL(url)
  return { host: hostname, port: Number(port), ...(password !== '' && { password }) }
}
