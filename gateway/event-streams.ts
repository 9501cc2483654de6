/** The streams of events that this gateway serves: as many as it can bear, each from where its client stopped. */
import type { Context } from './api.ts'
import { EVENT_STREAM_HEADERS, EventChannel } from './event-channel.ts'
import { decodeCursor, isOver, sendEvents } from './events.ts'
import type { Cursor, EventSources } from './events.ts'
import { LIMITS } from './limits.ts'
import { GatewayError } from './problems.ts'
import type { Settings } from './services.ts'

/** What a route says of itself that answers with such a stream. */
export const EVENT_STREAM_OPERATION = {
  method: 'get',
  access: 'viewer',
  deadline: 'none',
  headers: { 'Last-Event-ID': 'The id of the last event that arrived.' },
  answers: {
    200: { description: 'Events.', content: { 'text/event-stream': 'text' } },
    204: { description: 'It is over and `end` was sent: do not connect again.' },
  },
} as const

export class EventStreams {
  readonly #settings: Settings
  #open = 0

  constructor(settings: Settings) {
    this.#settings = settings
  }

  /** `view` is what the stream is of, as it is now. */
  serve(c: Context, view: Parameters<typeof isOver>[0], sources: EventSources): Response {
    const lastEventId = c.req.header('last-event-id')
    const from: Cursor | 'start' | 'unreadable' =
      lastEventId === undefined || lastEventId === '' ? 'start' : decodeCursor(lastEventId)
    if (typeof from === 'object' && from.ended === true && isOver(view)) return new Response(null, { status: 204 })
    // Hono serves HEAD by GET and leaves the body unread: a stream would wait for its reader for ever.
    if (c.req.method === 'HEAD') return new Response(null, { headers: EVENT_STREAM_HEADERS })
    if (this.#open >= LIMITS.eventStreamsMax) {
      throw new GatewayError('streams.exhausted', `This gateway serves ${this.#open} streams already`, {
        headers: { 'Retry-After': '5' },
      })
    }
    const { stopping, heartbeatMs = LIMITS.heartbeatMs, eventStallMs = LIMITS.eventStallMs } = this.#settings
    const channel = new EventChannel({ signals: [c.req.raw.signal, stopping], heartbeatMs, stallMs: eventStallMs })
    this.#open++
    void sendEvents(sources, channel, from).finally(() => this.#open--)
    return channel.response()
  }
}
