/**
 * The step: one event through one chart, as pure data. It asks the chart's compiled table first and XState where the
 * table does not reach (compile.ts says when); nobody else needs to know that there are two engines. It reads no clock,
 * does no I/O and holds no state.
 */
import type { AnyEventObject, AnyStateMachine } from 'xstate'
import type { ActorDefinition } from './actor.ts'
import { afterEvents } from './chart.ts'
import { compiledStart, compiledStep, compiledThaw } from './compile.ts'
import type { Fault } from './errors.ts'
import { interpretStart, interpretStep, interpretThaw } from './interpret.ts'
import type { ChartState } from './record.ts'
import type { Snapshot, Stepped } from './snapshot.ts'

export type { Op } from './op.ts'
export { withoutEffect } from './snapshot.ts'
export type { Snapshot, Stepped } from './snapshot.ts'

/** Throws what the chart throws. */
export function start(definition: ActorDefinition, input: unknown): Stepped {
  try {
    return compiledStart(definition.machine, input)
  } catch {
    return interpretStart(definition, input) // it throws what the chart throws
  }
}

/** Throws what the chart throws, or the error with which the chart ended in XState's error status. */
export function step(definition: ActorDefinition, snapshot: Snapshot, event: AnyEventObject): Stepped {
  if (snapshot.leaf === null) return interpretStep(definition, snapshot, event)
  try {
    return compiledStep(snapshot, event)
  } catch {
    return interpretStep(definition, snapshot, event)
  }
}

export const effectDone = (id: string, output: unknown): AnyEventObject => ({
  type: `xstate.done.actor.${id}`,
  output,
  actorId: id,
})

export const effectFailed = (id: string, error: Fault): AnyEventObject => ({
  type: `xstate.error.actor.${id}`,
  error,
  actorId: id,
})

/** The event of an `after` whose delay has this name; null when the chart has no such delay (any more). */
export function afterEvent(definition: ActorDefinition, name: string): AnyEventObject | null {
  let events = afterTables.get(definition.machine)
  if (events === undefined) {
    events = afterEvents(definition.machine)
    afterTables.set(definition.machine, events)
  }
  const type = events.get(name)
  return type === undefined ? null : { type }
}

const afterTables = new WeakMap<AnyStateMachine, Map<string, string>>()

/** The part of a snapshot that outlives the process. */
export function freeze(snapshot: Snapshot): ChartState {
  return snapshot.state
}

/** Brings a frozen state back. `effects` are the ids under way, so that the chart can stop them. */
export function thaw(definition: ActorDefinition, state: ChartState, effects: readonly string[]): Snapshot {
  return compiledThaw(definition.machine, state, effects) ?? interpretThaw(definition, state, effects)
}
