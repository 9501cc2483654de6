import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Problem } from '../../gateway/problems.ts'
import { address } from '../../runtime/mod.ts'
import { startFleet, type Fleet } from './fleet.ts'

interface Letter {
  readonly id: string
  readonly to: string
  readonly fault: { readonly code: string }
  readonly content: { readonly type: string }
}

const PATH = '/v1/system/dead-letters'
const nobody = address('job', 'nobody')
let fleet: Fleet
let admin: string

beforeEach(async () => {
  fleet = await startFleet()
  admin = await fleet.token('admin')
})
afterEach(() => fleet[Symbol.asyncDispose]())

const request = (path: string, init: RequestInit = {}) =>
  fleet.request(path, {
    ...init,
    headers: { authorization: `Bearer ${admin}`, ...(init.body != null && { 'content-type': 'application/json' }) },
  })

async function letters(): Promise<readonly Letter[]> {
  const response = await request(PATH)
  expect(response.status).toBe(200)
  return ((await response.json()) as { items: readonly Letter[] }).items
}

async function aLetter(): Promise<Letter> {
  const dead = fleet.node.events.once('dead-letter')
  await fleet.client.tell(nobody, { type: 'cancel' })
  await dead
  return (await letters())[0]!
}

test('dead letters are listed, shown, and dropped', async () => {
  const letter = await aLetter()
  expect(letter).toMatchObject({ to: nobody, fault: { code: 'actor.unknown' }, content: { type: 'cancel' } })
  expect(await (await request(`${PATH}/${letter.id}`)).json()).toEqual(letter)

  expect((await request(`${PATH}/${letter.id}`, { method: 'DELETE' })).status).toBe(204)
  expect(await letters()).toEqual([])
  expect((await request(`${PATH}/${letter.id}`)).status).toBe(404)
  expect((await request(`${PATH}/${letter.id}`, { method: 'DELETE' })).status).toBe(404)
})

test('a letter is sent again as it is, or with another event', async () => {
  const first = await aLetter()
  const again = fleet.node.events.once('dead-letter') // there is still nobody
  expect((await request(`${PATH}/${first.id}/resend`, { method: 'POST' })).status).toBe(202)
  await again
  const [second] = await letters()
  expect(second).toMatchObject({ to: nobody, content: { type: 'cancel' } })
  expect(second?.id).not.toBe(first.id)

  const edited = fleet.node.events.once('dead-letter')
  const body = JSON.stringify({ event: { type: 'pause', why: 'edited' } })
  expect((await request(`${PATH}/${second?.id}/resend`, { method: 'POST', body })).status).toBe(202)
  await edited
  expect(await letters()).toMatchObject([{ content: { type: 'pause', why: 'edited' } }])
  expect((await request(`${PATH}/${second?.id}/resend`, { method: 'POST', body })).status).toBe(404)
})

test.each([
  ['{"event":{"type":"@spawn"}}', 'event.type'],
  ['{"event":{}}', 'event.type'],
  ['{"evnt":{"type":"x"}}', 'evnt'],
])('an edited event is checked, and a wrong one sends nothing: %s', async (body, path) => {
  const { id } = await aLetter()
  const response = await request(`${PATH}/${id}/resend`, { method: 'POST', body })
  expect(response.status).toBe(422)
  const { errors } = (await response.json()) as Problem
  expect(errors?.[0]?.path).toBe(path)
  expect(await letters()).toHaveLength(1)
})

test('dead letters are for admins alone, and their ids are checked', async () => {
  for (const role of ['user', 'viewer'] as const) {
    const response = await fleet.request(PATH, { headers: { authorization: `Bearer ${await fleet.token(role)}` } })
    expect(response.status).toBe(403)
  }
  expect((await request(`${PATH}/${encodeURIComponent('../../meta')}`)).status).toBe(404)
})
