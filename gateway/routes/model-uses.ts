/** How the versions of a model are used and told apart: stages, aliases, comparison, model card. */
import { z } from 'zod'
import type { ModelAliasView, ModelVersionView } from '../../machines/views.ts'
import { pathParam, principalOf, queryOf, type Api, type Context } from '../api.ts'
import { checkBody, JSON_TYPES, readBody } from '../body.ts'
import { mayChange } from '../job-access.ts'
import { LIMITS } from '../limits.ts'
import { ALIAS, findModel, modelAt } from '../model-access.ts'
import { modelCard } from '../model-card.ts'
import { compareModels } from '../model-comparison.ts'
import { GatewayError } from '../problems.ts'
import { modelAliasSchema, modelVersionSchema, pageOf, stageSchema } from '../schemas/views.ts'
import type { Services } from '../services.ts'

const stageBody = z
  .strictObject({
    stage: stageSchema,
    note: z.string().max(500).exactOptional().describe('Why, for who reads it later.'),
  })
  .meta({ id: 'StageMove' })

const aliasBody = z.strictObject({ version: z.int().min(1) }).meta({ id: 'AliasTarget' })

const compareQuery = z.strictObject({
  left: z.string().max(40).describe('A number, `latest`, or an alias.'),
  right: z.string().max(40).describe('A number, `latest`, or an alias.'),
})

const comparisonSchema = z
  .object({
    left: modelVersionSchema,
    right: modelVersionSchema,
    differences: z.array(z.object({ path: z.string(), left: z.unknown().optional(), right: z.unknown().optional() })),
    gains: z
      .record(z.string(), z.number())
      .describe('Figures of the test, and of validation as `validation.loss`: right minus left.'),
  })
  .meta({ id: 'ModelComparison' })

export function modelUseRoutes(api: Api, services: Services): void {
  const { registry } = services

  api.on(
    {
      method: 'put',
      path: '/v1/models/:name/versions/:version/stage',
      tag: 'models',
      summary: 'Move a version to another stage. Its history keeps who did, when and why.',
      access: 'user',
      body: { schema: stageBody, types: JSON_TYPES },
      answers: { 200: { description: 'The version.', content: modelVersionSchema } },
    },
    async (c) => {
      const model = await modelAt(c, services)
      mayUse(c, model)
      const body = checkBody(stageBody, await readBody(c, JSON_TYPES, LIMITS.smallBytesMax), 'request.invalid')
      return c.json(await registry.setStage(model, { ...body, by: principalOf(c).subject }))
    },
  )

  api.on(
    {
      method: 'get',
      path: '/v1/models/:name/aliases',
      tag: 'models',
      summary: 'Where the aliases of a model point, and where they have pointed.',
      access: 'viewer',
      answers: { 200: { description: 'The aliases.', content: pageOf(modelAliasSchema) } },
    },
    async (c) => {
      const model = await findModel(services, pathParam(c, 'name'), 'latest')
      return c.json({ items: await aliasesOf(services, model.name) })
    },
  )

  api.on(
    {
      method: 'put',
      path: '/v1/models/:name/aliases/:alias',
      tag: 'models',
      summary: 'Point an alias to a version. Whoever predicts or downloads by the alias gets that one from now on.',
      access: 'user',
      body: { schema: aliasBody, types: JSON_TYPES },
      answers: { 200: { description: 'The alias.', content: modelAliasSchema } },
    },
    async (c) => {
      const alias = pathParam(c, 'alias')
      if (alias === 'latest' || !ALIAS.test(alias)) throw badAlias(alias)
      const body = checkBody(aliasBody, await readBody(c, JSON_TYPES, LIMITS.smallBytesMax), 'request.invalid')
      const model = await findModel(services, pathParam(c, 'name'), String(body.version))
      mayUse(c, model)
      return c.json(await registry.setAlias(model, alias, principalOf(c).subject))
    },
  )

  api.on(
    {
      method: 'delete',
      path: '/v1/models/:name/aliases/:alias',
      tag: 'models',
      summary: 'Remove an alias. Its history stays.',
      access: 'user',
      answers: { 200: { description: 'The alias, which points nowhere now.', content: modelAliasSchema } },
    },
    async (c) => {
      const name = pathParam(c, 'name')
      const alias = pathParam(c, 'alias')
      mayUse(c, await findModel(services, name, alias))
      return c.json(await registry.removeAlias(name, alias, principalOf(c).subject))
    },
  )

  api.on(
    {
      method: 'get',
      path: '/v1/models/:name/compare',
      tag: 'models',
      summary: 'Two versions of a model side by side.',
      access: 'viewer',
      query: compareQuery,
      answers: { 200: { description: 'What differs, and by how much.', content: comparisonSchema } },
    },
    async (c) => {
      const query = queryOf(c, compareQuery)
      const name = pathParam(c, 'name')
      const left = await findModel(services, name, query.left)
      const right = await findModel(services, name, query.right)
      return c.json({ left, right, ...compareModels(left, right) })
    },
  )

  api.on(
    {
      method: 'get',
      path: '/v1/models/:name/versions/:version/card',
      tag: 'models',
      summary: 'The model card of a version, as Markdown.',
      access: 'viewer',
      answers: { 200: { description: 'The card.', content: { 'text/markdown': 'text' } } },
    },
    async (c) => {
      const model = await modelAt(c, services)
      const card = modelCard(model, await aliasesOf(services, model.name))
      return c.body(card, 200, { 'Content-Type': 'text/markdown; charset=utf-8' })
    },
  )
}

/** How a version is used is its owner's affair, and an admin's. */
function mayUse(c: Context, { name, version, owner }: ModelVersionView): void {
  if (mayChange(principalOf(c), { owner })) return
  const text = `Version ${version} of model ${name} belongs to ${owner}: only they and admins may change how it is used`
  throw new GatewayError('auth.forbidden', text)
}

async function aliasesOf({ modelAliases }: Services, name: string): Promise<readonly ModelAliasView[]> {
  const page = await modelAliases.find({ where: { name }, limit: LIMITS.pageMax })
  return page.items.map(({ value }) => value)
}

function badAlias(alias: string): GatewayError {
  const expected = 'a word of lower-case letters, digits and dashes that begins with a letter and is not "latest"'
  const found = JSON.stringify(alias.slice(0, 60))
  return new GatewayError('request.invalid', `Cannot use ${found} as an alias: expected ${expected}`, {
    errors: [{ path: 'alias', expected, found, message: `alias: expected ${expected}, found ${found}` }],
  })
}
