/**
 * A chart's live state, as light as its frozen one: what is written to the record, the ids of the effects under way, and
 * the place in the compiled table. XState's own snapshot, which costs as much to make as a transition, is made only when
 * XState must be asked. A snapshot never changes; a transition makes another, or returns the very same.
 */
import type { AnyMachineSnapshot } from 'xstate'
import type { Leaf } from './compiled/run.ts'
import type { Op } from './op.ts'
import type { ChartState } from './record.ts'

/** Effects under way, by id, in the order in which XState would stop them: that of an object's keys. */
export type Effects = Readonly<Record<string, true>>

export interface Snapshot {
  readonly state: ChartState
  readonly effects: Effects
  /** The state as the compiled table knows it; null where only XState knows its way. */
  readonly leaf: Leaf | null
  /** XState's form of the same, once it was needed; it says no more than the rest. */
  xstate: AnyMachineSnapshot | null
}

export interface Stepped {
  /** The very same as before when nothing has changed. */
  readonly snapshot: Snapshot
  /** What the transition wants done, in order. */
  readonly ops: readonly Op[]
  /** False when the chart has no transition for the event in this state. */
  readonly handled: boolean
}

/** An effect has ended: from now on leaving its state stops nothing. */
export function withoutEffect(snapshot: Snapshot, id: string): Snapshot {
  const { [id]: _ended, ...effects } = snapshot.effects
  if (snapshot.xstate === null) return { ...snapshot, effects }
  const { [id]: _child, ...children } = snapshot.xstate.children
  return { ...snapshot, effects, xstate: { ...snapshot.xstate, children } }
}
