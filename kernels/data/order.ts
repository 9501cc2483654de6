/**
 * Which rows a replica sees at which step: pure arithmetic over (seed, epoch, replica, step), so that any step of any
 * replica can be computed anywhere and again.
 *
 * Each epoch has its own seeded permutation of all rows. The replicas take parts of it, one after the other, in the
 * proportion of their batch sizes, and each cuts its part into whole batches; what is left over, fewer rows than one
 * batch of all replicas, sits out this epoch. All replicas and epochs therefore have the same number of steps, and a
 * global step is an epoch and a batch by division.
 *
 * Evaluation takes all rows in their stored order; `evaluationRange` cuts them into nearly equal parts.
 */
import { KernelError } from '../errors.ts'
import { deriveSeed, permutation } from '../random.ts'

export interface OrderSettings {
  /** Rows of the training split. */
  count: number
  seed: number
  /** Of each replica. */
  batchSizes: readonly number[]
  replica: number
}

export interface DataOrder {
  stepsPerEpoch: number
  /** Rows that take part in one step of this replica. */
  batchRows: number
  /** The rows of one global step of this replica. A view: valid until the epoch changes. */
  rowsAt(step: number): Uint32Array
}

/** Steps of each replica per epoch; 0 where there are fewer rows than replicas. */
export function stepsPerEpoch(count: number, batchSizes: readonly number[]): number {
  return count < batchSizes.length ? 0 : Math.max(1, Math.floor(count / sum(batchSizes)))
}

export function dataOrder({ count, seed, batchSizes, replica }: OrderSettings): DataOrder {
  const steps = stepsPerEpoch(count, batchSizes)
  if (steps === 0) {
    throw new KernelError(
      'request.invalid',
      `Cannot cut ${count} rows among ${batchSizes.length} replicas: a replica needs at least one`,
      { count, replicas: batchSizes.length },
    )
  }
  const all = sum(batchSizes)
  // Fewer rows than one batch of all replicas: a single step, for which each takes its share, and at least one row.
  const rowsOf = (size: number): number => (count >= all ? size : Math.max(1, Math.floor((count * size) / all)))
  const batchRows = rowsOf(batchSizes[replica] ?? 0)
  const before = sum(batchSizes.slice(0, replica).map(rowsOf)) * steps
  // Shares of at least one row may be more than there are: then the last replicas see rows of others.
  const first = Math.min(before, count - batchRows * steps)
  let epochHeld = -1
  let order: Uint32Array = new Uint32Array(0)
  return {
    stepsPerEpoch: steps,
    batchRows,
    rowsAt(step: number): Uint32Array {
      const epoch = Math.floor(step / steps)
      if (epoch !== epochHeld) {
        order = permutation(count, deriveSeed(seed, 'order', epoch))
        epochHeld = epoch
      }
      const start = first + (step % steps) * batchRows
      return order.subarray(start, start + batchRows)
    },
  }
}

/** Rows [start, end) of part `index` of `of` in stored order. */
export function evaluationRange(count: number, index: number, of: number): { start: number; end: number } {
  return { start: Math.floor((count * index) / of), end: Math.floor((count * (index + 1)) / of) }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
