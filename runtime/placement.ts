/**
 * Which node owns which shard: a pure function of the nodes that live, so every node computes the same and nobody has
 * to decide. Rendezvous hashing (Thaler and Ravishankar, 1998) keeps moves few; a cap of ⌈shards / nodes⌉ on each node
 * keeps the loads within one shard of each other at the most loaded end.
 */
import { numberedShard } from './address.ts'
import type { ShardName } from './address.ts'

export function placement(nodes: readonly string[], shards: number): Map<ShardName, string> {
  const placed = new Map<ShardName, string>()
  if (nodes.length === 0) return placed
  const room = new Map<string, number>()
  const ordered = [...nodes].sort()
  // ⌈⌉ for the first nodes and ⌊⌋ for the rest, so that the sum is exact.
  for (const [i, node] of ordered.entries()) {
    room.set(node, Math.floor(shards / nodes.length) + (i < shards % nodes.length ? 1 : 0))
  }
  for (let index = 0; index < shards; index++) {
    const shard = numberedShard(index)
    let best: string | null = null
    let bestScore = -1
    for (const node of ordered) {
      const nodeScore = (room.get(node) ?? 0) > 0 ? score(node, shard) : -1
      if (nodeScore > bestScore) {
        best = node
        bestScore = nodeScore
      }
    }
    if (best === null) continue
    room.set(best, (room.get(best) ?? 0) - 1)
    placed.set(shard, best)
  }
  return placed
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
