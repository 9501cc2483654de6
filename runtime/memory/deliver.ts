/** Puts messages into a lane: what `redis/deliver.lua` does (transport, T3 and T6). */
import type { Lane } from '../envelope.ts'
import { LIMITS } from '../limits.ts'
import { isForgotten } from '../lineage.ts'
import type { Delivery } from '../transport.ts'
import type { ShardData } from './shard-data.ts'

/** How many of the batch were taken, now or before, from the first on; and how many of them are new. */
export function deliver(
  shard: ShardData,
  lane: Lane,
  batch: readonly Delivery[],
  cap: number,
): { readonly taken: number; readonly added: number } {
  const stream = shard.lanes[lane]
  let added = 0
  let taken = 0
  for (const { source, incarnation, seq, id, lineage, body } of batch) {
    const key = `${source}:${lane}`
    const seen = shard.seen.get(key)
    if (
      seen !== undefined &&
      (incarnation < seen.incarnation || (incarnation === seen.incarnation && seq <= seen.seq))
    ) {
      taken++
      continue
    }
    if (seen !== undefined && incarnation > seen.incarnation && isForgotten(lineage, seen)) {
      orphan(shard, source, lineage)
    }
    const returned = shard.orphans.has(`${source} ${id}`)
    // Only what is new can be refused: a delivery that is repeated since its answer was lost has been taken.
    if (!returned && lane === 'in' && stream.rows.length >= cap) break
    taken++
    shard.seen.set(key, { incarnation, seq })
    shard.orphans.delete(`${source} ${id}`)
    if (returned) continue
    stream.add(body)
    if (lineage !== '') shard.taken.push({ source, incarnation, seq, id })
    added++
  }
  if (shard.taken.length > 2 * LIMITS.takenRememberedMax) {
    shard.taken = shard.taken.slice(-LIMITS.takenRememberedMax)
  }
  return { taken, added }
}

/** T6. What was taken from a source that no longer knows it must not be taken again. */
function orphan(shard: ShardData, source: string, lineage: string): void {
  for (const each of shard.taken) {
    if (each.source === source && isForgotten(lineage, each)) shard.orphans.add(`${source} ${each.id}`)
  }
  for (const oldest of shard.orphans) {
    if (shard.orphans.size <= LIMITS.takenRememberedMax) break
    shard.orphans.delete(oldest)
  }
}
