/** When an owner is careful, and with what (runtime/care.ts). */
import { describe, expect, test } from 'vitest'
import { Care } from '../../runtime/care.ts'
import { LIMITS } from '../../runtime/limits.ts'
import { open } from '../../runtime/message.ts'
import type { Taken } from '../../runtime/message.ts'
import { CURSOR_START } from '../../runtime/transport.ts'
import type { Claim } from '../../runtime/transport.ts'

const mail = (n: number): Taken =>
  open({
    kind: 'mail',
    entry: { id: `${n}-0`, lane: 'in', body: JSON.stringify({ id: `m${n}`, to: 'a/1', type: 'x', sentAt: 0 }) },
  })
const batch = Array.from({ length: 40 }, (_, i) => mail(i + 1))

function careAfter(crash: Partial<Claim>): Care | null {
  const claim: Claim = {
    epoch: '1-n',
    seq: 1_000,
    cursor: CURSOR_START,
    outSeq: 0,
    incarnation: 1,
    lineage: '',
    crashes: 0,
    trial: '',
    made: 0,
    ...crash,
  }
  return Care.after(claim, 'me', LIMITS, 0)
}

describe('after two owners that crashed', () => {
  test('mail is tried in small portions when the last got nowhere', () => {
    const { portion, trial } = careAfter({ crashes: 2, made: 3 })?.next(batch) ?? {}
    expect(portion?.length).toBeLessThan(batch.length)
    expect(trial).not.toBeNull()
  })

  test('mail is taken whole when the last had long passed what was there: a killed machine costs no care', () => {
    expect(careAfter({ crashes: 2, made: 500 })?.next(batch)).toEqual({ portion: batch, trial: null })
  })

  test('results of effects are tried however far the last got', () => {
    const result = open({
      kind: 'effect',
      actor: batch[0]?.actor ?? never(),
      id: 'work',
      gen: 1,
      result: { ok: true, output: null },
    })
    expect(careAfter({ crashes: 2, made: 500 })?.next([result]).trial).not.toBeNull()
  })
})

function never(): never {
  throw new Error('the first message has an actor')
}
