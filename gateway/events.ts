/**
 * The life of a job, a batch job or a sweep as events: `state` (its view), `metrics`, `log`, and `end`. Three durable
 * sources are merged, the journal of its shard and the capped streams that it has (a job two, a batch job its log), and
 * each event's id is a cursor over all three.
 *
 * Invariants:
 * 1. Each metric line and log line that is kept is sent once, in order, however often the client reconnects with the
 *    id of the last event it got.
 * 2. `state` is sent for a job's newest view, never twice for one `seq`, and never back, at most every `eventStateMs`: a
 *    newer view stands for those that it overtook, and the last one is always sent.
 * 3. `gap` says that positions after the cursor were trimmed before they could be sent.
 * 4. `end` comes after everything that was kept when the job was seen to be over.
 */
import type { BatchView } from '../machines/batch-spec.ts'
import type { SweepView } from '../machines/sweep-spec.ts'
import type { JobView } from '../machines/views.ts'
import type { ActorAddress, Client, ReadFrom } from '../runtime/client.ts'
import type { EventChannel, Frame } from './event-channel.ts'
import { LIMITS } from './limits.ts'
import { problemOf } from './problems.ts'

export interface Cursor {
  /** The newest view that was sent. */
  readonly seq: number
  readonly journal?: string
  readonly metrics?: string
  readonly logs?: string
  /** `end` was sent: there is nothing to come. */
  readonly ended?: true
}

const NOTHING_SENT: Cursor = { seq: -1 }

export interface EventSources {
  readonly client: Client
  readonly actor: ActorAddress
  /** Those that it has. */
  readonly streams?: { readonly metrics?: string; readonly logs: string }
  /** It as it is now; null when nothing is left of it. */
  view(): Promise<{
    readonly seq: number
    readonly state: JobView['state'] | BatchView['state'] | SweepView['state']
  } | null>
}

/** Feeds the channel until the job is over or the client is gone. Never throws: what fails is sent as `problem`. */
export async function sendEvents(
  sources: EventSources,
  channel: EventChannel,
  from: Cursor | 'start' | 'unreadable',
): Promise<void> {
  try {
    await new Events(sources, channel, typeof from === 'string' ? NOTHING_SENT : from).run(from === 'unreadable')
  } catch (error) {
    if (!channel.signal.aborted) await channel.send(() => ({ event: 'problem', data: problemOf(error).problem }))
  } finally {
    channel.close()
  }
}

/** Whether a job, a batch job or a sweep in this state will change no more. */
export function isOver({ state }: { readonly state: string }): boolean {
  return state === 'completed' || state === 'failed' || state === 'cancelled' || state === 'stopped'
}

export function encodeCursor(cursor: Cursor): string {
  const { seq, journal, metrics, logs, ended } = cursor
  return btoa(JSON.stringify([seq, journal ?? null, metrics ?? null, logs ?? null, ended ?? false]))
}

/** `unreadable` for what this gateway never wrote. */
export function decodeCursor(text: string): Cursor | 'unreadable' {
  let parts: unknown
  try {
    parts = JSON.parse(atob(text))
  } catch {
    return 'unreadable' // the caller tells the client, by `resync`
  }
  if (!Array.isArray(parts) || parts.length !== 5) return 'unreadable'
  const [seq, journal, metrics, logs, ended] = parts as unknown[] // each is checked below
  if (!Number.isSafeInteger(seq) || ![journal, metrics, logs].every(isPosition)) return 'unreadable'
  return {
    seq: Number(seq),
    ...(typeof journal === 'string' && { journal }),
    ...(typeof metrics === 'string' && { metrics }),
    ...(typeof logs === 'string' && { logs }),
    ...(ended === true && { ended }),
  }
}

/** Positions are the runtime's own words; what could not be one never gets there. */
function isPosition(value: unknown): boolean {
  return value === null || (typeof value === 'string' && /^[\w.:-]{1,100}$/.test(value))
}

