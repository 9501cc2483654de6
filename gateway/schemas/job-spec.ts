/**
 * The schema of a job's specification: it checks what users write at the edge, fills in the defaults, and is what
 * OpenAPI publishes. Objects are strict, so that a misspelt field is an error and not silently the default.
 * Whether the dataset exists and the model fits its data is not seen here: that is `admit`.
 */
import { z } from 'zod'
import type { JobSpec, PreprocessStep } from '../../machines/spec.ts'
import type { FieldError } from '../problems.ts'
import { fieldErrors } from './field-errors.ts'
import { trainSchema } from './train-spec.ts'

/** Names stand in URLs, file names and keys: letters, digits, `_`, `.`, `-`, and not a dot in front. */
const name = z
  .string()
  .regex(
    /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$/,
    'a name of 1 to 100 letters, digits, "_", "." or "-", not starting with "." or "-"',
  )

const columnName = z.string().min(1).max(200)

const datasetSchema = z.strictObject({
  name,
  version: z.int().min(1).exactOptional().describe('The newest when left out.'),
  target: columnName
    .nullable()
    .exactOptional()
    .describe("The column to predict: the dataset's own when left out; null for the input itself (an autoencoder)."),
  features: z
    .array(columnName)
    .min(1)
    .max(4_096)
    .exactOptional()
    .describe('The columns to predict from; all others when left out.'),
})

const columns = z
  .array(columnName)
  .min(1)
  .max(4_096)
  .exactOptional()
  .describe('The columns that the step applies to; all that it suits when left out.')
const side = z.int().min(1).max(4_096)
const finite = z.number().min(-1e30).max(1e30)

/** kernels/data/preprocess.ts says what each does. */
export const preprocessStepSchema = z.discriminatedUnion('op', [
  z.strictObject({ op: z.literal('scale'), factor: finite, columns }),
  z.strictObject({ op: z.literal('shift'), by: finite, columns }),
  z.strictObject({ op: z.literal('standardise'), columns }),
  z.strictObject({ op: z.literal('minmax'), min: finite.exactOptional(), max: finite.exactOptional(), columns }),
  z.strictObject({ op: z.literal('impute'), with: z.union([z.enum(['mean', 'mode']), finite]), columns }),
  z.strictObject({ op: z.literal('onehot'), columns }),
  z.strictObject({ op: z.literal('resize'), height: side, width: side, columns }),
  z.strictObject({ op: z.literal('flatten'), columns }),
  z.strictObject({
    op: z.literal('augment'),
    flip: z.enum(['horizontal', 'vertical', 'both']).exactOptional(),
    shift: z.int().min(0).max(1_024).exactOptional().describe('Pixels, in each direction.'),
    rotate: z.number().min(0).max(180).exactOptional().describe('Degrees, in either direction.'),
    crop: z.number().min(0).lt(1).exactOptional().describe('How much smaller the window may be, as a share.'),
    brightness: z.number().min(0).max(1).exactOptional(),
    noise: z.number().min(0).max(1_000).exactOptional().describe('Standard deviation.'),
    columns,
  }),
  z.strictObject({ op: z.literal('shuffle'), rows: z.enum(['auto', 'full', 'windowed', 'none']) }),
]) satisfies z.ZodType<PreprocessStep>

/** `@` parts name and version: neither has one in it. */
export const modelRefSchema = z
  .string()
  .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}(@[A-Za-z0-9-]{1,40})?$/, 'a model as NAME, NAME@VERSION or NAME@ALIAS')

/** Keras and tfjs write more beside these two (`keras_version`, `backend`): it is let in and left behind. */
const topologySchema = z
  .object({
    class_name: z.string().min(1).max(100),
    config: z.union([z.record(z.string(), z.unknown()), z.array(z.unknown())]),
    from: z.never().optional(),
  })
  .transform(({ from: _, ...topology }) => topology)
  .describe('Keras-style JSON topology: what `model.toJSON()` and Keras write.')

const modelSchema = z.union([
  z.strictObject({
    from: modelRefSchema.describe('Go on from this version: its topology, its weights and, unless `preprocess` is said, its fitted preprocessing. The job keeps the exact version: the one at its submission, or of a job with `after` the one when it begins.'), // prettier-ignore
  }),
  topologySchema,
])

const predecessorId = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, 'the id of a job, a batch job or a sweep')

const predecessorSchema = z
  .union([
    predecessorId,
    z.strictObject({
      job: predecessorId,
      otherwise: z
        .enum(['fail', 'begin'])
        .default('fail')
        .describe('What follows when it has not completed: this job fails as well, or begins all the same.'),
    }),
  ])
  .transform((before) => (typeof before === 'string' ? { job: before, otherwise: 'fail' as const } : before))

/** What other specifications have too. */
export const jobSpecFields = {
  name,
  dataset: datasetSchema,
  after: z
    .array(predecessorSchema)
    .min(1)
    .max(32)
    .exactOptional()
    .describe('Jobs, batch jobs and sweeps that must have ended before this one begins.'),
}

const limitsSchema = z.strictObject({
  time: z
    .number()
    .gt(0)
    .max(30 * 86_400)
    .exactOptional()
    .describe('Seconds from its first round to its end, without its pauses; over it, the job fails.'),
  cost: z
    .number()
    .gt(0)
    .exactOptional()
    .describe('Slot-seconds of all its runs that brought a result; over it, the job fails at the end of a round.'),
})

/** How a job runs, whatever it trains. */
export const runFields = {
  register: z
    .strictObject({ name })
    .exactOptional()
    .describe("Where the finished model goes; the job's name when left out."),
  pool: name.default('default'),
  priority: z
    .enum(['high', 'normal', 'low'])
    .default('normal')
    .describe('High work takes slots from normal and low, which go on later with the same result.'),
  slots: z.int().min(1).max(64).exactOptional().describe('How many slots each of its tasks takes; 1 when left out.'),
  gang: z.boolean().exactOptional().describe('All replicas of a round start together, or none.'),
  limits: limitsSchema.exactOptional(),
  after: jobSpecFields.after,
}

export const jobSpecSchema = z
  .strictObject({
    name,
    dataset: datasetSchema,
    preprocess: z
      .array(preprocessStepSchema)
      .max(100)
      .exactOptional()
      .describe('None when left out; beside `model.from`, what the version was trained with.'),
    model: modelSchema,
    train: trainSchema,
    ...runFields,
  })
  .transform((spec) => ({
    ...spec,
    ...(spec.preprocess === undefined && !('from' in spec.model) && { preprocess: [] }),
  }))
  .meta({ id: 'JobSpec' }) satisfies z.ZodType<JobSpec>

/** For jobs that come of others than a request's body. */
export function checkJob(job: unknown): { readonly spec: JobSpec } | { readonly problems: readonly FieldError[] } {
  const parsed = jobSpecSchema.safeParse(job)
  return parsed.success ? { spec: parsed.data } : { problems: fieldErrors(parsed.error, job) }
}
