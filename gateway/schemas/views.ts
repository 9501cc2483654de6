/**
 * What the API answers with, as schemas: for OpenAPI, and for tests that hold the answers to it. The types are those
 * of machines/views.ts; the compiler keeps the two equal.
 */
import { z } from 'zod'
import type {
  ColumnView,
  JobView,
  LogLine,
  MetricLine,
  ModelAliasView,
  ModelVersionView,
  Stage,
  StageChange,
  WorkerView,
} from '../../machines/views.ts'
import { jobSpecSchema, preprocessStepSchema } from './job-spec.ts'

export const time = z.number().describe('Milliseconds since 1970.')
export const sha256 = z.string().regex(/^[0-9a-f]{64}$/)
const blob = z.object({ sha256, sizeBytes: z.int() })
const measure = z.number().exactOptional()
const roundMeans = z.object({ loss: z.number(), accuracy: measure })

export const evaluationSchema = z
  .object({
    loss: z.number(),
    examples: z.int(),
    accuracy: measure,
    top2: measure.describe(
      'Share of examples whose class is among the two likeliest; likewise for three, five and ten.',
    ),
    top3: measure,
    top5: measure,
    top10: measure,
    precision: measure.describe('Mean over the classes; so are recall and f1.'),
    recall: measure,
    f1: measure,
    auc: measure.describe('Each class against the rest, mean over the classes.'),
    mae: measure,
    rmse: measure,
    r2: measure,
    byClass: z
      .array(
        z.object({
          name: z.string().exactOptional().describe('What the data calls the class; its code is its place.'),
          examples: z.int(),
          precision: z.number(),
          recall: z.number(),
          f1: z.number(),
          auc: measure,
        }),
      )
      .exactOptional(),
    confusion: z
      .array(z.array(z.int()))
      .exactOptional()
      .describe('By actual class, then by predicted; of few classes.'),
    report: blob.describe('The whole, as JSON.'),
  })
  .meta({ id: 'Evaluation' })

export const jobStates = [
  'submitted',
  'validating',
  'preparing',
  'waiting',
  'queued',
  'training',
  'evaluating',
  'scoring',
  'registering',
  'completed',
  'failed',
  'pausing',
  'paused',
  'cancelling',
  'cancelled',
  'stopped',
] as const satisfies readonly JobView['state'][]

export const jobViewSchema = z
  .object({
    id: z.string(),
    name: z.string(),
    state: z.enum(jobStates),
    phase: z.string().exactOptional().describe('The state inside `training`.'),
    owner: z.string(),
    spec: jobSpecSchema,
    createdAt: time,
    changedAt: time,
    endedAt: time.exactOptional(),
    seq: z.int().describe('How many transitions the job has made: the ETag.'),
    progress: z.object({ round: z.int(), rounds: z.int(), step: z.int(), steps: z.int() }),
    metrics: z
      .object({ loss: z.number(), accuracy: z.number().exactOptional() })
      .exactOptional()
      .describe('Mean over the replicas of the last round.'),
    slotSeconds: z.number().exactOptional().describe('What its runs have taken so far: what `limits.cost` is about.'),
    evaluation: evaluationSchema.exactOptional(),
    validation: evaluationSchema.exactOptional().describe('The newest on the validation split.'),
    checkpoints: z
      .array(
        z.object({
          round: z.int(),
          step: z.int(),
          weights: blob,
          metrics: roundMeans.exactOptional(),
          isBest: z.literal(true).exactOptional(),
        }),
      )
      .describe('Those that can be restored, the oldest first.'),
    restarts: z.int().exactOptional().describe('With a lower learning rate, after the loss diverged.'),
    resumed: z
      .object({ job: z.string(), round: z.int() })
      .exactOptional()
      .describe('The checkpoint of another job from which this one went on.'),
    sweep: z
      .object({
        id: z.string(),
        trial: z.int(),
        stoppedAt: z.int().exactOptional().describe('The rung at which the sweep stopped it, the lowest being 1.'),
      })
      .exactOptional()
      .describe('The sweep that it is a trial of.'),
    kernelMs: z.number().exactOptional().describe('Time in which workers computed its steps, all together.'),
    traffic: z
      .object({
        exchangeBytes: z.int().describe('What replicas tell each other: weights, deltas, gradients.'),
        stateBytes: z.int().describe('What is stored so that others could go on: optimisers, checkpoints.'),
      })
      .exactOptional()
      .describe('Bytes that the rounds moved between workers and the blob store.'),
    weights: sha256.exactOptional().describe("sha256 of the newest checkpoint's weights; the final ones at the end."),
    model: z.object({ name: z.string(), version: z.int() }).exactOptional(),
    workers: z.record(z.string(), z.int()).describe('Workers that finished rounds of this job, with how many.'),
    error: z.object({ code: z.string(), message: z.string(), remedy: z.string().exactOptional() }).exactOptional(),
  })
  .meta({ id: 'Job' }) satisfies z.ZodType<JobView>

