import fc from 'fast-check'
import { expect, test } from 'vitest'
import { placement } from '../../runtime/placement.ts'

const nodes = fc.uniqueArray(fc.stringMatching(/^[a-z0-9]{1,12}$/), { minLength: 1, maxLength: 12 })
const SHARDS = 64

function loads(placed: ReadonlyMap<string, string>): number[] {
  const counts = new Map<string, number>()
  for (const node of placed.values()) counts.set(node, (counts.get(node) ?? 0) + 1)
  return [...counts.values()]
}

test('every shard is placed, and loads differ by one shard at most', () => {
  fc.assert(
    fc.property(nodes, (ids) => {
      const placed = placement(ids, SHARDS)
      expect(placed.size).toBe(SHARDS)
      const counts = loads(placed)
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
    }),
  )
})

test('every node computes the same placement, whatever order it learnt of the others in', () => {
  fc.assert(
    fc.property(nodes, (ids) => {
      expect(placement(ids.toReversed(), SHARDS)).toEqual(placement(ids, SHARDS))
    }),
  )
})

test('a node that joins takes its share and leaves most shards where they are', () => {
  const before = placement(['a', 'b', 'c'], SHARDS)
  const after = placement(['a', 'b', 'c', 'd'], SHARDS)
  const moved = [...after].filter(([shard, node]) => before.get(shard) !== node)
  expect(moved.length).toBeLessThanOrEqual(SHARDS / 2)
})
