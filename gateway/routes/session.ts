/** `/v1/session`: a browser exchanges a token for a cookie, since its EventSource can send nothing else. */
import { z } from 'zod'
import { principalOf, type Api, type Context } from '../api.ts'
import { ROLES, type Principal } from '../auth.ts'
import { bearerOf, isOwnOrigin, sessionCookie } from '../authenticate.ts'
import { GatewayError } from '../problems.ts'
import type { Services } from '../services.ts'

const sessionSchema = z
  .object({ subject: z.string(), role: z.enum(ROLES), expiresAt: z.number().describe('Milliseconds since 1970.') })
  .meta({ id: 'Session' })

export function sessionRoutes(api: Api, { auth }: Services): void {
  api.on(
    {
      method: 'post',
      path: '/v1/session',
      tag: 'session',
      summary: 'Exchange a bearer token, or the one-time login of the page’s address, for a session cookie.',
      access: 'anyone',
      answers: { 201: { description: 'Who you are. The cookie is set.', content: sessionSchema } },
    },
    async (c) => {
      if (!isOwnOrigin(c.req)) {
        // A foreign page must not sign its visitor in as somebody else.
        throw new GatewayError('origin.refused', `Cannot sign in from the page at ${c.req.header('origin')}`)
      }
      const bearer = bearerOf(c.req)
      if (auth === 'none' || bearer === undefined) {
        throw new GatewayError('auth.required', 'Signing in needs a token: send "Authorization: Bearer TOKEN"')
      }
      const { token, principal } = await auth.session(bearer)
      return c.json(principal, 201, { 'Set-Cookie': cookieOf(c, token, principal.expiresAt - Date.now()) })
    },
  )

  api.on(
    {
      method: 'get',
      path: '/v1/session',
      tag: 'session',
      summary: 'Who you are.',
      access: 'viewer',
      answers: { 200: { description: 'Subject and role.', content: sessionSchema } },
    },
    (c) => c.json(principalOf(c) satisfies Principal),
  )

  api.on(
    {
      method: 'delete',
      path: '/v1/session',
      tag: 'session',
      summary: 'Sign out: the cookie is cleared.',
      access: 'viewer',
      answers: { 204: { description: 'Signed out.' } },
    },
    (c) => new Response(null, { status: 204, headers: { 'Set-Cookie': cookieOf(c, '', 0) } }),
  )
}

function cookieOf(c: Context, value: string, lifeMs: number): string {
  const secure = new URL(c.req.url).protocol === 'https:' ? '; Secure' : ''
  const maxAgeS = Math.max(0, Math.floor(lifeMs / 1000))
  return `${sessionCookie(c.req)}=${value}; Path=/; Max-Age=${maxAgeS}; HttpOnly; SameSite=Strict${secure}`
}
