/**
 * `/openapi.json`: OpenAPI 3.1 of the operations as they are declared, and of the schemas that validate. Nothing in it
 * is written twice, so it cannot say what the gateway does not do.
 */
import { z } from 'zod'
import type { Answer, Api, Operation } from './api.ts'
import { problemSchema } from './problems.ts'

type JsonObject = Readonly<Record<string, unknown>>

export function openApiRoute(api: Api, version: string): void {
  let document: JsonObject | undefined
  api.on(
    {
      method: 'get',
      path: '/openapi.json',
      tag: 'system',
      summary: 'This document.',
      access: 'anyone',
      answers: { 200: { description: 'OpenAPI 3.1.', content: z.record(z.string(), z.unknown()) } },
    },
    (c) => c.json((document ??= openApiOf(api.operations, version))),
  )
}

export function openApiOf(operations: readonly Operation[], version: string): JsonObject {
  const schemas = new Schemas()
  const problem = {
    description: 'A problem (RFC 9457).',
    content: { 'application/problem+json': { schema: schemas.of(problemSchema, 'output') } },
  }
  const paths: Record<string, Record<string, JsonObject>> = {}
  for (const operation of operations) {
    const path = operation.path.replaceAll(/:(\w+)/g, '{$1}')
    paths[path] = { ...paths[path], [operation.method]: describeOperation(operation, schemas, problem) }
  }
  return {
    openapi: '3.1.0',
    info: { title: 'TensorFleet', version, description: 'Trains machine-learning models on a fleet of machines.' },
    paths,
    components: {
      schemas: schemas.collected,
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
        session: {
          type: 'apiKey',
          in: 'cookie',
          name: 'tensorfleet_session_PORT',
          description: 'The cookie that `POST /v1/session` sets; its name ends with the port of the gateway.',
        },
      },
    },
  }
}

function describeOperation(operation: Operation, schemas: Schemas, problem: JsonObject): JsonObject {
  const { summary, tag, access, body, answers } = operation
  return {
    summary,
    tags: [tag],
    operationId: operationId(operation),
    security: access === 'anyone' ? [] : [{ bearer: [] }, { session: [] }],
    ...(access !== 'anyone' && { description: `For the role ${access}${access === 'admin' ? '' : ' and higher'}.` }),
    parameters: parametersOf(operation, schemas),
    ...(body !== undefined && {
      requestBody: {
        required: true,
        content: Object.fromEntries(body.types.map((type) => [type, { schema: schemas.of(body.schema, 'input') }])),
      },
    }),
    responses: {
      ...Object.fromEntries(
        Object.entries(answers).map(([status, answer]) => [status, describeAnswer(answer, schemas)]),
      ),
      default: problem,
    },
  }
}

/** `getJobsById`: unique, since method and path are. */
function operationId({ method, path }: Operation): string {
  const words = path.replace(/^\/(v1\/)?/, '').split(/[/.]/)
  const name = words
    .map((word) => (word.startsWith(':') ? `By${upperFirst(word.slice(1))}` : upperFirst(word)))
    .join('')
  return `${method}${name}`
}

function upperFirst(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1)
}

function parametersOf({ path, query, headers = {} }: Operation, schemas: Schemas): JsonObject[] {
  const inPath = [...path.matchAll(/:(\w+)/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }))
  const inQuery = Object.entries(query?.shape ?? {}).map(([name, schema]) => {
    const { description, ...rest } = schemas.of(schema, 'input')
    return { name, in: 'query', required: false, ...(description !== undefined && { description }), schema: rest }
  })
  const inHeader = Object.entries(headers).map(([name, description]) => ({
    name,
    in: 'header',
    required: false,
    description,
    schema: { type: 'string' },
  }))
  return [...inPath, ...inQuery, ...inHeader]
}

function describeAnswer({ description, content }: Answer, schemas: Schemas): JsonObject {
  if (content === undefined) return { description }
  const byType = content instanceof z.ZodType ? { 'application/json': content } : content
  return {
    description,
    content: Object.fromEntries(
      Object.entries(byType).map(([type, schema]) => {
        if (schema === 'binary') return [type, { schema: {} }]
        return [type, { schema: schema === 'text' ? { type: 'string' } : schemas.of(schema, 'output') }]
      }),
    ),
  }
}

/** Schemas with an id stand once among the components, and are referred to. */
class Schemas {
  readonly collected: Record<string, JsonObject> = {}

  of(schema: z.core.$ZodType, io: 'input' | 'output'): JsonObject {
    const {
      $schema: _,
      $defs = {},
      ...json
    } = z.toJSONSchema(schema, {
      io,
      unrepresentable: 'any',
      override: ({ jsonSchema }) => {
        // zod gives every whole number the bounds of a double's; they say nothing to a reader.
        if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
        if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum
      },
    })
    for (const [name, definition] of Object.entries($defs)) this.#collect(name, definition)
    return this.#refer(json)
  }

  #refer(json: JsonObject): JsonObject {
    const { id, ...rest } = relinked(json)
    if (typeof id !== 'string') return rest
    this.#collect(id, rest)
    return { $ref: `#/components/schemas/${id}` }
  }

  #collect(name: string, definition: JsonObject): void {
    const { id: _, ...rest } = relinked(definition)
    this.collected[name] ??= rest
  }
}

/** References as they stand in a document of their own, made to point at the components. */
function relinked(json: JsonObject): JsonObject {
  const text = JSON.stringify(json).replaceAll('"#/$defs/', '"#/components/schemas/')
  return JSON.parse(text) as JsonObject // an object went in
}
