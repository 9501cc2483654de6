/**
 * The words with which a chart tells others: the only custom actions that a durable chart may use.
 * They do nothing by themselves: XState's pure `transition()` returns them as data, and `step.ts` makes them sends.
 *
 *     setup({ actions: { ...vocabulary } }).createMachine({
 *       entry: { type: 'tell', params: ({ context }) => ({ to: context.parent, event: { type: 'ready' } }) },
 *     })
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
  tell: (_: unknown, _params: Tell | readonly Tell[]): void => {},
  spawn: (_: unknown, _params: Spawn | readonly Spawn[]): void => {},
  /** Answers the ask that this event came with, if it did. */
  reply: (_: unknown, _params: { readonly data: unknown }): void => {},
}
