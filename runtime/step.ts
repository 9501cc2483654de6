/**
 * The step: one event through one chart, as pure data. This file alone knows how XState names its actions: it turns
 * what `transition()` returns into operations of the runtime, so another chart engine would replace this file and
 * nothing else. It reads no clock, does no I/O and holds no state.
 */
import { createEmptyActor } from 'xstate'
import type { AnyActorScope, AnyEventObject, AnyMachineSnapshot, AnyStateMachine, ExecutableActionObject } from 'xstate'
import type { ActorDefinition } from './actor.ts'
import { afterEvents, delayNameOf } from './chart.ts'
import { RuntimeError } from './errors.ts'
import type { Fault } from './errors.ts'
import type { Json } from './json.ts'
import type { ChartState } from './record.ts'
import type { Spawn, Tell } from './vocabulary.ts'

/** What a transition wants done, in order. */
export type Op =
  | { readonly op: 'tell'; readonly to: string; readonly event: { readonly type: string }; readonly control: boolean }
  | { readonly op: 'spawn'; readonly to: string; readonly input: unknown }
  | { readonly op: 'reply'; readonly data: unknown }
  | { readonly op: 'start'; readonly id: string; readonly src: string; readonly input: unknown }
  | { readonly op: 'stop'; readonly id: string }
  /** `event` is absent for an `after`. */
  | { readonly op: 'wait'; readonly name: string; readonly delayMs: number; readonly event?: AnyEventObject }
  | { readonly op: 'cancel'; readonly name: string }

export interface Stepped {
  readonly snapshot: AnyMachineSnapshot
  readonly ops: readonly Op[]
  /** False when the chart has no transition for the event in this state. */
  readonly handled: boolean
}

export function start(definition: ActorDefinition, input: unknown): Stepped {
  const taken: ExecutableActionObject[] = []
  const snapshot: AnyMachineSnapshot = definition.machine.getInitialSnapshot(scopeFor(taken), input)
  return { snapshot: settled(definition, snapshot), ops: opsOf(definition, taken), handled: true }
}

/** Throws what the chart throws, or `transition.failed` when the chart ended in XState's error status. */
export function step(definition: ActorDefinition, snapshot: AnyMachineSnapshot, event: AnyEventObject): Stepped {
  const taken: ExecutableActionObject[] = []
  const next: AnyMachineSnapshot = definition.machine.transition(snapshot, event, scopeFor(taken))
  const ops = opsOf(definition, taken)
  // XState returns the very same snapshot when no transition was taken, and also when one only acted.
  return { snapshot: settled(definition, next), ops, handled: next !== snapshot || ops.length > 0 }
}

/**
 * XState's own `transition()` makes an actor for each call, and with it the machine's initial snapshot: most of its cost,
 * and a thrown error each time the context needs an input. One inert actor serves all: nothing in it is ever started.
 */
const inert = createEmptyActor()

function scopeFor(taken: ExecutableActionObject[]): AnyActorScope {
  return {
    self: inert,
    system: inert.system,
    id: '',
    sessionId: '',
    defer: () => {},
    logger: () => {},
    stopChild: () => {},
    emit: () => {},
    actionExecutor: (action) => taken.push(action),
  }
}

export const effectDone = (id: string, output: unknown): AnyEventObject => ({
  type: `xstate.done.actor.${id}`,
  output,
  actorId: id,
})

export const effectFailed = (id: string, error: Fault): AnyEventObject => ({
  type: `xstate.error.actor.${id}`,
  error,
  actorId: id,
})

/** The event of an `after` whose delay has this name; null when the chart has no such delay (any more). */
export function afterEvent(definition: ActorDefinition, name: string): AnyEventObject | null {
  let events = afterTables.get(definition.machine)
  if (events === undefined) {
    events = afterEvents(definition.machine)
    afterTables.set(definition.machine, events)
  }
  const type = events.get(name)
  return type === undefined ? null : { type }
}

const afterTables = new WeakMap<AnyStateMachine, Map<string, string>>()

/** The part of a snapshot that outlives the process. */
export function freeze(snapshot: AnyMachineSnapshot): ChartState {
  const { value, context, status, historyValue, output } = snapshot
  return {
    value: value as Json, // XState's state value is a string or nested records of strings
    context: context as Json, // that a context is JSON is the chart's duty
    status: status === 'done' ? 'done' : 'active',
    ...(Object.keys(historyValue).length > 0 && { history: frozenHistory(historyValue) }),
    ...(output !== undefined && { output: output as Json }),
  }
}

