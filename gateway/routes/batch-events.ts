/** What a batch job tells: its life as server-sent events, and its log. */
import type { Api } from '../api.ts'
import { batchFor, findBatch } from '../batch-access.ts'
import { EVENT_STREAM_OPERATION, type EventStreams } from '../event-streams.ts'
import { jobAddress, logsStream } from '../job-address.ts'
import { answerWithLog, LOG_OPERATION } from '../job-log.ts'
import type { Services } from '../services.ts'

export function batchEventRoutes(api: Api, services: Services, streams: EventStreams): void {
  api.on(
    {
      ...EVENT_STREAM_OPERATION,
      path: '/v1/batches/:id/events',
      tag: 'batches',
      summary:
        'The life of a batch job: `state` with the job, `log`, and `end` when it is over. It resumes as a job’s events do.',
    },
    async (c) => {
      const job = await batchFor(c, services)
      return streams.serve(c, job, {
        client: services.client,
        actor: jobAddress(job.id),
        streams: { logs: logsStream(job.id) },
        view: () => findBatch(services, job.id),
      })
    },
  )

  api.on({ ...LOG_OPERATION, path: '/v1/batches/:id/logs', tag: 'batches' }, async (c) => {
    const { id } = await batchFor(c, services)
    return answerWithLog(c, services, id)
  })
}
