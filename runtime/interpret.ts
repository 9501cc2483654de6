/**
 * A step by XState's own `transition`: the meaning of every chart, and the engine of those transitions that `compile.ts`
 * has no table for. It turns the actions that XState returns into operations. It reads no clock, does no I/O and holds
 * no state.
 */
import { createEmptyActor } from 'xstate'
import type {
  AnyActorScope,
  AnyEventObject,
  AnyMachineSnapshot,
  AnyStateMachine,
  AnyStateNode,
  ExecutableActionObject,
  StateValue,
} from 'xstate'
import type { ActorDefinition } from './actor.ts'
import { delayNameOf } from './chart.ts'
import { tableOf } from './compile.ts'
import { RuntimeError } from './errors.ts'
import type { Json } from './json.ts'
import { addWord, NO_OPS } from './op.ts'
import type { Op } from './op.ts'
import type { ChartState } from './record.ts'
import type { Effects, Snapshot, Stepped } from './snapshot.ts'

export function interpretStart(definition: ActorDefinition, input: unknown): Stepped {
  const taken: ExecutableActionObject[] = []
  const snapshot: AnyMachineSnapshot = definition.machine.getInitialSnapshot(scopeFor(taken), input)
  return { snapshot: fromXState(settled(definition, snapshot)), ops: opsOf(definition, taken), handled: true }
}

/** Throws what the chart throws, or the error with which the chart ended in XState's error status. */
export function interpretStep(definition: ActorDefinition, snapshot: Snapshot, event: AnyEventObject): Stepped {
  const taken: ExecutableActionObject[] = []
  const before = (snapshot.xstate ??= toXState(definition.machine, snapshot.state, snapshot.effects))
  const after: AnyMachineSnapshot = definition.machine.transition(before, event, scopeFor(taken))
  const ops = opsOf(definition, taken)
  // XState returns the very same snapshot when no transition was taken, and also when one only acted.
  const isSame = settled(definition, after) === before
  if (!isSame) return { snapshot: fromXState(after), ops, handled: true }
  return { snapshot, ops, handled: ops.length > 0 || definition.machine.getTransitionData(before, event).length > 0 }
}

/** Brings a frozen state back by way of XState, which completes a partial state value and refuses an unknown one. */
export function interpretThaw(definition: ActorDefinition, state: ChartState, effects: readonly string[]): Snapshot {
  return fromXState(toXState(definition.machine, state, Object.fromEntries(effects.map((id) => [id, true]))))
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

/**
 * XState's own snapshot is kept only where it says no more than its frozen form does. Under parallel states it remembers
 * the order in which they were entered and chooses among their transitions by it; then what an actor does next would
 * depend on whether its process died in between.
 */
function fromXState(snapshot: AnyMachineSnapshot): Snapshot {
  const { machine, value, context, status, historyValue, output } = snapshot
  const leaf = tableOf(machine).leafOf(value)
  return {
    state: {
      value: leaf?.value ?? inDocumentOrder(machine.root, value),
      context: context as Json, // that a context is JSON is the chart's duty
      status: status === 'done' ? 'done' : 'active',
      ...(Object.keys(historyValue).length > 0 && { history: frozenHistory(historyValue) }),
      ...(output !== undefined && { output: output as Json }),
    },
    effects: Object.fromEntries(Object.keys(snapshot.children).map((id) => [id, true])),
    leaf,
    // A stray `xstate.stop`, too, leaves a snapshot that only a crash would bring back to life.
    xstate: leaf === null || status === 'stopped' ? null : snapshot,
  }
}

function inDocumentOrder(node: AnyStateNode, value: StateValue): Json {
  if (typeof value === 'string') return value
  const keys = Object.keys(node.states).filter((key) => value[key] !== undefined)
  return Object.fromEntries(
    keys.map((key) => [key, inDocumentOrder(node.states[key] as AnyStateNode, value[key] as StateValue)]),
  )
}

function toXState(machine: AnyStateMachine, state: ChartState, effects: Effects): AnyMachineSnapshot {
  const snapshot: AnyMachineSnapshot = machine.resolveState({
    value: state.value as string,
    context: state.context,
    status: state.status === 'done' ? 'done' : 'active',
    historyValue: thawedHistory(machine, state.history),
    output: state.output,
  })
  for (const id of Object.keys(effects)) snapshot.children[id] = childStub(id)
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

function addOps(ops: Op[], definition: ActorDefinition, action: ExecutableActionObject): void {
  if (addWord(action.type, action.params, { add: (op) => ops.push(op) })) return
  const params = action.params as never // XState's own actions carry what their types do not tell
  switch (action.type) {
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

/** History holds state nodes by their parent's id; their ids are what survives. */
function frozenHistory(history: AnyMachineSnapshot['historyValue']): Json {
  return Object.fromEntries(Object.entries(history).map(([parent, nodes]) => [parent, nodes.map((node) => node.id)]))
}

function thawedHistory(machine: AnyStateMachine, history: Json | undefined): AnyMachineSnapshot['historyValue'] {
  if (history === undefined || history === null) return {}
  const entries = Object.entries(history as Record<string, readonly string[]>) // written by frozenHistory
  return Object.fromEntries(entries.map(([parent, ids]) => [parent, ids.map((id) => machine.getStateNodeById(id))]))
}
