import { expect, test } from 'vitest'
import { JournalRoom } from '../../runtime/journal-room.ts'

const LIMITS = { journalCommitsMax: 1_000, journalBytesMax: 100_000 }

function after(...commits: readonly (readonly [count: number, bytes: number])[]): JournalRoom {
  const room = new JournalRoom(LIMITS)
  for (const [count, bytes] of commits) for (let i = 0; i < count; i++) room.add('x'.repeat(bytes))
  return room
}

test('small commits are kept up to their number', () => {
  expect(after([500, 50]).commits).toBe(1_000)
})

test('large ones are kept up to their bytes', () => {
  const kept = after([500, 5_000]).commits
  expect(kept * 5_000).toBeGreaterThan(90_000)
  expect(kept * 5_000).toBeLessThan(110_000)
})

test('whatever follows what, what is kept is never much more than the bytes', () => {
  const room = new JournalRoom(LIMITS)
  const journal: number[] = []
  const bytes = [100, 100, 5_000, 100, 20_000, 5_000, 100]
  for (const size of bytes) {
    for (let i = 0; i < 2_000; i++) {
      journal.push(size)
      journal.splice(0, journal.length - room.commits)
      room.add('x'.repeat(size))
      // The first large ones come while the mean is still small.
      expect(journal.reduce((sum, each) => sum + each, 0)).toBeLessThan(6 * LIMITS.journalBytesMax)
    }
    expect(journal.reduce((sum, each) => sum + each, 0)).toBeLessThan(1.3 * LIMITS.journalBytesMax)
  }
})

test('a commit without a transition says nothing', () => {
  const room = after([100, 5_000])
  const before = room.commits
  for (let i = 0; i < 100; i++) room.add(null)
  expect(room.commits).toBe(before)
})
