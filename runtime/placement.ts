/**
 * Which node owns which shard: a pure function of the nodes that live and of what shards need, so every node computes
 * the same and nobody has to decide. Rendezvous hashing (Thaler and Ravishankar, 1998) keeps moves few; a cap of
 * ⌈shards / nodes⌉ on each node keeps the loads within one shard of each other at the most loaded end.
 *
 * While two versions of the code run side by side, a shard that holds records of the newer one goes to a node that reads
 * them, even beyond its cap, as long as one lives.
 */
import { numberedShard } from './address.ts'
import type { ShardName } from './address.ts'
import type { Member, Need } from './transport.ts'

export function placement(
  members: readonly Member[],
  shards: number,
  needs: readonly Need[] = [],
): Map<ShardName, string> {
  const placed = new Map<ShardName, string>()
  if (members.length === 0) return placed
  const ordered = members.toSorted((a, b) => (a.id < b.id ? -1 : 1))
  // ⌈⌉ for the first nodes and ⌊⌋ for the rest, so that the sum is exact.
  const extra = shards % ordered.length
  const room = new Map(ordered.map(({ id }, i) => [id, Math.floor(shards / ordered.length) + (i < extra ? 1 : 0)]))
  const place = (shard: ShardName, nodes: readonly string[]): void => {
    const best = bestOf(nodes, shard)
    if (best === null) return
    room.set(best, (room.get(best) ?? 0) - 1)
    placed.set(shard, best)
  }
  const withRoom = (nodes: readonly string[]) => nodes.filter((id) => (room.get(id) ?? 0) > 0)
  const all = Array.from({ length: shards }, (_, index) => numberedShard(index))
  const readers = readersOf(ordered, needs)
  for (const [shard, able] of readers) {
    const free = withRoom(able)
    place(shard, free.length > 0 ? free : able)
  }
  const ids = ordered.map(({ id }) => id)
  for (const shard of all) if (!readers.has(shard)) place(shard, withRoom(ids))
  return placed
}

/** Whether this node can read all that the shard is known to need. */
export function canRead(reads: Member['reads'], shard: ShardName, needs: readonly Need[]): boolean {
  return needs.every((need) => need.shard !== shard || (reads[need.kind] ?? 0) >= need.version)
}

/** For each shard that some living nodes can read and others cannot: those that can. */
function readersOf(members: readonly Member[], needs: readonly Need[]): Map<ShardName, readonly string[]> {
  const readers = new Map<ShardName, readonly string[]>()
  for (const shard of new Set(needs.map((need) => need.shard))) {
    const able = members.filter(({ reads }) => canRead(reads, shard, needs)).map(({ id }) => id)
    if (able.length > 0 && able.length < members.length && !shard.startsWith('@')) readers.set(shard, able)
  }
  return readers
}

function bestOf(nodes: readonly string[], shard: ShardName): string | null {
  let best: string | null = null
  let bestScore = -1
  for (const node of nodes) {
    const nodeScore = score(node, shard)
    if (nodeScore <= bestScore) continue
    best = node
    bestScore = nodeScore
  }
  return best
}

/** FNV-1a over both names with MurmurHash3's final mix: FNV alone leaves names that differ in one digit too close. */
function score(node: string, shard: string): number {
  let hash = 0x811c9dc5
  for (const text of [node, '/', shard]) {
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
