/**
 * Compiles a chart: a table for each state it can rest in, made once, so that most transitions never build an XState
 * snapshot. The table covers what has one active leaf: atomic, nested and final states, guards, assign, the vocabulary,
 * delays, raised events, invokes, `always`, wildcards, `enqueueActions`. Whatever is beyond it (parallel states, history,
 * actions of other kinds) stays with XState, transition by transition: a chart may be simple in one state and not in
 * another. tests/runtime/compile.test.ts holds both engines to the same snapshots, operations and errors.
 *
 * Invariants:
 * 1. XState is the meaning. Where a compiled step gives up or throws, for whatever reason, XState takes the event from
 *    the same snapshot instead, so that errors too are XState's. This asks of charts what they promise anyway: to be pure.
 * 2. A table depends on the chart alone; it may be used by all its actors at once.
 */
import type { AnyEventObject, AnyStateMachine } from 'xstate'
import { bail, Run } from './compiled/run.ts'
import type { Context, Leaf } from './compiled/run.ts'
import { buildTable } from './compiled/table.ts'
import type { Table } from './compiled/table.ts'
import type { ChartState } from './record.ts'
import type { Snapshot, Stepped } from './snapshot.ts'

/** The table of a chart, made when it is first asked for. */
export function tableOf(machine: AnyStateMachine): Table {
  let table = tables.get(machine)
  if (table === undefined) tables.set(machine, (table = buildTable(machine)))
  return table
}

const tables = new WeakMap<AnyStateMachine, Table>()

/** Throws what the chart throws, and `BAIL` where XState must be asked. */
export function compiledStart(machine: AnyStateMachine, input: unknown): Stepped {
  const { initial, origin } = tableOf(machine)
  const run = new Run(origin, {}, { type: 'xstate.init', input }, {}, undefined)
  run.context = initialContext(machine, run, input)
  run.micro(initial)
  run.settle()
  return run.stepped(null, undefined)
}

/** Likewise. The snapshot is that of an active actor. */
export function compiledStep(snapshot: Snapshot, event: AnyEventObject): Stepped {
  const { leaf, state, effects } = snapshot
  if (leaf === null || state.status !== 'active' || RESERVED.has(event.type)) return bail()
  const run = new Run(leaf, state.context as Context, event, effects, state.output)
  run.take()
  return run.stepped(snapshot, state.history)
}

/** Brings a frozen state back; null where only XState knows the state. */
export function compiledThaw(machine: AnyStateMachine, state: ChartState, effects: readonly string[]): Snapshot | null {
  const leaf = tableOf(machine).leafOf(state.value)
  if (leaf === null) return null
  const isPlain = state.status === 'active' && !leaf.isDone && state.error === undefined && state.context !== null
  const under: Record<string, true> = {}
  for (const id of effects) under[id] = true
  return { state: isPlain ? state : completed(state, leaf), effects: under, leaf, xstate: null }
}

/** Events by which XState starts and stops a chart, whatever the chart says. */
const RESERVED: ReadonlySet<string> = new Set(['xstate.init', 'xstate.stop'])

/** As XState resolves a state: done where the chart rests in a final state, and never an error. */
function completed({ error: _error, ...state }: ChartState, leaf: Leaf): ChartState {
  const status = leaf.isDone || state.status === 'done' ? 'done' : 'active'
  return { ...state, context: state.context ?? {}, status }
}

function initialContext(machine: AnyStateMachine, run: Run, input: unknown): Context {
  const { context } = machine.config as { context?: Context | ((args: object) => Context) }
  if (typeof context !== 'function') return context ?? {}
  const { self, spawn } = run.assignArgs
  return { ...context({ spawn, input, self }) }
}
