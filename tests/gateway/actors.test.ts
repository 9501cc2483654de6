import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Problem } from '../../gateway/problems.ts'
import { startFleet, type Fleet } from './fleet.ts'

interface Page {
  readonly items: readonly { readonly actor: string; readonly state: string; readonly since: number }[]
  readonly next?: string
}

let fleet: Fleet
let admin: string

beforeEach(async () => {
  fleet = await startFleet()
  admin = await fleet.token('admin')
})
afterEach(() => fleet[Symbol.asyncDispose]())

const get = (path: string, token = admin) => fleet.request(path, { headers: { authorization: `Bearer ${token}` } })
const pageAt = async (path: string): Promise<Page> => {
  const response = await get(path)
  expect(response.status).toBe(200)
  return (await response.json()) as Page
}

test('actors are listed by kind and state, page by page, and counted', async () => {
  const ids: string[] = []
  for (let i = 0; i < 5; i++) ids.push((await fleet.submit()).id)
  for (const id of ids) await fleet.reached(id, 'preparing')
  const { items } = await pageAt('/v1/actors?kind=job')
  expect(items.map(({ actor }) => actor).sort()).toEqual(ids.map((id) => `job/${id}`).sort())
  expect(items[0]).toEqual({ actor: items[0]?.actor, state: 'preparing', since: expect.any(Number) })

  const found: string[] = []
  let next: string | undefined
  do {
    const cursor = next === undefined ? '' : `&cursor=${encodeURIComponent(next)}`
    const page = await pageAt(`/v1/actors?kind=job&state=preparing&limit=2${cursor}`)
    found.push(...page.items.map(({ actor }) => actor))
    next = page.next
  } while (next !== undefined)
  expect(found).toEqual(items.map(({ actor }) => actor))

  expect(await pageAt('/v1/actors?kind=job&state=completed')).toEqual({ items: [] })
  const counts = { items: [{ kind: 'job', state: 'preparing', actors: 5 }] }
  const quota = { kind: 'quota', state: 'open', actors: 1 } // who counts what ada has
  expect(await pageAt('/v1/actors/counts')).toEqual({ items: [...counts.items, quota] })
  expect(await pageAt('/v1/actors/counts?kind=job')).toEqual(counts)
  expect(await pageAt('/v1/actors/counts?kind=worker')).toEqual({ items: [] })
})

test.each([
  ['', 'kind'],
  ['?kind=Job', 'kind'],
  ['?kind=job&cursor=x', 'cursor'],
  ['?kind=job&limit=0', 'limit'],
  ['?kind=job&sate=x', 'sate'],
])('a query that is wrong is refused, and its field is named: %s', async (query, path) => {
  const response = await get(`/v1/actors${query}`)
  expect(response.status).toBe(422)
  expect(((await response.json()) as Problem).errors?.[0]?.path).toBe(path)
})

test('actors are listed for admins alone', async () => {
  for (const role of ['user', 'viewer'] as const) {
    const token = await fleet.token(role)
    expect((await get('/v1/actors?kind=job', token)).status).toBe(403)
    expect((await get('/v1/actors/counts', token)).status).toBe(403)
  }
})
