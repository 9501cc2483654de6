/**
 * Who sends a request, and whether a browser was tricked into sending it. Programs carry a bearer token; the page
 * carries a cookie, which a browser adds to whatever a foreign page sends: so with a cookie the origin must be ours.
 */
import type { HonoRequest } from 'hono'
import type { Principal, Tokens } from './auth.ts'
import { GatewayError } from './problems.ts'

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS'])
/** What `auth: 'none'` makes of everybody. */
const EVERYBODY: Principal = { subject: 'local', role: 'admin', expiresAt: Number.MAX_SAFE_INTEGER }

/** Throws `auth.required`, `auth.invalid` or `origin.refused`. */
export async function authenticate(request: HonoRequest, auth: Tokens | 'none'): Promise<Principal> {
  if (auth === 'none') {
    refuseForeignOrigin(request)
    return EVERYBODY
  }
  const bearer = bearerOf(request)
  if (bearer !== undefined) return auth.verify(bearer, 'access')
  const session = sessionOf(request)
  if (session === undefined) {
    throw new GatewayError('auth.required', 'This needs a token: send "Authorization: Bearer TOKEN"', {
      headers: { 'WWW-Authenticate': 'Bearer' },
    })
  }
  refuseForeignOrigin(request)
  // SameSite=Strict should have kept the cookie back; a browser that sends neither header is not trusted to have.
  if (
    !SAFE_METHODS.has(request.method) &&
    request.header('origin') === undefined &&
    request.header('sec-fetch-site') !== 'same-origin'
  ) {
    throw new GatewayError('origin.refused', 'Cannot accept a session here without knowing the page that sends it')
  }
  return auth.verify(session, 'session')
}

export function bearerOf(request: HonoRequest): string | undefined {
  return /^Bearer +(\S+)$/i.exec(request.header('authorization') ?? '')?.[1]
}

/** Cookies know no ports, and several gateways may run on one host: the port stands in the name. */
export function sessionCookie(request: HonoRequest): string {
  const { port, protocol } = new URL(request.url)
  return `tensorfleet_session_${port === '' ? (protocol === 'https:' ? '443' : '80') : port}`
}

/** The gateway's own hosts: compared with the Host header, since TLS may end in front of us. */
export function hostOf(request: HonoRequest): string {
  return request.header('host') ?? new URL(request.url).host
}

/** Whether a page of this gateway, and no other, sent the request; also true where no page did. */
export function isOwnOrigin(request: HonoRequest): boolean {
  const origin = request.header('origin')
  if (origin === undefined) return true
  return URL.canParse(origin) && new URL(origin).host === hostOf(request)
}

function refuseForeignOrigin(request: HonoRequest): void {
  if (isOwnOrigin(request)) return
  throw new GatewayError('origin.refused', `Cannot accept a request of the page at ${request.header('origin')}`)
}

function sessionOf(request: HonoRequest): string | undefined {
  const name = `${sessionCookie(request)}=`
  for (const part of request.header('cookie')?.split(';') ?? []) {
    const cookie = part.trim()
    if (cookie.startsWith(name)) return cookie.slice(name.length)
  }
  return undefined
}
