/**
 * Finds actors by kind and state, over all shards, from the index that each shard keeps (`state-index.ts`). It reads what is
 * committed and passes through no mailbox.
 *
 * Pages are in the order in which actors entered their states, the earliest first, and a page begins where the one before
 * ended: at a time and an id, not at a position. Whoever changes its state goes to the end. So, page after page:
 * F1. An actor that stays in its state is on exactly one page.
 * F2. An actor that moves on within what is asked for is on a page too, under the state in which it was met; maybe once
 *     more, under the next.
 * (Times are their owners' own: a new owner whose clock is behind may put a newcomer among those of a page that was read.)
 */
import type { Actor, ActorDefinition } from './actor.ts'
import { address, numberedShard } from './address.ts'
import type { ActorAddress, Directory, ShardName } from './address.ts'
import { RuntimeError } from './errors.ts'
import { LIMITS } from './limits.ts'
import type { ActorRef } from './ref.ts'
import { isWithin } from './state-index.ts'
import type { STOPPED_STATE } from './state-index.ts'
import type { Listed, StateCount, Transport } from './transport.ts'

/** A kind of actors: by its name, or by its definition, which types what is found. */
export type Kind = string | ActorDefinition

/** The states of a chart, dotted, and that of those that were stopped. */
export type StateOf<K> =
  K extends Actor<infer M> ? PathOf<ReturnType<M['getInitialSnapshot']>['value']> | typeof STOPPED_STATE : string

type PathOf<Value> = Value extends string
  ? Value
  : string extends keyof Value
    ? string // a chart whose states are not known to the compiler
    : { [Name in keyof Value & string]: Name | `${Name}.${PathOf<NonNullable<Value[Name]>>}` }[keyof Value & string]

export interface FindQuery<K extends Kind> {
  readonly kind: K
  /** Those in this state, or in one within it: `training` finds `training.collecting`. All where it is absent. */
  readonly state?: StateOf<K>
  /** `next` of the page before. */
  readonly after?: string
  /** At most so many: 100 unless said otherwise. */
  readonly limit?: number
}

export interface FoundActor<K extends Kind> {
  readonly actor: K extends ActorDefinition ? ActorRef<K> : ActorAddress
  readonly state: string
  /** When it entered that state. */
  readonly since: number
}

export interface ActorPage<K extends Kind> {
  readonly items: readonly FoundActor<K>[]
  /** Where the next page begins; absent on the last one. */
  readonly next?: string
}

/** A page of actors. Throws `query.invalid`. */
export async function find<K extends Kind>(
  transport: Transport,
  directory: Directory,
  { kind: of, state, after, limit = 100 }: FindQuery<K>,
): Promise<ActorPage<K>> {
  const kind = nameOf(of)
  const from = after === undefined ? null : placeIn(after)
  if (!Number.isInteger(limit) || limit < 1 || limit > LIMITS.findMax) {
    throw invalid('limit', `a whole number from 1 to ${LIMITS.findMax}`, limit)
  }
  const shards = await shardsOf(transport, directory, kind)
  const lists = await Promise.all(
    shards.map(async (shard) => {
      const states = await transport.states(shard)
      return states
        .filter((each) => each.kind === kind && (state === undefined || isWithin(each.state, state)))
        .map((each) => ({ shard, state: each.state }))
    }),
  )
  const rows = await firstOf(lists.flat(), limit + 1, (list, count) =>
    transport.listed(list.shard, kind, list.state, from, count),
  )
  const items = rows.slice(0, limit).map(({ id, state: found, since }) => {
    return { actor: address(kind, id) as FoundActor<K>['actor'], state: found, since } // the brand is a type alone
  })
  const last = rows[limit - 1]
  return { items, ...(rows.length > limit && last !== undefined && { next: `${last.since}~${last.id}` }) }
}

/** How many actors there are, by kind and state; of one kind alone where it is given. */
export async function count(transport: Transport, directory: Directory, of?: Kind): Promise<readonly StateCount[]> {
  const kind = of === undefined ? undefined : nameOf(of)
  const shards = await shardsOf(transport, directory, kind)
  const sums = new Map<string, StateCount>()
  for (const each of (await Promise.all(shards.map((shard) => transport.states(shard)))).flat()) {
    if (kind !== undefined && each.kind !== kind) continue
    const name = `${each.kind}:${each.state}`
    sums.set(name, { ...each, actors: each.actors + (sums.get(name)?.actors ?? 0) })
  }
  return Array.from(sums)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, sum]) => sum)
}

/** Where actors of this kind may live; of any kind where none is given. */
async function shardsOf(transport: Transport, { shards, pinned }: Directory, kind?: string): Promise<ShardName[]> {
  const numbered =
    kind !== undefined && pinned.has(kind) ? [] : Array.from({ length: shards }, (_, i) => numberedShard(i))
  const own = kind === undefined || pinned.has(kind) ? await transport.pinned() : []
  const names = own.map(({ shard }) => shard)
  return [...numbered, ...names.filter((shard) => kind === undefined || shard.startsWith(`@${kind}/`))]
}

/**
 * The first `count` rows of sorted lists, all together. Each list is read as far as its share goes, and where that proves
 * too short, further: actors are spread evenly, mostly.
 */
async function firstOf<List>(
  lists: readonly List[],
  count: number,
  read: (list: List, count: number) => Promise<readonly Listed[]>,
): Promise<readonly Listed[]> {
  for (let share = Math.ceil((2 * count) / Math.max(1, lists.length)) + 4; ; share *= 4) {
    const limit = Math.min(share, count)
    const parts = await Promise.all(lists.map((list) => read(list, limit)))
    const rows = parts.flat().sort(inOrder).slice(0, count)
    const last = rows.at(-1)
    const isWhole = parts.every((part) => {
      const end = part.at(-1)
      return (
        part.length < limit ||
        end === undefined ||
        (rows.length === count && last !== undefined && inOrder(end, last) >= 0)
      )
    })
    if (isWhole || limit === count) return rows
  }
}

function inOrder(a: Listed, b: Listed): number {
  return a.since - b.since || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)
}

function nameOf(kind: Kind): string {
  const name = typeof kind === 'string' ? kind : kind.kind
  if (!/^[a-z][a-z0-9-]{0,39}$/.test(name)) throw invalid('kind', 'the name of a kind', name)
  return name
}

function placeIn(after: string): { readonly since: number; readonly id: string } {
  const [, since, id] = /^(\d+(?:\.\d+)?)~([A-Za-z0-9_.-]{1,200})$/.exec(after) ?? []
  if (since === undefined || id === undefined) throw invalid('after', '`next` of a page', after)
  return { since: Number(since), id }
}

function invalid(field: string, expected: string, found: unknown): RuntimeError {
  const text = `Cannot look for actors: expected ${field} to be ${expected}, found ${JSON.stringify(found)}`
  return new RuntimeError('query.invalid', text, { remedy: 'fix-request', data: { field, expected, found } })
}
