/**
 * One event through a compiled chart: XState's macrostep, over tables instead of state nodes. A chart without active
 * parallel states is in exactly one leaf, so a transition from a leaf is one list of acts, known beforehand: the exits
 * from the inside out, the transition's own actions, the entries from the outside in.
 *
 * Invariants:
 * 1. A run changes nothing but itself and its new operations: it can be given up at any time, and XState asked instead.
 * 2. `isMoved` is true exactly when XState would have made another snapshot object in this microstep. XState decides by
 *    that identity whether to look at `always` once more, and the runtime whether there is anything to write.
 */
import { createEmptyActor } from 'xstate'
import type { AnyEventObject } from 'xstate'
import { NO_OPS } from '../op.ts'
import type { Op } from '../op.ts'
import type { Json } from '../json.ts'
import type { ChartState } from '../record.ts'
import type { Effects, Snapshot, Stepped } from '../snapshot.ts'

export type Context = Readonly<Record<string, unknown>>

/** Something a chart does in a transition. */
export type Act = (run: Run) => void
/** Passes when what it returns is truthy. */
export type Guard = (run: Run) => unknown

/** A transition from one leaf. */
export interface Candidate {
  readonly guard: Guard | null
  /** Null where only XState knows what this transition does. */
  readonly acts: readonly Act[] | null
  /** Null for a transition that only acts. */
  readonly target: Leaf | null
}

/** A transition under a wildcard; `prefix` is what stands before `.*`, null for the plain `*`. */
export interface WildCandidates {
  readonly prefix: string | null
  readonly candidates: readonly Candidate[]
}

/** An atomic or final state with no parallel state above it: while it is active, it says all about where a chart is. */
export interface Leaf {
  readonly value: Json
  /** The ids of the active states, for guards that ask. */
  readonly ids: ReadonlySet<string>
  /** A final state of the whole chart. */
  readonly isDone: boolean
  /** By event type: the candidates of the leaf, of its parent, and so on, in the order in which XState asks them. */
  readonly on: ReadonlyMap<string, readonly Candidate[]>
  /** For the event types that `on` does not have. */
  readonly wild: readonly WildCandidates[]
  readonly always: readonly Candidate[]
  readonly iterationsMax: number
}

/** Whether a wildcard with this prefix matches the event type. */
export function isUnder(prefix: string | null, type: string): boolean {
  return prefix === null || type === prefix || type.startsWith(`${prefix}.`)
}

/** Thrown where a chart does something that only XState knows; never leaves the runtime. */
export const BAIL = new Error('XState must be asked')

export function bail(): never {
  throw BAIL
}

/** XState hands the actor itself to some functions; in a durable chart it is inert. */
const inert = createEmptyActor()

export interface Args {
  readonly context: Context
  readonly event: AnyEventObject
}

export interface ActionArgs extends Args {
  readonly self: unknown
  readonly system: unknown
}

export class Run {
  leaf: Leaf
  event: AnyEventObject
  effects: Effects
  ops: Op[] | null = null
  queue: AnyEventObject[] | null = null
  status: ChartState['status'] = 'active'
  output: unknown
  isMoved = false
  isChanged = false
  isBailed = false
  /** The chart has a transition for the event. */
  isHandled = false
  #context: Context
  #args: Args | null = null

  constructor(leaf: Leaf, context: Context, event: AnyEventObject, effects: Effects, output: unknown) {
    this.leaf = leaf
    this.#context = context
    this.event = event
    this.effects = effects
    this.output = output
  }

  get context(): Context {
    return this.#context
  }

  set context(context: Context) {
    this.#context = context
    this.#args = null
    this.isMoved = true
  }

