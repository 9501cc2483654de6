/**
 * How a route is declared. An operation says in one place what it is, who may use it, what it takes and what it
 * answers; from that come its registration, its authentication, its deadline, its metrics label and its page in
 * OpenAPI. A route that declares no access does not compile.
 */
import type { Context as HonoContext, Hono } from 'hono'
import type { z } from 'zod'
import { mayAct, type Principal, type Role } from './auth.ts'
import { authenticate } from './authenticate.ts'
import { LIMITS } from './limits.ts'
import { GatewayError } from './problems.ts'
import { fieldErrors } from './schemas/field-errors.ts'
import type { Services, Settings } from './services.ts'

export interface Env {
  Variables: {
    /** Who asks; absent on operations for anyone. */
    principal: Principal | undefined
    /** The pattern of the route, for metrics. */
    route: string | undefined
    /** Aborted when the request's time is up. */
    signal: AbortSignal
  }
}
export type Context = HonoContext<Env>
export type Handler = (c: Context) => Response | Promise<Response>

export interface Answer {
  readonly description: string
  /** Media type → schema. A plain schema stands for JSON. */
  readonly content?: z.ZodType | Readonly<Record<string, z.ZodType | 'text' | 'binary'>>
}

export interface Operation {
  readonly method: 'get' | 'post' | 'put' | 'delete'
  /** In Hono's notation: `/v1/jobs/:id`. */
  readonly path: string
  readonly summary: string
  readonly tag: string
  /** The least role that may. */
  readonly access: 'anyone' | Role
  readonly query?: z.ZodObject
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: { readonly schema: z.ZodType; readonly types: readonly string[] }
  readonly answers: Readonly<Record<number, Answer>>
  /** Streams have no end to wait for. */
  readonly deadline?: 'none'
}

/** The table of operations, and the app that they stand in. */
export class Api {
  readonly operations: Operation[] = []
  readonly #app: Hono<Env>
  readonly #services: Services
  readonly #settings: Settings

  constructor(app: Hono<Env>, services: Services, settings: Settings) {
    this.#app = app
    this.#services = services
    this.#settings = settings
  }

  on(operation: Operation, handler: Handler): void {
    this.operations.push(operation)
    this.#app.on(operation.method.toUpperCase(), operation.path, async (c) => {
      c.set('route', operation.path)
      if (operation.access !== 'anyone') c.set('principal', await this.#admit(c, operation.access))
      if (operation.deadline === 'none') return handler(c)
      return withDeadline(c, handler, this.#settings.requestMs ?? LIMITS.requestMs)
    })
  }

  /** Known paths answer other methods with 405. To be called after the last `on`. */
  seal(): void {
    const methods = Map.groupBy(this.operations, ({ path }) => path)
    for (const [path, operations] of methods) {
      const allowed = operations.map(({ method }) => method.toUpperCase()).join(', ')
      this.#app.all(path, (c) => {
        c.set('route', path)
        throw new GatewayError('method.unknown', `Cannot ${c.req.method} ${c.req.path}: expected ${allowed}`, {
          headers: { Allow: allowed },
        })
      })
    }
  }

  async #admit(c: Context, least: Role): Promise<Principal> {
    const principal = await authenticate(c.req, this.#services.auth)
    if (mayAct(principal.role, least)) return principal
    throw new GatewayError(
      'auth.forbidden',
      `The role "${principal.role}" may not do this: expected ${least === 'admin' ? 'admin' : `${least} or higher`}`,
    )
  }
}

/** Who asks. Only for operations that are not for anyone. */
export function principalOf(c: Context): Principal {
  const principal = c.get('principal')
  if (principal === undefined) throw new TypeError(`${c.req.path} has no principal: its operation is for anyone`)
  return principal
}

/** A parameter of the path, decoded. */
export function pathParam(c: Context, name: string): string {
  const value = c.req.param(name)
  if (value === undefined) throw new TypeError(`${c.req.path} has no parameter ${name}`)
  return value
}

/** The query, checked; a parameter that is not in the schema is an error, since a misspelt filter would filter nothing. */
export function queryOf<Schema extends z.ZodObject>(c: Context, schema: Schema): z.infer<Schema> {
  const query = c.req.query()
  const parsed = schema.safeParse(query)
  if (parsed.success) return parsed.data
  throw new GatewayError('request.invalid', 'The query has errors', { errors: fieldErrors(parsed.error, query) })
}

async function withDeadline(c: Context, handler: Handler, requestMs: number): Promise<Response> {
  const controller = new AbortController()
  c.set('signal', controller.signal)
  const late = Promise.withResolvers<never>()
  // Not AbortSignal.timeout: its timer would outlive each request by its full time.
  const timer = setTimeout(() => {
    const error = new GatewayError('request.timeout', `There was no answer within ${requestMs / 1000} seconds`)
    controller.abort(error)
    late.reject(error)
  }, requestMs)
  try {
    return await Promise.race([handler(c), late.promise])
  } finally {
    clearTimeout(timer)
  }
}
