/**
 * Errors at the edge. Whatever is thrown below a route becomes here, and only here, a problem document (RFC 9457,
 * `application/problem+json`): with a stable `code`, a sentence for a person, the `remedy`, and never a stack trace.
 *
 * Errors of other folders are known by their shape (`code` and `remedy`), so that nothing of them is imported.
 */
import { z } from 'zod'
import type { Remedy } from '../runtime/errors.ts'
import { LIMITS } from './limits.ts'

/** One thing wrong with a request: where, what was expected, what was found. */
export const fieldErrorSchema = z.strictObject({
  path: z.string().describe('Where, as in `train.optimizer.kind`; empty for the whole.'),
  expected: z.string(),
  found: z.string(),
  message: z.string(),
})
export type FieldError = z.infer<typeof fieldErrorSchema>

export const problemSchema = z
  .object({
    type: z.string().describe('A URN made of the code.'),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.string().describe('Stable: programs may rely on it.'),
    remedy: z.enum(['retry', 'retry-elsewhere', 'fix-request', 'give-up']),
    errors: z.array(fieldErrorSchema).optional(),
    state: z.string().optional().describe("The job's state, where that is why."),
  })
  .meta({ id: 'Problem' })
export type Problem = z.infer<typeof problemSchema>

export type GatewayErrorCode =
  | 'auth.required'
  | 'auth.invalid'
  | 'auth.forbidden'
  | 'auth.unprotected' // a gateway without authentication may listen on loopback only
  | 'body.malformed'
  | 'body.too-large'
  | 'body.type-unknown'
  | 'gc.impossible'
  | 'host.refused'
  | 'idempotency.mismatch'
  | 'job.not-cancellable'
  | 'job.not-pausable'
  | 'job.not-resumable'
  | 'job.not-retryable'
  | 'method.unknown'
  | 'origin.refused'
  | 'page.missing' // a file of the page is not where it should be
  | 'port.taken'
  | 'port.unavailable'
  | 'quota.exceeded'
  | 'request.invalid'
  | 'request.timeout'
  | 'resource.unknown'
  | 'spec.invalid'
  | 'spec.not-admitted'
  | 'streams.exhausted'
  | 'sweep.not-cancellable'
  | 'sweep.not-pausable'
  | 'sweep.not-resumable'

const OWN: Readonly<Record<GatewayErrorCode, readonly [status: number, remedy: Remedy]>> = {
  'auth.required': [401, 'fix-request'],
  'auth.invalid': [401, 'fix-request'],
  'auth.forbidden': [403, 'give-up'],
  'auth.unprotected': [500, 'fix-request'],
  'body.malformed': [400, 'fix-request'],
  'body.too-large': [413, 'fix-request'],
  'body.type-unknown': [415, 'fix-request'],
  'gc.impossible': [409, 'give-up'],
  'host.refused': [421, 'fix-request'],
  'idempotency.mismatch': [422, 'fix-request'],
  'job.not-cancellable': [409, 'give-up'],
  'job.not-pausable': [409, 'give-up'],
  'job.not-resumable': [409, 'give-up'],
  'job.not-retryable': [409, 'give-up'],
  'method.unknown': [405, 'fix-request'],
  'origin.refused': [403, 'give-up'],
  'page.missing': [500, 'give-up'],
  'port.taken': [500, 'fix-request'],
  'port.unavailable': [500, 'fix-request'],
  'quota.exceeded': [429, 'retry'],
  'request.invalid': [422, 'fix-request'],
  'request.timeout': [504, 'retry'],
  'resource.unknown': [404, 'fix-request'],
  'spec.invalid': [422, 'fix-request'],
  'spec.not-admitted': [422, 'fix-request'],
  'streams.exhausted': [503, 'retry-elsewhere'],
  'sweep.not-cancellable': [409, 'give-up'],
  'sweep.not-pausable': [409, 'give-up'],
  'sweep.not-resumable': [409, 'give-up'],
}

