/**
 * Builds a chart's table from XState's state nodes: a leaf for each state it can rest in, and for each event type the
 * candidates of the leaf, of its parent and so on, each with its acts in order.
 */
import type { AnyEventObject, AnyStateMachine, AnyStateNode } from 'xstate'
import type { Json } from '../json.ts'
import { compileActions, startAct, stopAct } from './acts.ts'
import { compileGuard } from './guards.ts'
import { atomsOf, initialRoute, leafNodesOf, pathOf, routeOf } from './routes.ts'
import type { Entry, Route, Transition } from './routes.ts'
import { bail, isUnder } from './run.ts'
import type { Act, Candidate, Leaf, Run, WildCandidates } from './run.ts'

export interface Table {
  /** Null where only XState knows the state. */
  readonly leafOf: (value: unknown) => Leaf | null
  /** Into the initial state. Its acts are null where only XState knows the way. */
  readonly initial: Candidate
  /** What is before the initial state: nothing is active but the root. */
  readonly origin: Leaf
  /** How many transitions there are, counted from each state that the chart can rest in. */
  readonly coverage: { readonly transitions: number; readonly compiled: number }
}

export function buildTable(machine: AnyStateMachine): Table {
  return new Builder(machine).table()
}

/** A leaf while it is built: leaves point at each other. */
interface LeafDraft extends Leaf {
  on: Map<string, readonly Candidate[]>
  wild: WildCandidates[]
  always: readonly Candidate[]
}

class Builder {
  readonly #machine: AnyStateMachine
  readonly #leaves = new Map<AnyStateNode, LeafDraft>()
  #transitions = 0
  #compiled = 0

  constructor(machine: AnyStateMachine) {
    this.#machine = machine
    for (const node of leafNodesOf(machine)) this.#leaves.set(node, this.#draft(pathOf(node)))
  }

