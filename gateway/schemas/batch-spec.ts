/** The schemas of batch jobs' specifications, and of how they are shown. What depends on data is seen by `admit`. */
import { z } from 'zod'
import type { BatchView, EvaluateSpec, KernelSpec, PredictSpec } from '../../machines/batch-spec.ts'
import { jobSpecFields, modelRefSchema } from './job-spec.ts'
import { backendSchema } from './train-spec.ts'
import { evaluationSchema } from './views.ts'

const { name, after } = jobSpecFields

/** Names in the function. */
const identifier = z.string().regex(/^[A-Za-z][A-Za-z0-9_]{0,63}$/, 'a name of 1 to 64 letters, digits or "_"')
const length = z.int().min(1).max(16_777_216)
const numbers = z.array(z.number()).min(1)

const common = {
  name,
  chunkRows: length.exactOptional().describe('Rows that one task takes; of a kernel, of the last dimension.'),
  backend: backendSchema.exactOptional(),
  pool: name.default('default'),
  priority: z.enum(['high', 'normal', 'low']).default('normal'),
  after,
}

const split = z.enum(['train', 'validation', 'test'])

/** A model over a split of a dataset. */
const modelUse = {
  ...common,
  name: name.exactOptional(),
  model: modelRefSchema.describe(
    'NAME, NAME@VERSION or NAME@ALIAS; the job keeps the exact version: the one at its submission, or of a job with `after` the one when it begins.',
  ),
  dataset: z.strictObject({ name, version: z.int().min(1).exactOptional().describe('The newest when left out.') }),
  split: split.default('test'),
}

const fromDataset = z.strictObject({
  name: identifier,
  map: z.boolean().default(false).describe('Whether it is cut along with the output: a chunk has its own rows alone.'),
  dataset: name,
  version: z.int().min(1).exactOptional(),
  split: split.default('train'),
  column: z.string().min(1).max(200).exactOptional().describe("All but the dataset's target when left out."),
})
const fromJob = z.strictObject({
  name: identifier,
  map: z.boolean().default(false),
  job: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,64}$/)
    .describe('A batch job that gave an array, or will have given one where it stands in `after`: that is the input.'),
})
const fromValues = z.strictObject({
  name: identifier,
  map: z.boolean().default(false),
  values: z.union([numbers, z.array(numbers).min(1), z.array(z.array(numbers).min(1)).min(1)]),
})
const fromArray = z.strictObject({
  name: identifier,
  map: z.boolean(),
  array: z
    .object({ sha256: z.string(), shape: z.array(z.int()) })
    .describe('The values that were sent, as the job keeps them: a file (NPY), by content.'),
})

const kernelFields = {
  kind: z.literal('kernel'),
  source: z.string().min(1).max(65_536).describe("A function in the part of JavaScript that gpu.js compiles; its parameters are the inputs."), // prettier-ignore
  constants: z.record(identifier, z.number()).default({}),
  ...common,
  output: z
    .array(z.union([length, z.literal('rows')]))
    .min(1)
    .max(3)
    .describe('Lengths x, y, z; the last may be "rows": as many as the mapped inputs have.'),
}

export const kernelSpecSchema = z
  .strictObject({
    ...kernelFields,
    inputs: z
      .array(z.union([fromDataset, fromValues, fromJob]))
      .max(16)
      .default([]),
  })
  .meta({ id: 'KernelSpec' }) satisfies z.ZodType<KernelSpec>

/** As a job keeps it. */
const keptKernelSpecSchema = z
  .strictObject({ ...kernelFields, inputs: z.array(z.union([fromDataset, fromArray, fromJob])) })
  .meta({ id: 'KeptKernelSpec' }) satisfies z.ZodType<KernelSpec>

/** A name of its own, or what it is about. */
const named = <Spec extends { name?: string; model: string; kind: string }>(spec: Spec): Spec & { name: string } => ({
  ...spec,
  name: spec.name ?? `${spec.model.split('@')[0] ?? ''}-${spec.kind}`.slice(0, 100),
})

export const evaluateSpecSchema = z
  .strictObject({ kind: z.literal('evaluate'), ...modelUse })
  .transform(named)
  .meta({ id: 'EvaluateSpec' }) satisfies z.ZodType<EvaluateSpec>

export const predictSpecSchema = z
  .strictObject({
    kind: z.literal('predict'),
    ...modelUse,
    format: z
      .enum(['npy', 'csv', 'jsonl'])
      .default('npy')
      .describe("npy: the model's outputs as an array; csv, jsonl: a line for each row, with the class by its name."),
  })
  .transform(named)
  .meta({ id: 'PredictSpec' }) satisfies z.ZodType<PredictSpec>

export const batchSpecSchema = z.discriminatedUnion('kind', [kernelSpecSchema, evaluateSpecSchema, predictSpecSchema])

const keptSpecSchema = z.discriminatedUnion('kind', [keptKernelSpecSchema, evaluateSpecSchema, predictSpecSchema])

const batchStates = [
  'submitted',
  'waiting',
  'preparing',
  'queued',
  'running',
  'finishing',
  'pausing',
  'paused',
  'completed',
  'failed',
  'cancelling',
  'cancelled',
] as const satisfies readonly BatchView['state'][]

const time = z.number().describe('Milliseconds since 1970.')

export const batchSchema = z
  .object({
    id: z.string(),
    kind: z.enum(['kernel', 'evaluate', 'predict']),
    name: z.string(),
    state: z.enum(batchStates),
    owner: z.string(),
    spec: keptSpecSchema,
    createdAt: time,
    changedAt: time,
    endedAt: time.exactOptional(),
    seq: z.int(),
    progress: z.object({ rows: z.int(), rowsTotal: z.int(), chunks: z.int(), chunksTotal: z.int() }),
    dataset: z.string().exactOptional().describe('NAME@VERSION of what is read.'),
    mode: z.string().exactOptional().describe('What gpu.js ran on: webgpu, webasm or cpu.'),
    output: z
      .object({
        sha256: z.string(),
        sizeBytes: z.int(),
        format: z.enum(['npy', 'csv', 'jsonl']),
        shape: z.array(z.int()).exactOptional().describe('Of an NPY file.'),
      })
      .exactOptional(),
    evaluation: evaluationSchema.exactOptional(),
    workers: z.record(z.string(), z.int()).describe('Workers that finished chunks, with how many.'),
    error: z.object({ code: z.string(), message: z.string(), remedy: z.string().exactOptional() }).exactOptional(),
  })
  .meta({ id: 'Batch' }) satisfies z.ZodType<BatchView>
