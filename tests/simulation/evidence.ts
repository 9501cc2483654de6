/**
 * What remains of a run, read from where it is durable: the records of actors, the journals, the dead letters, and what
 * still waits. The checker judges by this and by the clients' own history, never by what the runtime says of itself.
 */
import type { ActorAddress } from '../../runtime/address.ts'
import type { Line } from '../../runtime/plan.ts'
import { decodeRecord } from '../../runtime/record.ts'
import type { ActorRecord } from '../../runtime/record.ts'
import type { ErrandContext } from './actors.ts'
import type { MemoryServer } from '../../runtime/transports/memory.ts'

export interface Evidence {
  readonly records: ReadonlyMap<ActorAddress, ActorRecord>
  readonly journal: ReadonlyMap<ActorAddress, readonly Line[]>
  /** The numbers of messages in dead letters, once for each letter. */
  readonly dead: readonly string[]
}

export function evidenceOf(server: MemoryServer): Evidence {
  const records = new Map<ActorAddress, ActorRecord>()
  for (const shard of server.shards.values()) {
    for (const [actor, body] of shard.records) records.set(actor, decodeRecord(body))
  }
  const journals: string[] = []
  const letters: string[] = []
  for (const [name, stream] of server.streams) {
    const bodies = stream.rows.map((row) => row.body)
    if (name.endsWith('/ev')) journals.push(...bodies)
    if (name.endsWith('/dlq')) letters.push(...bodies)
  }
  return { records, journal: linesOf(journals), dead: letters.map(numberOf) }
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
export function restless(server: MemoryServer, lostStations: readonly string[]): string[] {
  const unrest: string[] = []
  const { records } = evidenceOf(server)
  for (const role of lostStations) {
    if (!hasHeard(records, role)) unrest.push(`the actor of ${role} has not heard that its owner was lost`)
  }
  for (const [name, shard] of server.shards) {
    for (const lane of ['hi', 'in'] as const) {
      const waiting = shard.lanes[lane].after(shard.cursor[lane], 1_000).length
      if (waiting > 0) unrest.push(`${waiting} messages in lane ${lane} of shard ${name}`)
    }
    if (shard.outbox.length > 0) unrest.push(`${shard.outbox.length} sends in the outbox of shard ${name}`)
    // A pinned shard without an owner is adopted sooner or later, and its actor has something to hear then.
    if (name.startsWith('@') && (shard.owner === null || shard.leaseUntil <= server.clock.now())) {
      unrest.push(`shard ${name} has no owner`)
    }
    for (const actor of shard.effects) unrest.push(`effects of ${actor}`)
    for (const timer of shard.timers.values()) {
      if (timer.name !== '@retire') unrest.push(`timer ${timer.name} of ${timer.actor}`)
    }
  }
  return unrest
}
