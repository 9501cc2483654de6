/**
 * Which states a transition leaves and enters, computed on XState's state nodes as XState computes it (after SCXML), for
 * the case of one target and one active leaf. Null wherever parallel states, history or several targets come in.
 */
import type { AnyStateMachine, AnyStateNode } from 'xstate'

/** A transition as XState formats it. */
export interface Transition {
  readonly source: AnyStateNode
  readonly target?: readonly AnyStateNode[] | undefined
  readonly reenter: boolean
  readonly guard?: unknown
  readonly actions: readonly unknown[]
}

export interface Entry {
  readonly node: AnyStateNode
  /** Entered as a target or as an initial state, and not only on the way to one: its initial actions run. */
  readonly isDefault: boolean
}

export interface Route {
  /** From the inside out. */
  readonly exits: readonly AnyStateNode[]
  /** From the outside in. */
  readonly entries: readonly Entry[]
  /** Where the chart rests then; null when it does not move. */
  readonly leaf: AnyStateNode | null
}

/** The states in which a chart can rest with nothing beside them. */
export function leafNodesOf(machine: AnyStateMachine): AnyStateNode[] {
  return atomsOf(machine.root).filter((node) => pathOf(node).every(({ type }) => type !== 'parallel'))
}

/** All atomic and final states, those within parallel ones too. */
export function atomsOf(node: AnyStateNode): AnyStateNode[] {
  if (isAtom(node)) return [node]
  return Object.values(node.states as Record<string, AnyStateNode>).flatMap(atomsOf)
}

/** From the root to the node, both included. */
export function pathOf(node: AnyStateNode): AnyStateNode[] {
  return node.parent === undefined ? [node] : [...pathOf(node.parent), node]
}

/** Where entering a state ends, and through which states below it. */
export function initialRoute(root: AnyStateNode): Route | null {
  const below = descent(root)
  return below && { exits: [], entries: [{ node: root, isDefault: true }, ...below.entries], leaf: below.leaf }
}

export function routeOf(from: AnyStateNode, { source, target: targets, reenter }: Transition): Route | null {
  const [target, ...others] = targets ?? []
  if (target === undefined) return { exits: [], entries: [], leaf: null }
  if (others.length > 0 || target.type === 'history') return null
  const domain = domainOf(source, target, reenter)
  const exits = pathOf(from).filter((node) => isBelow(node, domain))
  if (exits.some(remembers)) return null
  const between = pathOf(target).filter((node) => node !== target && isBelow(node, domain))
  const below = descent(target)
  if (below === null || between.some(({ type }) => type === 'parallel')) return null
  const isEntered = source !== target || source !== domain || reenter
  return {
    exits: exits.toReversed(),
    entries: [
      ...between.map((node) => ({ node, isDefault: false })),
      ...(isEntered ? [{ node: target, isDefault: true }] : []),
      ...below.entries,
    ],
    leaf: below.leaf,
  }
}

/** The state within which a transition takes place; null when it leaves and enters even the root. */
function domainOf(source: AnyStateNode, target: AnyStateNode, reenter: boolean): AnyStateNode | null {
  if (!reenter && (target === source || isBelow(target, source))) return source
  const common = pathOf(target).findLast((node) => node !== target && isBelow(source, node))
  if (common !== undefined) return common
  return reenter ? null : (pathOf(source)[0] ?? null)
}

function descent(node: AnyStateNode): { entries: Entry[]; leaf: AnyStateNode } | null {
  if (isAtom(node)) return { entries: [], leaf: node }
  const initial = node.type === 'compound' ? node.initial.target[0] : undefined
  if (initial === undefined || initial.type === 'history') return null
  const below = descent(initial)
  return below && { entries: [{ node: initial, isDefault: true }, ...below.entries], leaf: below.leaf }
}

function isAtom({ type }: AnyStateNode): boolean {
  return type === 'atomic' || type === 'final'
}

/** A proper descendant; everything is below null. */
function isBelow(node: AnyStateNode, ancestor: AnyStateNode | null): boolean {
  return ancestor === null || (node !== ancestor && pathOf(node).includes(ancestor))
}

/** Leaving such a state is written into the history. */
function remembers(node: AnyStateNode): boolean {
  return Object.values(node.states as Record<string, AnyStateNode>).some(({ type }) => type === 'history')
}
