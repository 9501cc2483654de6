/**
 * What an owner has of its shard: a claim, and a log of the commits that it has seen acknowledged. Both together tell
 * whether the transport still stands where it said that it stood.
 *
 * Invariants:
 * O1. Only an answered claim will do (shard, S3). A new epoch makes every command of ours that may still be on its way a
 *     stale one; under an older one, a commit planned from where the shard no longer stands could meet its seq by chance.
 * O2. A shard that stands lower than an acknowledged commit has lost the rest, by a failover: that is told once, by actor
 *     and commit, and until it has been claimed anew the owner plans nothing.
 */
import type { ShardName } from './address.ts'
import type { Clock, Random } from './clock.ts'
import { CommitLog } from './commit-log.ts'
import type { RuntimeEvents } from './events.ts'
import type { Limits } from './limits.ts'
import type { Line } from './message.ts'
import type { Claim, Transport } from './transport.ts'

export interface OwnershipOptions {
  readonly name: ShardName
  readonly owner: string
  readonly transport: Transport
  readonly clock: Clock
  readonly random: Random
  readonly events: RuntimeEvents
  readonly limits: Limits
}

export class Ownership {
  readonly #options: OwnershipOptions
  /** Told when the shard turns out to have been thrown back. */
  readonly #onRollback: () => void
  readonly #log: CommitLog
  #claim: Claim
  #rolledBack = false

  constructor(options: OwnershipOptions, claim: Claim, onRollback: () => void) {
    this.#options = options
    this.#onRollback = onRollback
    this.#claim = claim
    this.#log = new CommitLog(claim.seq, options.limits)
  }

  get claim(): Claim {
    return this.#claim
  }

  /** The highest commit that was acknowledged. */
  get acknowledged(): number {
    return this.#log.newest
  }

  /** O2. */
  get rolledBack(): boolean {
    return this.#rolledBack
  }

  acknowledge(seq: number, lines: readonly Line[]): void {
    this.#log.add(seq, lines)
  }

  /** O2. Told where the shard stands; `known` is what had been acknowledged at the time of the question. */
  stands(seq: number, known: number): void {
    if (seq >= known || seq >= this.#log.newest) return
    const { name, events } = this.#options
    const from = this.#log.newest
    events.emit({ type: 'shard.rolled-back', shard: name, from, to: seq, ...this.#log.cutTo(seq) })
    this.#rolledBack = true
    this.#onRollback()
  }

  /** Asks where the shard stands, whoever owns it: who is fenced, is so by another owner or by a loss of the claim itself. */
  async look(): Promise<void> {
    const known = this.#log.newest
    const position = await this.#options.transport.position(this.#options.name)
    this.stands(position?.seq ?? 0, known)
  }

  /** O1. The claim, and whether commits were lost before it; null when somebody else owns the shard, or once aborted. */
  async claimAnew(signal: AbortSignal): Promise<{ readonly claim: Claim; readonly rolledBack: boolean } | null> {
    const { name, transport, owner, limits, random, events, clock } = this.#options
    for (;;) {
      await clock.sleep(100, signal)
      if (signal.aborted) return null
      try {
        const { leaseMs: ttlMs, crashWindowMs } = limits
        const claim = await transport.claim(name, { owner, ttlMs, nonce: random.word(), anew: true, crashWindowMs })
        if (claim === null) {
          await this.look()
          return null
        }
        this.#claim = claim
        this.stands(claim.seq, this.#log.newest)
        const { rolledBack } = this
        this.#rolledBack = false
        return { claim, rolledBack }
      } catch (error) {
        events.emit({ type: 'trouble', where: `claim of shard ${name}`, error })
      }
    }
  }
}
