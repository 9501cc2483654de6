/**
 * The history checker: from what clients were told and what is durable in the end, whether the promises were kept.
 *
 * C1. What was acknowledged is there: taken by its actor, or in the dead letters. Nothing stands there twice.
 * C2. What a taken message makes an actor send is there too, exactly once; what was refused or thrown away sends nothing.
 * C3. Per sender, receiver and lane, the order of taking is the order of sending.
 * C4. An actor's journal has each of its transitions once.
 * C5. A timer fires once, not before it is due, and not after it was called off.
 * C6. Every errand ends in one way; all runs of its effect have one key, even when a failover has lost the first of
 *     them; no effect runs for what was not committed.
 * C7. Every ask ends.
 * C9. A watcher hears of an end once, and how it was; a parent hears once of a child that escalated.
 * C8. A chart that the seed made up is where XState itself would have brought it.
 * C10. A record is migrated once, and never written by older code.
 * C11. The index of states has each actor that has a record, once, under the state of its record.
 */
import type { AnyStateMachine } from 'xstate'
import { idOf, kindOf } from '../../runtime/address.ts'
import type { ActorAddress } from '../../runtime/address.ts'
import type { Line } from '../../runtime/message.ts'
import { stateOf } from '../../runtime/state-index.ts'
import { NAP_MS, VERSIONED } from './actors.ts'
import type { EffectRun, ErrandContext, Hop, LedgerContext, RearEvent, TakerContext } from './actors.ts'
import { replayed } from './automaton.ts'
import type { Evidence } from './evidence.ts'
import type { Sent } from './history.ts'

interface Taken {
  readonly actor: ActorAddress
  readonly from: string
  readonly lane: string
  readonly index: number
}

export interface Case {
  readonly sent: readonly Sent[]
  readonly runs: readonly EffectRun[]
  readonly evidence: Evidence
  /** Nothing worse happened than nodes that left: every ask must be answered then. */
  readonly calm: boolean
  readonly automaton: AnyStateMachine
  /** What was sent until then may be lost, by a failover. It must not stand there twice all the same. */
  readonly lostBefore: number
  /**
   * Only a part of the server was thrown back: what went from one part to the other until then may be lost, or be there
   * without its cause, or in another order.
   */
  readonly partial: boolean
  /** How often a pinned shard was adopted: no more often may its actor hear of it. */
  readonly adoptions: number
}

export function check(matter: Case): string[] {
  return new Checker(matter).check()
}

class Checker {
  readonly #matter: Case
  readonly #taken = new Map<string, Taken[]>()
  readonly #dead = new Map<string, number>()
  readonly #orders = new Map<string, number>()
  readonly #excused = new Set<string>()
  readonly #known = new Set<string>()
  readonly #faults: string[] = []

  constructor(matter: Case) {
    this.#matter = matter
    for (const [actor, { s, v }] of matter.evidence.records) {
      const { taken, era } = s.context as unknown as TakerContext // every chart of the load has this
      if (VERSIONED.some((kind) => actor.startsWith(kind)) && era !== v) {
        this.#faults.push(`C10: ${actor} is written by version ${v}, and its state is of version ${era}`)
      }
      for (const [index, text] of taken.entries()) {
        const [from = '', lane = '', n = ''] = text.split('|')
        const others = this.#taken.get(n) ?? []
        others.push({ actor, from, lane, index })
        this.#taken.set(n, others)
      }
    }
    for (const n of matter.evidence.dead) this.#dead.set(n, (this.#dead.get(n) ?? 0) + 1)
    for (const { operation, order } of matter.sent) this.#orders.set(operation.event.n, order)
  }

