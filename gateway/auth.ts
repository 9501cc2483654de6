/**
 * Tokens: who somebody is and what they may do. A token is a JWT signed with a secret that all gateways of a fleet
 * share (HS256; the secret's file is the command line's affair). Three purposes exist and none passes for another:
 *
 * - `access`: in `Authorization: Bearer`, for programs;
 * - `login`: in the fragment of the page's address, good for one exchange into a session;
 * - `session`: in the page's cookie, since a browser's EventSource cannot send a header.
 *
 * Invariants:
 * 1. Algorithm, issuer and audience are pinned; the audience carries the purpose.
 * 2. A login token makes one session per gateway process, then it is spent.
 * 3. A verified token is remembered by its hash, never by itself, and never beyond its expiry.
 */
import { errors, jwtVerify, SignJWT } from 'jose'
import { GatewayError } from './problems.ts'
import { LIMITS } from './limits.ts'

export const ROLES = ['viewer', 'user', 'admin'] as const
/** Each may do what those before it may: a viewer reads, a user also runs jobs of their own, an admin does everything. */
export type Role = (typeof ROLES)[number]

export type Purpose = 'access' | 'login' | 'session'

export interface Principal {
  /** Owns the jobs that it submits. */
  readonly subject: string
  readonly role: Role
  readonly expiresAt: number
}

export interface TokenRequest {
  readonly subject: string
  readonly role: Role
  readonly lifeMs: number
  readonly purpose?: Purpose
}

const ALGORITHM = 'HS256'
const ISSUER = 'tensorfleet'
const SECRET_BYTES_MIN = 32
const SUBJECT = /^[\w.@+:-]{1,200}$/

/** Whether `role` may do what `least` may. */
export function mayAct(role: Role, least: Role): boolean {
  return ROLES.indexOf(role) >= ROLES.indexOf(least)
}

/** A fresh secret for `new Tokens(secret)`, to be kept in a file that only its owner can read. */
export function newSecret(): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(SECRET_BYTES_MIN))
}

/** Makes a token. Without a gateway: the command line signs with the secret that it has. */
export async function mintToken(secret: Uint8Array, request: TokenRequest, now = Date.now()): Promise<string> {
  checkSecret(secret)
  if (!SUBJECT.test(request.subject)) {
    throw new TypeError(`Cannot mint a token for ${JSON.stringify(request.subject)}: a subject matches ${SUBJECT}`)
  }
  return new SignJWT({ role: request.role })
    .setProtectedHeader({ alg: ALGORITHM, typ: 'JWT' })
    .setSubject(request.subject)
    .setIssuer(ISSUER)
    .setAudience(audienceOf(request.purpose ?? 'access'))
    .setJti(crypto.randomUUID())
    .setIssuedAt(Math.floor(now / 1000))
    .setExpirationTime(Math.floor((now + request.lifeMs) / 1000))
    .sign(secret)
}

/** Verifies tokens, and makes sessions of logins. One per gateway. */
export class Tokens {
  readonly #secret: Uint8Array
  readonly #now: () => number
  /** Hash of a token → who it is. Oldest first, so that the oldest goes when it is full. */
  readonly #verified = new Map<string, Principal>()
  /** Login tokens that were spent → when they would have expired anyway. */
  readonly #spent = new Map<string, number>()

  constructor(secret: Uint8Array, now: () => number = Date.now) {
    checkSecret(secret)
    this.#secret = secret
    this.#now = now
  }

  /** Throws `auth.invalid` unless this is a valid token made for this purpose. */
  async verify(token: string, purpose: Purpose): Promise<Principal> {
    if (token.length > LIMITS.tokenCharsMax) throw refused('it is too long to be one')
    const key = `${purpose} ${await hashOf(token)}`
    const known = this.#verified.get(key)
    if (known !== undefined && known.expiresAt > this.#now()) return known
    this.#verified.delete(key)
    const { principal } = await this.#check(token, purpose)
    if (this.#verified.size >= LIMITS.tokenCacheMax) dropOldest(this.#verified)
    this.#verified.set(key, principal)
    return principal
  }

  /** Exchanges an access token, or a login token for the one time that it is good, for a session's token. */
  async session(token: string): Promise<{ token: string; principal: Principal }> {
    if (token.length > LIMITS.tokenCharsMax) throw refused('it is too long to be one')
    const now = this.#now()
    const { principal: from, purpose, jti } = await this.#checkAny(token, ['access', 'login'])
    if (purpose === 'login') this.#spend(jti, from.expiresAt, now)
    // A login's short life is for the link; an access token's bounds what comes of it.
    const lifeMs = purpose === 'login' ? LIMITS.sessionMs : Math.min(LIMITS.sessionMs, from.expiresAt - now)
    const session = await mintToken(
      this.#secret,
      { subject: from.subject, role: from.role, lifeMs, purpose: 'session' },
      now,
    )
    return { token: session, principal: { ...from, expiresAt: now + lifeMs } }
  }

  #spend(jti: string, expiresAt: number, now: number): void {
    for (const [spent, until] of this.#spent) if (until <= now) this.#spent.delete(spent)
    if (this.#spent.has(jti)) throw refused('it was used already; ask the command line for a new address')
    // Forgetting one would let it be used twice: with this many logins at once, the newest waits instead.
    if (this.#spent.size >= LIMITS.loginTokensMax) throw refused('too many logins at once; try again later')
    this.#spent.set(jti, expiresAt)
  }

  async #checkAny(token: string, purposes: readonly Purpose[]): Promise<Checked & { purpose: Purpose }> {
    let refusal: unknown
    for (const purpose of purposes) {
      try {
        return { ...(await this.#check(token, purpose)), purpose }
      } catch (error) {
        refusal = error
      }
    }
    throw refusal
  }

  async #check(token: string, purpose: Purpose): Promise<Checked> {
    try {
      const { payload } = await jwtVerify(token, this.#secret, {
        algorithms: [ALGORITHM],
        issuer: ISSUER,
        audience: audienceOf(purpose),
        requiredClaims: ['sub', 'exp', 'jti'],
        currentDate: new Date(this.#now()),
      })
      const { sub, exp, jti, role } = payload
      if (sub === undefined || exp === undefined || jti === undefined || !isRole(role))
        throw refused('its role is unknown')
      return { principal: { subject: sub, role, expiresAt: exp * 1000 }, jti }
    } catch (error) {
      if (error instanceof errors.JWTExpired) throw refused('it has expired')
      if (error instanceof errors.JOSEError) throw refused('it is not one of this fleet')
      throw error
    }
  }
}

interface Checked {
  readonly principal: Principal
  readonly jti: string
}

function audienceOf(purpose: Purpose): string {
  return `tensorfleet:${purpose}`
}

function isRole(value: unknown): value is Role {
  return ROLES.some((role) => role === value)
}

function checkSecret(secret: Uint8Array): void {
  if (secret.byteLength < SECRET_BYTES_MIN) {
    throw new RangeError(
      `Cannot sign with a secret of ${secret.byteLength} bytes: expected at least ${SECRET_BYTES_MIN}`,
    )
  }
}

function refused(reason: string): GatewayError {
  return new GatewayError('auth.invalid', `Cannot accept this token: ${reason}`, {
    headers: { 'WWW-Authenticate': 'Bearer error="invalid_token"' },
  })
}

async function hashOf(token: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(token))
  return String.fromCharCode(...new Uint8Array(digest))
}

function dropOldest(map: Map<string, unknown>): void {
  for (const key of map.keys()) {
    map.delete(key)
    return
  }
}
