/**
 * The dead letters, and what a person does with them: look, send again as they are or edited, or drop. A letter lies with
 * the shard whose owner could not take it, also when that shard (a pinned one) is gone.
 *
 * Invariants:
 * L1. A letter is sent once: the transport takes it away and puts its message into the mailbox in one step, or, where two
 *     shards of a Cluster are concerned, delivers it under the letter's own name first.
 * L2. What is sent again is a new message: it has an id of its own, and nobody waits for its answer any more.
 */
import { numberedShard, parseAddress, shardOf } from './address.ts'
import type { ActorAddress, Directory, ShardName } from './address.ts'
import { idFrom } from './cause.ts'
import type { Clock } from './clock.ts'
import { AGAIN, decodeEnvelope, encodeEnvelope } from './envelope.ts'
import type { Envelope } from './envelope.ts'
import { RuntimeError } from './errors.ts'
import type { Fault } from './errors.ts'
import type { Json } from './json.ts'
import type { Message } from './message.ts'
import { compareIds, deadLetterStream, previousId } from './transport.ts'
import type { StreamRow, Transport } from './transport.ts'

export interface DeadLetter {
  /** `<entry>@<shard>`, of characters that a URL's path takes as they are. */
  readonly id: string
  readonly shard: ShardName
  /** An actor; or the shard that is gone, or `unreadable`. */
  readonly to: string
  readonly from: string | null
  /** When it was put aside. */
  readonly at: number
  readonly fault: Fault
  /** What it was: mail, a timer that came due, an effect's result, or a word of the runtime's own. */
  readonly kind: 'mail' | 'timer' | 'effect' | 'runtime' | 'unreadable'
  /** What it said: a chart's event; the timer's name; the effect's id and result. */
  readonly content: Json
}

export interface LetterPage {
  readonly items: readonly DeadLetter[]
  /** Where the next page begins; absent on the last one. */
  readonly next?: string
}

export interface ListOptions {
  /** One shard's alone. */
  readonly shard?: ShardName
  /** `next` of the page before. */
  readonly after?: string
  readonly limit?: number
}

export class DeadLetters {
  readonly #transport: Transport
  readonly #directory: Directory
  readonly #clock: Clock

  constructor(transport: Transport, directory: Directory, clock: Clock) {
    this.#transport = transport
    this.#directory = directory
    this.#clock = clock
  }

  /** By shard, and the oldest first in each. Throws `letter.malformed` for a cursor that is none. */
  async list({ shard, after, limit = 50 }: ListOptions = {}): Promise<LetterPage> {
    const shards = shard === undefined ? await this.#shards() : [shard]
    const begin = after === undefined ? null : parse(after)
    const from = begin === null ? 0 : Math.max(0, shards.indexOf(begin.shard))
    const items: DeadLetter[] = []
    for (const name of shards.slice(from)) {
      const entry = begin?.shard === name ? begin.entry : '0-0'
      const rows = await this.#transport.range(deadLetterStream(name), entry, limit - items.length + 1)
      items.push(...rows.map((row) => letterOf(name, row)))
      if (items.length > limit) break
    }
    const page = items.slice(0, limit)
    const last = page.at(-1)
    return { items: page, ...(items.length > limit && last !== undefined && { next: last.id }) }
  }

  /** Null when there is none (any more). Throws `letter.malformed` for an id that is none. */
  async get(id: string): Promise<DeadLetter | null> {
    const found = await this.#find(id)
    return found && letterOf(found.shard, found.row)
  }

