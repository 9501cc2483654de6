/** `/v1/jobs/:id/events`: a job's life as server-sent events. */
import { pathParam, principalOf, type Api } from '../api.ts'
import { EVENT_STREAM_OPERATION, type EventStreams } from '../event-streams.ts'
import { findJob, jobFor } from '../job-access.ts'
import { jobAddress, logsStream, metricsStream } from '../job-address.ts'
import type { Services } from '../services.ts'

export function jobEventRoutes(api: Api, services: Services, streams: EventStreams): void {
  api.on(
    {
      ...EVENT_STREAM_OPERATION,
      path: '/v1/jobs/:id/events',
      tag: 'jobs',
      summary:
        'The life of a job: `state` with the job, `metrics`, `log`, and `end` when it is over. After a break, ' +
        '`Last-Event-ID` resumes without loss or repeat; `gap` tells of what was trimmed meanwhile, `resync` of what ' +
        'cannot be resumed, `problem` of an error.',
    },
    async (c) => {
      const id = pathParam(c, 'id')
      const job = await jobFor(services, id, principalOf(c))
      return streams.serve(c, job, {
        client: services.client,
        actor: jobAddress(id),
        streams: { metrics: metricsStream(id), logs: logsStream(id) },
        view: () => findJob(services, id),
      })
    },
  )
}
