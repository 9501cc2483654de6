/** The pages say everything: each field of a specification that the API takes stands in one of them, and each command. */
import { readdir, readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { batchSpecSchema } from '../../gateway/schemas/batch-spec.ts'
import { ingestOptionsSchema } from '../../gateway/schemas/datasets.ts'
import { jobSpecSchema } from '../../gateway/schemas/job-spec.ts'
import { presetSpecSchema } from '../../gateway/schemas/preset-spec.ts'
import { sweepSpecSchema } from '../../gateway/schemas/sweep-spec.ts'

const root = resolve(import.meta.dirname, '../..')
const pages = (await readdir(join(root, 'docs'))).filter((name) => name.endsWith('.md') && name !== 'actors.md')
const texts = ['README.md', ...pages.map((name) => `docs/${name}`)].map((path) => readFile(join(root, path), 'utf8'))
const text = (await Promise.all(texts)).join('\n')

/** Names of all properties in a JSON Schema, at whatever depth. */
function* propertiesOf(schema: unknown): Generator<string> {
  if (typeof schema !== 'object' || schema === null) return
  for (const [key, value] of Object.entries(schema)) {
    if (key === 'properties' && typeof value === 'object' && value !== null) yield* Object.keys(value)
    yield* propertiesOf(value)
  }
}

const schemas = { job: jobSpecSchema, preset: presetSpecSchema, batch: batchSpecSchema, sweep: sweepSpecSchema, data: ingestOptionsSchema } // prettier-ignore

test.each(Object.entries(schemas))('every field of a %s is in the docs', (_, schema) => {
  const names = new Set(propertiesOf(z.toJSONSchema(schema, { io: 'input' })))
  expect(names.size).toBeGreaterThan(5)
  expect([...names].filter((name) => !new RegExp(`(^|[^\\w])${name}([^\\w]|$)`, 'm').test(text))).toEqual([])
})
