/**
 * The gateway: HTTP and server-sent events in, messages to actors and reads of their state out. It is a Hono app that
 * speaks web-standard `fetch` alone; node.ts and deno.ts serve it. It owns nothing: whatever it needs comes in as
 * `Services`, and any number of gateways can stand side by side.
 *
 * The way of a request: edge.ts (host, headers, metrics) → the operation that api.ts found (role, deadline) → its route
 * in routes/. Errors from anywhere end in problems.ts.
 */
import { Hono } from 'hono'
import { Api, type Env } from './api.ts'
import { edge, isLoopback } from './edge.ts'
import { EventStreams } from './event-streams.ts'
import { openApiRoute } from './openapi.ts'
import { servePage } from './page.ts'
import { GatewayError, problemOf, problemResponse } from './problems.ts'
import { JobStarter } from './job-starter.ts'
import { batchEventRoutes } from './routes/batch-events.ts'
import { batchRoutes } from './routes/batches.ts'
import { actorRoutes } from './routes/actors.ts'
import { checkpointRoutes } from './routes/checkpoints.ts'
import { datasetRoutes } from './routes/datasets.ts'
import { deadLetterRoutes } from './routes/dead-letters.ts'
import { jobEventRoutes } from './routes/job-events.ts'
import { jobControlRoutes } from './routes/job-control.ts'
import { jobRoutes } from './routes/jobs.ts'
import { modelRoutes } from './routes/models.ts'
import { modelUseRoutes } from './routes/model-uses.ts'
import { poolRoutes } from './routes/pools.ts'
import { sweepRoutes } from './routes/sweeps.ts'
import { sessionRoutes } from './routes/session.ts'
import { systemRoutes } from './routes/system.ts'
import { workerRoutes } from './routes/workers.ts'
import type { Services, Settings } from './services.ts'

/** Throws `auth.unprotected` for a gateway without authentication that others than this machine could reach. */
export function createApp(services: Services, settings: Settings): Hono<Env> {
  if (services.auth === 'none' && !isLoopback(settings.hostname)) {
    throw new GatewayError(
      'auth.unprotected',
      `Cannot serve ${settings.hostname} without authentication: turn it on, or listen on 127.0.0.1`,
    )
  }
  const app = new Hono<Env>()
  app.use(edge(services, settings))
  app.onError((error, c) => {
    if (problemOf(error).unforeseen) services.trouble(`${c.req.method} ${c.req.path}`, error)
    return problemResponse(error)
  })
  app.notFound((c) => problemResponse(new GatewayError('resource.unknown', `There is nothing at ${c.req.path}`)))

  const api = new Api(app, services, settings)
  const streams = new EventStreams(settings)
  const starter = new JobStarter(services)
  sessionRoutes(api, services)
  jobRoutes(api, services, starter)
  checkpointRoutes(api, services, starter)
  jobControlRoutes(api, services, starter)
  jobEventRoutes(api, services, streams)
  sweepRoutes(api, services, starter, streams)
  datasetRoutes(api, services, settings)
  batchRoutes(api, services, starter)
  batchEventRoutes(api, services, streams)
  modelRoutes(api, services)
  modelUseRoutes(api, services)
  workerRoutes(api, services)
  poolRoutes(api, services)
  systemRoutes(api, services)
  actorRoutes(api, services)
  deadLetterRoutes(api, services)
  openApiRoute(api, services.version)
  api.seal()
  servePage(app, settings.page)
  return app
}
