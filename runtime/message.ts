/**
 * What an owner takes: mail from its lanes, due timers, results of effects. Opened, a message names its actor, so that the
 * owner can load the records that a batch needs before it plans.
 */
import { parseAddress } from './address.ts'
import type { ActorAddress } from './address.ts'
import type { Answer, JournalLine } from './client.ts'
import { decodeEnvelope } from './envelope.ts'
import type { Envelope } from './envelope.ts'
import { faultOf } from './errors.ts'
import type { Fault } from './errors.ts'
import type { Entry, StreamRow, TimerEntry } from './transport.ts'

/** What an owner takes: mail from its lanes, and what it owes its actors itself. */
export type Message =
  | { readonly kind: 'mail'; readonly entry: Entry }
  | { readonly kind: 'timer'; readonly timer: TimerEntry }
  | {
      readonly kind: 'effect'
      readonly actor: ActorAddress
      readonly id: string
      readonly gen: number
      readonly result: EffectResult
    }
  /** The process that owned a pinned actor is gone: the chart hears `owner.lost`. */
  | { readonly kind: 'orphaned'; readonly actor: ActorAddress }
  /** Of a watched actor that is pinned: its shard is gone (`ended`), or a new owner must ask once more (`rewatch`). */
  | {
      readonly kind: 'ended' | 'rewatch'
      readonly actor: ActorAddress
      readonly of: ActorAddress
      readonly gen: number
    }

export type EffectResult =
  | { readonly ok: true; readonly output: unknown }
  | { readonly ok: false; readonly fault: Fault }

export const OWNER_LOST = 'owner.lost'
/** What a watcher hears, and a parent. */
export const ACTOR_ENDED = 'actor.ended'
export const CHILD_HAS_FAILED = 'child.failed'
/** In the journal, the stop of an actor that failed. */
export const STOPPED = '@stopped'
/** The timer that takes a finished actor out of Redis. */
export const RETIRE = '@retire'

/** What goes back to who asked. */
export type Reply = { readonly id: string } & ({ readonly answer: Answer } | { readonly fault: Fault })

export type Line = Omit<JournalLine, 'position'>

/** The actor a message is for; null when it cannot be read (the plan makes a dead letter of it). */
export interface Taken {
  readonly message: Message
  readonly actor: ActorAddress | null
  readonly envelope: Envelope | null
  readonly fault: Fault | null
  /** Its id in the shard's held stream, when it has waited there for an owner with this code. */
  readonly heldId?: string
}

/** Likewise, a message from the held stream. */
export function openHeld({ id, body }: StreamRow): Taken {
  return { ...open(JSON.parse(body) as Message), heldId: id } // written by a plan
}

/** Opens a message, so that the owner can load the records it needs. */
export function open(message: Message): Taken {
  switch (message.kind) {
    case 'mail':
      try {
        const envelope = decodeEnvelope(message.entry.body)
        return { message, envelope, actor: parseAddress(envelope.to), fault: null }
      } catch (error) {
        return { message, envelope: null, actor: null, fault: faultOf(error, 'envelope.malformed') }
      }
    case 'timer':
      return { message, envelope: null, actor: message.timer.actor, fault: null }
    case 'effect':
    case 'orphaned':
    case 'ended':
    case 'rewatch':
      return { message, envelope: null, actor: message.actor, fault: null }
  }
}
