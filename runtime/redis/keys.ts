/**
 * How keys and channels are named. All keys of a shard share a hash tag, so they sit in one slot and fail over together;
 * what belongs to no shard has the namespace's own tag.
 */
import { parseAddress } from '../address.ts'
import type { ActorAddress, ShardName } from '../address.ts'
import type { TimerEntry } from '../transport.ts'

/** What a shard consists of, beside its records. */
export const SHARD_PARTS = [
  'meta',
  'dlq',
  'lease',
  'hi',
  'in',
  'ev',
  'out',
  'tm',
  'fx',
  'held',
  'dd',
  'tk',
  'or',
  'ix',
] as const

export type ShardPart = (typeof SHARD_PARTS)[number]

export class Keys {
  readonly #prefix: string

  constructor(namespace: string) {
    this.#prefix = namespace
  }

  of(shard: ShardName, part: ShardPart): string {
    return `{${this.#prefix}:${shard}}:${part}`
  }

  /** Marks of a source that comes and goes, by lane. */
  clientMark(shard: ShardName, source: string, lane: string): string {
    return `{${this.#prefix}:${shard}}:dd:${source}:${lane}`
  }

  record(shard: ShardName, actor: ActorAddress): string {
    return `{${this.#prefix}:${shard}}:st:${actor}`
  }

  /** Actors of a kind in a state, by the time of their entry. The names behind `ix:` of all that there are stand in `ix`. */
  state(shard: ShardName, name: string): string {
    return `{${this.#prefix}:${shard}}:ix:${name}`
  }

  global(part: 'namespace' | 'nodes' | 'reads' | 'needs' | 'pinned' | 'departed'): string {
    return `{${this.#prefix}}:${part}`
  }

  /** `shard/17/ev` is the shard's own key; any other name is a stream beside the mailboxes. */
  stream(name: string): string {
    const [, shard, part] = /^shard\/(.+)\/(ev|dlq|held)$/.exec(name) ?? []
    if (shard !== undefined && part !== undefined) return `{${this.#prefix}:${shard}}:${part}` // as journalStream and its like name it
    const colon = name.lastIndexOf(':')
    return `{${this.#prefix}:${name.slice(0, colon)}}:${name.slice(colon + 1)}`
  }

  channel(name: string): string {
    return `${this.#prefix}:${name}`
  }
}

/** The smallest id that the outbox must keep. Seqs go first in an id, so that trimming by seq is trimming by id. */
export function outboxFloor(outTrim: number): string {
  return `${outTrim + 1}-0`
}

export function timerMember({ actor, name, gen }: Omit<TimerEntry, 'due'>): string {
  return `${actor}|${gen}|${name}`
}

export function timerEntry(member: string, due: number): TimerEntry {
  const [actor = '', gen = '', ...name] = member.split('|')
  return { actor: parseAddress(actor), gen: Number(gen), name: name.join('|'), due }
}
