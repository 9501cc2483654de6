/** `/v1/jobs/:id/events`: a job's life as server-sent events. */
import { pathParam, principalOf, type Api } from '../api.ts'
import { EVENT_STREAM_HEADERS, EventChannel } from '../event-channel.ts'
import { findJob, jobFor } from '../job-access.ts'
import { decodeCursor, isOver, sendJobEvents, type Cursor } from '../job-events.ts'
import { LIMITS } from '../limits.ts'
import { GatewayError } from '../problems.ts'
import type { Services, Settings } from '../services.ts'

export function jobEventRoutes(api: Api, services: Services, settings: Settings): void {
  let streams = 0
  api.on(
    {
      method: 'get',
      path: '/v1/jobs/:id/events',
      tag: 'jobs',
      summary:
        'The life of a job: `state` with the job, `metrics`, `log`, and `end` when it is over. After a break, ' +
        '`Last-Event-ID` resumes without loss or repeat; `gap` tells of what was trimmed meanwhile, `resync` of what ' +
        'cannot be resumed, `problem` of an error.',
      access: 'viewer',
      deadline: 'none',
      headers: { 'Last-Event-ID': 'The id of the last event that arrived.' },
      answers: {
        200: { description: 'Events.', content: { 'text/event-stream': 'text' } },
        204: { description: 'The job is over and `end` was sent: do not connect again.' },
      },
    },
    async (c) => {
      const id = pathParam(c, 'id')
      const job = await jobFor(services, id, principalOf(c))
      const lastEventId = c.req.header('last-event-id')
      const from: Cursor | 'start' | 'unreadable' =
        lastEventId === undefined || lastEventId === '' ? 'start' : decodeCursor(lastEventId)
      if (typeof from === 'object' && from.ended === true && isOver(job)) return new Response(null, { status: 204 })
      // Hono serves HEAD by GET and leaves the body unread: a stream would wait for its reader for ever.
      if (c.req.method === 'HEAD') return new Response(null, { headers: EVENT_STREAM_HEADERS })
      if (streams >= LIMITS.eventStreamsMax) {
        throw new GatewayError('streams.exhausted', `This gateway serves ${streams} streams already`, {
          headers: { 'Retry-After': '5' },
        })
      }
      const channel = new EventChannel({
        signals: [c.req.raw.signal, settings.stopping],
        heartbeatMs: settings.heartbeatMs ?? LIMITS.heartbeatMs,
        stallMs: settings.eventStallMs ?? LIMITS.eventStallMs,
      })
      streams++
      void sendJobEvents({ client: services.client, id, view: () => findJob(services, id) }, channel, from).finally(
        () => streams--,
      )
      return channel.response()
    },
  )
}
