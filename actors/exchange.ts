/**
 * How members of a synchronous window hear each other: what one tells becomes a blob, and a note of it in a capped
 * stream of the job, which the others follow. The notes say who joined, whose leaves and states are where, and at last
 * what the window came to, so that a task of it which is still to run need not.
 *
 * Losing a note or a blob costs time alone: whoever misses a leaf computes it (kernels/sync.ts). So nothing here is
 * retried, and the blobs are deleted as soon as their member has ended.
 */
import type { SyncMessage } from '../kernels/mod.ts'
import type { Client, Json } from '../runtime/mod.ts'
import type { Blobs } from '../stores/mod.ts'
import type { Moved } from './moved.ts'
import type { Telemetry } from './streams.ts'

export const exchangeStream = (job: string): string => `job:${job}:exchange`

export interface ExchangeServices extends Pick<Telemetry, 'trouble'> {
  readonly client: Pick<Client, 'append' | 'stream'>
  readonly blobs: Pick<Blobs, 'put' | 'bytes' | 'delete'>
}

/** What a window came to, as one member tells the rest. Plain data. */
export type WindowEnd = Readonly<Record<string, Json>>

type Note = { readonly window: string; readonly member: string; readonly replica: number } & (
  | { readonly kind: 'join' }
  | { readonly kind: 'leaf' | 'state'; readonly step: number; readonly sha256: string }
  | { readonly kind: 'end'; readonly end: WindowEnd }
)

/** Up to where a job's stream was read, so that a window's notes are not looked for among all of the job's. */
export class ExchangePositions {
  readonly #known = new Map<string, { readonly window: string; readonly start: string; end: string }>()

  /** Where the notes of this window begin at the earliest. */
  startOf(stream: string, window: string): 'oldest' | { readonly after: string } {
    const known = this.#known.get(stream)
    const after = known?.window === window ? known.start : known?.end
    return after === undefined ? 'oldest' : { after }
  }

  readTo(stream: string, window: string, position: string): void {
    const known = this.#known.get(stream)
    if (known?.window === window) known.end = position
    else this.#known.set(stream, { window, start: known?.end ?? '0-0', end: position })
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= JOBS_MAX) return
      this.#known.delete(oldest)
    }
  }
}

const JOBS_MAX = 64

export interface WindowOptions {
  readonly job: string
  /** Names what the window computes: members of one window have the same inputs. */
  readonly window: string
  /** Like no other's. */
  readonly member: string
  readonly replica: number
  readonly positions: ExchangePositions
  readonly moved: Moved
}

export class WindowExchange implements AsyncDisposable {
  readonly #services: ExchangeServices
  readonly #options: WindowOptions
  readonly #stop = new AbortController()
  readonly #ended = new AbortController()
  readonly #told = new Set<string>()
  readonly #history: SyncMessage[] = []
  #end: WindowEnd | null = null
  #position: 'oldest' | { readonly after: string }
  #telling: Promise<void> = Promise.resolve()
  #following: Promise<void> = Promise.resolve()

  private constructor(services: ExchangeServices, options: WindowOptions) {
    this.#services = services
    this.#options = options
    this.#position = options.positions.startOf(exchangeStream(options.job), options.window)
  }

  /** Resolves when what was told before is known. */
  static async open(services: ExchangeServices, options: WindowOptions): Promise<WindowExchange> {
    const exchange = new WindowExchange(services, options)
    for await (const note of exchange.#notes(false)) {
      if (note.kind === 'end') exchange.#takeEnd(note.end)
      else if (note.kind === 'join')
        exchange.#history.push({ kind: 'join', member: note.member, replica: note.replica })
    }
    return exchange
  }

  /** What the window came to, where a member has ended. */
  get end(): WindowEnd | null {
    return this.#end
  }

  /** Aborted when another member has ended. */
  get ended(): AbortSignal {
    return this.#ended.signal
  }

  /** From now on passes on what the others tell, beginning with who is there. */
  listen(hear: (message: SyncMessage) => void): void {
    for (const message of this.#history) hear(message)
    this.#following = this.#follow(hear).catch((error: unknown) => {
      if (!this.#stop.signal.aborted) this.#services.trouble(`exchange of ${this.#options.job}`, error)
    })
  }

  /** One thing after the other, in the order of telling; nobody waits for it. */
  tell(message: SyncMessage): void {
    this.#telling = this.#telling.then(() => this.#tell(message))
  }

  /** Tells what the window came to. */
  async tellEnd(end: WindowEnd): Promise<void> {
    await this.#telling
    const { window, member, replica } = this.#options
    await this.#append({ window, member, replica, kind: 'end', end })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await Promise.all([this.#telling, this.#following])
    const { blobs } = this.#services
    for (const sha256 of this.#told) await blobs.delete(sha256).catch(() => false) // swept later, as what a crash leaves
  }

  async #tell(message: SyncMessage): Promise<void> {
    if (this.#stop.signal.aborted) return
    const { window } = this.#options
    try {
      const { member, replica, kind } = message
      if (message.kind === 'join') {
        await this.#append({ window, member, replica, kind: 'join' })
        return
      }
      const { sha256, sizeBytes } = await this.#services.blobs.put(message.bytes)
      this.#told.add(sha256)
      this.#options.moved.exchangeBytes += sizeBytes
      if (kind !== 'join') await this.#append({ window, member, replica, kind, step: message.step, sha256 })
    } catch (error) {
      this.#services.trouble(`exchange of ${this.#options.job}`, error)
    }
  }

  async #append(note: Note): Promise<void> {
    await this.#services.client.append(exchangeStream(this.#options.job), [note as unknown as Json]) // plain data
  }

  async #follow(hear: (message: SyncMessage) => void): Promise<void> {
    for await (const note of this.#notes(true)) {
      if (note.member === this.#options.member) continue
      const { member, replica } = note
      if (note.kind === 'end') this.#takeEnd(note.end)
      else if (note.kind === 'join') hear({ kind: 'join', member, replica })
      else {
        const { kind, step, sha256 } = note
        // Gone already: its member has ended, and this one computes for itself.
        const bytes = await this.#services.blobs.bytes(sha256).catch(() => null)
        if (bytes === null) continue
        this.#options.moved.exchangeBytes += bytes.byteLength
        hear({ kind, member, replica, step, bytes })
      }
    }
  }

  #takeEnd(end: WindowEnd): void {
    this.#end ??= end
    this.#ended.abort()
  }

  /** The notes of this window. */
  async *#notes(follow: boolean): AsyncGenerator<Note> {
    const { job, window, positions } = this.#options
    const stream = exchangeStream(job)
    const { signal } = this.#stop
    for await (const entry of this.#services.client.stream(stream, this.#position, { signal, follow })) {
      if ('gap' in entry) continue
      this.#position = { after: entry.id }
      positions.readTo(stream, window, entry.id)
      const note = entry.data as unknown as Note // written by another member's #append
      if (note.window === window) yield note
    }
  }
}
