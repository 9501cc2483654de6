import { expect, test } from 'vitest'
import type { PoolView } from '../../machines/views.ts'
import { startFleet } from './fleet.ts'

const POOL: PoolView = {
  pool: 'default',
  settings: { policy: 'affinity', slotsPerOwner: null, slotsOf: {}, jobsPerOwner: null },
  slots: { total: 4, used: 1 },
  waiting: { high: 0, normal: 2, low: 0 },
}

test('a pool is shown to whoever may look, and changed by admins alone', async () => {
  await using fleet = await startFleet({ services: { pool: async (name) => (name === 'default' ? POOL : null) } })
  expect(await (await fleet.request('/v1/pools/default')).json()).toEqual(POOL)
  expect((await fleet.request('/v1/pools/other')).status).toBe(404)
  const put = (body: object, as?: string): Promise<Response> =>
    fleet.request('/v1/pools/default/settings', {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      ...(as !== undefined && { as }),
    })
  expect((await put({ policy: 'round-robin' })).status).toBe(403)
  const refused = await put({ policy: 'fastest' }, await fleet.token('admin'))
  expect([refused.status, await refused.json()]).toMatchObject([422, { errors: [{ path: 'policy' }] }])
})
