/**
 * What a transition wants done, as data: the only things that may leave a chart. Both engines speak it (`interpret.ts`,
 * which asks XState, and `compile.ts`, which asks a table), `step.ts` hands it on, and `plan.ts` makes it durable.
 */
import type { AnyEventObject } from 'xstate'

export type Op =
  | { readonly op: 'tell'; readonly to: string; readonly event: { readonly type: string }; readonly control: boolean }
  | { readonly op: 'spawn'; readonly to: string; readonly input: unknown }
  | { readonly op: 'reply'; readonly data: unknown }
  | { readonly op: 'start'; readonly id: string; readonly src: string; readonly input: unknown }
  | { readonly op: 'stop'; readonly id: string }
  /** `event` is absent for an `after`. */
  | { readonly op: 'wait'; readonly name: string; readonly delayMs: number; readonly event?: AnyEventObject }
  | { readonly op: 'cancel'; readonly name: string }

export const NO_OPS: readonly Op[] = []

/** A param of `tell` or `spawn` is one word or a list of them. */
export function many<T>(value: T | readonly T[]): readonly T[] {
  return Array.isArray(value) ? value : [value as T] // Array.isArray does not narrow readonly arrays
}
