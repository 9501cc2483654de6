/** `/v1/system/dead-letters`: messages that no actor could take. Looked at, sent again as they are or edited, or dropped. */
import { z } from 'zod'
import { pathParam, queryOf } from '../api.ts'
import type { Api, Context } from '../api.ts'
import { checkBody, JSON_TYPES, readBody } from '../body.ts'
import { LIMITS } from '../limits.ts'
import { pageQuery } from '../listing.ts'
import { GatewayError } from '../problems.ts'
import { pageOf } from '../schemas/views.ts'
import type { Services } from '../services.ts'

const deadLetterSchema = z
  .object({
    id: z.string(),
    shard: z.string(),
    to: z.string().describe('The actor it was for.'),
    from: z.string().nullable(),
    at: z.number().describe('When it was put aside, in milliseconds since 1970.'),
    fault: z.object({ code: z.string(), message: z.string(), remedy: z.string(), data: z.unknown().optional() }),
    kind: z.enum(['mail', 'timer', 'effect', 'runtime', 'unreadable']),
    content: z.unknown().describe('What it said: an event, a timer, the result of an effect.'),
  })
  .meta({ id: 'DeadLetter' })

const resendBody = z
  .strictObject({
    event: z
      .looseObject({ type: z.string().min(1) })
      .optional()
      .describe('What it shall say instead.'),
  })
  .meta({ id: 'ResendDeadLetter' })

export function deadLetterRoutes(api: Api, { client }: Services): void {
  const { deadLetters } = client

  api.on(
    {
      method: 'get',
      path: '/v1/system/dead-letters',
      tag: 'system',
      summary: 'Messages that no actor could take, by shard and the oldest first.',
      access: 'admin',
      query: pageQuery,
      answers: { 200: { description: 'A page of dead letters.', content: pageOf(deadLetterSchema) } },
    },
    async (c) => {
      const { cursor, limit } = queryOf(c, pageQuery)
      return c.json(await deadLetters.list({ limit, ...(cursor !== undefined && { after: cursor }) }))
    },
  )

  api.on(
    {
      method: 'get',
      path: '/v1/system/dead-letters/:id',
      tag: 'system',
      summary: 'One dead letter.',
      access: 'admin',
      answers: { 200: { description: 'The letter.', content: deadLetterSchema } },
    },
    async (c) => {
      const id = pathParam(c, 'id')
      const letter = await deadLetters.get(id)
      if (letter === null) throw unknownLetter(id)
      return c.json(letter)
    },
  )

  api.on(
    {
      method: 'delete',
      path: '/v1/system/dead-letters/:id',
      tag: 'system',
      summary: 'Drop a dead letter for good.',
      access: 'admin',
      answers: { 204: { description: 'It is gone.' } },
    },
    async (c) => {
      const id = pathParam(c, 'id')
      if (!(await deadLetters.drop(id))) throw unknownLetter(id)
      return c.body(null, 204)
    },
  )

  api.on(
    {
      method: 'post',
      path: '/v1/system/dead-letters/:id/resend',
      tag: 'system',
      summary: 'Send a dead letter again, once, as it is or with another event.',
      access: 'admin',
      body: { schema: resendBody, types: JSON_TYPES },
      answers: { 202: { description: 'It is in the mailbox.', content: z.object({ sent: z.literal(true) }) } },
    },
    async (c) => {
      const id = pathParam(c, 'id')
      const event = await eventOf(c)
      if (!(await deadLetters.resend(id, event))) throw unknownLetter(id)
      return c.json({ sent: true }, 202)
    },
  )
}

/** What begins with `@` is the runtime's own word, and not for people to say. */
async function eventOf(c: Context): Promise<{ readonly type: string } | undefined> {
  if (c.req.header('content-type') === undefined) return undefined // no body
  const { event } = checkBody(resendBody, await readBody(c, JSON_TYPES, LIMITS.specBytesMax), 'request.invalid')
  if (event === undefined || !event.type.startsWith('@')) return event
  const error = { path: 'event.type', expected: 'a type that does not begin with @', found: event.type }
  const message = `event.type: expected ${error.expected}, found "${error.found}"`
  throw new GatewayError('request.invalid', `The request has an error: ${message}`, { errors: [{ ...error, message }] })
}

function unknownLetter(id: string): GatewayError {
  return new GatewayError('resource.unknown', `There is no dead letter "${id}" (any more)`)
}