  /**
   * Sends it again, with another event where one is given. False when there is no such letter (any more). Throws
   * `letter.unsendable` where it says nothing that could be sent, and `shard.gone` where its mailbox is no more.
   */
  async resend(id: string, event?: { readonly type: string }): Promise<boolean> {
    const found = await this.#find(id)
    if (found === null) return false
    const { shard, row } = found
    const envelope = this.#again(id, row, event)
    const to = shardOf(envelope.to, this.#directory)
    const send = { shard: to, lane: 'in' as const, body: encodeEnvelope(envelope) }
    const outcome = await this.#transport.resend(shard, row.id, send)
    if (outcome !== 'gone') return outcome === 'sent'
    throw new RuntimeError('shard.gone', `There is no mailbox of ${envelope.to} any more: the letter stays`, {
      remedy: 'give-up',
      data: { letter: id, shard: to },
    })
  }

  /** False when there is no such letter (any more). */
  async drop(id: string): Promise<boolean> {
    const { shard, entry } = parse(id)
    return this.#transport.dropLetter(shard, entry)
  }

  async #shards(): Promise<ShardName[]> {
    const pinned = await this.#transport.pinned()
    const names = new Set([...pinned.map(({ shard }) => shard), ...(await this.#transport.departed())])
    const numbered = Array.from({ length: this.#directory.shards }, (_, i) => numberedShard(i))
    return [...numbered, ...[...names].sort()]
  }

  async #find(id: string): Promise<{ readonly shard: ShardName; readonly row: StreamRow } | null> {
    const { shard, entry } = parse(id)
    const [row] = await this.#transport.range(deadLetterStream(shard), previousId(entry), 1)
    return row !== undefined && compareIds(row.id, entry) === 0 ? { shard, row } : null
  }

  /** L2. */
  #again(letter: string, { body }: StreamRow, event: { readonly type: string } | undefined): Envelope {
    const written = JSON.parse(body) as Written // by a commit
    const { envelope: old, message } = contentOf(written)
    const to = old?.to ?? (message === null ? null : actorOf(message))
    if (
      to === null ||
      (event === undefined && old === null && message?.kind !== 'timer' && message?.kind !== 'effect')
    ) {
      throw new RuntimeError('letter.unsendable', `The letter ${letter} says nothing that could be sent again`, {
        remedy: 'give-up',
        data: { letter },
      })
    }
    const { from, trace, id = letter } = old ?? {}
    const { type, ...data } = event ?? (old === null ? { type: AGAIN, message } : { ...old.data, type: old.type })
    return {
      id: idFrom(id, 'again', letter, 0),
      to,
      ...(from !== undefined && { from }),
      ...(trace !== undefined && { trace }),
      type,
      data,
      sentAt: this.#clock.now(),
      cause: id,
    }
  }
}

/** A letter as a commit writes it. */
interface Written {
  readonly to: string
  readonly at: number
  readonly fault: Fault
  /** The body of a mail, or a message of the owner's own as JSON. */
  readonly message: string
}

function letterOf(shard: ShardName, { id, body }: StreamRow): DeadLetter {
  const written = JSON.parse(body) as Written // by a commit
  const { to, at, fault } = written
  const about = { id: `${id}@${shard.replace('/', ':')}`, shard, to, at, fault }
  const { envelope, message } = contentOf(written)
  if (envelope !== null) {
    const { from = null, type, data } = envelope
    const kind = type.startsWith('@') ? 'runtime' : 'mail'
    return { ...about, from, kind, content: { ...(data as Record<string, Json>), type } } // it came as JSON
  }
  if (message?.kind === 'timer') return { ...about, from: null, kind: 'timer', content: { timer: message.timer.name } }
  if (message?.kind === 'effect') {
    const { id: effect, result } = message
    return { ...about, from: null, kind: 'effect', content: { effect, result: result as unknown as Json } } // likewise
  }
  const kind = message === null ? 'unreadable' : 'runtime'
  return { ...about, from: null, kind, content: message === null ? written.message : (message as unknown as Json) }
}

function contentOf({ message }: Written): { readonly envelope: Envelope | null; readonly message: Message | null } {
  try {
    return { envelope: decodeEnvelope(message), message: null }
  } catch {
    return { envelope: null, message: ownMessageOf(message) }
  }
}

/** What an owner makes itself has a kind and an actor; whatever else somebody put into a mailbox has not. */
function ownMessageOf(text: string): Message | null {
  try {
    const value = JSON.parse(text) as Partial<Message> | null
    return typeof value?.kind === 'string' && value.kind !== 'mail' ? (value as Message) : null
  } catch {
    return null
  }
}

function actorOf(message: Message): ActorAddress | null {
  if (message.kind === 'mail') return null
  return message.kind === 'timer' ? message.timer.actor : message.actor
}

const ID = /^(\d+-\d+)@(\d+|@[^/:]+:[^/:]+)$/

function parse(id: string): { readonly entry: string; readonly shard: ShardName } {
  const [, entry, shard] = ID.exec(id) ?? []
  if (entry === undefined || shard === undefined) {
    throw new RuntimeError('letter.malformed', `Cannot read "${id}" as a dead letter's id: expected <entry>@<shard>`, {
      remedy: 'fix-request',
      data: { id },
    })
  }
  if (!shard.startsWith('@')) return { entry, shard: numberedShard(Number(shard)) }
  return { entry, shard: `@${parseAddress(shard.slice(1).replace(':', '/'))}` as ShardName } // as pinnedShard makes it
}
