/** What a task is made of, and how those of one job are made alike. */
import type { Demand } from './demand.ts'
import type { Priority } from './spec.ts'
import { TASK_LIMITS } from './limits.ts'
import type { Work } from './work.ts'

export interface TaskInput extends Demand {
  /** `<job>.<round>.<replica>`: what stands before the first dot places it beside its job. */
  readonly id: string
  readonly pool: string
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