/** Brings a frozen state back. `effects` are the ids under way, so that the chart can stop them. */
export function thaw(definition: ActorDefinition, state: ChartState, effects: readonly string[]): AnyMachineSnapshot {
  const { machine } = definition
  const snapshot: AnyMachineSnapshot = machine.resolveState({
    value: state.value as string,
    context: state.context,
    status: state.status === 'done' ? 'done' : 'active',
    historyValue: thawedHistory(machine, state.history),
    output: state.output,
  })
  for (const id of effects) snapshot.children[id] = childStub(id)
  return snapshot
}

/** XState looks at a child's id alone when it stops one; the effect itself runs in `effects.ts`. */
function childStub(id: string): NonNullable<AnyMachineSnapshot['children'][string]> {
  return { id } as NonNullable<AnyMachineSnapshot['children'][string]>
}

function settled(definition: ActorDefinition, snapshot: AnyMachineSnapshot): AnyMachineSnapshot {
  if (snapshot.status === 'error') throw snapshot.error
  if (snapshot.machine !== definition.machine) throw new TypeError('a snapshot of another machine')
  return snapshot
}

function opsOf(definition: ActorDefinition, actions: readonly ExecutableActionObject[]): readonly Op[] {
  if (actions.length === 0) return NO_OPS
  const ops: Op[] = []
  for (const action of actions) addOps(ops, definition, action)
  return ops
}

const NO_OPS: readonly Op[] = []

function addOps(ops: Op[], definition: ActorDefinition, action: ExecutableActionObject): void {
  // XState types params by action name only for its own; the vocabulary's are typed where charts use them.
  const params = action.params as never
  switch (action.type) {
    case 'tell':
      for (const { to, event, control } of many<Tell>(params)) {
        ops.push({ op: 'tell', to, event, control: control === true })
      }
      return
    case 'spawn':
      for (const { to, input } of many<Spawn>(params)) ops.push({ op: 'spawn', to, input })
      return
    case 'reply':
      ops.push({ op: 'reply', data: (params as { data: unknown }).data })
      return
    case 'xstate.spawnChild': {
      // `params.id` may still be the function that the chart gave; the child knows what it came to.
      const { actorRef, src, input } = params as { actorRef: { id: string }; src: string; input: unknown }
      ops.push({ op: 'start', id: actorRef.id, src, input })
      return
    }
    case 'xstate.stopChild': {
      const child = params as { id: string } | undefined
      if (child !== undefined) ops.push({ op: 'stop', id: child.id })
      return
    }
    case 'xstate.raise': {
      const { event, id, delay } = params as { event: AnyEventObject; id?: string; delay?: number }
      if (delay === undefined) return // an undelayed raise has been taken within the macrostep
      if (id === undefined) throw unfit(definition, `a delayed raise of "${event.type}" without an id`)
      const after = delayNameOf(id)
      ops.push(
        after === null ? { op: 'wait', name: id, delayMs: delay, event } : { op: 'wait', name: after, delayMs: delay },
      )
      return
    }
    case 'xstate.cancel': {
      const { sendId } = params as { sendId: string }
      ops.push({ op: 'cancel', name: delayNameOf(sendId) ?? sendId })
      return
    }
    case 'xstate.emit':
    case 'xstate.log':
      return // told to nobody: the journal says what happened
    default:
      throw unfit(definition, `the action "${action.type}"`)
  }
}

function unfit(definition: ActorDefinition, what: string): RuntimeError {
  return new RuntimeError(
    'chart.invalid',
    `The chart of "${definition.kind}" uses ${what}, which cannot be made durable`,
    {
      remedy: 'fix-request',
      data: { kind: definition.kind, what },
    },
  )
}

function many<T>(value: T | readonly T[]): readonly T[] {
  return Array.isArray(value) ? value : [value as T] // Array.isArray does not narrow readonly arrays
}

/** History holds state nodes by their parent's id; their ids are what survives. */
function frozenHistory(history: AnyMachineSnapshot['historyValue']): Json {
  return Object.fromEntries(Object.entries(history).map(([parent, nodes]) => [parent, nodes.map((node) => node.id)]))
}

function thawedHistory(machine: AnyStateMachine, history: Json | undefined): AnyMachineSnapshot['historyValue'] {
  if (history === undefined || history === null) return {}
  const entries = Object.entries(history as Record<string, readonly string[]>) // written by frozenHistory
  return Object.fromEntries(entries.map(([parent, ids]) => [parent, ids.map((id) => machine.getStateNodeById(id))]))
}
