/**
 * What follows when a transition throws, as the actor's policy says: it goes on, it stops, or it stops and its parent
 * hears of it. The parent is who spawned it (`by` in its record), and one that does not know what to do fails in turn:
 * so a fault climbs the tree until somebody handles it, or the root stops.
 *
 * Invariants:
 * V1. The message that threw has changed nothing (plan, P1); only what this file says is changed instead.
 * V2. A stopped actor runs nothing and waits for nothing: its effects are aborted, its timers cleared, its watches over.
 * V3. An actor fails at most `failuresMax` times within any period and goes on.
 */
import type { ActorDefinition, Intensity } from './actor.ts'
import type { Cell } from './cell.ts'
import type { Consequences } from './consequences.ts'
import { CHILD_FAILED } from './envelope.ts'
import { farewell } from './ending.ts'
import type { Fault } from './errors.ts'
import { RETIRE, STOPPED } from './message.ts'
import type { ActorRecord } from './record.ts'

export interface Failure {
  readonly definition: ActorDefinition
  readonly fault: Fault
  readonly now: number
  /** The id of what it failed over. */
  readonly cause: string
  readonly trace: string | undefined
}

/** The actor of the cell has failed. */
export function supervise(collected: Consequences, cell: Cell, failure: Failure): void {
  const { record } = cell
  const { onError, intensity } = failure.definition.policy
  if (record === null || record.s.status !== 'active') return
  if (onError !== 'resume') {
    stop(collected, cell, record, failure, onError === 'escalate')
    return
  }
  if (intensity.failuresMax === Infinity) return
  const failures = recent(record.failures ?? [], failure.now, intensity)
  if (failures.length > intensity.failuresMax) stop(collected, cell, record, failure, true) // V3
  else {
    collected.touch(cell)
    cell.record = { ...record, failures }
  }
}

/** A child that could not even begin: there is nothing to stop, only somebody to tell. */
export function superviseBirth(collected: Consequences, cell: Cell, parent: string, failure: Failure): void {
  if (failure.definition.policy.onError === 'escalate') tellParent(collected, cell, parent, failure)
}

function stop(collected: Consequences, cell: Cell, before: ActorRecord, failure: Failure, escalates: boolean): void {
  const { actor } = cell
  const { definition, fault, now, cause, trace } = failure
  const n = before.n + 1
  const state = { ...before.s, status: 'error' as const, error: fault }
  for (const [id, row] of Object.entries(before.fx ?? {})) collected.stop(actor, id, row.gen)
  for (const [name, row] of Object.entries(before.tm ?? {})) collected.clearTimer({ actor, name, gen: row.gen })
  const due = now + definition.policy.retentionMs
  collected.setTimer({ actor, name: RETIRE, gen: n, due })
  farewell(collected, { actor, watchers: before.watchers, watches: before.watches, state, cause, trace })
  if (escalates && before.by !== undefined) tellParent(collected, cell, before.by, failure)
  collected.touch(cell)
  cell.record = {
    v: before.v,
    n,
    born: before.born,
    at: now,
    s: state,
    tm: { [RETIRE]: { id: RETIRE, gen: n, due } },
    ...(before.unindexed === true && { unindexed: true as const }),
    ...(before.by !== undefined && { by: before.by }),
  }
  cell.snapshot = null
  const { value } = before.s
  collected.note({
    actor,
    seq: n,
    event: STOPPED,
    from: value,
    to: value,
    at: now,
    ...(trace !== undefined && { trace }),
  })
}

function tellParent(collected: Consequences, cell: Cell, parent: string, { fault, cause, trace }: Failure): void {
  const data = { actor: cell.actor, fault }
  collected.send(cell.actor, cause, { to: parent, type: CHILD_FAILED, data, control: true }, trace)
}

/** The failures within the period, this one included; no more of them than it takes to say that they are too many. */
function recent(failures: readonly number[], now: number, { failuresMax, periodMs }: Intensity): readonly number[] {
  return [...failures.filter((at) => at > now - periodMs), now].slice(-failuresMax - 1)
}
