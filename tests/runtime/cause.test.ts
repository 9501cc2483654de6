import fc from 'fast-check'
import { expect, test } from 'vitest'
import { fromPromise, setup } from 'xstate'
import { defineActor } from '../../runtime/actor.ts'
import { address, numberedShard } from '../../runtime/address.ts'
import { idFrom } from '../../runtime/cause.ts'
import { Cells } from '../../runtime/cells.ts'
import type { Standing } from '../../runtime/consequences.ts'
import { decodeEnvelope, encodeEnvelope, SPAWN } from '../../runtime/envelope.ts'
import { open } from '../../runtime/message.ts'
import { plan } from '../../runtime/plan.ts'
import { CURSOR_START } from '../../runtime/transport.ts'
import { vocabulary } from '../../runtime/vocabulary.ts'

const machine = setup({
  types: { events: {} as { type: 'go'; to: string[] } },
  actors: { work: fromPromise<null>(() => Promise.reject(new Error('the runtime runs the effect'))) },
  actions: { ...vocabulary },
  delays: { nap: 1_000 },
}).createMachine({
  initial: 'idle',
  states: {
    idle: { on: { go: 'busy' } },
    busy: {
      invoke: { id: 'work', src: 'work' },
      after: { nap: 'idle' },
      on: {
        go: {
          actions: { type: 'tell', params: ({ event }) => event.to.map((to) => ({ to, event: { type: 'hello' } })) },
        },
      },
    },
  },
})
const definitions = new Map([
  ['one', defineActor({ kind: 'one', version: 1, machine, effects: { work: async () => null } })],
])
const actor = address('one', 'a')

/** What an actor that lives does upon these messages, each `id: receivers`. */
function ran(...messages: { id: string; to: string[] }[]) {
  const at: Standing = {
    shard: numberedShard(0),
    epoch: 'e',
    seq: 0,
    cursor: CURSOR_START,
    outSeq: 0,
    outTrim: 0,
    journalMax: 1_000,
    incarnation: 1,
    reach: 'every shard',
    look: 0,
    now: 1_000,
    heldRoom: 0,
    readElsewhere: () => false,
  }
  const cells = new Cells(10)
  const cell = cells.put(actor, null)
  const mail = (id: string, type: string, data: Record<string, unknown>) =>
    open({
      kind: 'mail',
      entry: { id: '1-0', lane: 'in', body: encodeEnvelope({ id, to: actor, type, data, sentAt: 0 }) },
    })
  const batch = [mail('c1:1', SPAWN, {}), ...messages.map(({ id, to }) => mail(id, 'go', { to }))]
  const { commit } = plan(batch, cells, definitions, { shards: 1, pinned: new Set() }, at)
  return { sends: commit.sends.map(({ body }) => decodeEnvelope(body)), record: cell.record }
}

test('a message makes the same ids whatever ran before it', () => {
  const first = ran({ id: 'x', to: [] }, { id: 'y', to: ['one/b', 'one/c'] })
  const again = ran({ id: 'x', to: [] }, { id: 'z', to: ['one/b'] }, { id: 'y', to: ['one/c', 'one/d', 'one/b'] })
  const idsOf = ({ sends }: typeof first) =>
    Object.fromEntries(sends.filter(({ cause }) => cause === 'y').map(({ to, id }) => [to, id]))
  expect(idsOf(again)).toMatchObject(idsOf(first))
  expect(again.sends.find(({ cause }) => cause === 'z')?.id).not.toBe(idsOf(first)['one/b'])
})

test('what a message says twice in the same words are two messages', () => {
  const { sends } = ran({ id: 'x', to: [] }, { id: 'y', to: ['one/b', 'one/b', 'one/b'] })
  expect(new Set(sends.map(({ id }) => id)).size).toBe(3)
})

test('timers and effects are named after the message that asked for them', () => {
  const rowsOf = (id: string) => {
    const { record } = ran({ id, to: [] })
    return [record?.fx?.['work']?.id, record?.tm?.['nap']?.id]
  }
  expect(rowsOf('x')).toEqual(rowsOf('x'))
  expect(new Set([...rowsOf('x'), ...rowsOf('y')]).size).toBe(4)
})

test('different causes make different ids', () => {
  const word = fc.string({ maxLength: 12 })
  const words = fc.tuple(word, word, word, fc.nat(3))
  fc.assert(
    fc.property(fc.uniqueArray(words, { minLength: 2, selector: (each) => JSON.stringify(each) }), (all) => {
      const printable = all.filter((each) => !JSON.stringify(each).includes('\\u001f'))
      expect(new Set(printable.map((each) => idFrom(...each))).size).toBe(printable.length)
    }),
  )
  const many = new Set(Array.from({ length: 100_000 }, (_, i) => idFrom(`c1:${i}`, 'one/b', 'hello', 0)))
  expect(many.size).toBe(100_000)
  expect([...many].every((id) => /^[\w-]{10}$/.test(id))).toBe(true)
})
