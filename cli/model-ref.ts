/** How commands name a version of a model. */
import { CliError, EXIT } from './errors.ts'

export const MODEL = 'NAME, NAME@VERSION or NAME@ALIAS'

export function modelRef(text: string): { readonly name: string; readonly version: string } {
  const [name = '', version = 'latest', more] = text.split('@')
  if (name !== '' && version !== '' && more === undefined) return { name, version }
  throw new CliError(`Cannot read "${text}" as a model: expected ${MODEL}`, { exitCode: EXIT.usage })
}
