/**
 * The rules that make a chart durable, checked when it is defined and not when it first runs:
 * 1. Every invoke has an explicit id. XState's default holds the path of the state, and would become a durable key.
 * 2. Every delay has a name, and a name is used by one state only: a timer is kept under the delay's name.
 * 3. The custom actions are those of `vocabulary.ts`; everything else is XState's own (assign, raise, cancel, …).
 */
import type { AnyStateMachine, AnyStateNode } from 'xstate'
import { RuntimeError } from './errors.ts'
import { vocabulary } from './vocabulary.ts'

const AFTER = /^xstate\.after\.([^.]+)\./

/** The delay's name and the event that XState raises when it is over, for every `after` of the chart. */
export function afterEvents(machine: AnyStateMachine): Map<string, string> {
  const events = new Map<string, string>()
  for (const node of nodesOf(machine.root)) {
    for (const { eventType, delay } of node.after) events.set(String(delay), eventType)
  }
  return events
}

/** The delay's name behind the event (or timer id) of an `after`; null for any other. Names have no dots (rule 2). */
export function delayNameOf(eventType: string): string | null {
  return AFTER.exec(eventType)?.[1] ?? null
}

export function checkChart(kind: string, machine: AnyStateMachine): void {
  const faults: string[] = []
  const delays = new Map<string, string>()
  for (const node of nodesOf(machine.root)) {
    for (const { id, src } of node.invoke) {
      if (/^\d+\./.test(id)) faults.push(`state "${node.id}": an invoke has no id`)
      const named = typeof src === 'string' && !src.startsWith('xstate.invoke.')
      if (!named) faults.push(`state "${node.id}": the source of invoke "${id}" has no name in setup({ actors })`)
    }
    for (const { delay } of node.after) {
      const name = String(delay)
      if (typeof delay !== 'string' || !(name in machine.implementations.delays)) {
        faults.push(`state "${node.id}": delay "${name}" has no name in setup({ delays })`)
      }
      if (name.includes('.')) faults.push(`state "${node.id}": delay "${name}" has a dot in its name`)
      const other = delays.get(name)
      if (other !== undefined && other !== node.id)
        faults.push(`delay "${name}" is used by "${other}" and by "${node.id}"`)
      delays.set(name, node.id)
    }
  }
  for (const [name, action] of Object.entries(machine.implementations.actions)) {
    const builtIn = typeof action === 'function' && 'resolve' in action
    if (!builtIn && !(name in vocabulary)) faults.push(`action "${name}" is not one that a durable chart may use`)
  }
  if (faults.length > 0) {
    throw new RuntimeError('chart.invalid', `The chart of "${kind}" cannot be durable: ${faults.join('; ')}`, {
      remedy: 'fix-request',
      data: { kind, faults },
    })
  }
}

function* nodesOf(node: AnyStateNode): Generator<AnyStateNode> {
  yield node
  for (const child of Object.values(node.states)) yield* nodesOf(child)
}
