/** A job's specification in a file: YAML or JSON by its name. Only its form is checked here; the API knows its meaning. */
import { readFile } from 'node:fs/promises'
import { extname } from 'node:path'
import { parseDocument } from 'yaml'
import { CliError, EXIT } from './errors.ts'

export interface SpecFile {
  readonly text: string
  readonly type: 'application/yaml' | 'application/json'
}

export async function readSpecFile(path: string): Promise<SpecFile> {
  const text = await readText(path)
  if (extname(path) === '.json') {
    parseJson(path, text)
    return { text, type: 'application/json' }
  }
  const { errors } = parseDocument(text)
  if (errors.length > 0) {
    throw new CliError(`${path} is not YAML`, { exitCode: EXIT.usage, details: errors.map(({ message }) => message) })
  }
  return { text, type: 'application/yaml' }
}

export async function readText(path: string): Promise<string> {
  try {
    return await readFile(path === '-' ? '/dev/stdin' : path, 'utf8')
  } catch (cause) {
    const reason =
      cause instanceof Error && 'code' in cause && cause.code === 'ENOENT' ? 'there is no such file' : String(cause)
    throw new CliError(`Cannot read ${path}: ${reason}`, { exitCode: EXIT.usage, cause })
  }
}

export function parseJson(path: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new CliError(`${path} is not JSON: ${reason}`, { exitCode: EXIT.usage, cause })
  }
}
