/**
 * What a split's columns look like: how many values there are and how many are missing, least, greatest, mean and
 * standard deviation (of the whole, not of a sample), and for a category how many rows each class has. Taken shard by
 * shard as they are written, merged in their order, so that the same rows always give the same numbers.
 *
 * A column of shape [n] is n columns to a statistician, and the channels of a picture differ: such columns have one
 * entry per element or channel in each list. All others have one for the whole.
 *
 * Sums of squares lose everything for values far from zero. Deviations from the mean so far don't (that of the first
 * piece to begin with): where it is far from a later piece's, so is the spread. Two parts' deviations add up exactly
 * (Chan, Golub, LeVeque 1983, "Algorithms for computing the sample variance"). Bytes are counted instead: 256 counts
 * say everything about them, and quickly. Where there is an entry for each of many their sums will do, which are exact.
 */
import type { Column, Values } from './column.ts'
import { MISSING_CATEGORY } from './column.ts'
import type { Shard } from './shard.ts'

/** Different values that are counted; a column with more has no `distinct`, nor have those of a wide table. */
const DISTINCT_MAX = 1_000
const DISTINCT_COLUMNS_MAX = 100
const GROUPS_MAX = 4_096
/** A piece of a block is looked at for all its columns before the next: it comes out of the processor's cache then. */
const PIECE_VALUES = 32_768
/** The channels of a picture. Histograms of more would not fit the cache. */
const HISTOGRAMS_MAX = 4

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
      const step = Math.max(1, Math.floor(PIECE_VALUES / width))
      for (let row = 0; row < layout.count; row += step) {
        const rows = Math.min(step, layout.count - row)
        const piece = values.subarray(row * width, (row + rows) * width)
        for (const { column, offset, elements } of columns) {
          this.#gathering[column]?.take(piece, { rows, width, offset, isAlone: elements === width })
        }
      }
      for (const { column } of columns) this.#gathering[column]?.settle()
    }
  }

  /** The different values of a column that was given as the target; undefined where there are too many. */
  seen(column: number): Iterable<number> | undefined {
    return this.#gathering[column]?.seen()
  }

  /** The first column in which there was an infinite number. */
  infinite(): number | undefined {
    const index = this.#gathering.findIndex((gathering) => gathering.isInfinite())
    return index < 0 ? undefined : index
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

/** Where a column's values stand in a piece: from `offset` in each row, and nothing else is there if it is alone. */
interface Place {
  readonly rows: number
  readonly width: number
  readonly offset: number
  readonly isAlone: boolean
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
  /** Of bytes that are counted: how often each of the 256 was seen in this shard, for each group. */
  readonly #histograms: readonly Uint32Array[] | undefined
  #missing = 0

  constructor(column: Column, countsDistinct: boolean, isTarget: boolean) {
    this.#groups = groupsOf(column)
    this.#isCategory = column.categories !== undefined
    this.#distinct = countsDistinct && column.shape.length === 0 ? new Set() : undefined
    this.#times = isTarget && column.shape.length === 0 && column.categories === undefined ? new Map() : undefined
    const isCounted = column.dtype === 'uint8' && this.#groups <= HISTOGRAMS_MAX
    this.#histograms = isCounted ? Array.from({ length: this.#groups }, () => new Uint32Array(256)) : undefined
    this.#counts = new Float64Array(this.#groups)
    this.#min = new Float64Array(this.#groups).fill(Infinity)
    this.#max = new Float64Array(this.#groups).fill(-Infinity)
    this.#mean = new Float64Array(this.#groups)
    this.#squares = new Float64Array(this.#groups)
  }

  take(values: Values, place: Place): void {
    if (this.#distinct !== undefined) addDistinct(this.#distinct, values, place)
    if (this.#isCategory) this.#countClasses(values, place)
    if (this.#times !== undefined) countTimes(this.#times, values, place)
    if (this.#histograms !== undefined) countBytes(this.#histograms, values, place)
    else if (values instanceof Uint8Array) this.#takeBytes(values, place)
    else this.#takeNumbers(values, place)
  }

  /** A shard is over: what was counted in it is added to the rest. */
  settle(): void {
    for (const [group, histogram] of (this.#histograms ?? []).entries()) {
      this.#takeHistogram(group, histogram)
      histogram.fill(0)
    }
  }

  seen(): Iterable<number> | undefined {
    return this.#times === undefined || this.#times.size > DISTINCT_MAX ? undefined : this.#times.keys()
  }

  isInfinite(): boolean {
    return this.#min.some((min, g) => (this.#counts[g] ?? 0) > 0 && (min === -Infinity || this.#max[g] === Infinity))
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

  #countClasses(values: Values, { rows, width, offset }: Place): void {
    for (let row = 0; row < rows; row++) {
      const code = values[row * width + offset] ?? 0
      if (code !== MISSING_CATEGORY) this.#classes[code] = (this.#classes[code] ?? 0) + 1
    }
  }

  #takeHistogram(group: number, histogram: Uint32Array): void {
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

  /** A group at a time: with an array of sums and a row at a time it takes longer, and twice that in nested loops. */
  #takeNumbers(values: Values, place: Place): void {
    const absentValue = this.#isCategory ? MISSING_CATEGORY : Number.NaN
    const step = stepOf(place, this.#groups)
    for (let group = 0; group < this.#groups; group++) {
      const start = place.offset + group
      const isFirst = this.#counts[group] === 0
      const from = isFirst ? meanOf(values, start, step, absentValue) : (this.#mean[group] ?? 0)
      // One by one: numbers taken out of a list stay boxed in V8, which makes the loop three times as slow.
      let sum = 0
      let squares = 0
      let count = 0
      let seen = 0
      let min = this.#min[group] ?? 0
      let max = this.#max[group] ?? 0
      for (let i = start; i < values.length; i += step) {
        const value = values[i] ?? 0
        seen++
        if (value !== value || value === absentValue) continue
        if (value < min) min = value
        if (value > max) max = value
        const apart = value - from
        sum += apart
        squares += apart * apart
        count++
      }
      this.#missing += seen - count
      if (count === 0) continue
      this.#min[group] = min
      this.#max[group] = max
      this.#merge(group, count, from + sum / count, Math.max(0, squares - (sum / count) * sum))
    }
  }

  /** Whole numbers so small that their sums are exact. */
  #takeBytes(values: Uint8Array, place: Place): void {
    const step = stepOf(place, this.#groups)
    for (let group = 0; group < this.#groups; group++) {
      let sum = 0
      let squares = 0
      let min = 255
      let max = 0
      for (let i = place.offset + group; i < values.length; i += step) {
        const value = values[i] ?? 0
        if (value < min) min = value
        if (value > max) max = value
        sum += value
        squares += value * value
      }
      if (min < (this.#min[group] ?? 0)) this.#min[group] = min
      if (max > (this.#max[group] ?? 0)) this.#max[group] = max
      this.#merge(group, place.rows, sum / place.rows, squares - (sum * sum) / place.rows)
    }
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

/** From one value of a group to the next: columns that share their block are of one value. */
function stepOf({ isAlone, width }: Place, groups: number): number {
  return isAlone ? groups : width
}

function meanOf(values: Values, start: number, step: number, absentValue: number): number {
  let sum = 0
  let count = 0
  for (let i = start; i < values.length; i += step) {
    const value = values[i] ?? 0
    if (value !== value || value === absentValue) continue
    sum += value
    count++
  }
  return sum / Math.max(1, count)
}

function countBytes(histograms: readonly Uint32Array[], values: Values, place: Place): void {
  const step = stepOf(place, histograms.length)
  for (const [group, histogram] of histograms.entries()) {
    for (let i = place.offset + group; i < values.length; i += step) histogram[values[i] ?? 0]!++
  }
}

function addDistinct(distinct: Set<number>, values: Values, { rows, width, offset }: Place): void {
  for (let row = 0; row < rows && distinct.size <= DISTINCT_MAX; row++) {
    const value = values[row * width + offset] ?? 0
    if (value === value) distinct.add(value)
  }
}

function countTimes(times: Map<number, number>, values: Values, { rows, width, offset }: Place): void {
  for (let row = 0; row < rows && times.size <= DISTINCT_MAX; row++) {
    const value = values[row * width + offset] ?? 0
    if (value === value) times.set(value, (times.get(value) ?? 0) + 1)
  }
}
