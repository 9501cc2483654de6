/**
 * Guards, compiled: named, inline or with params, joined by `and`, `or`, `not`, and `stateIn`. A guard that is none of
 * these becomes one that gives up, so that only the transitions behind it need XState.
 */
import { matchesState } from 'xstate'
import type { AnyStateMachine } from 'xstate'
import { bail } from './run.ts'
import type { Args, Guard } from './run.ts'

/** XState's `and`, `or`, `not` and `stateIn` are functions that carry their operands and are told apart by their name. */
interface Combined {
  readonly name: string
  readonly guards?: readonly unknown[]
  readonly stateValue?: string | Record<string, never>
}

type Predicate = (args: Args, params: unknown) => unknown

/** Aliases of aliases end somewhere. */
const DEPTH_MAX = 16

export function compileGuard(machine: AnyStateMachine, guard: unknown, depth = 0): Guard {
  if (depth > DEPTH_MAX) return bail
  if (typeof guard === 'function') return compileFunction(machine, guard as Predicate, undefined, depth)
  const name = nameOf(guard)
  if (name === null) return bail
  const found = (machine.implementations.guards as Record<string, unknown>)[name]
  if (typeof found !== 'function') {
    return found === undefined || found === null ? bail : compileGuard(machine, found, depth + 1)
  }
  return compileFunction(machine, found as Predicate, paramsIn(guard), depth)
}

function compileFunction(machine: AnyStateMachine, guard: Predicate, params: Params, depth: number): Guard {
  if ('check' in guard) return compileCombined(machine, guard as unknown as Combined, depth)
  if (params === undefined) return (run) => guard(run.args, undefined)
  return (run) => guard(run.args, params(run.args))
}

type Params = ((args: Args) => unknown) | undefined

function compileCombined(machine: AnyStateMachine, combined: Combined, depth: number): Guard {
  const parts = (combined.guards ?? []).map((guard) => compileGuard(machine, guard, depth + 1))
  switch (combined.name) {
    case 'and':
      return (run) => parts.every((part) => part(run))
    case 'or':
      return (run) => parts.some((part) => part(run))
    case 'not': {
      const [part = bail] = parts
      return (run) => !part(run)
    }
    case 'stateIn':
      return compileStateIn(machine, combined.stateValue)
    default:
      return bail
  }
}

function compileStateIn(machine: AnyStateMachine, stateValue: Combined['stateValue']): Guard {
  if (stateValue === undefined) return bail
  if (typeof stateValue === 'string' && stateValue.startsWith('#')) {
    return (run) => run.leaf.ids.has(machine.getStateNodeById(stateValue).id)
  }
  return (run) => matchesState(stateValue, run.leaf.value as string)
}

function nameOf(guard: unknown): string | null {
  if (typeof guard === 'string') return guard
  if (typeof guard !== 'object' || guard === null || !('type' in guard)) return null
  return typeof guard.type === 'string' ? guard.type : null
}

function paramsIn(guard: unknown): Params {
  if (typeof guard !== 'object' || guard === null || !('params' in guard)) return undefined
  const { params } = guard
  return typeof params === 'function' ? (params as (args: Args) => unknown) : () => params
}
