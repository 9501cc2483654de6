/**
 * The words with which a chart tells others, word for word those of `runtime/vocabulary.ts`. They stand here a second
 * time because machines import nothing but XState: a chart is tested, drawn and simulated without a runtime. The
 * runtime knows the actions by their names, and tests/machines/vocabulary.test.ts holds both files to the same types.
 */

/** An event on its way to another actor. A control event goes before what waits in the mailbox. */
export interface Tell {
  readonly to: string
  readonly event: { readonly type: string }
  readonly control?: boolean
}

/** Brings an actor to life. When it lives already, nothing happens. */
export interface Spawn {
  readonly to: string
  readonly input?: unknown
}

/**
 * Asks to hear, once, `actor.ended {actor, status, output | fault}` when the other has finished (`done`), was stopped
 * (`error`), or is not there (`gone`). `unwatch` takes the wish back.
 */
export interface Watch {
  readonly to: string
}

/**
 * An event, and when it is to be told. An id is the sender's own name for it at its receiver: under the same id it
 * replaces what waited there. With `everyMs` it comes again and again, on the beat of its first time; beats that were
 * missed are one. With `keep` nothing is replaced: what waits there keeps its time, and what was called off with `keep`
 * goes on with what was left of its delay.
 */
export type Later = {
  readonly id: string
  readonly event: { readonly type: string }
  readonly everyMs?: number
  readonly keep?: true
} & ({ readonly delayMs: number; readonly at?: never } | { readonly at: number; readonly delayMs?: never })

/** Tells an actor later: this actor itself where `to` is absent. */
export type Schedule = Later & { readonly to?: string }

/** With `keep` what is left of its delay is kept, for a later `schedule` with `keep`. */
export interface Unschedule {
  readonly id: string
  readonly to?: string
  readonly keep?: true
}

export const vocabulary = {
  tell: (_args: unknown, _params: Tell | readonly Tell[]): void => {},
  spawn: (_args: unknown, _params: Spawn | readonly Spawn[]): void => {},
  watch: (_args: unknown, _params: Watch | readonly Watch[]): void => {},
  unwatch: (_args: unknown, _params: Watch | readonly Watch[]): void => {},
  schedule: (_args: unknown, _params: Schedule | readonly Schedule[]): void => {},
  unschedule: (_args: unknown, _params: Unschedule | readonly Unschedule[]): void => {},
  /** Answers the ask that this event came with, if it did. */
  reply: (_args: unknown, _params: { readonly data: unknown }): void => {},
}
