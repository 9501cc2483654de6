/**
 * The runtime as seen from outside: a gateway, a worker's effects, a command line. A client writes to mailboxes and
 * reads snapshots; it owns no shard and runs no actor.
 */
import type { ActorAddress } from './address.ts'
import type { Fault } from './errors.ts'
import type { Json } from './json.ts'

/** What an actor's owner says when a message has been taken. */
export interface Answer {
  /** False when the chart has no transition for this event in its present state. */
  readonly handled: boolean
  /** The state value after the message. */
  readonly state: Json
  readonly status: 'active' | 'done' | 'error'
  /** What the chart replied, if it did. */
  readonly reply?: Json
}

/** An actor as it was at its last commit. */
export interface ActorSnapshot {
  readonly actor: ActorAddress
  readonly version: number
  /** How many transitions the actor has made. */
  readonly seq: number
  readonly createdAt: number
  readonly changedAt: number
  /** XState's state value: a string, or an object for nested and parallel states. */
  readonly value: Json
  readonly context: Json
  readonly status: 'active' | 'done' | 'error'
  readonly output?: Json
  readonly error?: Fault
  readonly effects: readonly string[]
  readonly timers: readonly { readonly name: string; readonly due: number }[]
}

/** One transition, as the journal of its shard tells it. */
export interface JournalLine {
  /** Position in the shard's journal; opaque, comparable only by the runtime, good to resume after. */
  readonly position: string
  readonly actor: ActorAddress
  readonly seq: number
  readonly event: string
  readonly from: Json
  readonly to: Json
  readonly at: number
  readonly trace?: string
}

/** A line of a capped stream beside the mailboxes: metrics, logs (telemetry is not mail). */
export interface StreamEntry {
  readonly id: string
  readonly data: Json
}

export interface SendOptions {
  /** Goes before what waits in the mailbox, and past its cap. */
  readonly control?: boolean
  /** W3C traceparent. */
  readonly trace?: string
  readonly signal?: AbortSignal
}

export interface AskOptions extends SendOptions {
  readonly timeoutMs?: number
}

/** `from` of a read: from the oldest that is kept, from now on, or after a position. */
export type ReadFrom = 'oldest' | 'now' | { readonly after: string }

export interface Client {
  /** Resolves once the message is durable in the mailbox. Throws `mailbox.full` (BUSY) when the mailbox is at its cap. */
  tell(to: ActorAddress, event: { readonly type: string }, options?: SendOptions): Promise<void>
  /** Resolves once the message's transition is committed. Throws `ask.timeout`, `actor.unknown`, `actor.done`, `mailbox.full`. */
  ask(to: ActorAddress, event: { readonly type: string }, options?: AskOptions): Promise<Answer>
  /** Brings an actor to life; `handled` is false when it lived already, and then nothing has changed. */
  spawn(to: ActorAddress, input: unknown, options?: AskOptions): Promise<Answer>
  /** Reads a snapshot without passing through the mailbox; null when there is no such actor. */
  read(actor: ActorAddress): Promise<ActorSnapshot | null>
  /**
   * Transitions of the shard that holds `actor` (this actor's and its neighbours': filter what you want), as they
   * happen, until the signal aborts. A line with `gap: true` before the first when positions after `from` were trimmed.
   */
  journal(actor: ActorAddress, from: ReadFrom, signal: AbortSignal): AsyncIterable<JournalLine | { readonly gap: true }>
  /** Appends to a capped stream, e.g. `job:01J…:metrics`. */
  append(stream: string, entries: readonly Json[]): Promise<void>
  /** Follows a capped stream until the signal aborts; with `follow: false` ends at its present end. */
  stream(
    stream: string,
    from: ReadFrom,
    options: { readonly signal: AbortSignal; readonly follow: boolean },
  ): AsyncIterable<StreamEntry>
  /** Whether the transport answers now. */
  health(): Promise<{ readonly ok: boolean; readonly transport: string; readonly detail?: string }>
  stop(): Promise<void>
}
