/** Which version of a model a request means: a number, `latest`, or an alias. */
import type { ModelVersionView } from '../machines/views.ts'
import { pathParam, type Context } from './api.ts'
import { GatewayError } from './problems.ts'
import type { Services } from './services.ts'

/** The version that the path names. */
export function modelAt(c: Context, services: Services): Promise<ModelVersionView> {
  return findModel(services, pathParam(c, 'name'), pathParam(c, 'version'))
}

/** Throws `resource.unknown`. */
export async function findModel(
  { models, modelAliases }: Services,
  name: string,
  version: string,
): Promise<ModelVersionView> {
  const number = /^[1-9]\d{0,8}$/.test(version) ? Number(version) : await versionOf(modelAliases, name, version)
  if (number === null) throw unknownModel(name, version)
  const page = await models.find({
    where: { name, ...(number !== undefined && { version: number }) },
    order: { by: 'version', direction: 'descending' },
    limit: 1,
  })
  const [model] = page.items
  if (model === undefined) throw unknownModel(name, version === 'latest' ? undefined : version)
  return model.value
}

/** What an alias points to; undefined for `latest`, which is no alias, and null where there is none of that name. */
async function versionOf(
  aliases: Services['modelAliases'],
  name: string,
  alias: string,
): Promise<number | null | undefined> {
  if (alias === 'latest') return undefined
  if (!ALIAS.test(alias)) return null
  const page = await aliases.find({ where: { name, alias }, limit: 1 })
  return page.items[0]?.value.version ?? null
}

/** Begins with a letter, so that no alias is taken for a number. */
export const ALIAS = /^[a-z][a-z0-9-]{0,39}$/

export function unknownModel(name: string, version?: string): GatewayError {
  const what = version === undefined ? 'model' : `version ${JSON.stringify(version.slice(0, 40))} of model`
  return new GatewayError('resource.unknown', `There is no ${what} ${JSON.stringify(name.slice(0, 100))}`)
}
