/**
 * The schema of `train`, the part of a job's specification that says how: checked at the edge, with its defaults. What
 * depends on two fields at once (as many batch sizes as replicas) is checked here too; what depends on the dataset is
 * not seen here: that is `admit`.
 */
import { z } from 'zod'
import type { MetricSpec, StrategySpec, TrainSpec } from '../../machines/train-spec.ts'

const learningRate = z.number().gt(0).max(100)
const fraction = z.number().min(0).lt(1)
const steps = z.int().min(1).max(1_000_000)
const batchSize = z.int().min(1).max(65_536)

const adam = {
  learningRate: learningRate.default(0.001),
  beta1: fraction.default(0.9),
  beta2: fraction.default(0.999),
  epsilon: z.number().gt(0).max(1).default(1e-7),
}

const optimizerSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('sgd'),
    learningRate: learningRate.default(0.01),
    momentum: fraction.default(0),
    nesterov: z.boolean().default(false),
  }),
  z.strictObject({ kind: z.literal('adam'), ...adam }),
  z.strictObject({ kind: z.literal('adamw'), ...adam, weightDecay: fraction.default(0.01) }),
])

const warmupSteps = z.int().min(0).max(1_000_000).default(0).describe('The rate rises from zero over these first.')

const scheduleSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('constant'), warmupSteps }),
  z.strictObject({
    kind: z.literal('cosine'),
    warmupSteps,
    steps: steps.exactOptional().describe('Where the curve ends; with the job when left out.'),
    finalFactor: z.number().min(0).max(1).default(0).describe('The end of the curve, as a share of the rate.'),
  }),
  z.strictObject({ kind: z.literal('step'), warmupSteps, everySteps: steps, factor: z.number().gt(0).max(1) }),
  z.strictObject({ kind: z.literal('exponential'), warmupSteps, everySteps: steps, factor: z.number().gt(0).max(1) }),
])

const clipSchema = z.strictObject({
  kind: z.enum(['norm', 'value']).describe('norm: of all gradients together; value: each by itself.'),
  max: z.number().gt(0),
})

const outerSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('average') }),
  // Defaults from the paper (2311.08105).
  z.strictObject({
    kind: z.literal('nesterov'),
    learningRate: learningRate.default(0.7),
    momentum: fraction.default(0.9),
  }),
])

const ROUND_STEPS = 50

const roundSteps = steps.default(ROUND_STEPS).describe('Steps of a round: what lies between two checkpoints.')

const strategySchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('local'), roundSteps }),
  z.strictObject({ kind: z.literal('sync'), roundSteps }),
  z.strictObject({
    kind: z.literal('diloco'),
    localSteps: steps.default(ROUND_STEPS).describe('Steps that a replica takes on its own in a round.'),
    outer: outerSchema.default({ kind: 'average' }),
    precision: z
      .enum(['float32', 'float16', 'int8'])
      .default('float32')
      .describe('Of what is exchanged: below float32 it is a difference, and what it cannot say is said later.'),
  }),
])

/** What a model is measured by. */
export const metricSchema = z.enum([
  'loss',
  'accuracy',
  'top2',
  'top3',
  'top5',
  'top10',
  'precision',
  'recall',
  'f1',
  'auc',
  'mae',
  'rmse',
  'r2',
]) satisfies z.ZodType<MetricSpec>

export const backendSchema = z
  .enum(['tensorflow-gpu', 'tensorflow', 'webgpu', 'wasm', 'cpu', 'webgpu-software'])
  .describe('Only workers with this back end: webgpu for a GPU.')

export const trainSchema = z
  .strictObject({
    replicas: z
      .int()
      .min(1)
      .max(1024)
      .default(1)
      .describe('Logical replicas. They fix the computation; any number of workers carries it out.'),
    epochs: z.int().min(1).max(1_000_000).default(1),
    batchSize: z
      .union([batchSize, z.array(batchSize).min(1).max(1024)])
      .default(32)
      .describe('Examples of a step: of every replica, or a list with one number for each.'),
    seed: z.int().min(0).max(0xffff_ffff).default(1),
    loss: z.enum([
      'sparseCategoricalCrossentropy',
      'categoricalCrossentropy',
      'binaryCrossentropy',
      'meanSquaredError',
      'meanAbsoluteError',
      'huber',
    ]),
    labelSmoothing: fraction.default(0).describe('The share of the true class that is spread over all.'),
    classWeights: z
      .union([z.array(z.number().min(0).max(1_000_000)).min(2), z.literal('balanced')])
      .exactOptional()
      .describe('By class: what the loss of an example is multiplied by; balanced: the rarer, the more.'),
    optimizer: optimizerSchema.prefault({ kind: 'adam' }),
    schedule: scheduleSchema.prefault({ kind: 'constant' }),
    clip: clipSchema.exactOptional().describe('Gradients are cut to this before the optimiser takes them.'),
    strategy: strategySchema
      .exactOptional()
      .describe('How replicas become one model; local for one replica and diloco for several when left out.'),
    validation: z
      .strictObject({ everyRounds: z.int().min(1).max(1_000_000).default(1) })
      .exactOptional()
      .describe('Measures the model on the validation split; every round where early stopping asks for it.'),
    earlyStopping: z
      .strictObject({
        metric: metricSchema.default('loss'),
        patience: z.int().min(1).max(10_000).default(5).describe('Validations in a row that bring no improvement.'),
        minDelta: z.number().min(0).default(0).describe('What counts as an improvement.'),
      })
      .exactOptional()
      .describe('Ends the training when the model gets no better, and takes its best checkpoint.'),
    checkpoints: z
      .strictObject({
        everyRounds: z.int().min(1).max(1_000_000).default(1),
        keepLast: z.int().min(1).max(100).default(3),
      })
      .prefault({})
      .describe('Which checkpoints stay, beside the newest and the best.'),
    backend: backendSchema.exactOptional(),
    onDivergence: z
      .strictObject({
        restart: z.boolean().default(false).describe('Go on from the last good checkpoint, with a lower rate.'),
        factor: z.number().gt(0).lt(1).default(0.5).describe('What the learning rate is multiplied by then.'),
        times: z.int().min(1).max(20).default(3),
        lossFactor: z.number().gt(1).default(1_000).describe('A loss this many times the first one has exploded.'),
      })
      .prefault({})
      .describe('What follows when the loss is no number any more, or explodes.'),
  })
  .superRefine(({ replicas, batchSize, strategy }, context) => {
    if (Array.isArray(batchSize) && batchSize.length !== replicas) {
      const message = `${replicas} batch sizes, one for each replica`
      context.addIssue({ code: 'custom', path: ['batchSize'], message })
    }
    if (strategy?.kind === 'local' && replicas > 1) {
      const message = `"sync" or "diloco" for ${replicas} replicas`
      context.addIssue({ code: 'custom', path: ['strategy', 'kind'], message })
    }
  })
  .transform(({ validation, earlyStopping, ...train }) => ({
    ...train,
    strategy: train.strategy ?? strategyFor(train.replicas),
    ...((validation ?? earlyStopping) && { validation: validation ?? { everyRounds: 1 } }),
    ...(earlyStopping && { earlyStopping }),
  }))
  .meta({ id: 'Train' }) satisfies z.ZodType<TrainSpec>

function strategyFor(replicas: number): StrategySpec {
  if (replicas === 1) return { kind: 'local', roundSteps: ROUND_STEPS }
  return { kind: 'diloco', localSteps: ROUND_STEPS, outer: { kind: 'average' }, precision: 'float32' }
}
