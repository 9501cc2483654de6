import { SignJWT } from 'jose'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createApp } from '../../gateway/app.ts'
import { mintToken, newSecret, Tokens } from '../../gateway/auth.ts'
import { GatewayError } from '../../gateway/problems.ts'
import { startFleet, type Fleet } from './fleet.ts'

let fleet: Fleet

beforeEach(async () => {
  fleet = await startFleet()
})

afterEach(() => fleet[Symbol.asyncDispose]())

const secret = newSecret()
const ada = { subject: 'ada', role: 'user', lifeMs: 60_000 } as const

function refused(reason: RegExp): object {
  return expect.objectContaining({ code: 'auth.invalid', message: expect.stringMatching(reason) as string })
}

/** A request as a browser sends it: no header of ours, but a cookie and where it comes from. */
async function browse(path: string, headers: Record<string, string>, method = 'GET'): Promise<Response> {
  return fleet.fetch(new Request(`http://127.0.0.1:8080${path}`, { method, headers }))
}

async function signIn(): Promise<string> {
  const token = await mintToken(fleet.secret, { ...ada, purpose: 'login' })
  const response = await browse('/v1/session', { authorization: `Bearer ${token}` }, 'POST')
  expect(response.status).toBe(201)
  return response.headers.get('set-cookie')?.split(';')[0] ?? ''
}

test('a token tells who somebody is until it expires', async () => {
  let now = Date.now()
  const tokens = new Tokens(secret, () => now)
  const token = await mintToken(secret, ada, now)

  const principal = await tokens.verify(token, 'access')
  now += 61_000

  expect(principal).toMatchObject({ subject: 'ada', role: 'user' })
  await expect(tokens.verify(token, 'access')).rejects.toEqual(refused(/expired/))
})

test('a token of another secret, algorithm, issuer, audience or role is refused', async () => {
  const tokens = new Tokens(secret)
  const claims = { role: 'admin' }
  const forge = (
    change: (jwt: SignJWT) => SignJWT,
    alg = 'HS256',
    key = secret,
    payload: object = claims,
  ): Promise<string> =>
    change(
      new SignJWT({ ...payload })
        .setProtectedHeader({ alg })
        .setSubject('eve')
        .setIssuer('tensorfleet')
        .setAudience('tensorfleet:access')
        .setJti('1')
        .setExpirationTime('1h'),
    ).sign(key)
  const none = `${btoa('{"alg":"none"}')}.${btoa(JSON.stringify({ sub: 'eve', role: 'admin' }))}.`
  const forged = [
    await forge((jwt) => jwt, 'HS256', newSecret()),
    await forge((jwt) => jwt, 'HS512', crypto.getRandomValues(new Uint8Array(64))),
    await forge((jwt) => jwt.setIssuer('other')),
    await forge((jwt) => jwt.setAudience('other')),
    await forge((jwt) => jwt, 'HS256', secret, { role: 'root' }),
    none,
    'nonsense',
    'x'.repeat(10_000),
  ]

  for (const token of forged) await expect(tokens.verify(token, 'access')).rejects.toBeInstanceOf(GatewayError)
  expect(await tokens.verify(await forge((jwt) => jwt), 'access')).toMatchObject({ subject: 'eve', role: 'admin' })
})

test('a login token opens one session, and nothing else', async () => {
  const tokens = new Tokens(secret)
  const login = await mintToken(secret, { ...ada, purpose: 'login' })

  await expect(tokens.verify(login, 'access')).rejects.toEqual(refused(/fleet/))
  const { token } = await tokens.session(login)

  expect(await tokens.verify(token, 'session')).toMatchObject({ subject: 'ada', role: 'user' })
  await expect(tokens.verify(token, 'access')).rejects.toEqual(refused(/fleet/))
  await expect(tokens.session(login)).rejects.toEqual(refused(/used already/))
  await expect(tokens.session(token)).rejects.toEqual(refused(/fleet/))
})

test('a session made of an access token ends no later than that', async () => {
  const tokens = new Tokens(secret)

  const { principal } = await tokens.session(await mintToken(secret, ada))

  expect(principal.expiresAt).toBeLessThanOrEqual(Date.now() + ada.lifeMs)
})

test('a short secret is refused', () => {
  expect(() => new Tokens(new Uint8Array(31))).toThrow(/31 bytes/)
})

