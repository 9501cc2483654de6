/** A commit as `commit.lua` takes it: its keys, its arguments, and what its reply means. */
import { idOf, kindOf } from '../address.ts'
import type { ShardName } from '../address.ts'
import { LIMITS } from '../limits.ts'
import { doorbell, journalStream } from '../transport.ts'
import type { Commit, CommitOutcome, Entry, Mail } from '../transport.ts'
import type { Argument } from './connection.ts'
import { outboxFloor, timerMember } from './keys.ts'
import type { Keys } from './keys.ts'

const OWN_PARTS = ['meta', 'hi', 'in', 'ev', 'out', 'tm', 'dlq', 'fx', 'held'] as const

/** The number of keys, the keys, and the arguments, in the order of the script's head. */
export function commitArguments(commit: Commit, names: Keys): Argument[] {
  const { shard, records } = commit
  const keys = OWN_PARTS.map((part) => names.of(shard, part))
  const values: Argument[] = []
  // Where each shard's lanes stand among KEYS: `hi` there, `in` behind it.
  const lanes = new Map<ShardName, number>([[shard, 2]])
  const others: Argument[] = []
  for (const { shard: to } of commit.sends) {
    if (lanes.has(to)) continue
    keys.push(names.of(to, 'meta'), names.of(to, 'hi'), names.of(to, 'in'))
    lanes.set(to, keys.length - 1)
    others.push(to.startsWith('@') ? '1' : '0', names.channel(doorbell(to)))
  }
  const gone: string[] = []
  let set = 0
  for (const { actor, body } of records) {
    if (body === null) gone.push(names.record(shard, actor))
    else {
      keys.push(names.record(shard, actor))
      values.push(body)
      set++
    }
  }
  keys.push(...gone)
  const states = new Map<string, number>()
  const moves: Argument[] = []
  if (commit.moves.length > 0) {
    const placeOf = (name: string): number => {
      let place = states.get(name)
      if (place === undefined) states.set(name, (place = states.size + 1))
      return place
    }
    for (const { actor, from, to } of commit.moves) {
      const kind = kindOf(actor)
      moves.push(
        idOf(actor),
        from === null ? 0 : placeOf(`${kind}:${from}`),
        to === null ? 0 : placeOf(`${kind}:${to}`),
      )
    }
    keys.push(names.of(shard, 'ix'))
    for (const name of states.keys()) keys.push(names.state(shard, name))
  }
  for (const { shard: to, lane, body } of commit.sends) {
    values.push((lanes.get(to) ?? 0) + (lane === 'hi' ? 0 : 1), body)
  }
  for (const { seq, id, shard: to, lane, body } of commit.outbox) {
    values.push(`${seq}-${commit.incarnation}`, id, to, lane, body)
  }
  for (const timer of commit.timersSet) values.push(timer.due, timerMember(timer))
  for (const timer of commit.timersCleared) values.push(timerMember(timer))
  const begun = commit.effects.filter(({ active }) => active)
  const over = commit.effects.filter(({ active }) => !active)
  for (const { actor } of begun) values.push(actor)
  for (const { actor } of over) values.push(actor)
  for (const letter of commit.dead) values.push(letter)
  for (const { channel, body } of commit.replies) values.push(names.channel(channel), body)
  values.push(...commit.held, ...commit.heldTaken)
  if (moves.length > 0) values.push(commit.at, ...states.keys(), ...moves)
  return [
    keys.length,
    ...keys,
    commit.epoch,
    commit.seq,
    commit.cursor.hi,
    commit.cursor.in,
    commit.outSeq,
    outboxFloor(commit.outTrim),
    commit.journal ?? '',
    commit.journalMax,
    LIMITS.deadLettersMax,
    names.channel(journalStream(shard)),
    set,
    gone.length,
    commit.sends.length,
    commit.outbox.length,
    commit.timersSet.length,
    commit.timersCleared.length,
    begun.length,
    over.length,
    commit.dead.length,
    others.length / 2,
    commit.replies.length,
    commit.held.length,
    commit.heldTaken.length,
    commit.look,
    commit.moves.length,
    states.size,
    ...values,
    ...others,
  ]
}

export function commitOutcome(reply: unknown): CommitOutcome {
  const said = reply as readonly ['ok', readonly number[], unknown] | readonly ['fenced' | 'seq', string] // the script's
  if (said[0] !== 'ok') return { ok: false, why: said[0], seq: Number(said[1]) }
  return { ok: true, gone: said[1], mail: said[2] === null ? null : mailOf(said[2]) }
}

/** What `look` in `mailbox.lua` replies. */
export function mailOf(reply: unknown): Mail {
  if (reply === 'parked') return reply
  const [control, ...rest] = reply as readonly [number, ...string[]]
  const entries: Entry[] = []
  for (let i = 0; i < rest.length; i += 2) {
    entries.push({ id: rest[i] ?? '', lane: i / 2 < control ? 'hi' : 'in', body: rest[i + 1] ?? '' })
  }
  return entries
}
