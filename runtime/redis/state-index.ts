/** Reading the index of a shard's actors by state (`runtime/state-index.ts`), which commits write. */
import type { ShardName } from '../address.ts'
import type { Listed, StateCount } from '../transport.ts'
import type { Commands } from './connection.ts'
import type { Keys } from './keys.ts'

export async function statesIn(redis: Commands<never>, keys: Keys, shard: ShardName): Promise<StateCount[]> {
  const names = await redis.smembers(keys.of(shard, 'ix'))
  const counts = await Promise.all(names.map((name) => redis.zcard(keys.state(shard, name))))
  return names
    .map((name, i) => {
      const colon = name.indexOf(':')
      return { kind: name.slice(0, colon), state: name.slice(colon + 1), actors: counts[i] ?? 0 }
    })
    .filter(({ actors }) => actors > 0) // left since its name was read
}

/**
 * Those of one time are read whole, and sorted out here: they are the newcomers of a few commits, and an id that has left
 * the index is no place to go on from.
 */
export async function listedIn(
  redis: Commands<never>,
  key: string,
  state: string,
  after: { readonly since: number; readonly id: string } | null,
  limit: number,
): Promise<Listed[]> {
  const [same, later] = await Promise.all([
    after === null ? [] : redis.zrange(key, after.since, after.since, 'BYSCORE', 'WITHSCORES'),
    redis.zrange(key, after === null ? '-inf' : `(${after.since}`, '+inf', 'BYSCORE', 'LIMIT', 0, limit, 'WITHSCORES'),
  ])
  const rest = rowsOf(same, state).filter(({ id }) => after === null || id > after.id)
  return [...rest, ...rowsOf(later, state)].slice(0, limit)
}

function rowsOf(reply: readonly string[], state: string): Listed[] {
  return Array.from({ length: reply.length / 2 }, (_, i) => {
    return { id: reply[2 * i] ?? '', state, since: Number(reply[2 * i + 1]) }
  })
}
