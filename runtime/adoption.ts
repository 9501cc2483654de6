/**
 * The adoption of a pinned shard whose process is gone. What ran there cannot be started again elsewhere: a node that
 * takes the shard over tells its actor what died, and that its owner is lost, and the chart decides what that means.
 *
 * Invariants:
 * R1. What died is what was under way at the first look; what the chart starts since is the adopting node's own.
 * R2. The actor hears that its owner is lost once: it is said again only while no commit has taken it.
 */
import { pinnedActor } from './address.ts'
import type { ShardName } from './address.ts'
import type { EffectStart } from './consequences.ts'
import { faultOf, RuntimeError } from './errors.ts'
import type { Message, Taken } from './message.ts'

export class Adoption {
  readonly #shard: ShardName
  /** The runs of effects that died with the process; null until the shard has been looked at. */
  #lost: ReadonlySet<string> | null = null
  /** Where the shard stands once its actor has heard that its owner is lost. */
  #toldAt = Infinity

  constructor(shard: ShardName) {
    this.#shard = shard
  }

  /** Of what the records say that runs: what does so here, and what there is to say of the rest. `seq`: where the shard stands. */
  sort(starts: readonly EffectStart[], seq: number): { readonly own: EffectStart[]; readonly words: Message[] } {
    this.#lost ??= new Set(starts.map(runOf)) // R1
    const lost = this.#lost
    const fault = faultOf(
      new RuntimeError('effect.lost', 'The process that ran this effect is gone', { remedy: 'retry-elsewhere' }),
      'effect.lost',
    )
    const words = starts
      .filter((start) => lost.has(runOf(start)))
      .map(({ actor, id, row }): Message => {
        return { kind: 'effect', actor, id, gen: row.gen, result: { ok: false, fault } }
      })
    const actor = pinnedActor(this.#shard)
    if (actor !== null && seq < this.#toldAt) words.push({ kind: 'orphaned', actor }) // R2
    return { own: starts.filter((start) => !lost.has(runOf(start))), words }
  }

  /** A commit that ends at `seq` takes these. */
  taking(batch: readonly Taken[], seq: number): void {
    if (batch.some(({ message }) => message.kind === 'orphaned')) this.#toldAt = seq
  }
}

function runOf({ actor, id, row }: EffectStart): string {
  return `${actor}|${id}|${row.gen}`
}
