/**
 * What a split's columns look like: how many values there are and how many are missing, least, greatest, mean and
 * standard deviation (of the whole, not of a sample), and for a category how many rows each class has. Taken shard by
 * shard as they are written, merged in their order, so that the same rows always give the same numbers.
 *
 * A column of shape [n] is n columns to a statistician, and the channels of a picture differ: such columns have one
 * entry per element or channel in each list. All others have one for the whole.
 *
 * Sums of squares lose everything for values far from zero; deviations from each shard's own mean don't, and two
 * parts' deviations add up exactly (Chan, Golub, LeVeque 1979, "Updating formulae"). Bytes are counted instead: 256
 * counts say everything about them, and quickly.
 */
import type { Column, Values } from './column.ts'
import { MISSING_CATEGORY } from './column.ts'
import type { Shard } from './shard.ts'

/** Different values that are counted; a column with more has no `distinct`, nor have those of a wide table. */
const DISTINCT_MAX = 1_000
const DISTINCT_COLUMNS_MAX = 100
const GROUPS_MAX = 4_096
const PIECE_VALUES = 32_768

export interface ColumnStatistics {
  /** Values that are there, and that are not: of all elements. */
  readonly count: number
  readonly missing: number
  /** Of each element, each channel, or the whole. A group without values has zeros. */
  readonly min: readonly number[]
  readonly max: readonly number[]
  readonly mean: readonly number[]
  readonly std: readonly number[]
  /** How many different values a column of one number has, up to 1,000. */
  readonly distinct?: number
  /** Rows of each class, of a category. */
  readonly classes?: readonly number[]
}

/** How many lists' entries a column has: its elements, its channels, or one. */
export function groupsOf({ shape }: Pick<Column, 'shape'>): number {
  const last = shape.at(-1) ?? 1
  if (shape.length === 1 && last <= GROUPS_MAX) return last
  return shape.length === 3 && last <= 4 ? last : 1
}

/**
 * What a class's examples are multiplied by so that all classes weigh the same and the mean example 1 (as scikit-learn's
 * `balanced`). A class without examples has nothing to weigh.
 */
export function balancedWeights(counts: readonly number[]): number[] {
  const occurring = counts.filter((count) => count > 0)
  const examples = occurring.reduce((sum, count) => sum + count, 0)
  return counts.map((count) => (count === 0 ? 1 : examples / (occurring.length * count)))
}

/** Takes shards of one split, gives the statistics of its columns. */
export class SplitStatistics {
  readonly #columns: readonly Column[]
  readonly #gathering: readonly Gathering[]

  /** Of `target` every value is counted, so that it can turn out to be classes. */
  constructor(columns: readonly Column[], target?: Column) {
    this.#columns = columns
    this.#gathering = columns.map(
      (column) => new Gathering(column, columns.length <= DISTINCT_COLUMNS_MAX, column === target),
    )
  }

  take({ layout, blocks }: Shard): void {
    for (const [b, { columns, width }] of layout.blocks.entries()) {
      const values = blocks[b]
      if (values === undefined) continue
      for (const { column, offset, elements } of columns) {
        this.#gathering[column]?.take(values, layout.count, width, offset, elements)
      }
    }
  }

  /** The different values of a column that was given as the target; undefined where there are too many. */
  seen(column: number): Iterable<number> | undefined {
    return this.#gathering[column]?.seen()
  }

  /** From now on the target's values are classes. */
  countAsClasses(column: number): void {
    this.#gathering[column]?.countAsClasses()
  }

  /** `columns` as they are known at the end: with all categories. */
  result(columns: readonly Column[] = this.#columns): ColumnStatistics[] {
    return this.#gathering.map((gathering, i) => gathering.result(columns[i]?.categories?.count))
  }
}

/** Where a group's values stand in a block: from `first` to before `end` in each row. */
interface Place {
  readonly rows: number
  readonly width: number
  readonly first: number
  readonly end: number
}

class Gathering {
  readonly #groups: number
  #isCategory: boolean
  readonly #counts: Float64Array
  readonly #min: Float64Array
  readonly #max: Float64Array
  readonly #mean: Float64Array
  /** Sums of squared deviations from the mean. */
  readonly #squares: Float64Array
  readonly #distinct: Set<number> | undefined
  /** How often each value was seen; only of the target. */
  readonly #times: Map<number, number> | undefined
  readonly #classes: number[] = []
  #missing = 0

  constructor(column: Column, countsDistinct: boolean, isTarget: boolean) {
    this.#groups = groupsOf(column)
    this.#isCategory = column.categories !== undefined
    this.#distinct = countsDistinct && column.shape.length === 0 ? new Set() : undefined
    this.#times = isTarget && column.shape.length === 0 && column.categories === undefined ? new Map() : undefined
    this.#counts = new Float64Array(this.#groups)
    this.#min = new Float64Array(this.#groups).fill(Infinity)
    this.#max = new Float64Array(this.#groups).fill(-Infinity)
    this.#mean = new Float64Array(this.#groups)
    this.#squares = new Float64Array(this.#groups)
  }

