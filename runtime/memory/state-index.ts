/** The index of a shard's actors by state, in memory (`runtime/state-index.ts`). */
import { idOf, kindOf } from '../address.ts'
import type { Listed, Move, StateCount } from '../transport.ts'
import type { ShardData } from './shard-data.ts'

export function moveIn({ index }: ShardData, { actor, from, to }: Move, at: number): void {
  const kind = kindOf(actor)
  if (from !== null) {
    const left = index.get(`${kind}:${from}`)
    left?.delete(actor)
    if (left?.size === 0) index.delete(`${kind}:${from}`)
  }
  if (to !== null) {
    const name = `${kind}:${to}`
    index.set(name, (index.get(name) ?? new Map()).set(actor, at))
  }
}

export function statesOf({ index }: ShardData): StateCount[] {
  return Array.from(index, ([name, actors]) => {
    const colon = name.indexOf(':')
    return { kind: name.slice(0, colon), state: name.slice(colon + 1), actors: actors.size }
  })
}

export function listedIn(
  { index }: ShardData,
  kind: string,
  state: string,
  after: { readonly since: number; readonly id: string } | null,
): Listed[] {
  return Array.from(index.get(`${kind}:${state}`) ?? [], ([actor, since]) => ({ id: idOf(actor), state, since }))
    .filter(({ since, id }) => after === null || since > after.since || (since === after.since && id > after.id))
    .sort((a, b) => a.since - b.since || (a.id < b.id ? -1 : 1))
}
