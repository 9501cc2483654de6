/** `--set train.epochs=5`: changes of a specification, as the JSON merge patch (RFC 7396) that the API takes. */
import { parse } from 'yaml'
import { CliError, EXIT } from './errors.ts'

interface Patch {
  [key: string]: unknown
}

/** Values are YAML, so that numbers, lists and `null` (which takes a field away) are what they look like. */
export function changesOf(settings: readonly string[]): object {
  const changes: Patch = {}
  for (const setting of settings) {
    const [path = '', ...rest] = setting.split('=')
    const keys = path.split('.')
    const last = keys.pop() ?? ''
    if (rest.length === 0 || last === '' || keys.includes('')) {
      throw new CliError(`Cannot read "${setting}": expected FIELD=VALUE, as in train.epochs=5`, {
        exitCode: EXIT.usage,
      })
    }
    let at = changes
    for (const key of keys) {
      const inner = at[key]
      at = isPatch(inner) ? inner : (at[key] = {})
    }
    at[last] = parse(rest.join('='))
  }
  return changes
}

function isPatch(value: unknown): value is Patch {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