  check(): string[] {
    for (const sent of this.#matter.sent) this.#message(sent)
    for (const [n, places] of this.#taken) {
      if (!this.#known.has(n)) this.#faults.push(`C2: ${n} was taken by ${places[0]?.actor}, and nobody sent it`)
    }
    this.#order()
    for (const [actor, lines] of this.#matter.evidence.journal) this.#journal(actor, lines)
    this.#errands()
    this.#index()
    return this.#faults
  }

  /** C11. */
  #index(): void {
    const { records, index } = this.#matter.evidence
    const expected = new Set(Array.from(records, ([actor, { s }]) => `${kindOf(actor)}:${stateOf(s)} ${idOf(actor)}`))
    for (const entry of index) {
      if (!expected.delete(entry)) this.#faults.push(`C11: the index has "${entry}", and no record says so`)
    }
    for (const entry of expected) this.#faults.push(`C11: the index lacks "${entry}"`)
  }

  /** C1, C2, C7. */
  #message({ operation: { event, to, how }, outcome, at }: Sent): void {
    const { n } = event
    if (at <= this.#matter.lostBefore) this.#excused.add(n)
    if (outcome.kind === 'pending') {
      this.#faults.push(`C7: the ${how} ${n} to ${to} has not ended`)
      return
    }
    const unanswered = outcome.kind === 'failed' && outcome.code === 'ask.timeout'
    if (unanswered && this.#matter.calm) this.#faults.push(`C7: the ask ${n} to ${to} was not answered, in a calm run`)
    const refusals = ['mailbox.full', 'actor.version-unknown']
    const refused = outcome.kind === 'failed' && refusals.includes(outcome.code) && !this.#excused.has(n)
    const acknowledged =
      !this.#excused.has(n) &&
      ((outcome.kind === 'acknowledged' && outcome.handled) ||
        (outcome.kind === 'failed' && outcome.code === 'transition.failed'))
    const count = this.#once(n, to, acknowledged)
    if (refused && count > 0) this.#faults.push(`C1: ${n} to ${to} was refused, and taken all the same`)
    if (event.type === 'poison') {
      if (this.#taken.has(n)) this.#faults.push(`C1: ${n} was taken, although its transition throws`)
      return
    }
    if (!this.#taken.has(n) && !this.#isLoose(n)) return
    if (event.type === 'pass') this.#sends(n, event.next)
    if (event.type === 'rear') this.#reared(to, event)
    if (event.type === 'brood') this.#sends(n, [{ to: event.child, control: false, next: [] }])
  }

  /** C2, C9. */
  #reared(parent: ActorAddress, { n, child, fate }: RearEvent): void {
    if (fate !== 'never') this.#once(`${n}.0`, child, !this.#excused.has(n))
    const record = this.#matter.evidence.records.get(parent)
    if (record === undefined || record.s.status !== 'active' || this.#excused.has(n)) return // it hears nothing any more
    const { ends } = record.s.context as unknown as LedgerContext
    const heard = ends.filter((text) => text.split('|')[1] === child)
    const how = fate === 'fail' ? 'error' : fate === 'never' ? 'gone' : 'done'
    const expected = [`ended|${child}|${how}`, ...(fate === 'fail' ? [`failed|${child}`] : [])]
    if (JSON.stringify(heard.toSorted()) !== JSON.stringify(expected)) {
      this.#faults.push(`C9: ${parent} heard ${JSON.stringify(heard)} of ${child}, not ${JSON.stringify(expected)}`)
    }
  }

  #sends(n: string, next: readonly Hop[]): void {
    const loose = this.#isLoose(n)
    for (const [i, hop] of next.entries()) {
      const child = `${n}.${i}`
      this.#once(child, hop.to, !loose)
      if (loose || this.#taken.has(child)) this.#sends(child, hop.next)
    }
  }

  /** Of a message, or of what it led to. */
  #isLoose(n: string): boolean {
    return this.#matter.partial && this.#excused.has(n.split('.', 1)[0] ?? '')
  }

  #once(n: string, to: string, expected: boolean): number {
    this.#known.add(n)
    const taken = this.#taken.get(n) ?? []
    const dead = this.#dead.get(n) ?? 0
    const count = taken.length + dead
    if (count > 1) this.#faults.push(`C1: ${n} to ${to} was taken ${taken.length} times, with ${dead} dead letters`)
    if (count === 0 && expected) this.#faults.push(`C1: ${n} to ${to} is lost`)
    for (const { actor } of taken) if (actor !== to) this.#faults.push(`C1: ${n} to ${to} was taken by ${actor}`)
    return count
  }

  /** C3. */
  #order(): void {
    const last = new Map<string, readonly [position: readonly number[], n: string, index: number]>()
    const all = [...this.#taken].flatMap(([n, places]) => places.map((place) => ({ n, ...place })))
    for (const { n, actor, from, lane, index } of all.sort((a, b) => a.index - b.index)) {
      const position = this.#positionOf(n)
      if (position === null) continue
      const key = `${from} to ${actor} in lane ${lane}`
      const before = last.get(key)
      if (before !== undefined && compare(before[0], position) > 0) {
        this.#faults.push(`C3: ${n} was taken after ${before[1]}, from ${key}`)
      }
      last.set(key, [position, n, index])
    }
  }

  /** Where a message stands in its sender's order: a client's own count, or where the sender took its cause. */
  #positionOf(n: string): readonly number[] | null {
    if (this.#isLoose(n)) return null
    const dot = n.lastIndexOf('.')
    if (dot === -1) return [this.#orders.get(n) ?? -1]
    const cause = this.#taken.get(n.slice(0, dot))?.[0]
    return cause === undefined ? null : [cause.index, Number(n.slice(dot + 1))]
  }

  /** C4, C5. */
  #journal(actor: ActorAddress, lines: readonly Line[]): void {
    for (const [i, line] of lines.entries()) {
      if (line.seq === i + 1) continue
      this.#faults.push(`C4: line ${i + 1} of ${actor}'s journal is transition ${line.seq}`)
      return
    }
    const record = this.#matter.evidence.records.get(actor)
    const made = record?.n ?? 0
    if (made !== lines.length)
      this.#faults.push(`C4: ${actor} made ${made} transitions, its journal has ${lines.length}`)
    if (record !== undefined && actor.startsWith('automaton/')) {
      const wrong = replayed(this.#matter.automaton, record, lines)
      if (wrong !== null) this.#faults.push(`C8: ${actor}: ${wrong}`)
    }
    if (actor.startsWith('waiter/')) this.#timers(actor, lines)
  }

  #timers(actor: ActorAddress, lines: readonly Line[]): void {
    let nap: number | null = null
    let ring: number | null = null
    const due = (since: number | null, line: Line): void => {
      if (since === null) this.#faults.push(`C5: ${line.event} of ${actor} fired at ${line.at}, and was not set`)
      else if (line.at < since + NAP_MS) {
        this.#faults.push(`C5: ${line.event} of ${actor} fired ${since + NAP_MS - line.at} ms before it was due`)
      }
    }
    for (const line of lines) {
      const { event, at } = line
      if (event.startsWith('xstate.after.nap')) {
        due(nap, line)
        nap = null
      } else if (event === 'ring') {
        due(ring, line)
        ring = null
        if (line.from === 'waiting') nap = at
      }
      if (event === 'arm' || event === 'both') nap = at
      if (event === 'remind' || event === 'both') ring = at
      if (event === 'unremind') ring = null
      if (event === 'disarm') nap = null
    }
    if (nap !== null || ring !== null) this.#faults.push(`C5: a timer of ${actor} was set and never fired`)
  }

  /** C6. */
  #errands(): void {
    const keys = new Map<string, Set<string>>()
    for (const { n, key } of this.#matter.runs) {
      const places = this.#taken.get(n)
      if (places === undefined && !this.#excused.has(n))
        this.#faults.push(`C6: an effect ran for ${n}, which was not taken`)
      keys.set(n, (keys.get(n) ?? new Set()).add(key))
    }
    for (const [n, found] of keys) {
      if (found.size > 1) this.#faults.push(`C6: the effect of ${n} ran under ${[...found].join(' and ')}`)
    }
    const ends = new Map<string, string[]>()
    let ownersLost = 0
    for (const [, { s }] of this.#matter.evidence.records) {
      for (const text of (s.context as unknown as Partial<ErrandContext>).ends ?? []) {
        const [how = '', n = '', key] = text.split('|')
        if (how === 'ended' || (how === 'failed' && n.includes('/'))) continue // what a ledger heard: C9
        if (how === 'owner.lost') {
          ownersLost++
          continue
        }
        ends.set(n, [...(ends.get(n) ?? []), how])
        if (how === 'done' && !(keys.get(n)?.has(key ?? '') ?? false)) {
          this.#faults.push(`C6: ${n} is done under ${key}, and no run had that key`)
        }
      }
    }
    if (ownersLost > this.#matter.adoptions) {
      this.#faults.push(`C6: owners were heard to be lost ${ownersLost} times in ${this.#matter.adoptions} adoptions`)
    }
    for (const { operation } of this.#matter.sent) {
      const { event } = operation
      if (event.type !== 'do' || !this.#taken.has(event.n)) continue
      const how = ends.get(event.n) ?? []
      if (how.length !== 1) this.#faults.push(`C6: the errand ${event.n} ended ${how.length} times: ${how.join(', ')}`)
    }
  }
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}
