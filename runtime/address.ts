/**
 * An actor's address is `kind/id`, and it alone decides where the actor lives.
 *
 * Two placements exist. A *sharded* actor lives in one of the namespace's numbered shards, chosen by a hash of the
 * part of its id before the first `.`: `job/01J` and `task/01J.3.0` share a shard, so what they tell each other is
 * part of one commit. A *pinned* actor (a worker) is a shard of its own, owned by the process that it stands for.
 */
import { RuntimeError } from './errors.ts'

declare const addressBrand: unique symbol
declare const shardBrand: unique symbol

/** `kind/id`. Kinds are lower-case words; ids are 1–200 characters of `A–Z a–z 0–9 _ . -`. */
export type ActorAddress = string & { readonly [addressBrand]: true }

/** The name of a shard: a number below the namespace's shard count, or `@kind/id` for a pinned actor. */
export type ShardName = string & { readonly [shardBrand]: true }

/** What a sender must know to find a mailbox. It is fixed for the life of a namespace. */
export interface Directory {
  readonly shards: number
  readonly pinned: ReadonlySet<string>
}

export const SHARDS_DEFAULT = 64

const ADDRESS = /^[a-z][a-z0-9-]{0,39}\/[A-Za-z0-9_.-]{1,200}$/

/** Builds an address. Throws `address.malformed` when a part has characters that a key must not have. */
export function address(kind: string, id: string): ActorAddress {
  return parseAddress(`${kind}/${id}`)
}

export function parseAddress(text: string): ActorAddress {
  if (!ADDRESS.test(text)) {
    throw new RuntimeError('address.malformed', `Cannot use "${text}" as an actor's address: expected kind/id`, {
      remedy: 'fix-request',
      data: { address: text },
    })
  }
  return text as ActorAddress // checked above: the one place where a brand is given
}

export function kindOf(actor: ActorAddress): string {
  return actor.slice(0, actor.indexOf('/'))
}

export function idOf(actor: ActorAddress): string {
  return actor.slice(actor.indexOf('/') + 1)
}

/** The shard that holds this actor. A pure function of the address: every process computes the same. */
export function shardOf(actor: ActorAddress, directory: Directory): ShardName {
  if (directory.pinned.has(kindOf(actor))) return pinnedShard(actor)
  const slash = actor.indexOf('/')
  const dot = actor.indexOf('.', slash)
  return numberedShard(fnv1a(actor, slash + 1, dot === -1 ? actor.length : dot) % directory.shards)
}

export function numberedShard(index: number): ShardName {
  return String(index) as ShardName // a shard's name is made here and below only
}

export function pinnedShard(actor: ActorAddress): ShardName {
  return `@${actor}` as ShardName
}

/** The actor of a pinned shard, or null when the shard is a numbered one. */
export function pinnedActor(shard: ShardName): ActorAddress | null {
  return shard.startsWith('@') ? parseAddress(shard.slice(1)) : null
}

/** FNV-1a, 32 bits (Fowler, Noll, Vo): cheap, and even enough over ids to balance 64 shards. */
function fnv1a(text: string, start: number, end: number): number {
  let hash = 0x811c9dc5
  for (let i = start; i < end; i++) {
    hash ^= text.charCodeAt(i)
    hash = Math.imul(hash, 0x01000193)
  }
  return hash >>> 0
}
