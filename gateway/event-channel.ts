/**
 * A stream of server-sent events to one client (HTML Standard, 9.2), as a Response over a ReadableStream, which works
 * on Node, Deno and HTTP/2 alike.
 *
 * Invariants:
 * 1. At most `queueMax` frames wait for the client. A sender waits for room; what it reads from is durable and keeps.
 * 2. A client that takes nothing for `stallMs` while the queue is full is told `resync` and dropped.
 * 3. `signal` aborts, once, when the stream ends for whatever reason; everything that feeds the channel hangs on it.
 */
import { LIMITS } from './limits.ts'

export interface Frame {
  readonly event: string
  readonly data: unknown
  /** What `Last-Event-ID` will say when the client comes back. */
  readonly id?: string
}

export interface ChannelOptions {
  /** Each ends the stream: the request's, the gateway's. */
  readonly signals: readonly AbortSignal[]
  readonly heartbeatMs: number
  readonly stallMs: number
  readonly queueMax?: number
}

export const EVENT_STREAM_HEADERS = {
  'Content-Type': 'text/event-stream; charset=utf-8',
  'Cache-Control': 'no-cache, no-transform',
  'X-Accel-Buffering': 'no',
}

export class EventChannel {
  readonly #closed = new AbortController()
  readonly #stream: ReadableStream<Uint8Array<ArrayBuffer>>
  readonly #stallMs: number
  readonly #encoder = new TextEncoder()
  readonly #heart: ReturnType<typeof setInterval>
  #controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>> | undefined
  /** Resolved at the client's next read. */
  #room = Promise.withResolvers<void>()

  constructor({ signals, heartbeatMs, stallMs, queueMax = LIMITS.eventQueueMax }: ChannelOptions) {
    this.#stallMs = stallMs
    this.#stream = new ReadableStream(
      {
        start: (controller) => {
          this.#controller = controller
        },
        pull: () => {
          this.#room.resolve()
          this.#room = Promise.withResolvers()
        },
        cancel: () => this.#end(),
      },
      new CountQueuingStrategy({ highWaterMark: queueMax }),
    )
    this.#heart = setInterval(() => {
      if (this.#hasRoom()) this.#write(':\n\n')
    }, heartbeatMs)
    this.#write(`retry: ${LIMITS.reconnectMs}\n\n`)
    const ended = AbortSignal.any([...signals])
    if (ended.aborted) this.close()
    else ended.addEventListener('abort', () => this.close(), { once: true, signal: this.signal })
  }

  get signal(): AbortSignal {
    return this.#closed.signal
  }

  response(): Response {
    return new Response(this.#stream, { headers: EVENT_STREAM_HEADERS })
  }

  /**
   * Sends what `make` gives once there is room; `make` runs in the same turn as the sending, so that an id which it
   * builds tells exactly what went before; null sends nothing. Gives false when the stream has ended.
   */
  async send(make: () => Frame | null): Promise<boolean> {
    while (!this.signal.aborted && !this.#hasRoom()) {
      if (!(await this.#waitForRoom())) {
        this.#write(frameText({ event: 'resync', data: { reason: 'This client was too slow; read the state again.' } }))
        this.close()
      }
    }
    if (this.signal.aborted) return false
    const frame = make()
    if (frame !== null) this.#write(frameText(frame))
    return true
  }

  /** Ends the stream after what was sent. */
  close(): void {
    if (this.signal.aborted) return
    this.#controller?.close()
    this.#end()
  }

  #end(): void {
    clearInterval(this.#heart)
    this.#closed.abort()
    this.#room.resolve()
  }

  #hasRoom(): boolean {
    return (this.#controller?.desiredSize ?? 0) > 0
  }

  #write(text: string): void {
    this.#controller?.enqueue(this.#encoder.encode(text))
  }

  async #waitForRoom(): Promise<boolean> {
    const stalled = Promise.withResolvers<boolean>()
    const timer = setTimeout(() => stalled.resolve(false), this.#stallMs)
    const gone = (): void => stalled.resolve(true)
    this.signal.addEventListener('abort', gone, { once: true })
    try {
      return await Promise.race([this.#room.promise.then(() => true), stalled.promise])
    } finally {
      clearTimeout(timer)
      this.signal.removeEventListener('abort', gone)
    }
  }
}

/** One frame on the wire. JSON has no raw line breaks, so the data is one line. */
export function frameText({ event, data, id }: Frame): string {
  return `${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`
}
