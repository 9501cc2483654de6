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

export const vocabulary = {
  tell: (_args: unknown, _params: Tell | readonly Tell[]): void => {},
  spawn: (_args: unknown, _params: Spawn | readonly Spawn[]): void => {},
  /** Answers the ask that this event came with, if it did. */
  reply: (_args: unknown, _params: { readonly data: unknown }): void => {},
}