  table(): Table {
    const { root } = this.#machine
    for (const [node, leaf] of this.#leaves) this.#fill(node, leaf)
    for (const node of atomsOf(root)) if (!this.#leaves.has(node)) this.#countUncompiled(node)
    const route = initialRoute(root)
    const initial = route === null ? UNKNOWN : this.#candidate([], route)
    return {
      leafOf: (value) => {
        const node = nodeAt(root, value)
        return (node && this.#leaves.get(node)) ?? null
      },
      initial,
      origin: { ...this.#draft([root]), value: initial.target?.value ?? {} },
      coverage: { transitions: this.#transitions, compiled: this.#compiled },
    }
  }

  #draft(path: readonly AnyStateNode[]): LeafDraft {
    return {
      value: valueOf(path.slice(1).map(({ key }) => key)),
      ids: new Set(path.map(({ id }) => id)),
      isDone: path.length === 2 && path[1]?.type === 'final',
      on: new Map(),
      wild: [],
      always: [],
      iterationsMax: this.#machine.options.maxIterations ?? Infinity,
    }
  }

  #fill(node: AnyStateNode, leaf: LeafDraft): void {
    const fromInside = pathOf(node).toReversed()
    const made = new Map<Transition, Candidate>()
    const candidateOf = (transition: Transition): Candidate => {
      let candidate = made.get(transition)
      if (candidate === undefined) made.set(transition, (candidate = this.#transition(node, transition)))
      return candidate
    }
    const types = new Set(fromInside.flatMap(({ transitions }) => [...transitions.keys()]))
    for (const type of types) {
      leaf.on.set(type, fromInside.flatMap((each) => transitionsFor(each, type)).map(candidateOf))
    }
    for (const each of fromInside) {
      for (const descriptor of wildcardsIn(each.transitions.keys())) {
        const candidates = (each.transitions.get(descriptor) ?? []).map(candidateOf)
        leaf.wild.push({ prefix: prefixOf(descriptor), candidates })
      }
    }
    leaf.always = fromInside.flatMap(({ always }) => (always ?? []) as readonly Transition[]).map(candidateOf)
    this.#transitions += made.size
    for (const { acts, guard } of made.values()) if (acts !== null && guard !== bail) this.#compiled++
  }

  #countUncompiled(node: AnyStateNode): void {
    for (const { transitions, always } of pathOf(node)) {
      this.#transitions += [...transitions.values()].flat().length + (always ?? []).length
    }
  }

  #transition(from: AnyStateNode, transition: Transition): Candidate {
    const guard = transition.guard === undefined ? null : compileGuard(this.#machine, transition.guard)
    const route = routeOf(from, transition)
    if (route === null) return { ...UNKNOWN, guard }
    return { ...this.#candidate(transition.actions, route), guard }
  }

  #candidate(actions: readonly unknown[], route: Route): Candidate {
    const target = route.leaf === null ? null : (this.#leaves.get(route.leaf) ?? null)
    if (route.leaf !== null && target === null) return UNKNOWN
    const acts = joined([
      ...route.exits.flatMap((node) => [compileActions(this.#machine, node.exit), stopsOf(node)]),
      compileActions(this.#machine, actions),
      ...route.entries.flatMap((entry) => [this.#entered(entry), this.#ended(entry.node)]),
    ])
    return { guard: null, acts, target }
  }

  #entered({ node, isDefault }: Entry): readonly Act[] | null {
    return joined([
      compileActions(this.#machine, node.entry),
      ...node.invoke.map((invoke) => asList(startAct(this.#machine, invoke))),
      isDefault ? compileActions(this.#machine, node.initial.actions) : [],
    ])
  }

  /** Entering a final state ends its parent, or, below the root, the whole chart, which then leaves all its states. */
  #ended(node: AnyStateNode): readonly Act[] | null {
    const { type, id, output, parent } = node
    if (type !== 'final') return []
    if (parent === undefined) return null
    const doneType = `xstate.done.state.${parent.id}`
    const raise: Act = (run) => run.raise({ type: doneType, output: outputOf(output, run, run.event) })
    if (parent.parent !== undefined) return [raise]
    const all = parent.output
    const finish: Act = (run) => {
      if (all === undefined) return run.finish(undefined)
      const event = { type: `xstate.done.state.${id}`, output: outputOf(output, run, run.event) }
      run.finish(outputOf(all, run, event))
    }
    return joined([[raise, finish], ...[node, parent].map((each) => compileActions(this.#machine, each.exit))])
  }
}

const UNKNOWN: Candidate = { guard: null, acts: null, target: null }

/** Null when a part is. */
function joined(parts: readonly (readonly Act[] | null)[]): readonly Act[] | null {
  return parts.every((part) => part !== null) ? parts.flat() : null
}

function asList(act: Act | null): readonly Act[] | null {
  return act && [act]
}

function stopsOf(node: AnyStateNode): readonly Act[] {
  return node.invoke.map(({ id }) => stopAct(id))
}

function outputOf(output: unknown, run: Run, event: AnyEventObject): unknown {
  if (typeof output !== 'function') return output
  const { context, self } = run.actionArgs
  return output({ context, event, self })
}

/** What a state has for an event: under its very type, then under the wildcards that match it, the longest first. */
function transitionsFor({ transitions }: AnyStateNode, type: string): readonly Transition[] {
  const wildcards = wildcardsIn(transitions.keys()).filter((each) => each !== type && isUnder(prefixOf(each), type))
  return [type, ...wildcards].flatMap((each) => transitions.get(each) ?? [])
}

function wildcardsIn(descriptors: Iterable<string>): string[] {
  return [...descriptors].filter(isWildcard).sort((a, b) => b.length - a.length)
}

/** A star stands alone or last, after a dot; XState matches nothing by any other. */
function isWildcard(descriptor: string): boolean {
  return descriptor === '*' || (descriptor.endsWith('.*') && !descriptor.slice(0, -2).split('.').includes('*'))
}

function prefixOf(wildcard: string): string | null {
  return wildcard === '*' ? null : wildcard.slice(0, -2)
}

/** A state's value: the key of the leaf, within the keys of the states around it. */
function valueOf(keys: readonly string[]): Json {
  const [key, ...below] = keys
  if (key === undefined) return Object.freeze({})
  return below.length === 0 ? key : Object.freeze({ [key]: valueOf(below) })
}

function nodeAt(root: AnyStateNode, value: unknown): AnyStateNode | undefined {
  if (typeof value === 'string') return childOf(root, value)
  if (typeof value !== 'object' || value === null) return undefined
  const [key, ...others] = Object.keys(value)
  if (key === undefined) return root.parent === undefined ? root : undefined
  const child = others.length === 0 ? childOf(root, key) : undefined
  return child && nodeAt(child, (value as Record<string, unknown>)[key])
}

function childOf(node: AnyStateNode, key: string): AnyStateNode | undefined {
  return Object.hasOwn(node.states, key) ? (node.states[key] as AnyStateNode) : undefined
}
