/** What a task asks of whoever gives it a slot: the task knows it from its birth, and says it to the scheduler. */
import type { Priority } from './spec.ts'

export interface Demand {
  readonly job: string
  readonly owner: string
  readonly priority: Priority
  /** Only workers of this numerics fingerprint will do; null where any does. */
  readonly fingerprint: string | null
  /** Only workers with this back end will do. */
  readonly backend?: string
  /** How many slots it takes, 1 when left out. */
  readonly slots?: number
  /** The worker that has its data and optimiser state at hand, since it ran the like of it before. */
  readonly prefer?: string
  /** The worker that it should not go to while there is another. */
  readonly avoid?: string
  /** sha256 of what it reads beside its weights, so that it goes where that is: a dataset's manifest, a recipe. */
  readonly data?: string
  /** All or none: it starts together with this many tasks of its job, itself among them, or not at all. */
  readonly gang?: number
}
