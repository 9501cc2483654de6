/** What a task is made of, and how those of one job are made alike. */
import type { Priority } from './spec.ts'
import { TASK_LIMITS } from './limits.ts'
import type { Work } from './work.ts'

export interface TaskInput {
  /** `<job>.<round>.<replica>`: what stands before the first dot places it beside its job. */
  readonly id: string
  readonly job: string
  readonly owner: string
  readonly pool: string
  readonly priority: Priority
  /** Only workers of this numerics fingerprint will do; null where any does. */
  readonly fingerprint: string | null
  /** Only workers with this back end will do. */
  readonly backend?: string
  /** How many slots it takes, 1 when left out. */
  readonly slots?: number
  /** The worker that has its data and optimiser state at hand. */
  readonly prefer?: string
  /** The worker that it should not go to while there is another. */
  readonly avoid?: string
  /** sha256 of what it reads beside its weights, so that it goes where that is: a dataset's manifest, a recipe. */
  readonly data?: string
  /** It starts together with this many tasks of its job, itself among them, or not at all. */
  readonly gang?: number
  readonly work: Work
  readonly runLimitMs: number
  /** How long it should take on a worker like the others; 0 when nothing is known. */
  readonly expectedMs: number
}

/** What a job says of all its tasks. */
export interface TaskSource {
  readonly id: string
  readonly owner: string
  readonly spec: { readonly pool: string; readonly priority: Priority; readonly slots?: number }
  readonly fingerprint: string | null
  /** The slowest run so far; 0 before there is one. */
  readonly slowestMs: number
}

type Given = Pick<TaskInput, 'id' | 'work' | 'expectedMs'> & Partial<Pick<TaskInput, 'backend' | 'prefer' | 'data' | 'gang'>> // prettier-ignore

export function taskInput({ id: job, owner, spec, fingerprint, slowestMs }: TaskSource, given: Given): TaskInput {
  const { pool, priority, slots } = spec
  const { backend, ...task } = given
  return {
    job,
    owner,
    pool,
    priority,
    fingerprint,
    // Who computes as the first one did has its back end.
    ...(backend !== undefined && fingerprint === null && { backend }),
    ...(slots !== undefined && { slots }),
    ...task,
    runLimitMs: runLimitMs(slowestMs),
  }
}

/** How long one run may take, from how long the slowest one before took; 0 when none is known. */
export function runLimitMs(slowestMs: number): number {
  if (slowestMs <= 0) return TASK_LIMITS.runMs
  return Math.min(TASK_LIMITS.runMs, Math.max(TASK_LIMITS.runMinMs, TASK_LIMITS.runFactor * slowestMs))
}
