/** `/v1/workers`: who computes. */
import { z } from 'zod'
import type { Api } from '../api.ts'
import { workerViewSchema } from '../schemas/views.ts'
import type { Services } from '../services.ts'

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
}
