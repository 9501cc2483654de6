/** A job's specification in a file: YAML or JSON by its name. Only its form is checked here; the API knows its meaning. */
import { readFile } from 'node:fs/promises'
import { extname } from 'node:path'
import { text as textOf } from 'node:stream/consumers'
import { parse, parseDocument } from 'yaml'
import { yamlMistake } from '../gateway/body.ts'
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
    throw new CliError(`${path} is not YAML`, {
      exitCode: EXIT.usage,
      details: errors.map(yamlMistake),
    })
  }
  return { text, type: 'application/yaml' }
}

/** What the specification says that it is; undefined of one that trains. */
export function kindOf({ text }: SpecFile): unknown {
  const spec: unknown = parse(text) // JSON is YAML too
  return typeof spec === 'object' && spec !== null && 'kind' in spec ? spec.kind : undefined
}

export async function readText(path: string): Promise<string> {
  try {
    return path === '-' ? await textOf(process.stdin) : await readFile(path, 'utf8')
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException // readFile throws system errors alone
    const reason = REASONS[code ?? ''] ?? message
    throw new CliError(`Cannot read ${path}: ${reason}`, { exitCode: EXIT.usage, cause })
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EISDIR: 'it is a folder',
  EACCES: 'it may not be read',
}

export function parseJson(path: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new CliError(`${path} is not JSON: ${reason}`, { exitCode: EXIT.usage, cause })
  }
}
