import fc from 'fast-check'
import { expect, test } from 'vitest'
import { numberedShard } from '../../runtime/address.ts'
import { placement } from '../../runtime/placement.ts'
import type { Member } from '../../runtime/transport.ts'

const nodes = fc.uniqueArray(fc.stringMatching(/^[a-z0-9]{1,12}$/), { minLength: 1, maxLength: 12 })
const SHARDS = 64
const members = (ids: readonly string[], reads: Member['reads'] = {}) => ids.map((id) => ({ id, reads }))

function loads(placed: ReadonlyMap<string, string>): number[] {
  const counts = new Map<string, number>()
  for (const node of placed.values()) counts.set(node, (counts.get(node) ?? 0) + 1)
  return [...counts.values()]
}

test('every shard is placed, and loads differ by one shard at most', () => {
  fc.assert(
    fc.property(nodes, (ids) => {
      const placed = placement(members(ids), SHARDS)
      expect(placed.size).toBe(SHARDS)
      const counts = loads(placed)
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
    }),
  )
})

test('every node computes the same placement, whatever order it learnt of the others in', () => {
  fc.assert(
    fc.property(nodes, (ids) => {
      expect(placement(members(ids.toReversed()), SHARDS)).toEqual(placement(members(ids), SHARDS))
    }),
  )
})

test('a node that joins takes its share and leaves most shards where they are', () => {
  const before = placement(members(['a', 'b', 'c']), SHARDS)
  const after = placement(members(['a', 'b', 'c', 'd']), SHARDS)
  const moved = [...after].filter(([shard, node]) => before.get(shard) !== node)
  expect(moved.length).toBeLessThanOrEqual(SHARDS / 2)
})

const NEW = { order: 2 }
const needing = (shards: readonly number[]) =>
  shards.map((shard) => ({ shard: numberedShard(shard), kind: 'order', version: 2 }))
const shardLists = fc.uniqueArray(fc.nat(SHARDS - 1))

test('a shard that only newer code can read goes to a node that has it, and every other shard is still placed', () => {
  fc.assert(
    fc.property(nodes, nodes, shardLists, (old, young, needed) => {
      const all = [
        ...members(old.map((id) => `o${id}`)),
        ...members(
          young.map((id) => `y${id}`),
          NEW,
        ),
      ]
      const placed = placement(all, SHARDS, needing(needed))
      expect(placed.size).toBe(SHARDS)
      expect(needed.filter((shard) => !placed.get(numberedShard(shard))?.startsWith('y'))).toEqual([])
    }),
  )
})

test('what nobody can read, and what everybody can, changes no placement', () => {
  fc.assert(
    fc.property(nodes, shardLists, (ids, needed) => {
      const plain = placement(members(ids), SHARDS)
      expect(placement(members(ids), SHARDS, needing(needed))).toEqual(plain)
      expect(placement(members(ids, NEW), SHARDS, needing(needed))).toEqual(plain)
    }),
  )
})