  take(values: Values, rows: number, width: number, offset: number, elements: number): void {
    if (this.#distinct !== undefined) addDistinct(this.#distinct, values, rows, width, offset)
    if (this.#isCategory) this.#countClasses(values, rows, width, offset)
    if (this.#times !== undefined) countTimes(this.#times, values, rows, width, offset)
    const end = offset + elements
    if (!(values instanceof Uint8Array)) {
      // Each piece is walked twice: the second time it comes out of the processor's cache.
      const step = Math.max(1, Math.floor(PIECE_VALUES / width))
      for (let row = 0; row < rows; row += step) {
        const piece = values.subarray(row * width, Math.min(rows, row + step) * width)
        this.#takeNumbers(piece, { rows: piece.length / width, width, first: offset, end })
      }
      return
    }
    for (let group = 0; group < this.#groups; group++) {
      this.#takeBytes(group, values, { rows, width, first: offset + group, end })
    }
  }

  seen(): Iterable<number> | undefined {
    return this.#times === undefined || this.#times.size > DISTINCT_MAX ? undefined : this.#times.keys()
  }

  countAsClasses(): void {
    this.#isCategory = true
    for (const [value, times] of this.#times ?? []) this.#classes[value] = times
  }

  result(classes: number | undefined): ColumnStatistics {
    const { size = 0 } = this.#distinct ?? {}
    const known = (list: Float64Array): number[] => Array.from(list, (value) => (Number.isFinite(value) ? value : 0))
    return {
      count: this.#counts.reduce((sum, count) => sum + count, 0),
      missing: this.#missing,
      min: known(this.#min),
      max: known(this.#max),
      mean: known(this.#mean),
      std: known(this.#squares.map((sum, g) => Math.sqrt(sum / Math.max(1, this.#counts[g] ?? 0)))),
      ...(this.#distinct !== undefined && size <= DISTINCT_MAX && { distinct: size }),
      ...(this.#isCategory && { classes: Array.from({ length: classes ?? 0 }, (_, code) => this.#classes[code] ?? 0) }),
    }
  }

  #countClasses(values: Values, rows: number, width: number, offset: number): void {
    for (let row = 0; row < rows; row++) {
      const code = values[row * width + offset] ?? 0
      if (code !== MISSING_CATEGORY) this.#classes[code] = (this.#classes[code] ?? 0) + 1
    }
  }

  #takeBytes(group: number, values: Uint8Array, { rows, width, first, end }: Place): void {
    const histogram = new Float64Array(256)
    if (this.#groups === 1 && width === end - first) {
      for (let i = 0; i < rows * width; i++) histogram[values[i] ?? 0]!++
    } else {
      for (let base = 0; base < rows * width; base += width) {
        for (let i = base + first; i < base + end; i += this.#groups) histogram[values[i] ?? 0]!++
      }
    }
    let [count, sum] = [0, 0]
    for (const [value, times] of histogram.entries()) {
      if (times === 0) continue
      this.#min[group] = Math.min(this.#min[group] ?? 0, value)
      this.#max[group] = Math.max(this.#max[group] ?? 0, value)
      count += times
      sum += times * value
    }
    const mean = count === 0 ? 0 : sum / count
    let squares = 0
    for (const [value, times] of histogram.entries()) squares += times * (value - mean) * (value - mean)
    this.#merge(group, count, mean, squares)
  }

  /** All groups in one walk, row by row: a walk for each would read the whole shard as often as there are elements. */
  #takeNumbers(values: Values, { rows, width, first, end }: Place): void {
    const groups = this.#groups
    const missing = this.#isCategory ? MISSING_CATEGORY : Number.NaN
    const [counts, sums, squares] = [new Float64Array(groups), new Float64Array(groups), new Float64Array(groups)]
    const [mins, maxs] = [this.#min, this.#max]
    let absent = 0
    for (let base = 0; base < rows * width; base += width) {
      for (let i = base + first, g = 0; i < base + end; i++) {
        const value = values[i] ?? 0
        if (value !== value || value === missing) absent++
        else {
          if (value < (mins[g] ?? 0)) mins[g] = value
          if (value > (maxs[g] ?? 0)) maxs[g] = value
          sums[g] = (sums[g] ?? 0) + value
          counts[g] = (counts[g] ?? 0) + 1
        }
        if (++g === groups) g = 0
      }
    }
    const means = sums.map((sum, g) => sum / Math.max(1, counts[g] ?? 0))
    for (let base = 0; base < rows * width; base += width) {
      for (let i = base + first, g = 0; i < base + end; i++) {
        const value = values[i] ?? 0
        if (value === value && value !== missing) {
          const apart = value - (means[g] ?? 0)
          squares[g] = (squares[g] ?? 0) + apart * apart
        }
        if (++g === groups) g = 0
      }
    }
    this.#missing += absent
    for (let g = 0; g < groups; g++) this.#merge(g, counts[g] ?? 0, means[g] ?? 0, squares[g] ?? 0)
  }

  #merge(group: number, count: number, mean: number, squares: number): void {
    if (count === 0) return
    const before = this.#counts[group] ?? 0
    const total = before + count
    const apart = mean - (this.#mean[group] ?? 0)
    this.#mean[group] = (this.#mean[group] ?? 0) + (apart * count) / total
    this.#squares[group] = (this.#squares[group] ?? 0) + squares + (apart * apart * before * count) / total
    this.#counts[group] = total
  }
}

function addDistinct(distinct: Set<number>, values: Values, rows: number, width: number, offset: number): void {
  for (let row = 0; row < rows && distinct.size <= DISTINCT_MAX; row++) {
    const value = values[row * width + offset] ?? 0
    if (value === value) distinct.add(value)
  }
}

function countTimes(times: Map<number, number>, values: Values, rows: number, width: number, offset: number): void {
  for (let row = 0; row < rows && times.size <= DISTINCT_MAX; row++) {
    const value = values[row * width + offset] ?? 0
    if (value === value) times.set(value, (times.get(value) ?? 0) + 1)
  }
}
