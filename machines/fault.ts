/**
 * A fault is an error as it travels in messages and snapshots; the same shape as the runtime's `Fault`, which charts
 * cannot import. Its remedy decides everything that follows: what the user must mend is never tried again.
 */
export interface Fault {
  readonly code: string
  readonly message: string
  readonly remedy: 'retry' | 'retry-elsewhere' | 'fix-request' | 'give-up'
  readonly data?: Readonly<Record<string, unknown>> | undefined
}

/** Whether the same work could end well at another time or place. */
export function isWorthRetrying(fault: Fault): boolean {
  return fault.remedy === 'retry' || fault.remedy === 'retry-elsewhere'
}

/** The fault of an effect's `onError`: the runtime puts a Fault there, XState types it as unknown. */
export function faultOfEvent(event: { readonly error: unknown }): Fault {
  return event.error as Fault // the runtime's promise (runtime/actor.ts, `Effect`)
}

/** The fault of a wait that took longer than its limit. */
export function timeoutFault(code: string, what: string, limitMs: number): Fault {
  return {
    code,
    message: `${what} took longer than ${Math.round(limitMs / 1000)} s`,
    remedy: 'give-up',
    data: { limitMs },
  }
}
