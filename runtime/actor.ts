/**
 * What an actor is to the runtime: a kind, a version, a chart, and the effects that the chart may invoke.
 *
 * The chart (an XState v5 machine) may only *tell*, *invoke* and *wait*. It tells with the named actions of
 * `vocabulary.ts`; it invokes effects by name, each with an explicit id; it waits with named delays. Everything leaves
 * XState's pure `transition()` as data, so that one commit can carry it, and so that a chart needs no Redis to be tested.
 */
import type { AnyStateMachine, EventFromLogic, InputFrom, OutputFrom, StateMachine } from 'xstate'
import type { ActorAddress } from './address.ts'
import { checkChart } from './chart.ts'
import { tableOf } from './compile.ts'
import type { ChartState } from './record.ts'

/** What an effect is given beside its input. */
export interface EffectContext {
  /** Aborted when the state that invoked the effect is left, when the process lost the actor, or stops. */
  readonly signal: AbortSignal
  /** The same at every attempt and on every owner: hand it to what must not happen twice. */
  readonly key: string
  readonly actor: ActorAddress
  /** 1 at the first try on this owner. */
  readonly attempt: number
  /** W3C traceparent of the transition that started the effect. */
  readonly trace: string | undefined
}

/**
 * Work outside the transition. It may run again after a crash, always under the same key.
 * What it returns comes back to the chart as `onDone`; what it throws as `onError`, a `Fault` at `event.error`: at once
 * when the error's remedy is `fix-request` or `give-up`, otherwise when the retries are used up.
 */
export type Effect<Input, Output> = (input: Input, context: EffectContext) => Promise<Output>

/** The actor sources that a machine's `setup({ actors })` provides: a union of `{src, logic, id}`. */
type ProvidedActors<M> =
  M extends StateMachine<
    infer _Context,
    infer _Event,
    infer _Children,
    infer Provided,
    infer _Action,
    infer _Guard,
    infer _Delay,
    infer _Value,
    infer _Tag,
    infer _Input,
    infer _Output,
    infer _Emitted,
    infer _Meta,
    infer _Schema,
    infer _TransitionMeta
  >
    ? Provided
    : never

/** One effect for each source that the machine names: none missing, none extra, each of the right type. */
export type EffectsOf<M> = {
  readonly [Src in ProvidedActors<M>['src']]: Effect<
    InputFrom<Extract<ProvidedActors<M>, { src: Src }>['logic']>,
    OutputFrom<Extract<ProvidedActors<M>, { src: Src }>['logic']>
  >
}

export interface RetryPolicy {
  readonly attempts: number
  readonly baseMs: number
  readonly maxMs: number
}

/** How often an actor may fail: OTP's restart intensity, for an actor that goes on instead of being restarted. */
export interface Intensity {
  /** Infinity for an actor that goes on whatever happens. */
  readonly failuresMax: number
  readonly periodMs: number
}

export interface Policy {
  /**
   * What follows when a transition throws. The message always goes to the dead letters and nothing of it is applied.
   * Then `resume` goes on with the next message. `stop` puts the actor into the error status, in which it takes nothing
   * more and stays readable for its retention. `escalate` stops it too, and who spawned it hears `child.failed {actor,
   * fault}`; a parent whose chart has no transition for that fails by its own policy.
   */
  readonly onError: 'resume' | 'stop' | 'escalate'
  /** More failures than this within the period make an `escalate` of `resume`. */
  readonly intensity: Intensity
  /** How long a finished actor stays readable before it leaves Redis. */
  readonly retentionMs: number
  readonly effectRetry: RetryPolicy
}

export const POLICY_DEFAULT: Policy = {
  onError: 'resume',
  intensity: { failuresMax: 10, periodMs: 10_000 },
  retentionMs: 24 * 3_600_000,
  effectRetry: { attempts: 4, baseMs: 200, maxMs: 10_000 },
}

/** A definition with its types erased: what the runtime's insides pass around. */
export interface ActorDefinition {
  readonly kind: string
  readonly version: number
  readonly pinned: boolean
  readonly indexed: boolean
  readonly machine: AnyStateMachine
  readonly effects: Readonly<Record<string, Effect<never, unknown>>>
  readonly policy: Policy
  readonly migrate: ((from: number, state: ChartState) => ChartState) | undefined
}

export interface ActorOptions<M extends AnyStateMachine> {
  readonly kind: string
  /** Raise it when the shape of the context or the names of states change, and bring `migrate`. */
  readonly version: number
  readonly machine: M
  readonly effects: EffectsOf<M>
  /** A pinned actor is a shard of its own, owned by the process that it stands for. */
  readonly pinned?: boolean
  /**
   * Whether `find` and `count` know its actors: true unless said otherwise. It costs Redis about a hundred bytes an actor, and a
   * little at each change of state; say false where actors are very many and nobody will look for them. It counts from an
   * actor's birth on, for good.
   */
  readonly indexed?: boolean
  readonly policy?: Partial<Policy>
  /**
   * Brings a state of an older version to this one. When it throws, the actor stands still and its messages are held
   * for an owner whose code can.
   */
  readonly migrate?: (from: number, state: ChartState) => ChartState
}

/** An actor's definition, typed by its machine. */
export interface Actor<M extends AnyStateMachine> extends ActorDefinition {
  readonly machine: M
}

/** Binds a chart to its effects. Throws `chart.invalid`, naming every rule of durability that the chart breaks. */
export function defineActor<M extends AnyStateMachine>(options: ActorOptions<M>): Actor<M> {
  checkChart(options.kind, options.machine)
  tableOf(options.machine) // compiled now, and not under the first message
  return {
    kind: options.kind,
    version: options.version,
    pinned: options.pinned ?? false,
    indexed: options.indexed ?? true,
    machine: options.machine,
    effects: options.effects,
    policy: { ...POLICY_DEFAULT, ...options.policy },
    migrate: options.migrate,
  }
}

export type EventOf<A> = A extends Actor<infer M> ? EventFromLogic<M> : never
export type InputOf<A> = A extends Actor<infer M> ? InputFrom<M> : never