class Events {
  readonly #sources: EventSources
  readonly #channel: EventChannel
  /** Aborted when the job is over: nothing is to be followed any more. */
  readonly #over = new AbortController()
  readonly #following: AbortSignal
  #cursor: Cursor

  constructor(sources: EventSources, channel: EventChannel, cursor: Cursor) {
    this.#sources = sources
    this.#channel = channel
    this.#cursor = cursor
    this.#following = AbortSignal.any([this.#over.signal, channel.signal])
  }

  async run(unreadable: boolean): Promise<void> {
    if (unreadable)
      await this.#send('resync', { reason: 'Last-Event-ID is not one of ours; here is all from the start.' })
    // The journal's end before the view: what commits in between is read twice rather than missed.
    const journal = this.#cursor.journal ?? (await this.#sources.client.journalEnd(this.#sources.actor))
    this.#cursor = { ...this.#cursor, journal }
    await this.#sendState()
    try {
      await Promise.all([this.#followJournal(), this.#follow('metrics'), this.#follow('logs')])
    } finally {
      this.#over.abort() // when one source fails, the others stop with it
    }
    if (this.#channel.signal.aborted) return
    await this.#drain('metrics')
    await this.#drain('logs')
    await this.#send('end', { state: (await this.#sources.view())?.state ?? null }, { ended: true })
  }

  async #followJournal(): Promise<void> {
    if (this.#following.aborted) return
    const { actor, client } = this.#sources
    const from = readFrom(this.#cursor.journal)
    for await (const line of client.journal(actor, from, this.#following)) {
      if ('gap' in line) {
        await this.#send('gap', { source: 'journal' })
        await this.#sendState()
        continue
      }
      this.#cursor = { ...this.#cursor, journal: line.position }
      if (line.actor !== actor || line.seq <= this.#cursor.seq) continue
      await this.#sendState()
      await passed(LIMITS.eventStateMs, this.#following) // the journal keeps what comes meanwhile
    }
  }

  async #follow(source: 'metrics' | 'logs'): Promise<void> {
    if (!this.#following.aborted) await this.#forward(source, { signal: this.#following, follow: true })
  }

  async #drain(source: 'metrics' | 'logs'): Promise<void> {
    await this.#forward(source, { signal: this.#channel.signal, follow: false })
  }

  async #forward(source: 'metrics' | 'logs', options: { signal: AbortSignal; follow: boolean }): Promise<void> {
    const { client, streams } = this.#sources
    const stream = streams?.[source]
    if (stream === undefined) return
    const event = source === 'metrics' ? 'metrics' : 'log'
    for await (const entry of client.stream(stream, readFrom(this.#cursor[source]), options)) {
      if ('gap' in entry) await this.#send('gap', { source })
      else await this.#send(event, entry.data, { [source]: entry.id })
    }
  }

  async #sendState(): Promise<void> {
    const view = await this.#sources.view()
    if (view === null) {
      this.#over.abort()
      return
    }
    await this.#channel.send(() => {
      // Looked at when its turn has come: another reader of the state may have sent a newer one meanwhile.
      if (view.seq <= this.#cursor.seq) return null
      return this.#frame('state', view, { seq: view.seq })
    })
    if (isOver(view)) this.#over.abort()
  }

  async #send(event: string, data: unknown, move: Partial<Cursor> = {}): Promise<void> {
    await this.#channel.send(() => this.#frame(event, data, move))
  }

  /** The cursor moves in the turn in which the frame is queued, so that no other source slips in between. */
  #frame(event: string, data: unknown, move: Partial<Cursor>): Frame {
    this.#cursor = { ...this.#cursor, ...move }
    return { event, data, id: encodeCursor(this.#cursor) }
  }
}

function passed(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
    if (signal.aborted) done()
    function done(): void {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
  })
}

function readFrom(position: string | undefined): ReadFrom {
  return position === undefined ? 'oldest' : { after: position }
}
