/**
 * What a batch job computes, as pure functions of its plan: the work of each chunk. A plan has so many rows in so many
 * chunks, which are nearly equal runs of rows in their stored order.
 */
import { chunkTaskId } from './address.ts'
import { taskInput } from './task-input.ts'
import type { TaskInput, TaskSource } from './task-input.ts'
import type { EvaluateRecipe, ModelRecipe, PredictFormat, SplitName, Work, WorkOutput } from './work.ts'

export interface BatchPlan {
  readonly rows: number
  readonly chunks: number
  /** sha256 of what all chunks read: a task goes where that is. */
  readonly data: string
  /** `name@version` of the dataset that is read, where it is one. */
  readonly dataset?: string
  /** `name@version` of the model that is used, where it is one. */
  readonly model?: string
  /** Of the whole output, row-major; of outputs that are arrays. */
  readonly shape?: readonly number[]
  readonly work: ChunkWork
}

/** A chunk's work but for its place. */
export type ChunkWork =
  | { readonly kind: 'map'; readonly recipe: string }
  | { readonly kind: 'evaluate'; readonly recipe: EvaluateRecipe; readonly split: SplitName; readonly weights: string }
  | {
      readonly kind: 'predict'
      readonly recipe: ModelRecipe
      readonly split: SplitName
      readonly weights: string
      readonly format: PredictFormat
    }

export interface BatchTasks extends TaskSource {
  readonly plan: BatchPlan | null
  readonly take: number
  readonly spec: TaskSource['spec'] & { readonly backend?: string }
}

export function chunkInput(batch: BatchTasks, chunk: number): TaskInput {
  const { id, spec, slowestMs, take } = batch
  const plan = planOf(batch)
  return taskInput(batch, {
    id: chunkTaskId(id, take, chunk),
    ...(spec.backend !== undefined && { backend: spec.backend }),
    data: plan.data,
    work: workOf(plan, chunk),
    expectedMs: slowestMs,
  })
}

export function planOf({ plan, id }: Pick<BatchTasks, 'plan' | 'id'>): BatchPlan {
  if (plan === null) throw new Error(`Batch job ${id} computes without a plan`)
  return plan
}

function workOf(plan: BatchPlan, chunk: number): Work {
  const { work, chunks } = plan
  const place = { chunk, start: startOf(plan, chunk), rows: rowsOf(plan, chunk) }
  switch (work.kind) {
    case 'map':
    case 'predict':
      return { ...work, ...place }
    case 'evaluate':
      return { ...work, slice: chunk, slices: chunks }
  }
}

/** As kernels/data/order.ts cuts a split for its evaluation. */
function startOf({ rows, chunks }: BatchPlan, chunk: number): number {
  return Math.floor((rows * chunk) / chunks)
}

export function rowsOf(plan: BatchPlan, chunk: number): number {
  return startOf(plan, chunk + 1) - startOf(plan, chunk)
}

/** Where a chunk's result belongs, and its blob; null for what no batch job asked for. */
export function chunkOf(output: WorkOutput): { readonly chunk: number; readonly sha256: string } | null {
  switch (output.kind) {
    case 'map':
    case 'predict':
      return { chunk: output.chunk, sha256: output.blob.sha256 }
    case 'evaluate':
      return { chunk: output.slice, sha256: output.sums.sha256 }
    case 'initialise':
    case 'round':
      return null
  }
}
