/**
 * What holds for every request, before and after its route: the host that it names, CORS, security headers, and its
 * line in the metrics. Headers are set after the route has answered, since touching `c.res` before costs Hono four
 * fifths of its throughput.
 */
import type { MiddlewareHandler } from 'hono'
import type { Env } from './api.ts'
import { hostOf, isOwnOrigin } from './authenticate.ts'
import { GatewayError, problemResponse } from './problems.ts'
import type { Services, Settings } from './services.ts'

const LOOPBACK_NAMES = new Set(['localhost', '127.0.0.1', '[::1]'])

const SECURITY_HEADERS: readonly (readonly [string, string])[] = [
  ['X-Content-Type-Options', 'nosniff'],
  ['X-Frame-Options', 'DENY'],
  ['Referrer-Policy', 'no-referrer'],
  ['Cross-Origin-Opener-Policy', 'same-origin'],
  ['Cross-Origin-Resource-Policy', 'same-origin'],
]
/** The page loads its own files and talks to its own gateway; nothing is inline. Elsewhere nothing loads at all. */
const PAGE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
const API_POLICY = "default-src 'none'; frame-ancestors 'none'"

/** Whether a gateway that listens there is reached from this machine only. */
export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '::1' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname)
}

export function edge(services: Services, settings: Settings): MiddlewareHandler<Env> {
  const loopback = isLoopback(settings.hostname)
  const allowedOrigins = new Set(settings.allowedOrigins)
  return async (c, next) => {
    const startedAt = performance.now()
    const origin = c.req.header('origin')
    const crossOrigin = origin !== undefined && !isOwnOrigin(c.req) && allowedOrigins.has(origin)

    if (loopback && !isLoopbackHost(hostOf(c.req))) {
      // A foreign name that resolves to 127.0.0.1 (DNS rebinding) makes a foreign page same-origin with us.
      c.res = problemResponse(
        new GatewayError('host.refused', `This gateway listens on loopback and does not answer for "${hostOf(c.req)}"`),
      )
    } else if (crossOrigin && c.req.method === 'OPTIONS') {
      c.res = new Response(null, { status: 204, headers: PREFLIGHT })
    } else {
      await next()
    }

    const { headers } = c.res
    for (const [name, value] of SECURITY_HEADERS) headers.set(name, value)
    const isPage = headers.get('Content-Type')?.startsWith('text/html') === true
    headers.set('Content-Security-Policy', isPage ? PAGE_POLICY : API_POLICY)
    if (!headers.has('Cache-Control')) headers.set('Cache-Control', 'no-store')
    if (crossOrigin) {
      headers.set('Access-Control-Allow-Origin', origin)
      headers.set('Access-Control-Expose-Headers', 'ETag, Location, Retry-After, Content-Disposition')
      headers.append('Vary', 'Origin')
    }
    services.observeRequest?.(
      c.get('route') ?? 'unmatched',
      c.req.method,
      c.res.status,
      (performance.now() - startedAt) / 1000,
    )
  }
}

const PREFLIGHT = {
  'Access-Control-Allow-Methods': 'GET, POST, PUT, DELETE',
  'Access-Control-Allow-Headers':
    'Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, traceparent',
  'Access-Control-Max-Age': '600',
}

function isLoopbackHost(host: string): boolean {
  const url = `http://${host}`
  return URL.canParse(url) && LOOPBACK_NAMES.has(new URL(url).hostname)
}
