/** How commands name a version of a dataset. */
import { CliError, EXIT } from './errors.ts'

export function datasetRef(text: string): { readonly name: string; readonly version?: number } {
  const [name = '', version, more] = text.split('@')
  if (more === undefined && name !== '' && (version === undefined || /^[1-9]\d*$/.test(version))) {
    return { name, ...(version !== undefined && { version: Number(version) }) }
  }
  throw new CliError(`Cannot read "${text}" as a dataset: expected NAME or NAME@VERSION`, { exitCode: EXIT.usage })
}
