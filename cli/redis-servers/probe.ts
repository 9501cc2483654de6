/** What a Redis must be to carry the actors' mail, how to find out, and what to say where it is not. */
import { Redis } from 'ioredis'
import { inspectRedis, RuntimeError } from '../../runtime/mod.ts'

/** Debian stable's. The runtime keeps to its commands. */
export const VERSION_MIN = '7.0.0'

/** One command of each part that the runtime rests on, as far as servers that claim the version may lack them. */
const COMMANDS_NEEDED = ['xadd', 'xread', 'xautoclaim', 'xtrim', 'evalsha', 'function', 'zrangestore'] as const

export type RedisServerErrorCode =
  | 'redis.unreachable'
  | 'redis.denied'
  | 'redis.too-old'
  | 'redis.unsuitable'
  | 'redis.in-use'
  | 'redis.not-started'

export class RedisServerError extends Error {
  override readonly name = 'RedisServerError'
  readonly code: RedisServerErrorCode
  readonly remedy: 'retry' | 'fix-request'
  readonly data: Readonly<Record<string, unknown>>

  constructor(code: RedisServerErrorCode, message: string, data: Readonly<Record<string, unknown>>, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.remedy = code === 'redis.unreachable' ? 'retry' : 'fix-request'
    this.data = data
  }
}

export interface RedisFound {
  readonly version: string
  readonly processId: number
  /** Replication role: `master` or `slave`, in Redis's own words. */
  readonly role: string
  readonly isDurable: boolean
  readonly mayEvict: boolean
  readonly commandsMissing: readonly string[]
}

/** Asks a server what it is. Rejects with `redis.unreachable` or `redis.denied`. */
export async function probe(url: string, timeoutMs: number): Promise<RedisFound> {
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: timeoutMs,
    commandTimeout: timeoutMs,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    enableReadyCheck: false, // it would wait out a server that is loading; we report it
  })
  const errors: unknown[] = []
  redis.on('error', (error: unknown) => errors.push(error)) // the connection's own; connect() rejects without the cause
  try {
    await redis.connect()
    await redis.ping()
    const info = parseInfo(await redis.info())
    const known = (await redis.call('COMMAND', 'INFO', ...COMMANDS_NEEDED)) as unknown[] // null for what it lacks
    return {
      version: info['redis_version'] ?? 'unknown',
      processId: Number(info['process_id']),
      role: info['role'] ?? 'master',
      isDurable: info['aof_enabled'] === '1',
      mayEvict: info['maxmemory'] !== '0' && info['maxmemory_policy'] !== 'noeviction',
      commandsMissing: COMMANDS_NEEDED.filter((_, i) => known[i] === null || known[i] === undefined),
    }
  } catch (error) {
    throw refusal(url, errors[0] ?? error)
  } finally {
    redis.disconnect()
  }
}

/** The same, through the eyes of the runtime, for whatever may stand behind a REDIS_URL: of several servers, the worst. */
export async function inspect(url: string): Promise<Omit<RedisFound, 'processId'>> {
  try {
    const { servers, missing } = await inspectRedis(url, COMMANDS_NEEDED)
    const infos = servers.flatMap((each) => ('info' in each ? [each.info] : []))
    const versions = infos.map((info) => info['redis_version'] ?? 'unknown')
    return {
      version: versions.find((version) => !isNewEnough(version)) ?? versions[0] ?? 'unknown',
      role: infos.every((info) => info['role'] === 'master') ? 'master' : 'slave',
      isDurable: infos.every((info) => info['aof_enabled'] === '1'),
      mayEvict: infos.some((info) => info['maxmemory'] !== '0' && info['maxmemory_policy'] !== 'noeviction'),
      commandsMissing: missing,
    }
  } catch (error) {
    if (error instanceof RuntimeError && error.code === 'redis.address-malformed') throw error
    throw refusal(url, error)
  }
}

function refusal(url: string, cause: unknown): RedisServerError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  const place = withoutPassword(url)
  if (/NOAUTH|WRONGPASS|NOPERM/.test(reason)) {
    return new RedisServerError(
      'redis.denied',
      `Cannot use the Redis at ${place}: it refuses our name or password (${reason}). ` +
        'Give both in the URL: redis://USER:PASSWORD@HOST:PORT.',
      { url: place, reason },
      cause,
    )
  }
  return new RedisServerError(
    'redis.unreachable',
    `Cannot reach the Redis at ${place}: ${reason}. Start it, or correct REDIS_URL, ` +
      'or unset REDIS_URL to let TensorFleet run a Redis of its own.',
    { url: place, reason },
    cause,
  )
}

/** `7.0.15` out of `Redis server v=7.0.15 sha=...`. */
export function versionIn(text: string): string | undefined {
  return /\bv=(\d+\.\d+\.\d+)/.exec(text)?.[1]
}

export function isNewEnough(version: string): boolean {
  return version.localeCompare(VERSION_MIN, 'en', { numeric: true }) >= 0
}

/** A URL as it may be shown. */
export function withoutPassword(url: string): string {
  return url.replace(/(:\/\/[^/@:]*):[^/@]*@/, '$1:***@').replace(/(sentinelPassword=)[^&]*/, '$1***')
}

function parseInfo(text: string): Readonly<Record<string, string | undefined>> {
  const lines = text.split('\r\n').filter((line) => line.includes(':'))
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]))
}
