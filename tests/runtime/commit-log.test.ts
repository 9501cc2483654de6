import { expect, test } from 'vitest'
import { address } from '../../runtime/address.ts'
import { CommitLog } from '../../runtime/commit-log.ts'
import type { Line } from '../../runtime/message.ts'

const LIMITS = { commitsRememberedMax: 4, transitionsRememberedMax: 10 }

/** A commit with so many transitions of one actor. */
const linesOf = (count: number, actor = 'one/a'): Line[] =>
  Array.from({ length: count }, (_, i) => {
    return { actor: address('one', actor.slice(4)), seq: i + 1, event: 'go', from: null, to: null, at: 0 }
  })

test('what is gone is named by actor and transition, and the log goes on from there', () => {
  const log = new CommitLog(0, LIMITS)
  for (const seq of [1, 2, 3]) log.add(seq, linesOf(1, `one/${seq}`))
  expect(log.cutTo(1)).toEqual({
    lost: [
      { actor: 'one/2', seq: 1 },
      { actor: 'one/3', seq: 1 },
    ],
    forgotten: 0,
  })
  expect(log.newest).toBe(1)
  log.add(2, linesOf(1, 'one/x'))
  expect(log.cutTo(1)).toEqual({ lost: [{ actor: 'one/x', seq: 1 }], forgotten: 0 })
})

test('of commits that are too many it is known only that they were', () => {
  const log = new CommitLog(0, LIMITS)
  for (let seq = 1; seq <= 100; seq++) log.add(seq, linesOf(1))
  const { lost, forgotten } = log.cutTo(0)
  expect(lost).toHaveLength(4)
  expect(forgotten).toBe(96)
})

test('large commits are remembered no longer than their transitions may be, the newest always', () => {
  const log = new CommitLog(0, LIMITS)
  for (let seq = 1; seq <= 100; seq++) log.add(seq, linesOf(4))
  expect(log.cutTo(98)).toMatchObject({ lost: { length: 8 }, forgotten: 0 })
  for (let seq = 99; seq <= 200; seq++) log.add(seq, linesOf(4))
  const after = log.cutTo(0)
  expect(after.lost).toHaveLength(8) // a third would be twelve
  expect(after.forgotten).toBe(198)
  log.add(1, linesOf(1_000))
  expect(log.cutTo(0)).toMatchObject({ lost: { length: 1_000 }, forgotten: 0 })
})
