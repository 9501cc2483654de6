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
export async function findModel({ registry }: Services, name: string, version: string): Promise<ModelVersionView> {
  const model = await registry.find(name, version)
  if (model === null) throw unknownModel(name, version === 'latest' ? undefined : version)
  return model
}

/** Begins with a letter, so that no alias is taken for a number. */
export const ALIAS = /^[a-z][a-z0-9-]{0,39}$/

export function unknownModel(name: string, version?: string): GatewayError {
  const what = version === undefined ? 'model' : `version ${JSON.stringify(version.slice(0, 40))} of model`
  return new GatewayError('resource.unknown', `There is no ${what} ${JSON.stringify(name.slice(0, 100))}`)
}
