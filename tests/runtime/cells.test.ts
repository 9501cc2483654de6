import { expect, test } from 'vitest'
import { address } from '../../runtime/address.ts'
import { Cells } from '../../runtime/cells.ts'
import type { ActorRecord } from '../../runtime/record.ts'

const RECORD: ActorRecord = { v: 1, n: 1, born: 0, at: 0, s: { value: 'a', context: null, status: 'active' } }
const at = (id: string) => address('one', id)

test('the least used go first when there are too many, and none that a commit is under way with', () => {
  const cells = new Cells(4)
  for (const id of ['a', 'b', 'c', 'd', 'e']) cells.put(at(id), RECORD)
  const busy = cells.get(at('a'))
  if (busy !== undefined) busy.inFlight = 1
  for (let batch = 0; batch < 5; batch++) cells.nextBatch()
  cells.get(at('e'))
  expect(cells.passivate()).toBe(2)
  expect(['a', 'b', 'c', 'd', 'e'].filter((id) => cells.get(at(id)) !== undefined)).toEqual(['a', 'd', 'e'])
})

test('an actor that is no more leaves its cell, however many there may be', () => {
  const cells = new Cells(1_000)
  const [gone, stays] = [cells.put(at('gone'), RECORD), cells.put(at('stays'), RECORD)]
  gone.record = null
  gone.inFlight = 1
  cells.settle([gone, stays])
  cells.nextBatch()
  cells.passivate()
  expect(cells.size).toBe(2) // another commit with it is under way
  gone.inFlight = 0
  cells.passivate()
  expect(cells.size).toBe(1)
  expect(cells.get(at('stays'))).toBe(stays)
})

test('one that came to life again meanwhile stays, and so does what a batch under way has loaded', () => {
  const cells = new Cells(1_000)
  const [reborn, loaded] = [cells.put(at('reborn'), null), cells.put(at('loaded'), null)]
  cells.settle([reborn, loaded])
  reborn.record = RECORD
  cells.nextBatch()
  cells.get(at('loaded'))
  cells.passivate()
  expect(cells.size).toBe(2)
  cells.nextBatch()
  cells.passivate()
  expect(cells.get(at('reborn'))).toBe(reborn)
  expect(cells.size).toBe(1)
})