test('without a token there is nothing but probes, the page and the description of the API', async () => {
  const open = ['/', '/healthz', '/readyz', '/metrics', '/openapi.json', '/console/console.js']
  const closed = ['/v1/jobs', '/v1/jobs/JOB1', '/v1/jobs/JOB1/events', '/v1/models', '/v1/workers', '/v1/system']

  for (const path of open) expect([path, (await browse(path, {})).status]).toEqual([path, 200])
  for (const path of closed) {
    const response = await browse(path, {})
    expect([path, response.status]).toEqual([path, 401])
    expect(response.headers.get('www-authenticate')).toContain('Bearer')
  }
})

test('the page reads and acts by its cookie', async () => {
  const cookie = await signIn()
  const { id } = await fleet.submit()

  const read = await browse('/v1/jobs', { cookie })
  const acted = await browse(`/v1/jobs/${id}/cancel`, { cookie, origin: 'http://127.0.0.1:8080' }, 'POST')

  expect([read.status, acted.status]).toEqual([200, 202])
})

test('the cookie is out of reach of scripts and other sites, and has the port in its name', async () => {
  const token = await fleet.token('user')

  const response = await browse('/v1/session', { authorization: `Bearer ${token}` }, 'POST')

  expect(response.headers.get('set-cookie')).toMatch(
    /^tensorfleet_session_8080=\S+; Path=\/; Max-Age=\d+; HttpOnly; SameSite=Strict$/,
  )
})

test('signing out clears the cookie', async () => {
  const cookie = await signIn()

  const response = await browse('/v1/session', { cookie, origin: 'http://127.0.0.1:8080' }, 'DELETE')

  expect(response.status).toBe(204)
  expect(response.headers.get('set-cookie')).toContain('Max-Age=0')
})

test('a foreign page can use neither the cookie nor the sign-in', async () => {
  const cookie = await signIn()
  const token = await fleet.token('user')
  const evil = { origin: 'https://evil.example' }

  const statuses = [
    (await browse('/v1/jobs/JOB1/cancel', { cookie, ...evil }, 'POST')).status,
    (await browse('/v1/session', { cookie, ...evil }, 'DELETE')).status,
    (await browse('/v1/jobs', { cookie, ...evil })).status,
    (await browse('/v1/jobs/JOB1/cancel', { cookie, origin: 'null' }, 'POST')).status,
    (await browse('/v1/jobs/JOB1/cancel', { cookie }, 'POST')).status,
    (await browse('/v1/session', { authorization: `Bearer ${token}`, ...evil }, 'POST')).status,
  ]

  expect(statuses).toEqual([403, 403, 403, 403, 403, 403])
})

test('a name that only resolves to loopback gets no answer', async () => {
  const get = (host: string): Promise<Response> => browse('/healthz', { host })

  expect((await get('evil.example:8080')).status).toBe(421)
  expect((await get('127.0.0.1.evil.example')).status).toBe(421)
  for (const host of ['localhost:8080', '127.0.0.1:1', '[::1]:8080']) expect((await get(host)).status).toBe(200)
})

test('other origins are let in by name only', async () => {
  await using fleet = await startFleet({ settings: { allowedOrigins: ['https://ml.example'] } })
  const as = await fleet.token('viewer')
  const from = (origin: string, method = 'GET'): Promise<Response> =>
    fleet.request('/v1/jobs', { as, method, headers: { origin } })

  const allowed = await from('https://ml.example')
  const preflight = await from('https://ml.example', 'OPTIONS')
  const other = await from('https://other.example')

  expect(allowed.headers.get('access-control-allow-origin')).toBe('https://ml.example')
  expect(preflight.status).toBe(204)
  expect(preflight.headers.get('access-control-allow-headers')).toContain('Authorization')
  expect(other.headers.has('access-control-allow-origin')).toBe(false)
})

test('a gateway without authentication serves loopback alone', async () => {
  const services = { ...fleet.services, auth: 'none' as const }
  const settings = { stopping: fleet.stopping.signal, page: new Map() }

  expect(() => createApp(services, { ...settings, hostname: '0.0.0.0' })).toThrow(/without authentication/)
  const app = createApp(services, { ...settings, hostname: '127.0.0.1' })

  const own = await app.request('http://127.0.0.1:8080/v1/jobs')
  const foreign = await app.request('http://127.0.0.1:8080/v1/jobs', { headers: { origin: 'https://evil.example' } })
  expect([own.status, foreign.status]).toEqual([200, 403])
})

test('every answer carries the security headers, errors too', async () => {
  for (const path of ['/', '/v1/jobs', '/nothing', '/healthz']) {
    const { headers } = await browse(path, {})
    expect(headers.get('content-security-policy')).toContain("default-src 'none'")
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    expect(headers.get('x-frame-options')).toBe('DENY')
  }
})
