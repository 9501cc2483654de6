/**
 * The load of the `soak` benchmark: what a fleet in ordinary life takes in, at a steady rate, and a book of all that was
 * sent. A keeper gets its next note once the one before is durable, so that a note which was refused is not missed.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { openClient, redisTransport } from '../runtime/mod.ts'
import type { ActorAddress, Client } from '../runtime/mod.ts'
import { directory, GUESTBOOK, KEEPERS, keeperAt, NAMESPACE } from './soak-node.ts'
import type { GuestbookContext, KeeperContext } from './soak-node.ts'

const TICK_MS = 20
const NOTES_PER_S = 500
const ASKS_PER_S = 40
const REARS_PER_S = 20
const VISITS_PER_S = 10
const POISONS_PER_S = 1
const PULSES = 50
const PULSE_EVERY_MS = 5_000
const CLIENT_EVERY_MS = 10_000

/** Resolves after `ms`, or when the signal aborts. */
export async function resting(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(Math.max(0, ms), null, { signal }).catch(() => {}) // that it is over is no error
}

export class SoakLoad {
  readonly #client: Client
  readonly #url: string
  readonly #signal: AbortSignal
  /** Notes that are durable, by keeper. */
  readonly #notes = Array.from({ length: KEEPERS }, () => 0)
  readonly #reared = Array.from({ length: KEEPERS }, () => 0)
  readonly #pending = new Set<number>()
  /** A pinned actor of a node that is here for a while. */
  guest: ActorAddress | null = null
  guests = 0
  asks = 0
  unanswered = 0
  poisons = 0
  /** Told, and nobody knows whether it arrived: then the counts prove nothing. */
  uncertain = 0

  constructor(options: { client: Client; url: string; signal: AbortSignal }) {
    this.#client = options.client
    this.#url = options.url
    this.#signal = options.signal
  }

  /** Until the signal. */
  async run(): Promise<void> {
    await Promise.all(
      Array.from({ length: PULSES }, (_, k) =>
        this.#client.schedule(keeperAt(k), {
          id: 'pulse',
          delayMs: PULSE_EVERY_MS,
          everyMs: PULSE_EVERY_MS,
          event: { type: 'pulse' },
        }),
      ),
    )
    await Promise.all([this.#send(), this.#clients()])
  }

  async #send(): Promise<void> {
    const startedAt = performance.now()
    const sent = { notes: 0, asks: 0, rears: 0, visits: 0, poisons: 0 }
    while (!this.#signal.aborted) {
      await resting(TICK_MS, this.#signal)
      const seconds = (performance.now() - startedAt) / 1_000
      for (; sent.notes < seconds * NOTES_PER_S; sent.notes++) this.#note(sent.notes % KEEPERS)
      for (; sent.rears < seconds * REARS_PER_S; sent.rears++) this.#rear((sent.rears * 7) % KEEPERS)
      for (; sent.asks < seconds * ASKS_PER_S; sent.asks++) void this.#ask(this.#client, (sent.asks * 13) % KEEPERS)
      for (; sent.poisons < seconds * POISONS_PER_S; sent.poisons++) this.#poison((sent.poisons * 31) % KEEPERS)
      for (; sent.visits < seconds * VISITS_PER_S; sent.visits++) this.#visit((sent.visits * 3) % KEEPERS)
    }
    while (this.#pending.size > 0) await new Promise(setImmediate)
  }

  #note(k: number): void {
    if (this.#pending.has(k)) return
    this.#pending.add(k)
    const n = (this.#notes[k] ?? 0) + 1
    this.#client
      .tell(keeperAt(k), { type: 'note', n })
      .then(
        () => (this.#notes[k] = n),
        () => this.uncertain++,
      )
      .finally(() => this.#pending.delete(k))
  }

  #rear(k: number): void {
    this.#client.tell(keeperAt(k), { type: 'rear' }).then(
      () => (this.#reared[k] = (this.#reared[k] ?? 0) + 1),
      () => this.uncertain++,
    )
  }

  #poison(k: number): void {
    this.#client.tell(keeperAt(k), { type: 'poison' }).then(
      () => this.poisons++,
      () => this.uncertain++,
    )
  }

  /** What a visitor does it says itself, when it leaves. */
  #visit(keeper: number): void {
    if (this.guest === null) return
    const event: { type: string; keeper: number } = { type: 'visit', keeper }
    this.#client.tell(this.guest, event).catch(() => this.uncertain++)
  }

  async #ask(client: Client, k: number): Promise<void> {
    this.asks++
    try {
      await client.ask(keeperAt(k), { type: 'get' })
    } catch {
      this.unanswered++ // its owner was killed with it, or it took too long
    }
  }

  /** Clients come, ask, look into a journal and go. */
  async #clients(): Promise<void> {
    for (let i = 0; !this.#signal.aborted; i++) {
      await resting(CLIENT_EVERY_MS, this.#signal)
      const transport = redisTransport({ url: this.#url, namespace: NAMESPACE })
      await transport.start({ shards: directory.shards })
      const client = await openClient({ transport, directory })
      const following = client.journal(keeperAt(i % KEEPERS), 'now', AbortSignal.timeout(2_000))
      const followed = Array.fromAsync(following)
      for (let k = 0; k < 20; k++) await this.#ask(client, (i * 20 + k) % KEEPERS)
      await followed
      await client.stop()
      await transport.stop()
    }
  }

  /** What was sent, beside what its receivers have counted. */
  async compare(client: Client): Promise<{ lost: number; duplicated: number }> {
    const contexts = await Promise.all(
      Array.from({ length: KEEPERS }, async (_, k) => (await client.read(keeperAt(k)))?.context),
    )
    const keepers = contexts as unknown as readonly KeeperContext[] // their charts wrote them
    const book = (await client.read(GUESTBOOK))?.context as unknown as GuestbookContext // likewise
    let lost = Math.max(0, this.guests - book.guests)
    let duplicated = Math.max(0, book.guests - this.guests)
    const tally = (expected: number, found: number): void => {
      lost += Math.max(0, expected - found)
      duplicated += Math.max(0, found - expected)
    }
    for (const [k, { notes, passed, reared, ended }] of keepers.entries()) {
      const neighbour = keepers[(k + KEEPERS - 1) % KEEPERS]?.notes.taken ?? 0
      tally(this.#notes[k] ?? 0, notes.taken)
      tally(neighbour, passed.taken)
      tally(this.#reared[k] ?? 0, reared)
      tally(reared, ended)
      lost += notes.lost + passed.lost
      duplicated += notes.duplicated + passed.duplicated
    }
    tally(
      book.visits,
      keepers.reduce((sum, { visited }) => sum + visited, 0),
    )
    return { lost, duplicated }
  }
}
