/**
 * What a shard sends beyond its commits' reach: the sends that a commit has put into the shard's outbox, on their way with
 * the courier. Only what has left by a commit is carried (shard, S2), and only what has arrived is trimmed.
 *
 * A mailbox may be no more by then. What was sent there comes to something all the same: a watch is answered, and all else
 * is a dead letter of the sender's shard.
 */
import type { ShardName } from './address.ts'
import type { Clock } from './clock.ts'
import type { Courier } from './courier.ts'
import { withoutMailbox } from './ending.ts'
import { decodeEnvelope } from './envelope.ts'
import { faultOf, RuntimeError } from './errors.ts'
import type { RuntimeEvents } from './events.ts'
import type { Limits } from './limits.ts'
import type { Message } from './message.ts'
import { deadLetterStream } from './transport.ts'
import type { Claim, OutboxEntry, Send, Transport } from './transport.ts'

export interface OutboxOptions {
  readonly name: ShardName
  readonly transport: Transport
  readonly courier: Courier
  readonly clock: Clock
  readonly events: RuntimeEvents
  readonly limits: Limits
  /** Takes a message that the owner makes itself. */
  readonly report: (message: Message) => void
}

export class Outbox {
  readonly #options: OutboxOptions
  #lineage = ''
  #underWay = new UnderWay(0)

  constructor(options: OutboxOptions) {
    this.#options = options
  }

  /** Begins where the claim says. What arrives of earlier sends counts no more: after a rollback their seqs come again. */
  begin({ outSeq, lineage }: Claim): void {
    this.#lineage = lineage
    this.#underWay = new UnderWay(outSeq)
  }

  /** All up to here have arrived. */
  get trimmed(): number {
    return this.#underWay.trimmed
  }

  carry(entries: readonly OutboxEntry[]): void {
    const { courier, name } = this.#options
    const underWay = this.#underWay
    const lineage = this.#lineage
    for (const { seq, incarnation, id, shard, lane, body } of entries) {
      underWay.add(seq)
      courier.send(shard, lane, { source: sourceOf(name), incarnation, seq, id, lineage, body }, (outcome) => {
        underWay.delivered(seq)
        if (outcome !== 'ok') this.undeliverable({ shard, lane, body })
      })
    }
  }

  /** Takes back what was sent after `seq` and has not left yet: its commits are lost. */
  recall(seq: number): void {
    const { courier, name } = this.#options
    courier.recall(sourceOf(name), seq)
  }

  /** The mailbox is no more. */
  undeliverable({ shard, body }: Send): void {
    const { name, events, transport, clock, limits, report } = this.#options
    const word = withoutMailbox(decodeEnvelope(body))
    if (word === 'nothing') return
    if (word !== 'a dead letter') {
      report(word)
      return
    }
    const fault = faultOf(
      new RuntimeError('shard.gone', `There is no mailbox ${shard} any more`, { remedy: 'give-up', data: { shard } }),
      'shard.gone',
    )
    events.emit({ type: 'dead-letter', shard: name, to: shard, fault })
    const letter = JSON.stringify({ to: shard, at: clock.now(), fault, message: body })
    transport.append(deadLetterStream(name), [letter], limits.deadLettersMax).catch((error: unknown) => {
      events.emit({ type: 'trouble', where: `dead letter of shard ${name}`, error })
    })
  }
}

/** Which sends are still on their way, so that the stream of them can be trimmed. */
class UnderWay {
  readonly #seqs = new Set<number>() // insertion order is seq order
  #newest: number

  constructor(newest: number) {
    this.#newest = newest
  }

  get trimmed(): number {
    for (const oldest of this.#seqs) return oldest - 1
    return this.#newest
  }

  add(seq: number): void {
    this.#seqs.add(seq)
    if (seq > this.#newest) this.#newest = seq
  }

  delivered(seq: number): void {
    this.#seqs.delete(seq)
  }
}

function sourceOf(shard: ShardName): string {
  return `s${shard}`
}
