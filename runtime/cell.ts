/**
 * A cell is an actor in its owner's memory: its record as the last planned commit leaves it, and the chart's live
 * snapshot. A cell may be dropped whenever none of its commits is in flight: everything in it is in Redis.
 */
import type { ActorDefinition } from './actor.ts'
import type { ActorAddress } from './address.ts'
import { kindOf } from './address.ts'
import { RuntimeError } from './errors.ts'
import type { ActorRecord } from './record.ts'
import { thaw } from './step.ts'
import type { Snapshot } from './step.ts'

export interface Cell {
  readonly actor: ActorAddress
  /** Null while there is no such actor. */
  record: ActorRecord | null
  /** Thawed when first needed. */
  snapshot: Snapshot | null
  /** Commits planned with this cell and not yet acknowledged. */
  inFlight: number
  /** The number of the batch that used it last. */
  usedAt: number
}

export type Definitions = ReadonlyMap<string, ActorDefinition>

/** Throws `actor.kind-unknown`. */
export function definitionOf(definitions: Definitions, actor: ActorAddress): ActorDefinition {
  const definition = definitions.get(kindOf(actor))
  if (definition !== undefined) return definition
  throw new RuntimeError('actor.kind-unknown', `Nobody here knows how to run an actor of kind "${kindOf(actor)}"`, {
    remedy: 'retry-elsewhere',
    data: { actor, known: [...definitions.keys()] },
  })
}

/**
 * The definition that can take a message for this cell. Throws `actor.kind-unknown` and `actor.version-unknown`: then
 * the message is for an owner with other code.
 */
export function readerOf(definitions: Definitions, cell: Cell): ActorDefinition {
  const definition = definitionOf(definitions, cell.actor)
  if (cell.record !== null && cell.record.v !== definition.version) snapshotOf(cell, cell.record, definition)
  return definition
}

/** The chart's live snapshot. Migrates a record of an older version; throws `actor.version-unknown` when it can't. */
export function snapshotOf(cell: Cell, record: ActorRecord, definition: ActorDefinition): Snapshot {
  if (cell.snapshot !== null) return cell.snapshot
  const state = record.v === definition.version ? record.s : migrated(cell.actor, record, definition)
  cell.snapshot = thaw(definition, state, Object.keys(record.fx ?? {}))
  return cell.snapshot
}

function migrated(actor: ActorAddress, record: ActorRecord, definition: ActorDefinition): ActorRecord['s'] {
  const { kind, version, migrate } = definition
  const text = `${actor} was written by version ${record.v} of "${kind}"; this process has version ${version}`
  const unknown = (why: string, cause?: unknown): RuntimeError =>
    new RuntimeError('actor.version-unknown', `${text}${why}`, {
      remedy: 'retry-elsewhere',
      data: { actor, found: record.v, expected: version },
      cause,
    })
  if (record.v > version) throw unknown('')
  if (migrate === undefined) throw unknown(' and no migrate')
  try {
    return migrate(record.v, record.s)
  } catch (error) {
    throw unknown(`, whose migrate failed: ${error instanceof Error ? error.message : String(error)}`, error)
  }
}
