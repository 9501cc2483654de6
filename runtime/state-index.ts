/**
 * The index of actors by state: for each kind and state of a shard, the actors that are in it, by the time of their entry.
 * It is part of the shard and moves within the commit that moves the record, so it fails over with it.
 *
 * Invariants:
 * I1. Between commits, the index holds each actor that has a record, under the state of its record, and nobody else.
 * I2. A commit that changes nobody's state does not touch it.
 *
 * A state is a path of names, dotted: `training.collecting`. It ends at the first state that is parallel, since from there
 * on an actor is in several at once; of a chart without states, or a parallel one, it is empty. An actor that its policy
 * has stopped is in `@stopped`, whatever its chart was at.
 *
 * Whether an actor is in it is decided at its birth, by its definition (`indexed`), and stands in its record.
 */
import type { ActorAddress } from './address.ts'
import type { Json } from './json.ts'
import type { ActorRecord, ChartState } from './record.ts'
import type { Move } from './transport.ts'

export const STOPPED_STATE = '@stopped'

/** What a batch changes in the index about an actor; null for nothing. */
export function moveOf(actor: ActorAddress, before: ActorRecord | null, after: ActorRecord | null): Move | null {
  if (before !== null && after !== null && before.s.value === after.s.value && before.s.status === after.s.status) {
    return null // I2, without a look at paths
  }
  if ((after ?? before)?.unindexed === true) return null
  const from = before && stateOf(before.s)
  const to = after && stateOf(after.s)
  return from === to ? null : { actor, from, to }
}

export function stateOf({ value, status }: ChartState): string {
  return status === 'error' ? STOPPED_STATE : pathOf(value)
}

/** Whether a state is the wanted one, or lies in it. */
export function isWithin(state: string, wanted: string): boolean {
  return state === wanted || state.startsWith(`${wanted}.`)
}

function pathOf(value: Json): string {
  if (typeof value === 'string') return value
  let path = ''
  let inner: Json | undefined = value
  while (inner !== null && typeof inner === 'object') {
    const names: string[] = Object.keys(inner)
    const [name] = names
    if (name === undefined || names.length > 1) return path
    path = path === '' ? name : `${path}.${name}`
    inner = (inner as { readonly [name: string]: Json | undefined })[name] // a state's value is no list
  }
  return typeof inner === 'string' ? `${path}.${inner}` : path
}
