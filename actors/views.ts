/** What people are shown, from an actor's snapshot: pure functions, used by the projector and by the gateway alike. */
import type { WorkerRow } from '../machines/book.ts'
import type { JobContext } from '../machines/job-parts.ts'
import { stepsOf } from '../machines/judgement.ts'
import { lengthOf } from '../machines/queue.ts'
import type { Priority } from '../machines/spec.ts'
import { roundsOf } from '../machines/training.ts'
import type { ResumePoint } from '../machines/training.ts'
import type { SchedulerContext } from '../machines/scheduler.ts'
import type { CheckpointView, JobState, JobView, PoolView, WorkerView } from '../machines/views.ts'
import { idOf } from '../runtime/mod.ts'
import type { ActorSnapshot, ActorAddress, Json } from '../runtime/mod.ts'
import { errorOf, lifeOf, workersOf } from './view-parts.ts'

export function jobView(snapshot: ActorSnapshot): JobView {
  const context = snapshot.context as unknown as JobContext // a snapshot of the kind `job`, at its version
  const { id, owner, spec, metrics, evaluation, model, fault, kernelMs, traffic } = context
  const { validation, generation, resume, trial, stoppedAt } = context
  const checkpoint = context.checkpoints.at(-1)
  const phase = phaseOf(snapshot.value)
  return {
    id,
    name: spec.name,
    state: jobState(snapshot.value, context),
    ...(phase !== null && { phase }),
    owner,
    spec,
    ...lifeOf(snapshot),
    progress: {
      round: checkpoint?.round ?? 0,
      rounds: roundsOf(context),
      step: checkpoint?.step ?? 0,
      steps: stepsOf(context),
    },
    ...(context.costMs > 0 && { slotSeconds: Math.round(context.costMs) / 1_000 }),
    ...(metrics !== null && { metrics }),
    ...(evaluation !== null && { evaluation }),
    ...(validation !== null && { validation }),
    checkpoints: checkpointViews(context),
    ...(generation > 0 && { restarts: generation }),
    ...(resume !== undefined && { resumed: { job: resume.job, round: resume.checkpoint.round } }),
    ...(trial !== undefined && {
      sweep: { id: trial.sweep, trial: trial.trial, ...(stoppedAt !== null && { stoppedAt }) },
    }),
    ...(checkpoint !== undefined && checkpoint.round > 0 && { kernelMs, traffic }),
    ...(checkpoint !== undefined && { weights: checkpoint.weights.sha256 }),
    ...(model !== null && { model }),
    workers: workersOf(context.workers),
    ...errorOf(fault),
  }
}

/** From where another job goes on as this one would have; null where it has no such checkpoint. */
export function resumePoint(snapshot: ActorSnapshot, round: number): ResumePoint | null {
  const context = snapshot.context as unknown as JobContext // a snapshot of the kind `job`, at its version
  const { id, checkpoints, best, fingerprint, firstLoss, rateFactor } = context
  const checkpoint = [...checkpoints, ...(best === null ? [] : [best.checkpoint])].find((each) => each.round === round)
  return checkpoint === undefined ? null : { job: id, checkpoint, fingerprint, firstLoss, rateFactor }
}

/** Kept ones and the best, by round. */
function checkpointViews({ checkpoints, best }: JobContext): readonly CheckpointView[] {
  const all = new Map(checkpoints.map((checkpoint) => [checkpoint.round, checkpoint]))
  if (best !== null) all.set(best.checkpoint.round, best.checkpoint)
  return [...all.values()]
    .toSorted((a, b) => a.round - b.round)
    .map(({ round, step, weights, metrics }) => ({
      round,
      step,
      weights,
      ...(metrics !== null && { metrics }),
      ...(round === best?.checkpoint.round && { isBest: true as const }),
    }))
}

/** A job that was asked to pause is still in training until its round ends. */
function jobState(value: Json, { isPauseAsked }: JobContext): JobState {
  return isPauseAsked ? 'pausing' : (stateOf(value) as JobState) // the chart's other states are those of the view
}

export function poolView(snapshot: ActorSnapshot): PoolView {
  const { book } = snapshot.context as unknown as SchedulerContext // a snapshot of the kind `scheduler`
  const workers = Object.values(book.workers)
  const sum = (values: readonly number[]): number => values.reduce((total, each) => total + each, 0)
  const waiting = (priority: Priority): number =>
    sum(Object.values(book.queues).flatMap((queue) => (queue.priority === priority ? [lengthOf(queue)] : [])))
  return {
    pool: book.pool,
    settings: book.settings,
    slots: { total: sum(workers.map(({ slots }) => slots)), used: sum(workers.map(({ used }) => used)) },
    waiting: { high: waiting('high'), normal: waiting('normal'), low: waiting('low') },
  }
}

/** The workers of a pool, and the last ones that left it. */
export function workerViews(snapshot: ActorSnapshot): WorkerView[] {
  const { book } = snapshot.context as unknown as SchedulerContext // a snapshot of the kind `scheduler`
  return [...Object.values(book.workers), ...book.departed].map((row) => workerView(row, book.pool))
}

function workerView(row: WorkerRow, pool: string): WorkerView {
  const { worker, slots, tasks, backend, fingerprint, host, pid, joinedAt, state, gpus } = row
  const busyness = tasks.length > 0 ? 'busy' : 'idle'
  return {
    id: idOf(worker as ActorAddress), // told by the worker itself
    pool,
    state: state === 'ready' ? busyness : state,
    slots,
    busy: tasks.length,
    backend,
    fingerprint,
    host,
    pid,
    joinedAt,
    gpus,
    tasks: tasks.map((task) => idOf(task as ActorAddress)), // told by the task itself
  }
}

/** The outermost state of XState's state value. */
function stateOf(value: Json): string {
  return typeof value === 'string' ? value : (Object.keys(value as object)[0] ?? '')
}

function phaseOf(value: Json): string | null {
  if (typeof value !== 'object' || value === null) return null
  const [inner] = Object.values(value as Record<string, Json>)
  return inner === undefined ? null : stateOf(inner)
}
