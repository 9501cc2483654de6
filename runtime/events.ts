/**
 * What the runtime tells of itself. One typed stream of events serves metrics, traces, the simulator's invariants and
 * the waits in tests alike; listeners never hold up an owner, and a listener that throws is reported, not obeyed.
 * Names and fields are API: dashboards and alerts are built on them.
 */
import type { ActorAddress, ShardName } from './address.ts'
import type { JournalLine } from './client.ts'
import type { Loss } from './commit-log.ts'
import type { Fault } from './errors.ts'
import type { Health } from './health.ts'

export type RuntimeEvent =
  | { readonly type: 'node.started' | 'node.stopped'; readonly node: string }
  | { readonly type: 'lease.claimed'; readonly shard: ShardName; readonly epoch: string; readonly adopted: boolean }
  /** The owner stopped by itself: it could not renew in time. It commits nothing until it has renewed. */
  | { readonly type: 'lease.suspended' | 'lease.resumed'; readonly shard: ShardName }
  /** Somebody else owns the shard now; this node has dropped its cells. */
  | { readonly type: 'lease.lost'; readonly shard: ShardName; readonly epoch: string }
  | { readonly type: 'lease.released'; readonly shard: ShardName }
  /**
   * The shard stands at commit `to`, and commits up to `from` had been acknowledged: a failover has lost the rest.
   * `lost` names the transitions that are gone, as far as the owner remembers; of `forgotten` commits it does not.
   */
  | ({
      readonly type: 'shard.rolled-back'
      readonly shard: ShardName
      readonly from: number
      readonly to: number
    } & Loss)
  | {
      readonly type: 'commit'
      readonly shard: ShardName
      readonly seq: number
      readonly messages: number
      readonly sends: number
      readonly ms: number
      /** Age of the oldest message taken, from its sending to this commit. */
      readonly ageMs: number
      readonly lines: readonly Omit<JournalLine, 'position'>[]
    }
  | { readonly type: 'activation'; readonly kind: string; readonly actors: number }
  | { readonly type: 'passivation'; readonly actors: number }
  | { readonly type: 'timer.fired'; readonly actor: ActorAddress; readonly timer: string; readonly lateMs: number }
  | { readonly type: 'effect.started'; readonly actor: ActorAddress; readonly src: string; readonly attempt: number }
  | {
      readonly type: 'effect.ended'
      readonly actor: ActorAddress
      readonly src: string
      readonly outcome: 'done' | 'failed' | 'retried' | 'aborted'
      readonly ms: number
      readonly fault?: Fault
    }
  | { readonly type: 'dead-letter'; readonly shard: ShardName; readonly to: string; readonly fault: Fault }
  /** This process's code cannot take it: it waits for an owner whose code can. */
  | { readonly type: 'message.held'; readonly shard: ShardName; readonly to: ActorAddress; readonly fault: Fault }
  /** How the transport fares, at the first look and at each change. */
  | ({ readonly type: 'health'; readonly transport: string } & Health)
  | { readonly type: 'delivered'; readonly shard: ShardName; readonly messages: number }
  | { readonly type: 'mailbox.full'; readonly shard: ShardName }
  /** Something went wrong that the runtime goes on from; for logs. */
  | { readonly type: 'trouble'; readonly where: string; readonly error: unknown }

export type RuntimeEventOf<T extends RuntimeEvent['type']> = RuntimeEvent & { readonly type: T }

export class RuntimeEvents {
  readonly #listeners = new Map<RuntimeEvent['type'] | '*', Set<(event: RuntimeEvent) => void>>()

  /** Returns the function that ends the listening. `*` hears everything. */
  on<T extends RuntimeEvent['type']>(type: T, listener: (event: RuntimeEventOf<T>) => void): () => void
  on(type: '*', listener: (event: RuntimeEvent) => void): () => void
  on(type: RuntimeEvent['type'] | '*', listener: (event: never) => void): () => void {
    const listeners = this.#listeners.get(type) ?? new Set()
    this.#listeners.set(type, listeners)
    const heard = listener as (event: RuntimeEvent) => void // the overloads pair each type with its listener
    listeners.add(heard)
    return () => listeners.delete(heard)
  }

  /** Resolves with the first event of this type, from now on, that the condition accepts. */
  once<T extends RuntimeEvent['type']>(
    type: T,
    condition: (event: RuntimeEventOf<T>) => boolean = () => true,
  ): Promise<RuntimeEventOf<T>> {
    return new Promise((resolve) => {
      const off = this.on(type, (event) => {
        if (!condition(event)) return
        off()
        resolve(event)
      })
    })
  }

  emit(event: RuntimeEvent): void {
    this.#call(event.type, event)
    this.#call('*', event)
  }

  #call(type: RuntimeEvent['type'] | '*', event: RuntimeEvent): void {
    const listeners = this.#listeners.get(type)
    if (listeners === undefined) return
    for (const listener of listeners) {
      try {
        listener(event)
      } catch (error) {
        if (event.type !== 'trouble') this.emit({ type: 'trouble', where: `listener of ${type}`, error })
      }
    }
  }
}
