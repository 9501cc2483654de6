/**
 * Which rows a replica sees at which step: pure arithmetic over (seed, epoch, replica, step) and the sizes of the
 * dataset's shards, so that any step of any replica can be computed anywhere and again, by however many workers.
 *
 * Each epoch has an order of all rows. The replicas take parts of it, one after the other, in the proportion of their
 * batch sizes, and each cuts its part into whole batches; what is left over, fewer rows than one batch of all replicas,
 * sits out this epoch. All replicas and epochs therefore have the same number of steps, and a global step is an epoch
 * and a batch by division.
 *
 * - `full`: a seeded permutation of all rows. For data that fits in a kernel's memory.
 * - `windowed`: for data that does not. Shards are cut into chunks of about 128 kB of consecutive rows. The chunks of
 *   the whole split are permuted, and taken 256 at a time: within such a window all rows are permuted. A step then needs
 *   one window in memory (two where a batch crosses), read in long runs. It differs from a full shuffle in that rows of
 *   one chunk stay within one window of an epoch: neighbours in the file are some 256 times likelier to meet in a batch
 *   than chance would have it, which is still rare, since a window draws its chunks from the whole split.
 * - `none`: as the rows are stored, the same in every epoch.
 *
 * Evaluation takes all rows in their stored order; `evaluationRange` cuts them into nearly equal parts.
 */
import { KernelError } from '../errors.ts'
import { deriveSeed, permutation } from '../random.ts'

/** Chunks that a window of the `windowed` order takes. */
const WINDOW_CHUNKS = 256

export interface OrderSettings {
  readonly seed: number
  /** Of each replica. */
  readonly batchSizes: readonly number[]
  readonly replica: number
}

/** How a split's rows can be ordered. */
export interface Rows {
  /** Rows of the split. */
  readonly count: number
  readonly order: 'full' | 'windowed' | 'none'
  /** The first row of each chunk; the last entry is `count`. Only for `windowed`. */
  readonly chunkStarts: Uint32Array
}

export interface DataOrder {
  readonly stepsPerEpoch: number
  /** Rows that take part in one step of this replica. */
  readonly batchRows: number
  epochOf(step: number): number
  /** The rows of one global step of this replica. Valid until the next call. */
  rowsAt(step: number): Uint32Array
}

/** Steps of each replica per epoch; 0 where there are fewer rows than replicas. */
export function stepsPerEpoch(count: number, batchSizes: readonly number[]): number {
  return count < batchSizes.length ? 0 : Math.max(1, Math.floor(count / sum(batchSizes)))
}

export function dataOrder(rows: Rows, settings: OrderSettings): DataOrder {
  const { count } = rows
  const { seed, batchSizes, replica } = settings
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
  const epochOf = (step: number): number => Math.floor(step / steps)
  let held: { readonly epoch: number; readonly take: Take } | undefined
  return {
    stepsPerEpoch: steps,
    batchRows,
    epochOf,
    rowsAt(step: number): Uint32Array {
      const epoch = epochOf(step)
      if (held?.epoch !== epoch) held = { epoch, take: orderOfEpoch(rows, seed, epoch) }
      return held.take(first + (step % steps) * batchRows, batchRows)
    },
  }
}

/** The rows at places `start` to `start + length` of an epoch's order. */
type Take = (start: number, length: number) => Uint32Array

function orderOfEpoch(rows: Rows, seed: number, epoch: number): Take {
  if (rows.order === 'none') return (start, length) => Uint32Array.from({ length }, (_, i) => start + i)
  if (rows.order === 'windowed') return windowedOrder(rows.chunkStarts, seed, epoch)
  const order = permutation(rows.count, deriveSeed(seed, 'order', epoch))
  return (start, length) => order.subarray(start, start + length)
}

function windowedOrder(chunkStarts: Uint32Array, seed: number, epoch: number): Take {
  const chunks = permutation(chunkStarts.length - 1, deriveSeed(seed, 'chunks', epoch))
  /** places[k] is the place in the order at which the k-th chunk of it begins. */
  const places = new Float64Array(chunks.length + 1)
  for (const [k, chunk] of chunks.entries()) {
    places[k + 1] = (places[k] ?? 0) + (chunkStarts[chunk + 1] ?? 0) - (chunkStarts[chunk] ?? 0)
  }
  /** The rows of window w, in order. */
  const windowAt = (w: number): { readonly start: number; readonly rows: Uint32Array } => {
    const [from, until] = [w * WINDOW_CHUNKS, Math.min(chunks.length, (w + 1) * WINDOW_CHUNKS)]
    const start = places[from] ?? 0
    const stored = new Uint32Array((places[until] ?? 0) - start)
    let at = 0
    for (const chunk of chunks.subarray(from, until)) {
      for (let row = chunkStarts[chunk] ?? 0; row < (chunkStarts[chunk + 1] ?? 0); row++) stored[at++] = row
    }
    return { start, rows: permutation(stored.length, deriveSeed(seed, 'window', epoch, w)).map((i) => stored[i] ?? 0) }
  }
  let held = { w: -1, start: 0, rows: new Uint32Array(0) }
  return (start, length) => {
    const taken = new Uint32Array(length)
    for (let i = 0; i < length; i++) {
      const inside = start + i - held.start
      if (held.w < 0 || inside < 0 || inside >= held.rows.length) {
        const w = Math.floor(lastAtMost(places, start + i) / WINDOW_CHUNKS)
        held = { w, ...windowAt(w) } as typeof held // permutation and map give plain buffers
      }
      taken[i] = held.rows[start + i - held.start] ?? 0
    }
    return taken
  }
}

/** The index of the last of ascending numbers that is at most `value`; not the very last, which is an end. */
export function lastAtMost(
  ascending: { readonly length: number; readonly [i: number]: number },
  value: number,
): number {
  let low = 0
  let high = ascending.length - 1
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if ((ascending[middle] ?? 0) <= value) low = middle
    else high = middle
  }
  return low
}

/** Rows [start, end) of part `index` of `of` in stored order. */
export function evaluationRange(count: number, index: number, of: number): { start: number; end: number } {
  return { start: Math.floor((count * index) / of), end: Math.floor((count * (index + 1)) / of) }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
