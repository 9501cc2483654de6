/**
 * What results make of a training job, as pure functions of what it knows: each at its replica's or slice's place, then
 * one set of weights and a checkpoint, measures, a model. Nothing depends on the order in which they came (training.ts
 * says why that matters).
 */
import { finalCheckpoint, finalValidation } from './judgement.ts'
import type { JobSpec } from './spec.ts'
import { roundStepsOf } from './train-spec.ts'
import { lastCheckpoint, planOf } from './training.ts'
import type { Checkpoint, FinishedTraining, ReduceInput, RegisterInput, RoundMeans, ScoreInput, TrainingContext } from './training.ts' // prettier-ignore
import type { OutputOf, WorkOutput } from './work.ts'

/** The initial weights are the checkpoint before the first round. */
export function withInitial(output: WorkOutput, fingerprint: string): Partial<TrainingContext> {
  if (output.kind !== 'initialise') return {}
  const { weights } = output
  return {
    fingerprint,
    checkpoints: [{ round: 0, step: 0, weights, follows: null, outerState: null, optimizerStates: [], metrics: null }],
  }
}

/** A result stands at its replica's or slice's place, whenever it comes. */
export function withResult(context: TrainingContext, worker: string, output: WorkOutput): Partial<TrainingContext> {
  if (output.kind !== 'round' && output.kind !== 'evaluate') return {}
  const place = output.kind === 'round' ? output.replica : output.slice
  const results = context.results.with(place, output)
  if (output.kind === 'evaluate') return { results }
  return {
    results,
    workers: { ...context.workers, [worker]: (context.workers[worker] ?? 0) + 1 },
    homes: { ...context.homes, [place]: worker },
  }
}

function resultsOf<Kind extends 'round' | 'evaluate'>(
  results: TrainingContext['results'],
  kind: Kind,
): readonly OutputOf<Kind>[] {
  return results.filter((result): result is OutputOf<Kind> => result?.kind === kind)
}

export function reduction(context: TrainingContext): ReduceInput {
  const { strategy } = context.spec.train
  const { round, weights, outerState } = lastCheckpoint(context)
  return {
    job: context.id,
    round,
    weights: weights.sha256,
    replicas: resultsOf(context.results, 'round').map((result) => result.weights),
    shares: planOf(context).recipe.batchSizes,
    strategy,
    outerState,
  }
}

export function withCheckpoint(context: TrainingContext): Partial<TrainingContext> {
  const { reduced } = context
  if (reduced === null) throw new Error(`Job ${context.id} has no weights to keep`)
  const { round, step, weights } = lastCheckpoint(context)
  const { strategy } = context.spec.train
  const results = resultsOf(context.results, 'round')
  const accuracies = results.flatMap(({ accuracy }) => accuracy ?? [])
  const metrics: RoundMeans = {
    loss: mean(results.map(({ loss }) => loss)),
    ...(accuracies.length > 0 && { accuracy: mean(accuracies) }),
  }
  const checkpoint: Checkpoint = {
    round: round + 1,
    step: Math.min(planOf(context).steps, step + roundStepsOf(strategy)),
    weights: reduced.weights,
    follows: reduced.update === null ? null : { weights: weights.sha256, update: reduced.update },
    outerState: reduced.outerState,
    optimizerStates: results.map(({ optimizerState }) => optimizerState.sha256),
    metrics,
  }
  const times = results.map(({ elapsedMs }) => elapsedMs)
  return {
    checkpoints: kept([...context.checkpoints, checkpoint], context.spec.train.checkpoints),
    reduced: null,
    results: [],
    slowestMs: Math.max(...times),
    // Replicas that go together take one time, in which some may find their work done.
    stepMs: (strategy.kind === 'sync' ? Math.max(...times) : median(times)) / (checkpoint.step - step),
    kernelMs: context.kernelMs + sum(results.map(({ kernelMs }) => kernelMs)),
    traffic: {
      exchangeBytes: context.traffic.exchangeBytes + sum(results.map(({ moved }) => moved.exchangeBytes)),
      stateBytes: context.traffic.stateBytes + sum(results.map(({ moved }) => moved.stateBytes)),
    },
    metrics,
    firstLoss: context.firstLoss ?? mean(results.map(({ firstLoss }) => firstLoss)),
  }
}

/** Every so many rounds one stays, the last few of them; the newest is always among the kept. */
function kept(
  checkpoints: readonly Checkpoint[],
  { everyRounds, keepLast }: JobSpec['train']['checkpoints'],
): readonly Checkpoint[] {
  const older = checkpoints.slice(0, -1).filter(({ round }) => round % everyRounds === 0)
  return [...older.slice(keepLast === 1 ? older.length : -(keepLast - 1)), ...checkpoints.slice(-1)]
}

export function scoring(context: TrainingContext, split: 'validation' | 'test'): ScoreInput {
  const slices = resultsOf(context.results, 'evaluate').map(({ sums }) => sums.sha256)
  return { job: context.id, split, slices }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

/** The lower one of the two in the middle of an even number: most workers are at least as fast. */
function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)] ?? 0
}

function mean(values: readonly number[]): number {
  return sum(values) / values.length
}

export function finished(context: TrainingContext): FinishedTraining {
  const { fingerprint, evaluation } = context
  const { weights } = finalCheckpoint(context)
  return { plan: planOf(context), weights, fingerprint, evaluation, validation: finalValidation(context) }
}

export function registration(context: TrainingContext): RegisterInput {
  const { id, owner, spec } = context
  return { id, owner, spec, ...finished(context) }
}
