/**
 * Takes one chart through the same happenings twice, by the compiled table (with XState behind it) and by XState alone,
 * and compares what comes of each: the state byte for byte, the operations in their order, whether the event was handled
 * and the snapshot is the very same, the effects under way, or the error.
 */
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { expect } from 'vitest'
import type { AnyEventObject, AnyStateMachine } from 'xstate'
import { POLICY_DEFAULT } from '../../runtime/actor.ts'
import type { ActorDefinition } from '../../runtime/actor.ts'
import { afterEvents } from '../../runtime/chart.ts'
import { compiledStart, compiledStep } from '../../runtime/compile.ts'
import { BAIL } from '../../runtime/compiled/run.ts'
import { interpretStart, interpretStep, interpretThaw } from '../../runtime/interpret.ts'
import { effectDone, effectFailed, freeze, start, step, thaw, withoutEffect } from '../../runtime/step.ts'
import type { Snapshot, Stepped } from '../../runtime/step.ts'

/** One engine's chart, and what became of it. */
interface Lane {
  readonly definition: ActorDefinition
  readonly step: (definition: ActorDefinition, snapshot: Snapshot, event: AnyEventObject) => Stepped
  readonly thaw: (definition: ActorDefinition, state: ReturnType<typeof freeze>, effects: string[]) => Snapshot
  snapshot: Snapshot
}

/** What a step came to, in comparable form. `text` holds the state to its very bytes, the order of its keys included. */
type Outcome =
  | {
      readonly text: string
      readonly ops: Stepped['ops']
      readonly handled: boolean
      readonly isSame: boolean
      readonly effects: string[]
    }
  | { readonly thrown: string }

/** How many steps the table took by itself, and how many it left to XState. */
export interface Tally {
  compiled: number
  left: number
}

/** What happens to a chart; an index chooses among the timers that wait, or the effects under way. */
export type Happening =
  | { readonly kind: 'event'; readonly event: AnyEventObject | ((context: unknown) => AnyEventObject) }
  | { readonly kind: 'timer' | 'fault'; readonly index: number }
  | { readonly kind: 'result'; readonly index: number; readonly output: unknown }

/** A thing that happens, and before it, perhaps, a crash of either engine's process. */
export type Script = readonly { readonly happening: Happening; readonly crashes: readonly [boolean, boolean] }[]

export const scriptOf = (happening: fc.Arbitrary<Happening>, lengthMax = 16): fc.Arbitrary<Script> =>
  fc.array(fc.record({ happening, crashes: fc.tuple(fc.boolean(), fc.boolean()) }), {
    minLength: 3,
    maxLength: lengthMax,
    size: 'max',
  })

export const timer = fc.record({ kind: fc.constant('timer' as const), index: fc.nat(3) })
export const fault = fc.record({ kind: fc.constant('fault' as const), index: fc.nat(3) })
export const resultOf = (output: fc.Arbitrary<unknown>): fc.Arbitrary<Happening> =>
  fc.record({ kind: fc.constant('result' as const), index: fc.nat(3), output })

/** Throws where the engines differ. */
export function agree(machine: AnyStateMachine, input: unknown, script: Script, tally: Tally): void {
  const definition = definitionOf(machine)
  const first = [attempt(() => start(definition, input)), attempt(() => interpretStart(definition, input))] as const
  same(first, null)
  blame(() => compiledStart(machine, input), first[1].thrown, tally)
  const [{ stepped: compiled }, { stepped: interpreted }] = first
  if (compiled === null || interpreted === null) return
  const lanes: [Lane, Lane] = [
    { definition, step, thaw, snapshot: compiled.snapshot },
    { definition, step: interpretStep, thaw: interpretThaw, snapshot: interpreted.snapshot },
  ]
  const timers = new Set<string>()
  note(timers, interpreted)
  for (const { happening, crashes } of script) {
    if (freeze(lanes[1].snapshot).status !== 'active') return
    const event = eventOf(happening, machine, lanes[1].snapshot, [...timers])
    for (const [i, lane] of lanes.entries()) {
      if (crashes[i] === true) lane.snapshot = revived(lane)
      if (happening.kind === 'result' || happening.kind === 'fault')
        lane.snapshot = withoutEffect(lane.snapshot, String(event['actorId']))
    }
    const raw = lanes[0].snapshot
    const tried = lanes.map((lane) => attempt(() => lane.step(definition, lane.snapshot, event), lane.snapshot))
    const [left, right] = tried as [Attempt, Attempt]
    same([left, right], event)
    blame(() => compiledStep(raw, event), right.thrown, tally)
    if (left.stepped !== null) lanes[0].snapshot = left.stepped.snapshot
    if (right.stepped !== null) lanes[1].snapshot = right.stepped.snapshot
    if (right.stepped !== null) note(timers, right.stepped)
  }
}

interface Attempt {
  readonly stepped: Stepped | null
  readonly thrown: unknown
  readonly outcome: Outcome
}

function attempt(take: () => Stepped, before?: Snapshot): Attempt {
  try {
    const stepped = take()
    const { snapshot, ops, handled } = stepped
    const outcome: Outcome = {
      text: JSON.stringify(freeze(snapshot)),
      ops,
      handled,
      isSame: snapshot === before,
      effects: Object.keys(snapshot.effects),
    }
    return { stepped, thrown: null, outcome }
  } catch (thrown) {
    return { stepped: null, thrown, outcome: { thrown: String(thrown) } }
  }
}

function same([compiled, interpreted]: readonly [Attempt, Attempt], event: AnyEventObject | null): void {
  if (isDeepStrictEqual(compiled.outcome, interpreted.outcome)) return
  expect({ event, ...compiled.outcome }).toEqual({ event, ...interpreted.outcome })
  throw new Error('unequal, though toEqual sees no difference')
}

/** The table alone may give up, but it may throw only where XState does. */
function blame(take: () => Stepped, thrown: unknown, tally: Tally): void {
  try {
    take()
    tally.compiled++
  } catch (error) {
    tally.left++
    if (error !== BAIL && thrown === null) throw error
  }
}

function revived({ definition, snapshot, thaw }: Lane): Snapshot {
  return thaw(definition, JSON.parse(JSON.stringify(freeze(snapshot))), Object.keys(snapshot.effects))
}

function note(timers: Set<string>, { ops }: Stepped): void {
  for (const op of ops) {
    if (op.op === 'wait') timers.add(op.name)
    if (op.op === 'cancel') timers.delete(op.name)
  }
}

function eventOf(
  happening: Happening,
  machine: AnyStateMachine,
  snapshot: Snapshot,
  timers: readonly string[],
): AnyEventObject {
  if (happening.kind === 'event') {
    const { event } = happening
    return typeof event === 'function' ? event(freeze(snapshot).context) : event
  }
  if (happening.kind === 'timer') {
    const name = timers[happening.index % timers.length] ?? 'late'
    return { type: afterEvents(machine).get(name) ?? name, from: name }
  }
  const effects = Object.keys(snapshot.effects)
  const id = effects[happening.index % effects.length] ?? 'shared'
  return happening.kind === 'result' ? effectDone(id, happening.output) : effectFailed(id, FAULT)
}

const FAULT = { code: 'effect.failed', message: 'failed', remedy: 'retry' } as const

export function definitionOf(machine: AnyStateMachine): ActorDefinition {
  return {
    kind: 'x',
    version: 1,
    pinned: false,
    indexed: true,
    machine,
    effects: {},
    policy: POLICY_DEFAULT,
    migrate: undefined,
  }
}
