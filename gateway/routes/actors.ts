/** `/v1/actors`: the runtime's actors by kind and state, as their shards' indexes have them. */
import { z } from 'zod'
import { queryOf } from '../api.ts'
import type { Api } from '../api.ts'
import { LIMITS } from '../limits.ts'
import { pageOf, time } from '../schemas/views.ts'
import type { Services } from '../services.ts'

const kind = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,39}$/)
  .describe('`job`, `task`, `worker`, …')

const actorSchema = z
  .object({
    actor: z.string().describe('Its address: `kind/id`.'),
    state: z.string().describe('The path of its state, dotted; `@stopped` when its policy has stopped it.'),
    since: time.describe('When it entered that state, in milliseconds since 1970.'),
  })
  .meta({ id: 'Actor' })

const countSchema = z
  .object({ kind: z.string(), state: z.string(), actors: z.int().describe('How many are in it.') })
  .meta({ id: 'ActorCount' })

const listQuery = z.strictObject({
  kind,
  state: z.string().min(1).optional().describe('Those in this state, or in one within it.'),
  cursor: z
    .string()
    .regex(/^\d+(\.\d+)?~[A-Za-z0-9_.-]{1,200}$/)
    .optional()
    .describe('`next` of the page before.'),
  limit: z.coerce.number().int().min(1).max(LIMITS.pageMax).default(LIMITS.pageDefault),
})

const countQuery = z.strictObject({ kind: kind.optional() })

export function actorRoutes(api: Api, { client }: Services): void {
  api.on(
    {
      method: 'get',
      path: '/v1/actors',
      tag: 'actors',
      summary: 'Actors of a kind, by how long they have been in their state, the longest first.',
      access: 'admin',
      query: listQuery,
      answers: { 200: { description: 'A page of actors.', content: pageOf(actorSchema) } },
    },
    async (c) => {
      const { kind: of, state, cursor, limit } = queryOf(c, listQuery)
      const page = await client.find({
        kind: of,
        limit,
        ...(state !== undefined && { state }),
        ...(cursor !== undefined && { after: cursor }),
      })
      return c.json(page)
    },
  )

  api.on(
    {
      method: 'get',
      path: '/v1/actors/counts',
      tag: 'actors',
      summary: 'How many actors there are, by kind and state.',
      access: 'admin',
      query: countQuery,
      answers: { 200: { description: 'All counts.', content: z.object({ items: z.array(countSchema) }) } },
    },
    async (c) => c.json({ items: await client.count(queryOf(c, countQuery).kind) }),
  )
}
