/** The schema of a kernel job's specification, and of how it is shown. What its function may say is seen by `admit`. */
import { z } from 'zod'
import type { KernelJobView, KernelSpec } from '../../machines/kernel-spec.ts'

const name = z
  .string()
  .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$/, 'a name of 1 to 100 letters, digits, "_", "." or "-", not starting with "." or "-"') // prettier-ignore

/** Names in the function. */
const identifier = z.string().regex(/^[A-Za-z][A-Za-z0-9_]{0,63}$/, 'a name of 1 to 64 letters, digits or "_"')
const length = z.int().min(1).max(16_777_216)
const numbers = z.array(z.number()).min(1)

const input = z.union([
  z.strictObject({
    name: identifier,
    map: z
      .boolean()
      .default(false)
      .describe('Whether it is cut along with the output: a chunk has its own rows alone.'),
    dataset: name,
    version: z.int().min(1).exactOptional(),
    split: z.enum(['train', 'validation', 'test']).default('train'),
    column: z.string().min(1).max(200).exactOptional().describe("All but the dataset's target when left out."),
  }),
  z.strictObject({
    name: identifier,
    map: z.boolean().default(false),
    values: z.union([numbers, z.array(numbers).min(1), z.array(z.array(numbers).min(1)).min(1)]),
  }),
  z.strictObject({
    name: identifier,
    map: z.boolean().default(false),
    job: z
      .string()
      .regex(/^[A-Za-z0-9_-]{1,64}$/)
      .describe('A kernel job: its output is the input.'),
  }),
])

export const kernelSpecSchema = z
  .strictObject({
    kind: z.literal('kernel'),
    name,
    source: z.string().min(1).max(65_536).describe("A function in the part of JavaScript that gpu.js compiles; its parameters are the inputs."), // prettier-ignore
    constants: z.record(identifier, z.number()).default({}),
    output: z
      .array(z.union([length, z.literal('rows')]))
      .min(1)
      .max(3)
      .describe('Lengths x, y, z; the last may be "rows": as many as the mapped inputs have.'),
    inputs: z.array(input).max(16).default([]),
    chunkRows: length.exactOptional().describe('Rows of the last dimension that one task computes.'),
    backend: z
      .enum(['tensorflow-gpu', 'tensorflow', 'webgpu', 'wasm', 'cpu', 'webgpu-software'])
      .exactOptional()
      .describe('Only workers with this back end: webgpu for a GPU.'),
    pool: name.default('default'),
    priority: z.enum(['high', 'normal', 'low']).default('normal'),
  })
  .meta({ id: 'KernelSpec' }) satisfies z.ZodType<KernelSpec>

export const kernelStates = [
  'submitted',
  'validating',
  'preparing',
  'queued',
  'running',
  'assembling',
  'completed',
  'failed',
  'cancelling',
  'cancelled',
] as const satisfies readonly KernelJobView['state'][]

const time = z.number().describe('Milliseconds since 1970.')

export const kernelJobSchema = z
  .object({
    id: z.string(),
    kind: z.literal('kernel'),
    name: z.string(),
    state: z.enum(kernelStates),
    owner: z.string(),
    spec: kernelSpecSchema,
    createdAt: time,
    changedAt: time,
    endedAt: time.exactOptional(),
    seq: z.int(),
    progress: z.object({ rows: z.int(), rowsTotal: z.int(), chunks: z.int(), chunksTotal: z.int() }),
    mode: z.string().exactOptional().describe('What gpu.js ran on: webgpu, webasm or cpu.'),
    output: z
      .object({ sha256: z.string(), sizeBytes: z.int(), shape: z.array(z.int()) })
      .exactOptional()
      .describe('An NPY file.'),
    workers: z.record(z.string(), z.int()).describe('Workers that finished chunks, with how many.'),
    error: z.object({ code: z.string(), message: z.string(), remedy: z.string().exactOptional() }).exactOptional(),
  })
  .meta({ id: 'KernelJob' }) satisfies z.ZodType<KernelJobView>
