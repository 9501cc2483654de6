/**
 * Request bodies: read up to a limit, then parsed as what their content type says. Nothing here trusts what it reads;
 * a schema does the rest.
 */
import { LineCounter, parseDocument, type YAMLError } from 'yaml'
import type { z } from 'zod'
import type { Context } from './api.ts'
import { GatewayError } from './problems.ts'
import { fieldErrors } from './schemas/field-errors.ts'

export const JSON_TYPES = ['application/json'] as const
export const SPEC_TYPES = ['application/json', 'application/yaml', 'application/x-yaml', 'text/yaml'] as const

/** The body as its content type tells it, unchecked. Throws `body.type-unknown`, `body.too-large`, `body.malformed`. */
export async function readBody(c: Context, types: readonly string[], bytesMax: number): Promise<unknown> {
  const type = (c.req.header('content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
  if (!types.includes(type)) {
    throw new GatewayError(
      'body.type-unknown',
      `Cannot read a body of type "${type}": expected ${types.join(' or ')} as Content-Type`,
    )
  }
  const text = await readText(c.req.raw, bytesMax)
  return type === 'application/json' ? parseJson(text) : parseYaml(text)
}

/** The body, checked by a schema. All errors at once, under `code`. */
export function checkBody<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  code: 'spec.invalid' | 'request.invalid',
): z.infer<Schema> {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const errors = fieldErrors(parsed.error, value)
  const what = code === 'spec.invalid' ? 'The job specification' : 'The request'
  const count = errors.length === 1 ? 'an error' : `${errors.length} errors`
  throw new GatewayError(code, `${what} has ${count}: ${errors[0]?.message ?? ''}${errors.length > 1 ? '; …' : ''}`, {
    errors,
  })
}

async function readText(request: Request, bytesMax: number): Promise<string> {
  const tooLarge = (): GatewayError =>
    new GatewayError('body.too-large', `Cannot take a body of more than ${bytesMax} bytes`)
  if (Number(request.headers.get('content-length') ?? 0) > bytesMax) throw tooLarge()
  if (request.body === null) return ''
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let sizeBytes = 0
  let text = ''
  try {
    for await (const chunk of request.body) {
      sizeBytes += chunk.byteLength
      if (sizeBytes > bytesMax) throw tooLarge()
      text += decoder.decode(chunk, { stream: true })
    }
    return text + decoder.decode()
  } catch (error) {
    if (error instanceof GatewayError) throw error
    throw new GatewayError('body.malformed', 'Cannot read the body: it ended early, or is not UTF-8', { cause: error })
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'it is malformed'
    throw new GatewayError('body.malformed', `Cannot read the body as JSON: ${reason}`, { cause })
  }
}

const FOUND_LENGTH = 20

/** The parser's own words, except where they advise a programmer to call another function of it. */
export function yamlMistake({ code, message }: YAMLError): string {
  return code === 'MULTIPLE_DOCS' ? 'Expected one document, found another one after "---"' : message.trimEnd()
}

function parseYaml(text: string): unknown {
  const lineCounter = new LineCounter()
  const document = parseDocument(text, { lineCounter, prettyErrors: false })
  const errors = document.errors.map((error) => {
    const { line, col } = lineCounter.linePos(error.pos[0])
    return {
      path: `line ${line}, column ${col}`,
      expected: 'well-formed YAML',
      found: JSON.stringify(text.slice(error.pos[0], error.pos[0] + FOUND_LENGTH)),
      message: yamlMistake(error),
    }
  })
  if (errors.length > 0) {
    const [first] = errors
    throw new GatewayError('body.malformed', `Cannot read the body as YAML: ${first?.path}: ${first?.message}`, {
      errors,
    })
  }
  try {
    return document.toJS({ maxAliasCount: 100 }) // a few lines of aliases can stand for gigabytes
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'it is malformed'
    throw new GatewayError('body.malformed', `Cannot read the body as YAML: ${reason}`, { cause })
  }
}