/** What the codes of other folders mean over HTTP. A code that is not here goes by its remedy. */
const FOREIGN: Readonly<Record<string, number>> = {
  'address.malformed': 404,
  'actor.unknown': 404,
  'actor.done': 409,
  'ask.timeout': 504,
  'client.stopped': 503,
  'envelope.too-large': 413,
  'mailbox.full': 429,
  'redis.too-old': 503,
  'redis.unreachable': 503,
  'shard.fenced': 503,
  'shard.gone': 404,
  'letter.malformed': 404,
  'letter.unsendable': 409,
  'transition.failed': 500,
  'dataset.unknown': 404,
  'dataset.version-unknown': 404,
  'dataset.in-use': 409,
  'dataset.too-large': 413,
  'blob.bad-id': 404,
  'blob.bad-range': 416,
  'blob.corrupt': 500,
  'blob.missing': 404,
  'document.too-large': 413,
  'find.bad-cursor': 400,
  'store.full': 507,
  'backend.unavailable': 503,
  'kernel.busy': 429,
  'kernel.hung': 504,
}

const BY_REMEDY: Readonly<Record<Remedy, number>> = {
  'fix-request': 422,
  retry: 503,
  'retry-elsewhere': 503,
  'give-up': 500,
}

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad request',
  401: 'Not signed in',
  403: 'Forbidden',
  404: 'Not found',
  405: 'Method not allowed',
  409: 'Conflict',
  413: 'Too large',
  415: 'Unsupported media type',
  416: 'Range not satisfiable',
  421: 'Misdirected request',
  422: 'Invalid request',
  429: 'Busy',
  500: 'Internal error',
  503: 'Unavailable',
  504: 'Timeout',
  507: 'No space left',
}

/** The gateway's own error. Thrown anywhere below a route; `problemOf` makes the answer. */
export class GatewayError extends Error {
  override readonly name = 'GatewayError'
  readonly code: GatewayErrorCode
  readonly remedy: Remedy
  readonly status: number
  readonly errors: readonly FieldError[] | undefined
  readonly state: string | undefined
  readonly headers: Readonly<Record<string, string>>

  constructor(
    code: GatewayErrorCode,
    message: string,
    options: {
      errors?: readonly FieldError[]
      state?: string
      headers?: Readonly<Record<string, string>>
      cause?: unknown
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    const [status, remedy] = OWN[code]
    this.code = code
    this.status = status
    this.remedy = remedy
    this.errors = options.errors?.slice(0, LIMITS.errorsMax)
    this.state = options.state
    this.headers = options.headers ?? {}
  }
}

/** Anything thrown, as a problem. What nobody foresaw says nothing of itself: it is for the log (`unforeseen`). */
export function problemOf(error: unknown): { problem: Problem; headers: Record<string, string>; unforeseen: boolean } {
  if (error instanceof GatewayError) {
    const { status, code, message, remedy, errors, state, headers } = error
    return {
      problem: {
        ...basics(status, code, message, remedy),
        ...(errors !== undefined && { errors: [...errors] }),
        ...(state !== undefined && { state }),
      },
      headers: { ...headers },
      unforeseen: false,
    }
  }
  if (isCoded(error)) {
    const status = FOREIGN[error.code] ?? BY_REMEDY[error.remedy]
    return {
      problem: { ...basics(status, error.code, error.message, error.remedy), ...fieldOf(error) },
      headers: status === 429 || status === 503 ? { 'Retry-After': '1' } : {},
      unforeseen: status === 500,
    }
  }
  return {
    problem: basics(500, 'gateway.failed', 'The gateway failed on this request; its log says why.', 'retry'),
    headers: {},
    unforeseen: true,
  }
}

/** The answer to a request that failed. */
export function problemResponse(error: unknown): Response {
  const { problem, headers } = problemOf(error)
  return Response.json(problem, {
    status: problem.status,
    headers: { ...headers, 'Content-Type': 'application/problem+json', 'Cache-Control': 'no-store' },
  })
}

function basics(status: number, code: string, detail: string, remedy: Remedy): Problem {
  return {
    type: `urn:tensorfleet:problem:${code}`,
    title: TITLES[status] ?? 'Error',
    status,
    detail,
    code,
    remedy,
  }
}

/** What an error says of the one field that is wrong. */
function fieldOf(error: Error & { data?: unknown }): Pick<Problem, 'errors'> {
  const field = fieldErrorSchema.omit({ message: true }).loose().safeParse(error.data)
  if (!field.success) return {}
  const { path, expected, found } = field.data
  return { errors: [{ path, expected, found, message: error.message }] }
}

/** An error of runtime/, stores/ or kernels/: their classes differ, their shape is one. */
function isCoded(error: unknown): error is Error & { code: string; remedy: Remedy } {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    'remedy' in error &&
    typeof error.remedy === 'string' &&
    Object.hasOwn(BY_REMEDY, error.remedy)
  )
}
