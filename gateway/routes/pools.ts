/** `/v1/pools`: how a pool stands, and what an admin sets for it. */
import { z } from 'zod'
import type { PoolView } from '../../machines/views.ts'
import { address } from '../../runtime/client.ts'
import { pathParam, type Api } from '../api.ts'
import { checkBody, JSON_TYPES, readBody } from '../body.ts'
import { LIMITS } from '../limits.ts'
import { GatewayError } from '../problems.ts'
import type { Services } from '../services.ts'
import { traceOf } from '../trace.ts'

const policy = z.enum(['affinity', 'least-loaded', 'round-robin', 'resource-aware'])
const quota = z.int().min(1).max(100_000)

const settingsBody = z
  .strictObject({
    policy: policy.exactOptional().describe('How a worker is chosen among those that are free.'),
    slotsPerOwner: quota.nullable().exactOptional().describe('Slots that one owner may hold; null for any number.'),
    slotsOf: z.record(z.string().max(200), quota).exactOptional().describe('The same for single owners.'),
    jobsPerOwner: quota
      .nullable()
      .exactOptional()
      .describe('Jobs that one owner may have, under way or waiting; more are refused with 429. Null for any number.'),
  })
  .meta({ id: 'PoolSettingsRequest' })

const count = z.int()
const poolViewSchema = z
  .object({
    pool: z.string(),
    settings: z.object({
      policy,
      slotsPerOwner: quota.nullable(),
      slotsOf: z.record(z.string(), quota),
      jobsPerOwner: quota.nullable(),
    }),
    slots: z.object({ total: count, used: count }),
    waiting: z.object({ high: count, normal: count, low: count }).describe('Tasks and gangs that wait, by class.'),
  })
  .meta({ id: 'Pool' }) satisfies z.ZodType<PoolView>

export function poolRoutes(api: Api, services: Services): void {
  const find = async (name: string): Promise<PoolView> => {
    const pool = await services.pool(name)
    if (pool !== null) return pool
    throw new GatewayError('resource.unknown', `There is no pool ${JSON.stringify(name.slice(0, 80))}`)
  }

  api.on(
    {
      method: 'get',
      path: '/v1/pools',
      tag: 'workers',
      summary: 'All pools. One comes to life with the first worker that joins it.',
      access: 'viewer',
      answers: { 200: { description: 'The pools.', content: z.object({ items: z.array(poolViewSchema) }) } },
    },
    async (c) => {
      const pools = await Promise.all((await services.poolNames()).map((name) => services.pool(name)))
      return c.json({ items: pools.filter((pool) => pool !== null) })
    },
  )

  api.on(
    {
      method: 'get',
      path: '/v1/pools/:pool',
      tag: 'workers',
      summary: 'A pool: its slots, what waits for them, and its settings.',
      access: 'viewer',
      answers: { 200: { description: 'The pool.', content: poolViewSchema } },
    },
    async (c) => c.json(await find(pathParam(c, 'pool'))),
  )

  api.on(
    {
      method: 'put',
      path: '/v1/pools/:pool/settings',
      tag: 'workers',
      summary: 'Change the settings of a pool. What is left out stays as it is.',
      access: 'admin',
      body: { schema: settingsBody, types: JSON_TYPES },
      answers: { 200: { description: 'The pool.', content: poolViewSchema } },
    },
    async (c) => {
      const { pool } = await find(pathParam(c, 'pool')) // before an address is made of what somebody sent
      const settings = checkBody(settingsBody, await readBody(c, JSON_TYPES, LIMITS.specBytesMax), 'request.invalid')
      const options = { ...traceOf(c.req), signal: c.get('signal'), timeoutMs: LIMITS.askMs }
      const event: { readonly type: string } & Record<string, unknown> = { type: 'pool.configure', settings }
      await services.client.ask(address('scheduler', pool), event, options)
      return c.json(await find(pool))
    },
  )
}