export const metricLineSchema = z
  .object({
    at: time,
    round: z.int(),
    replica: z.int(),
    step: z.int(),
    steps: z.int(),
    loss: z.number(),
    accuracy: z.number().exactOptional(),
    examplesPerS: z.number(),
    worker: z.string(),
  })
  .meta({ id: 'MetricLine' }) satisfies z.ZodType<MetricLine>

export const logLineSchema = z
  .object({ at: time, level: z.enum(['info', 'warn', 'error']), source: z.string(), message: z.string() })
  .meta({ id: 'LogLine' }) satisfies z.ZodType<LogLine>

export const workerViewSchema = z
  .object({
    id: z.string(),
    pool: z.string(),
    state: z.enum(['idle', 'busy', 'draining', 'gone']),
    slots: z.int(),
    busy: z.int(),
    backend: z.string(),
    fingerprint: z.string().describe('Workers of one fingerprint compute the same bits.'),
    host: z.string(),
    pid: z.int(),
    joinedAt: time,
    tasks: z.array(z.string()),
    gpus: z
      .array(
        z.object({
          name: z.string(),
          memoryBytes: z.int().exactOptional(),
          usedBytes: z.int().exactOptional(),
          utilisation: z.number().exactOptional().describe('0 to 1.'),
        }),
      )
      .describe('What is not known of a GPU is left out.'),
  })
  .meta({ id: 'Worker' }) satisfies z.ZodType<WorkerView>

export const stageSchema = z.enum(['none', 'staging', 'production', 'archived'] as const satisfies readonly Stage[])

const stageChange = z.object({
  stage: stageSchema,
  at: time,
  by: z.string(),
  note: z.string().exactOptional(),
}) satisfies z.ZodType<StageChange>

export const modelAliasSchema = z
  .object({
    name: z.string(),
    alias: z.string(),
    version: z.int().nullable().describe('Null once the alias was removed.'),
    history: z.array(z.object({ version: z.int().nullable(), at: time, by: z.string() })).describe('Oldest first.'),
  })
  .meta({ id: 'ModelAlias' }) satisfies z.ZodType<ModelAliasView>

export const columnSchema = z
  .object({
    name: z.string(),
    dtype: z.enum(['uint8', 'int32', 'float32']),
    shape: z.array(z.int()).describe('Of one row: [] for one number, [28, 28, 1] for a grey image.'),
    categories: z
      .object({ count: z.int(), names: z.array(z.string()).exactOptional() })
      .exactOptional()
      .describe('Of a category: how many classes it has, and their names where the source had names.'),
  })
  .meta({ id: 'Column' }) satisfies z.ZodType<ColumnView>

export const modelVersionSchema = z
  .object({
    name: z.string(),
    version: z.int(),
    stage: stageSchema,
    stages: z.array(stageChange).describe('Every change of the stage, oldest first.'),
    createdAt: time,
    job: z.string(),
    sweep: z.object({ id: z.string(), trial: z.int() }).exactOptional().describe('Whose best trial it is.'),
    owner: z.string(),
    code: z.string().describe('The version of TensorFleet that trained it.'),
    fingerprint: z
      .string()
      .exactOptional()
      .describe('The numerics of the workers that computed it; it begins with their back end.'),
    parent: z
      .object({ name: z.string(), version: z.int() })
      .exactOptional()
      .describe('The version that its training started from.'),
    dataset: z.object({ name: z.string(), version: z.int() }),
    weights: blob,
    topology: blob,
    preprocess: z.array(preprocessStepSchema),
    features: z
      .array(
        columnSchema.extend({
          nullable: z
            .literal(true)
            .exactOptional()
            .describe('Null will do: preprocessing says what to make of a missing value.'),
        }),
      )
      .describe('The columns that predictions are asked with, in this order.'),
    input: z
      .object({ shape: z.array(z.int()).describe('Of one example, without the batch.'), dtype: z.string() })
      .describe('What preprocessing makes of the features: what the model itself takes.'),
    targetColumn: z.string().nullable().describe('The column that it predicts; null for an autoencoder.'),
    target: z.union([
      z.object({ kind: z.literal('class'), classes: z.int(), names: z.array(z.string()).exactOptional() }),
      z.object({
        kind: z.literal('value'),
        shape: z.array(z.int()),
        unscale: z
          .object({ factor: z.number(), offset: z.number() })
          .exactOptional()
          .describe("The data's value is the model's × factor + offset; predictions are turned back already."),
      }),
    ]),
    pipeline: blob.describe('The fitted preprocessing, as JSON.'),
    evaluation: evaluationSchema.exactOptional().describe('On the test split.'),
    validation: evaluationSchema.exactOptional().describe('On the validation split.'),
    spec: jobSpecSchema,
  })
  .meta({ id: 'ModelVersion' }) satisfies z.ZodType<ModelVersionView>

/** A page of a list. `next` is absent on the last. */
export function pageOf<Item extends z.ZodType>(
  item: Item,
): z.ZodObject<{
  items: z.ZodArray<Item>
  next: z.ZodExactOptional<z.ZodString>
}> {
  return z.object({ items: z.array(item), next: z.string().describe('Give it back as `cursor`.').exactOptional() })
}
