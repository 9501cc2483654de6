/**
 * Which rows a replica sees at which step: pure arithmetic over (seed, epoch, replica, step), so that any step of any
 * replica can be computed anywhere and again.
 *
 * Each epoch has its own seeded permutation of all rows. Replica i of R takes the i-th of R equal parts of it (the rest,
 * fewer than R rows, sits out this epoch), cut into whole batches (again the rest sits out). All replicas and epochs
 * therefore have the same number of steps, and a global step is an epoch and a batch by division.
 *
 * Evaluation takes all rows in their stored order; `evaluationRange` cuts them into nearly equal parts.
 */
import { KernelError } from '../errors.ts'
import { deriveSeed, permutation } from '../random.ts'

export interface OrderSettings {
  /** Rows of the training split. */
  count: number
  seed: number
  replicas: number
  replica: number
  batchSize: number
}

export interface DataOrder {
  stepsPerEpoch: number
  /** Rows that take part in one step of this replica. */
  batchRows: number
  /** The rows of one global step of this replica. A view: valid until the epoch changes. */
  rowsAt(step: number): Uint32Array
}

/** Steps of one replica per epoch; 0 where there are fewer rows than replicas. */
export function stepsPerEpoch(count: number, replicas: number, batchSize: number): number {
  const part = Math.floor(count / replicas)
  return part === 0 ? 0 : Math.max(1, Math.floor(part / batchSize))
}

export function dataOrder(settings: OrderSettings): DataOrder {
  const { count, seed, replicas, replica, batchSize } = settings
  const part = Math.floor(count / replicas)
  const steps = stepsPerEpoch(count, replicas, batchSize)
  if (steps === 0) {
    throw new KernelError(
      'request.invalid',
      `Cannot cut ${count} rows among ${replicas} replicas: a replica needs at least one`,
      {
        count,
        replicas,
      },
    )
  }
  // A part smaller than a batch is one batch of its own size.
  const batchRows = Math.min(batchSize, part)
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
      const start = replica * part + (step % steps) * batchRows
      return order.subarray(start, start + batchRows)
    },
  }
}

/** Rows [start, end) of part `index` of `of` in stored order. */
export function evaluationRange(count: number, index: number, of: number): { start: number; end: number } {
  return { start: Math.floor((count * index) / of), end: Math.floor((count * (index + 1)) / of) }
}
