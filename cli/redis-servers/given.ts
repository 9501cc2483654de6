/** The Redis of a REDIS_URL: somebody else's to run, ours to check before anything is trusted to it. */
import type { RedisServer } from '../redis-server.ts'
import { inspect, isNewEnough, RedisServerError, VERSION_MIN, withoutPassword } from './probe.ts'

export async function useGivenRedis(url: string, note: (line: string) => void): Promise<RedisServer> {
  const place = withoutPassword(url)
  const found = await inspect(url)
  if (!isNewEnough(found.version)) {
    throw new RedisServerError(
      'redis.too-old',
      `Cannot use the Redis at ${place}: expected version ${VERSION_MIN} or newer, found ${found.version}. ` +
        'Upgrade it, or unset REDIS_URL to let TensorFleet run a Redis of its own.',
      { url: place, expected: VERSION_MIN, found: found.version },
    )
  }
  if (found.commandsMissing.length > 0) {
    throw new RedisServerError(
      'redis.unsuitable',
      `Cannot use the Redis at ${place}: it calls itself ${found.version} but lacks ${found.commandsMissing.join(', ')}. ` +
        'Use a Redis or Valkey server rather than a partial implementation.',
      { url: place, missing: found.commandsMissing },
    )
  }
  if (found.role === 'slave') {
    throw new RedisServerError(
      'redis.unsuitable',
      `Cannot use the Redis at ${place}: it is a replica, and takes no writes. Give the URL of its primary.`,
      { url: place, role: found.role },
    )
  }
  if (found.mayEvict) {
    note(`warning: the Redis at ${place} may evict keys when its memory is full; set maxmemory-policy to noeviction`)
  }
  if (!found.isDurable) {
    note(`warning: the Redis at ${place} keeps no append-only file; jobs are lost when it stops without a snapshot`)
  }
  return {
    kind: 'given',
    url,
    version: found.version,
    description: `Redis ${found.version} at ${place} (REDIS_URL)`,
    lost: new Promise(() => undefined), // not ours to watch: the runtime reconnects and reports
    stop: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}
