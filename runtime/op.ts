/**
 * What a transition wants done, as data: the only things that may leave a chart. Both engines speak it (`interpret.ts`,
 * which asks XState, and `compile.ts`, which asks a table), `step.ts` hands it on, and `plan.ts` makes it durable.
 */
import type { AnyEventObject } from 'xstate'
import type { Schedule, Spawn, Tell, Unschedule, Watch } from './vocabulary.ts'

export type Op =
  | { readonly op: 'tell'; readonly to: string; readonly event: { readonly type: string }; readonly control: boolean }
  | { readonly op: 'spawn'; readonly to: string; readonly input: unknown }
  | { readonly op: 'watch' | 'unwatch'; readonly to: string }
  | ({ readonly op: 'schedule' } & Schedule)
  | ({ readonly op: 'unschedule' } & Unschedule)
  | { readonly op: 'reply'; readonly data: unknown }
  | { readonly op: 'start'; readonly id: string; readonly src: string; readonly input: unknown }
  | { readonly op: 'stop'; readonly id: string }
  /** `event` is absent for an `after`. */
  | { readonly op: 'wait'; readonly name: string; readonly delayMs: number; readonly event?: AnyEventObject }
  | { readonly op: 'cancel'; readonly name: string }

export const NO_OPS: readonly Op[] = []

/**
 * What a word of the vocabulary asks for, given its params: one thing or a list of them. False for a name that is none.
 * XState types params by action name only for its own actions; the vocabulary's are typed where charts use them.
 */
export function addWord(name: string, params: unknown, into: { add(op: Op): void }): boolean {
  switch (name) {
    case 'tell':
      for (const { to, event, control } of many(params as Tell | readonly Tell[])) {
        into.add({ op: 'tell', to, event, control: control === true })
      }
      return true
    case 'spawn':
      for (const { to, input } of many(params as Spawn | readonly Spawn[])) into.add({ op: 'spawn', to, input })
      return true
    case 'watch':
    case 'unwatch':
      for (const { to } of many(params as Watch | readonly Watch[])) into.add({ op: name, to })
      return true
    case 'schedule':
      for (const each of many(params as Schedule | readonly Schedule[])) into.add({ op: 'schedule', ...each })
      return true
    case 'unschedule':
      for (const each of many(params as Unschedule | readonly Unschedule[])) into.add({ op: 'unschedule', ...each })
      return true
    case 'reply':
      into.add({ op: 'reply', data: (params as { data: unknown }).data })
      return true
    default:
      return false
  }
}

/** A param is one or a list of them. */
function many<T>(value: T | readonly T[]): readonly T[] {
  return Array.isArray(value) ? value : [value as T] // Array.isArray does not narrow readonly arrays
}
