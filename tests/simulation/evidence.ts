/**
 * What remains of a run, read from where it is durable: the records of actors, the journals, the dead letters, and what
 * still waits. The checker judges by this and by the clients' own history, never by what the runtime says of itself.
 */
import { idOf, parseAddress } from '../../runtime/address.ts'
import type { ActorAddress } from '../../runtime/address.ts'
import type { Line } from '../../runtime/message.ts'
import { decodeRecord } from '../../runtime/record.ts'
import type { ActorRecord } from '../../runtime/record.ts'
import { deadLetterStream, heldStream, journalStream } from '../../runtime/transport.ts'
import type { ErrandContext } from './actors.ts'
import type { MemoryServer } from '../../runtime/memory/server.ts'

export interface Evidence {
  readonly records: ReadonlyMap<ActorAddress, ActorRecord>
  readonly journal: ReadonlyMap<ActorAddress, readonly Line[]>
  /** The numbers of messages in dead letters, once for each letter. */
  readonly dead: readonly string[]
  /** What the index of states has, as `kind:state id`. */
  readonly index: readonly string[]
}

/** One shard as its server holds it, whichever server that is. */
export interface ShardRemains {
  readonly name: string
  /** Somebody holds its lease. */
  readonly owned: boolean
  /** Messages that nobody has taken yet. */
  readonly waiting: number
  readonly outbox: number
  /** Messages that wait for newer code. */
  readonly held: number
  readonly effects: readonly string[]
  /** Names of timers that wait. */
  readonly timers: readonly string[]
  readonly records: readonly (readonly [actor: string, body: string])[]
  readonly journal: readonly string[]
  readonly letters: readonly string[]
  readonly index: readonly string[]
}

export function remainsIn(server: MemoryServer): ShardRemains[] {
  const bodies = (stream: string) => (server.streams.get(stream)?.rows ?? []).map((row) => row.body)
  return [...server.shards].map(([name, shard]) => ({
    name,
    owned: shard.owner !== null && shard.leaseUntil > server.clock.now(),
    waiting: LANES.reduce((sum, lane) => sum + shard.lanes[lane].after(shard.cursor[lane], 1_000).length, 0),
    outbox: shard.outbox.length,
    held: server.streams.get(heldStream(name))?.rows.length ?? 0,
    effects: [...shard.effects],
    timers: [...shard.timers.values()].map((timer) => timer.name),
    records: [...shard.records],
    journal: bodies(journalStream(name)),
    letters: bodies(deadLetterStream(name)),
    index: [...shard.index].flatMap(([state, actors]) => [...actors.keys()].map((actor) => `${state} ${idOf(actor)}`)),
  }))
}

const LANES = ['hi', 'in'] as const

export function evidenceOf(remains: readonly ShardRemains[]): Evidence {
  const all = remains.flatMap(({ records }) => records)
  const records = new Map(all.map(([actor, body]) => [parseAddress(actor), decodeRecord(body)]))
  const journal = linesOf(remains.flatMap((shard) => shard.journal))
  const dead = remains.flatMap(({ letters }) => letters.map(numberOf))
  return { records, journal, dead, index: remains.flatMap(({ index }) => index) }
}

/** Whether the actor of a station has heard that its owner was lost. */
export function hasHeard(records: Evidence['records'], role: string): boolean {
  const record = records.get(`station/s${role.slice('station'.length)}` as ActorAddress) // as scenario.ts names them
  const { ends } = (record?.s.context ?? { ends: [] }) as unknown as ErrandContext
  return ends.includes('owner.lost')
}

/** The lines of each actor, in the order of its journal. */
export function linesOf(commits: readonly string[]): Map<ActorAddress, Line[]> {
  const lines = new Map<ActorAddress, Line[]>()
  for (const commit of commits) {
    for (const line of JSON.parse(commit) as Line[]) {
      const others = lines.get(line.actor)
      if (others === undefined) lines.set(line.actor, [line])
      else others.push(line)
    }
  }
  return lines
}

/** The number of the message in a dead letter; the letter's own text when there is none in it. */
export function numberOf(letter: string): string {
  const { message } = JSON.parse(letter) as { message: string }
  const { data } = JSON.parse(message) as { data?: { n?: string } }
  return data?.n ?? message
}

/** What is still under way, in words; empty when nothing is. */
export function restless(remains: readonly ShardRemains[], lostStations: readonly string[]): string[] {
  const unrest: string[] = []
  const { records } = evidenceOf(remains)
  for (const role of lostStations) {
    if (!hasHeard(records, role)) unrest.push(`the actor of ${role} has not heard that its owner was lost`)
  }
  for (const { name, owned, waiting, outbox, held, effects, timers } of remains) {
    if (waiting > 0) unrest.push(`${waiting} messages wait in shard ${name}`)
    if (held > 0) unrest.push(`${held} messages are held in shard ${name}`)
    if (outbox > 0) unrest.push(`${outbox} sends in the outbox of shard ${name}`)
    // A pinned shard without an owner is adopted sooner or later, and its actor has something to hear then.
    if (name.startsWith('@') && !owned) unrest.push(`shard ${name} has no owner`)
    for (const actor of effects) unrest.push(`effects of ${actor}`)
    for (const timer of timers) if (timer !== '@retire') unrest.push(`timer ${timer} in shard ${name}`)
  }
  return unrest
}
