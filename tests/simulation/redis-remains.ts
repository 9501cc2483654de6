/** What a run has left in a real Redis, in the words of `evidence.ts`. It reads the keys as `runtime/redis/keys.ts` names them. */
import { Cluster } from 'ioredis'
import type { Redis } from 'ioredis'
import { compareIds } from '../../runtime/transport.ts'
import type { ShardRemains } from './evidence.ts'

export async function remainsInRedis(redis: Redis | Cluster, namespace: string): Promise<ShardRemains[]> {
  const servers = redis instanceof Cluster ? redis.nodes('master') : [redis]
  const keys = (await Promise.all(servers.map((server) => server.keys(`{${namespace}:*`)))).flat()
  const byShard = new Map<string, string[]>()
  for (const key of keys) {
    const shard = key.slice(namespace.length + 2, key.indexOf('}'))
    byShard.set(shard, [...(byShard.get(shard) ?? []), key])
  }
  return Promise.all([...byShard].map(([shard, own]) => remainsOf(redis, `{${namespace}:${shard}}:`, shard, own)))
}

async function remainsOf(
  redis: Redis | Cluster,
  prefix: string,
  name: string,
  keys: readonly string[],
): Promise<ShardRemains> {
  const cursor = await redis.hmget(`${prefix}meta`, 'hi', 'in')
  const rows = async (part: string) =>
    (await redis.xrange(prefix + part, '-', '+')).map(([id, fields]) => ({ id, fields }))
  const bodies = async (part: string) => (await rows(part)).map(({ fields }) => fields[1] ?? '')
  const waiting = await Promise.all(
    (['hi', 'in'] as const).map(async (lane, i) => {
      const taken = cursor[i] ?? '0-0'
      return (await rows(lane)).filter(({ id }) => compareIds(id, taken) > 0).length
    }),
  )
  const actors = keys.filter((key) => key.startsWith(`${prefix}st:`))
  const records = await Promise.all(
    actors.map(async (key) => [key.slice(prefix.length + 3), (await redis.get(key)) ?? ''] as const),
  )
  const states = keys.filter((key) => key.startsWith(`${prefix}ix:`))
  const listed = states.map(async (key) => {
    return (await redis.zrange(key, 0, -1)).map((id) => `${key.slice(prefix.length + 3)} ${id}`)
  })
  const timers = await redis.zrange(`${prefix}tm`, 0, -1)
  return {
    name,
    owned: (await redis.exists(`${prefix}lease`)) === 1,
    waiting: waiting.reduce((sum, count) => sum + count, 0),
    held: await redis.xlen(`${prefix}held`),
    outbox: await redis.xlen(`${prefix}out`),
    effects: await redis.smembers(`${prefix}fx`),
    timers: timers.map((member) => member.split('|')[2] ?? ''),
    records: records.filter(([, body]) => body !== ''),
    journal: await bodies('ev'),
    letters: await bodies('dlq'),
    index: (await Promise.all(listed)).flat(),
  }
}