  /** What guards and the functions of params are given. */
  get args(): Args {
    return (this.#args ??= { context: this.#context, event: this.event })
  }

  /** What XState's own actions are given. */
  get actionArgs(): ActionArgs {
    return { context: this.#context, event: this.event, self: inert, system: inert.system }
  }

  /** What an assigner is given. An actor spawned by an assigner is no effect of the runtime's. */
  get assignArgs(): ActionArgs & { readonly spawn: () => never } {
    const spawn = (): never => {
      this.isBailed = true // in case the assigner catches it
      return bail()
    }
    return { context: this.#context, event: this.event, spawn, self: inert, system: inert.system }
  }

  add(op: Op): void {
    if (this.ops === null) this.ops = [op]
    else this.ops.push(op)
  }

  raise(event: AnyEventObject): void {
    if (this.queue === null) this.queue = [event]
    else this.queue.push(event)
  }

  startEffect(id: string): void {
    this.effects = { ...this.effects, [id]: true }
    this.isMoved = true
  }

  /** Returns whether there was such an effect. */
  stopEffect(id: string): boolean {
    this.isMoved = true
    if (!Object.hasOwn(this.effects, id)) return false
    const { [id]: _stopped, ...others } = this.effects
    this.effects = others
    return true
  }

  finish(output: unknown): void {
    this.status = 'done'
    this.output = output
    this.isMoved = true
  }

  /** Takes the event, and all that follows from it at once. */
  take(): void {
    const candidate = this.#select()
    // An effect's error that nobody takes ends a chart in XState.
    if (candidate === null && this.event.type.startsWith('xstate.error.actor')) bail()
    this.isHandled = candidate !== null
    if (candidate !== null) this.micro(candidate)
    this.settle()
  }

  /** One microstep. */
  micro({ acts, target }: Candidate): void {
    if (acts === null) return bail()
    this.isMoved = false
    for (const act of acts) act(this)
    if (target !== null && target !== this.leaf) {
      this.leaf = target
      this.isMoved = true
    }
    if (this.isMoved) this.isChanged = true
  }

  /** Takes what is enabled without an event, and what was raised, until the chart rests or ends. */
  settle(): void {
    let mayBeEventless = true
    for (let iterations = 1; this.status === 'active'; iterations++) {
      if (iterations > this.leaf.iterationsMax) bail() // XState says it in its own words
      const eventless = mayBeEventless && this.leaf.always.length > 0 ? this.#firstOf(this.leaf.always) : null
      if (eventless !== null) {
        this.micro(eventless)
        mayBeEventless = this.isMoved
        continue
      }
      if (this.queue === null || this.queue.length === 0) break
      this.event = this.queue.shift() as AnyEventObject // not empty
      this.#args = null
      mayBeEventless = true
      const candidate = this.#select()
      if (candidate !== null) this.micro(candidate)
    }
    if (this.status === 'done') {
      for (const id of Object.keys(this.effects)) this.add({ op: 'stop', id })
    }
    if (this.isBailed) bail()
  }

  stepped(before: Snapshot | null, history: Json | undefined): Stepped {
    const ops = this.ops ?? NO_OPS
    if (before !== null && !this.isChanged) return { snapshot: before, ops, handled: this.isHandled || ops.length > 0 }
    const state: ChartState = {
      value: this.leaf.value,
      context: this.#context as Json, // that a context is JSON is the chart's duty
      status: this.status,
      ...(history !== undefined && { history }),
      ...(this.output !== undefined && { output: this.output as Json }), // likewise
    }
    return { snapshot: { state, effects: this.effects, leaf: this.leaf, xstate: null }, ops, handled: true }
  }

  #select(): Candidate | null {
    const { type } = this.event
    const exact = this.leaf.on.get(type)
    if (exact !== undefined) return this.#firstOf(exact)
    for (const { prefix, candidates } of this.leaf.wild) {
      if (!isUnder(prefix, type)) continue
      const candidate = this.#firstOf(candidates)
      if (candidate !== null) return candidate
    }
    return null
  }

  #firstOf(candidates: readonly Candidate[]): Candidate | null {
    for (const candidate of candidates) {
      if (candidate.guard === null || candidate.guard(this)) return candidate
    }
    return null
  }
}
