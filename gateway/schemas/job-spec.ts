/**
 * The schema of a job's specification: it checks what users write at the edge, fills in the defaults, and is what
 * OpenAPI publishes. Objects are strict, so that a misspelt field is an error and not silently the default.
 * Whether the dataset exists and the model fits its data is not seen here: that is `admit`.
 */
import { z } from 'zod'
import type { JobSpec } from '../../machines/spec.ts'
import { trainSchema } from './train-spec.ts'

/** Names stand in URLs, file names and keys: letters, digits, `_`, `.`, `-`, and not a dot in front. */
const name = z
  .string()
  .regex(
    /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$/,
    'a name of 1 to 100 letters, digits, "_", "." or "-", not starting with "." or "-"',
  )

const datasetSchema = z.strictObject({
  name,
  version: z.int().min(1).exactOptional().describe('The newest when left out.'),
})

/** Keras and tfjs write more beside these two (`keras_version`, `backend`): it is let in and left behind. */
const modelSchema = z
  .object({
    class_name: z.string().min(1).max(100),
    config: z.union([z.record(z.string(), z.unknown()), z.array(z.unknown())]),
  })
  .describe('Keras-style JSON topology: what `model.toJSON()` and Keras write.')

export const jobSpecSchema = z
  .strictObject({
    name,
    dataset: datasetSchema,
    preprocess: z
      .array(z.strictObject({ op: z.literal('scale'), factor: z.number() }))
      .max(100)
      .default([]),
    model: modelSchema,
    train: trainSchema,
    register: z
      .strictObject({ name })
      .exactOptional()
      .describe("Where the finished model goes; the job's name when left out."),
    pool: name.default('default'),
    priority: z.enum(['high', 'normal', 'low']).default('normal'),
  })
  .transform((spec) => ({ ...spec, register: spec.register ?? { name: spec.name } }))
  .meta({ id: 'JobSpec' }) satisfies z.ZodType<JobSpec>
