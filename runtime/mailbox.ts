/**
 * A shard's mailbox as its owner sees it: how far it has read, what it knows of the rest, and how to learn more. There are
 * two gaits. Where mail comes as a stream, the owner reads ahead while its commits are under way. Where it comes in drops,
 * each commit looks for the next drop, and a ring brings it along: then an ask takes two round trips, its delivery and its
 * commit, and nobody looks into a mailbox to find nothing.
 *
 * What a ring brings counts only if the owner still stands where it parked, under the same epoch: then nothing else can
 * have come between (transport, T4).
 */
import type { ShardName } from './address.ts'
import type { Clock } from './clock.ts'
import type { Limits } from './limits.ts'
import { decodeRing } from './ring.ts'
import type { Ring } from './ring.ts'
import { CURSOR_START } from './transport.ts'
import type { Claim, Cursor, Entry, Mail, Transport } from './transport.ts'

export class Mailbox {
  readonly #shard: ShardName
  readonly #transport: Transport
  readonly #clock: Clock
  readonly #limits: Limits
  #epoch = ''
  #read: Cursor = CURSOR_START
  /** What comes after what was read; null when nobody knows. */
  #known: Mail | null = null
  #ring: Ring | null = null
  /** Until then, `parked` is believed without a look. */
  #watchdogAt = 0
  /** Messages that were found last. */
  #found = 0

  constructor(options: { shard: ShardName; transport: Transport; clock: Clock; limits: Limits }) {
    this.#shard = options.shard
    this.#transport = options.transport
    this.#clock = options.clock
    this.#limits = options.limits
  }

  /** Forgets all, and begins where the claim says. */
  begin({ epoch, cursor }: Claim): void {
    this.#epoch = epoch
    this.#read = cursor
    this.#known = null
    this.#ring = null
    this.#found = 0
  }

  /** What the doorbell said. */
  hear(text: string): void {
    this.#ring = decodeRing(text) ?? { epoch: '', after: CURSOR_START, mail: [] }
  }

  /** So many entries the next commit should look for; 0 while mail comes as a stream. */
  get look(): number {
    return this.#found < this.#limits.mailStreamMin ? this.#limits.batchMax : 0
  }

  /** What was found after this cursor. Of a commit that took less than what was read, it says nothing new. */
  learn(mail: Mail | null, after: Cursor): void {
    if (mail === null || !this.#standsAt(after)) return
    this.#known = mail
    if (mail === 'parked') this.#watchdogAt = this.#clock.now() + this.#limits.watchdogMs
  }

  /** How long the owner may rest: 0 unless there was nothing at the last look. */
  get restMs(): number {
    return this.#known === 'parked' && this.#ring === null ? this.#watchdogAt - this.#clock.now() : 0
  }

  /** The next entries, maybe none. An owner that has work of its own (`busy`) does not fall asleep over a look. */
  async take(busy: boolean, outTrim: number): Promise<readonly Entry[] | 'fenced'> {
    this.#openRing()
    if (this.#known === null || (this.#known === 'parked' && this.#clock.now() >= this.#watchdogAt)) {
      const { batchMax } = this.#limits
      // Who found much will find more: a plain read costs Redis less than a look that may park.
      const found =
        busy || this.#found >= this.#limits.mailStreamMin
          ? await this.#transport.read(this.#shard, this.#read, batchMax)
          : await this.#transport.park(this.#shard, this.#epoch, this.#read, batchMax, outTrim)
      if (found === 'fenced') return 'fenced'
      this.learn(found, this.#read)
    }
    if (this.#known === 'parked' || this.#known === null) return []
    const mail = this.#known
    this.#known = null
    this.#found = mail.length
    this.#read = after(this.#read, mail)
    return mail
  }

  #openRing(): void {
    const ring = this.#ring
    this.#ring = null
    if (ring === null || (this.#known !== null && this.#known !== 'parked')) return
    const counts = ring.epoch === this.#epoch && this.#standsAt(ring.after)
    this.#known = counts && ring.mail.length > 0 ? ring.mail : null
  }

  #standsAt({ hi, in: normal }: Cursor): boolean {
    return this.#read.hi === hi && this.#read.in === normal
  }
}

function after(cursor: Cursor, entries: readonly Entry[]): Cursor {
  let { hi, in: normal } = cursor
  for (const entry of entries) {
    if (entry.lane === 'hi') hi = entry.id
    else normal = entry.id
  }
  return { hi, in: normal }
}
