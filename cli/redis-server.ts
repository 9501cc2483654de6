/**
 * Gets a Redis for `tensorfleet up`, by the first way that works: the one that REDIS_URL names; a private
 * `redis-server` from the PATH; Debian's package unpacked without root; a container. The ways stand in `redis-servers/`.
 *
 * A REDIS_URL that does not serve is an error and no reason to go on: who names a server wants that one. Of the other
 * ways, one that this host does not offer leads to the next; but what goes wrong with the data itself (another
 * TensorFleet uses it, it is damaged) is an error too, since an empty Redis elsewhere would look like lost jobs.
 */
import { useGivenRedis } from './redis-servers/given.ts'
import { getDebianRedis } from './redis-servers/debian-package.ts'
import { startRedisContainer } from './redis-servers/container.ts'
import { redisProgram, startPrivateRedis } from './redis-servers/private.ts'

export { RedisServerError, type RedisServerErrorCode } from './redis-servers/probe.ts'

export interface RedisServerOptions {
  /** Where its data lies: `.tensorfleet`. */
  readonly dataDir: string
  /** REDIS_URL, TENSORFLEET_REDIS_IMAGE, and the PATH that programs are looked for in. */
  readonly env: NodeJS.ProcessEnv
  /** Progress and warnings for a person: some ways take seconds. */
  readonly note: (line: string) => void
  readonly signal?: AbortSignal
}

export interface RedisServer extends AsyncDisposable {
  readonly kind: 'given' | 'private' | 'debian-package' | 'container'
  /** As the runtime takes it (`redis://…`, `redis+cluster://…`, …). It may hold a password: do not show it. */
  readonly url: string
  readonly version: string
  /** For a person: `Redis 7.0.15 of our own (/srv/.tensorfleet/redis/redis.sock, data in …)`. */
  readonly description: string
  /** Resolves, with the reason, only if a server of ours has died so often that it is not started again. */
  readonly lost: Promise<string>
  /** Stops what was started here; a given Redis stays. Resolves when it is gone and its data is on the disk. */
  stop(): Promise<void>
}

/** There is no Redis to be had here: the caller may go on with the memory transport, and says so. */
export interface NoRedisServer {
  readonly kind: 'none'
  /** Every way that was tried, and why it did not serve. */
  readonly reason: string
}

export async function getRedisServer(options: RedisServerOptions): Promise<RedisServer | NoRedisServer> {
  const { env, note } = options
  const url = env['REDIS_URL']
  if (url !== undefined && url !== '') return useGivenRedis(url, note)

  const reasons: string[] = []
  const installed = await redisProgram('private', 'redis-server', env)
  if ('command' in installed) return startPrivateRedis(installed, options)
  reasons.push(installed.reason)

  const unpacked = await getDebianRedis(options)
  if ('command' in unpacked) return startPrivateRedis(unpacked, options)
  reasons.push(unpacked.reason)

  const container = await startRedisContainer(options)
  if ('kind' in container) return container
  reasons.push(container.reason)

  return { kind: 'none', reason: reasons.join('; ') }
}
