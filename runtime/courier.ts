/**
 * The courier carries messages into mailboxes: outbox entries between shards, and what clients send. For each lane of
 * each shard it has one queue and one delivery under way, so messages of one source arrive in the order of their seqs,
 * and a delivery whose answer was lost is repeated safely: the mailbox drops what it has seen (transport, T3).
 */
import type { ShardName } from './address.ts'
import type { Clock, Random } from './clock.ts'
import type { Lane } from './envelope.ts'
import { RuntimeError } from './errors.ts'
import type { RuntimeEvents } from './events.ts'
import type { Limits } from './limits.ts'
import type { Delivery, Transport } from './transport.ts'

export type Outcome = 'ok' | 'gone' | RuntimeError

interface Parcel {
  readonly delivery: Delivery
  readonly done: (outcome: Outcome) => void
  /** Whether anybody still waits for it; outbox entries wait for ever. */
  readonly wanted: (() => boolean) | undefined
}

interface Queue {
  readonly shard: ShardName
  readonly lane: Lane
  parcels: Parcel[]
  running: boolean
}

export class Courier {
  readonly #transport: Transport
  readonly #clock: Clock
  readonly #random: Random
  readonly #events: RuntimeEvents
  readonly #limits: Limits
  readonly #onBusy: 'wait' | 'refuse'
  readonly #queues = new Map<string, Queue>()
  readonly #abort = new AbortController()

  constructor(options: {
    transport: Transport
    clock: Clock
    random: Random
    events: RuntimeEvents
    limits: Limits
    /** What a full mailbox means: the outbox waits, a client is refused. */
    onBusy: 'wait' | 'refuse'
  }) {
    this.#transport = options.transport
    this.#clock = options.clock
    this.#random = options.random
    this.#events = options.events
    this.#limits = options.limits
    this.#onBusy = options.onBusy
  }

  /** `done` is called once, unless the courier is stopped first. */
  send(shard: ShardName, lane: Lane, delivery: Delivery, done: Parcel['done'], wanted?: () => boolean): void {
    const key = `${lane}${shard}`
    let queue = this.#queues.get(key)
    if (queue === undefined) {
      queue = { shard, lane, parcels: [], running: false }
      this.#queues.set(key, queue)
    }
    queue.parcels.push({ delivery, done, wanted })
    if (queue.running) return
    queue.running = true
    void this.#run(key, queue)
  }

  /** Takes back what a source sent after `seq` and what has not left yet: its commits are lost. */
  recall(source: string, seq: number): void {
    for (const queue of this.#queues.values()) {
      queue.parcels = queue.parcels.filter(({ delivery }) => delivery.source !== source || delivery.seq <= seq)
    }
  }

  stop(): void {
    this.#abort.abort()
  }

  async #run(key: string, queue: Queue): Promise<void> {
    const { signal } = this.#abort
    await Promise.resolve() // what is sent in the same turn travels together
    let failures = 0
    let batch: Parcel[] = []
    while (!signal.aborted && (batch.length > 0 || queue.parcels.length > 0)) {
      if (batch.length === 0) batch = this.#nextBatch(queue)
      if (batch.length === 0) continue // everybody in it had given up
      const outcome = await this.#deliver(queue, batch)
      if (typeof outcome === 'number') {
        for (const parcel of batch.slice(0, outcome)) parcel.done('ok')
        batch = batch.slice(outcome)
        if (outcome > 0 && this.#onBusy === 'wait') failures = 0
      }
      if (outcome === 'failed' || (batch.length > 0 && outcome !== 'gone' && this.#onBusy === 'wait')) {
        failures++
        await this.#clock.sleep(Math.min(1_000, 10 * 2 ** failures) * (0.5 + this.#random.next() / 2), signal)
        batch = batch.filter((parcel) => !this.#givenUp(parcel))
        continue
      }
      // BUSY is a promise that a message was not taken; after an attempt whose answer was lost, nobody can give it.
      const told = outcome === 'gone' ? outcome : failures === 0 ? full(queue.shard) : uncertain()
      failures = 0
      for (const parcel of batch) parcel.done(told)
      batch = []
    }
    queue.running = false
    this.#queues.delete(key)
  }

  #nextBatch(queue: Queue): Parcel[] {
    const { deliveryMax } = this.#limits
    const taken = queue.parcels.length <= deliveryMax ? queue.parcels : queue.parcels.slice(0, deliveryMax)
    queue.parcels = queue.parcels.slice(taken.length)
    return taken.filter((parcel) => !this.#givenUp(parcel))
  }

  async #deliver(queue: Queue, batch: readonly Parcel[]): Promise<number | 'gone' | 'failed'> {
    try {
      const deliveries = batch.map((parcel) => parcel.delivery)
      const outcome = await this.#transport.deliver(queue.shard, queue.lane, deliveries, this.#limits.mailboxMax)
      if (outcome === 'gone') return outcome
      if (outcome > 0) this.#events.emit({ type: 'delivered', shard: queue.shard, messages: outcome })
      if (outcome < batch.length) this.#events.emit({ type: 'mailbox.full', shard: queue.shard })
      return outcome
    } catch (error) {
      this.#events.emit({ type: 'trouble', where: `delivery to shard ${queue.shard}`, error })
      return 'failed'
    }
  }

  #givenUp(parcel: Parcel): boolean {
    if (parcel.wanted === undefined || parcel.wanted()) return false
    parcel.done(uncertain())
    return true
  }
}

function uncertain(): RuntimeError {
  const text = 'The message could not be delivered in time; it may still have arrived'
  return new RuntimeError('redis.unreachable', text, { remedy: 'retry' })
}

function full(shard: ShardName): RuntimeError {
  return new RuntimeError('mailbox.full', 'The mailbox is full: try again later', { remedy: 'retry', data: { shard } })
}
