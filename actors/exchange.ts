/**
 * How members of a synchronous window hear each other. Who joined, and at last what the window came to, are notes in a
 * capped stream of the job, so that a task of it which is still to run finds them. Leaves and states are for those who
 * are there: they are published, with their bytes or, where those are many, with the name of a blob that holds them.
 *
 * A step waits for its slowest leaf, so the way from kernel to kernel is part of every step. With a blob for each leaf
 * that was 6 ms of 43, more than half of them for the blob.
 *
 * Losing a note, a message or a blob costs time alone: whoever misses a leaf computes it (kernels/sync.ts). So nothing
 * here is retried, and the blobs are deleted as soon as their member has ended.
 */
import type { SyncMessage } from '../kernels/mod.ts'
import type { Client, Json } from '../runtime/mod.ts'
import type { Blobs } from '../stores/mod.ts'
import type { Moved } from './moved.ts'
import type { Telemetry } from './streams.ts'

export const exchangeStream = (job: string): string => `job:${job}:exchange`

export interface ExchangeServices extends Pick<Telemetry, 'trouble'> {
  readonly client: Pick<Client, 'append' | 'stream' | 'publish' | 'subscribe'>
  readonly blobs: Pick<Blobs, 'put' | 'bytes' | 'delete'>
}

/** What a window came to, as one member tells the rest. Plain data. */
export type WindowEnd = Readonly<Record<string, Json>>

type Note = { readonly window: string; readonly member: string; readonly replica: number } & (
  | { readonly kind: 'join' }
  | { readonly kind: 'end'; readonly end: WindowEnd }
)

type WithoutBytes<Message> = Message extends unknown ? Omit<Message, 'bytes'> : never

interface Saying {
  readonly window: string
  readonly said: WithoutBytes<Exclude<SyncMessage, { kind: 'join' }>>
  readonly content: { readonly base64: string } | { readonly sha256: string }
}

/** What is more goes by the blob store: Redis cuts off a subscriber that is behind by some megabytes. */
const PUBLISHED_MAX_BYTES = 256 * 1024

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
  #hearing: Promise<void> = Promise.resolve()

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
    this.#following = this.#follow(hear).catch((error: unknown) => this.#trouble(error))
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
    await this.#hearing
    const { blobs } = this.#services
    for (const sha256 of this.#told) await blobs.delete(sha256).catch(() => false) // swept later, as what a crash leaves
  }

  async #tell(message: SyncMessage): Promise<void> {
    if (this.#stop.signal.aborted) return
    const { window, job } = this.#options
    try {
      if (message.kind === 'join') {
        await this.#append({ window, ...message })
        return
      }
      const { bytes, ...said } = message
      const content = await this.#contentOf(bytes)
      this.#options.moved.exchangeBytes += bytes.byteLength
      const saying: Saying = { window, said, content }
      await this.#services.client.publish(exchangeStream(job), saying as unknown as Json) // plain data
    } catch (error) {
      this.#trouble(error)
    }
  }

  async #contentOf(bytes: Uint8Array): Promise<Saying['content']> {
    if (bytes.byteLength <= PUBLISHED_MAX_BYTES) return { base64: Buffer.from(bytes).toString('base64') }
    const { sha256 } = await this.#services.blobs.put(bytes)
    this.#told.add(sha256)
    return { sha256 }
  }

  async #append(note: Note): Promise<void> {
    await this.#services.client.append(exchangeStream(this.#options.job), [note as unknown as Json]) // plain data
  }

  async #follow(hear: (message: SyncMessage) => void): Promise<void> {
    const { job, member: own } = this.#options
    const unsubscribe = await this.#services.client.subscribe(exchangeStream(job), (message) => {
      const saying = message as unknown as Saying // published by another member's #tell
      if (!isOfOther(saying, this.#options)) return
      this.#hearing = this.#hearing.then(() => this.#hear(saying, hear)).catch((error: unknown) => this.#trouble(error))
    })
    try {
      for await (const note of this.#notes(true)) {
        if (note.member === own) continue
        if (note.kind === 'end') this.#takeEnd(note.end)
        else hear({ kind: 'join', member: note.member, replica: note.replica })
      }
    } finally {
      await unsubscribe().catch(() => {}) // a subscription dies with its connection
    }
  }

  async #hear({ said, content }: Saying, hear: (message: SyncMessage) => void): Promise<void> {
    const bytes = 'base64' in content ? Buffer.from(content.base64, 'base64') : await this.#bytesOf(content.sha256)
    if (bytes === null || this.#stop.signal.aborted) return
    this.#options.moved.exchangeBytes += bytes.byteLength
    hear({ ...said, bytes })
  }

  /** Null when they are gone already: their member has ended, and this one computes for itself. */
  #bytesOf(sha256: string): Promise<Uint8Array | null> {
    return this.#services.blobs.bytes(sha256).catch(() => null)
  }

  #trouble(error: unknown): void {
    if (!this.#stop.signal.aborted) this.#services.trouble(`exchange of ${this.#options.job}`, error)
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

function isOfOther({ window, said }: Saying, own: WindowOptions): boolean {
  return window === own.window && said.member !== own.member
}
