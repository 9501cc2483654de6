/**
 * The schemas of sweeps: what users write, checked with its defaults, and what the API answers with. Whether parameters
 * lead somewhere in the job, and what every trial comes to, is not seen here: that is `admit`.
 */
import { z } from 'zod'
import type { AshaSpec, RangeSpec, SweepSpec, SweepState, SweepView, TrialState } from '../../machines/sweep-spec.ts'
import { jobSpecFields, jobSpecSchema } from './job-spec.ts'
import { metricSchema } from './train-spec.ts'
import { time } from './views.ts'

const finite = z.number().min(-1e30).max(1e30)

const rangeSchema = z
  .strictObject({
    min: finite,
    max: finite,
    scale: z.enum(['linear', 'log']).default('linear'),
    step: finite
      .exactOptional()
      .describe('From one value to the next: added, or multiplied by on the log scale. A grid needs it.'),
    integer: z.boolean().default(false),
  })
  .superRefine(({ min, max, scale, step }, context) => {
    const issue = (field: string, message: string): void => context.addIssue({ code: 'custom', path: [field], message })
    if (!(min < max)) issue('max', `more than min, which is ${min}`)
    if (scale === 'log' && !(min > 0)) issue('min', 'more than 0 on the log scale')
    const least = scale === 'log' ? 1 : 0
    if (step !== undefined && !(step > least)) issue('step', `more than ${least}`)
  }) satisfies z.ZodType<RangeSpec>

const rounds = z.int().min(1).max(1_000_000)

const ashaSchema = z
  .strictObject({
    kind: z.literal('asha'),
    minRounds: rounds.default(1).describe('After so many rounds trials are compared for the first time.'),
    maxRounds: rounds.describe('After so many the best ones are at their end.'),
    eta: z.int().min(2).max(100).default(3).describe('The best one in so many goes on, for so many times the rounds.'),
  })
  .superRefine(({ minRounds, maxRounds, eta }, context) => {
    if (minRounds * eta <= maxRounds) return
    const message = `at least ${minRounds * eta}: minRounds × eta`
    context.addIssue({ code: 'custom', path: ['maxRounds'], message })
  }) satisfies z.ZodType<AshaSpec>

const trials = z.int().min(1).max(1_000)
const seed = z.int().min(0).max(0xffff_ffff).default(1)

export const sweepSpecSchema = z
  .strictObject({
    kind: z.literal('sweep'),
    name: jobSpecFields.name,
    job: jobSpecSchema.describe('What all trials have in common; a preset is made a whole job first.'),
    parameters: z
      .record(z.string().min(1).max(200), z.union([z.array(z.unknown()).min(1).max(1_000), rangeSchema]))
      .refine((parameters) => Object.keys(parameters).length > 0, 'one parameter or more')
      .describe('By path in the job (`train.optimizer.learningRate`): a list of values, or a range.'),
    search: z
      .discriminatedUnion('kind', [
        z.strictObject({
          kind: z.literal('grid'),
          trials: trials.exactOptional().describe('So many of its combinations, drawn by the seed; all when left out.'),
          seed,
        }),
        z.strictObject({ kind: z.literal('random'), trials, seed }),
      ])
      .prefault({ kind: 'grid' }),
    metric: metricSchema
      .default('loss')
      .describe("What trials are compared by: on the validation split where the job's `train.validation` measures it."),
    scheduler: z
      .union([z.strictObject({ kind: z.literal('none'), maxRounds: rounds.exactOptional() }), ashaSchema])
      .prefault({ kind: 'none' })
      .describe('`none` trains every trial to its end; `asha` lets the best go on from rung to rung.'),
    parallelism: z.int().min(1).max(256).default(4).describe('Trials that train at once.'),
    failuresMax: z
      .int()
      .min(0)
      .exactOptional()
      .describe('With more failed trials than this the sweep fails; any number may when left out.'),
    model: jobSpecFields.name
      .exactOptional()
      .describe("The name under which the best trial's model is registered; none is when left out."),
    after: jobSpecFields.after,
  })
  .meta({ id: 'SweepSpec' }) satisfies z.ZodType<SweepSpec>

export const sweepStates = [
  'waiting',
  'running',
  'pausing',
  'paused',
  'concluding',
  'registering',
  'completed',
  'failed',
  'cancelling',
  'cancelled',
] as const satisfies readonly SweepState[]

const trialStates = [
  'running',
  'waiting',
  'stopping',
  'stopped',
  'completed',
  'failed',
  'cancelled',
] as const satisfies readonly TrialState[]

const count = z.int().min(0)

export const sweepViewSchema = z
  .object({
    id: z.string(),
    kind: z.literal('sweep'),
    name: z.string(),
    state: z.enum(sweepStates),
    owner: z.string(),
    spec: sweepSpecSchema,
    createdAt: time,
    changedAt: time,
    endedAt: time.exactOptional(),
    seq: z.int().describe('How many transitions the sweep has made: the ETag.'),
    progress: z.object({
      trials: count,
      started: count,
      running: count,
      waiting: count.describe('At a rung, for others to compare with.'),
      completed: count,
      stopped: count.describe('At a rung, where others were better.'),
      failed: count,
      cancelled: count,
      steps: count.describe('Of all trials, of each replica.'),
      stepsPlanned: count.describe('How many there will be, as far as can be told.'),
    }),
    leaderboard: z
      .array(
        z.object({
          trial: count,
          job: z.string(),
          state: z.enum(trialStates),
          parameters: z.record(z.string(), z.unknown()),
          value: z.number().exactOptional().describe("By the sweep's metric; absent as long as it was not measured."),
          rungs: count.describe('The rungs that it has come to.'),
          round: count,
          step: count,
          steps: count.describe('Until it is trained to its end; 0 as long as that is not known.'),
          error: z.object({ code: z.string(), message: z.string() }).exactOptional(),
        }),
      )
      .describe('The best one first.'),
    best: z
      .object({ trial: count, job: z.string(), value: z.number().exactOptional() })
      .exactOptional()
      .describe('Of those that were trained to their end.'),
    model: z.object({ name: z.string(), version: z.int() }).exactOptional(),
    error: z.object({ code: z.string(), message: z.string(), remedy: z.string().exactOptional() }).exactOptional(),
  })
  .meta({ id: 'Sweep' }) satisfies z.ZodType<SweepView>

/** A row of the list: whoever wants the trials asks for the sweep. */
export const sweepSummarySchema = sweepViewSchema.omit({ spec: true, leaderboard: true }).meta({ id: 'SweepSummary' })
