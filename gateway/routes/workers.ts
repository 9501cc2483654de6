/** `/v1/workers`: who computes. */
import { z } from 'zod'
import type { WorkerView } from '../../machines/views.ts'
import { address } from '../../runtime/client.ts'
import { pathParam, type Api } from '../api.ts'
import { LIMITS } from '../limits.ts'
import { GatewayError } from '../problems.ts'
import { workerViewSchema } from '../schemas/views.ts'
import type { Services } from '../services.ts'
import { traceOf } from '../trace.ts'

export function workerRoutes(api: Api, services: Services): void {
  api.on(
    {
      method: 'get',
      path: '/v1/workers',
      tag: 'workers',
      summary: 'The workers of the fleet.',
      access: 'viewer',
      answers: { 200: { description: 'All workers.', content: z.object({ items: z.array(workerViewSchema) }) } },
    },
    async (c) => c.json({ items: await services.workers() }),
  )

  api.on(
    {
      method: 'post',
      path: '/v1/workers/:id/drain',
      tag: 'workers',
      summary: 'Give a worker no more tasks. It leaves when those it has are done.',
      access: 'admin',
      answers: { 202: { description: 'The worker.', content: workerViewSchema } },
    },
    async (c) => {
      const id = pathParam(c, 'id')
      const find = async (): Promise<WorkerView> => {
        const worker = (await services.workers()).find((other) => other.id === id)
        if (worker !== undefined && worker.state !== 'gone') return worker
        throw new GatewayError('resource.unknown', `There is no worker ${JSON.stringify(id.slice(0, 80))}`)
      }
      await find() // before an address is made of what somebody sent
      const options = { ...traceOf(c.req), control: true, signal: c.get('signal'), timeoutMs: LIMITS.askMs }
      await services.client.ask(address('worker', id), { type: 'drain' }, options)
      return c.json(await find(), 202)
    },
  )
}
