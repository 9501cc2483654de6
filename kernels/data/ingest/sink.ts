/**
 * Where rows go as a format's reader gives them, in batches of whole columns: into the split that each belongs to, and
 * from there, row after row, into shards. Rows keep their order within a split, so the same rows make the same shards.
 * A shard that is full is looked at for the statistics and leaves; at most one unfinished shard per split is in memory.
 */
import { KernelError } from '../../errors.ts'
import { COLUMNS_MAX, EXAMPLE_ELEMENTS_MAX } from '../../limits.ts'
import { elementsOf, MISSING_CATEGORY, newValues } from '../column.ts'
import type { Column, Values } from '../column.ts'
import { SPLITS } from '../manifest.ts'
import type { SplitName, SplitOptions } from '../manifest.ts'
import { newShard, rowsPerShard } from '../shard.ts'
import { SplitStatistics } from '../statistics.ts'
import { invalid, SPLIT_DEFAULT } from './request.ts'
import type { IngestedShard, IngestSummary } from './request.ts'
import { Dealer } from './split.ts'

export interface SinkOptions {
  /** How rows are dealt, as far as somebody said it. */
  readonly split: Partial<SplitOptions> | undefined
  readonly missing: 'keep' | 'drop' | 'refuse'
  readonly target: string | undefined
  readonly shardBytes?: number | undefined
  /** Resolves when there is room for the next shard. */
  readonly emit: (shard: IngestedShard) => Promise<void>
  /** Memory for a shard, whatever is in it. */
  readonly allocate?: ((sizeBytes: number) => ArrayBuffer) | undefined
}

/** Says where a row of a batch came from, for an error about it. */
export type Locate = (row: number) => string

export class RowSink {
  readonly #options: SinkOptions
  /** Of rows without a split of their own, or of those that are for training where the files lack a split. */
  #dealt: { readonly shares: SplitOptions; readonly dealer: Dealer } | null = null
  readonly #building = new Map<SplitName, Building>()
  #columns: readonly Column[] = []
  #target: Column | undefined
  #skipped = 0
  rows = 0

  constructor(options: SinkOptions) {
    this.#options = options
  }

  /** The columns that batches will have. Their categories may grow until `end`. `label` is the target where none was said. */
  begin(columns: readonly Column[], label?: string): void {
    const names = new Set<string>()
    for (const column of columns) {
      if (names.has(column.name)) throw malformed(`two columns are called "${column.name}"`)
      if (elementsOf(column) > EXAMPLE_ELEMENTS_MAX)
        throw malformed(`column "${column.name}" is [${column.shape.join(', ')}]`)
      names.add(column.name)
    }
    if (columns.length === 0 || columns.length > COLUMNS_MAX) {
      throw malformed(`there are ${columns.length} columns, expected 1 to ${COLUMNS_MAX}`)
    }
    const { target = label } = this.#options
    this.#columns = columns
    this.#target = columns.find(({ name }) => name === target)
    if (target !== undefined && this.#target === undefined) {
      throw invalid('target', `one of the columns ${columns.map(({ name }) => name).join(', ')}`, target)
    }
  }

  /** Takes the first `count` rows of `values`, which has an array for each column and is free again afterwards. */
  async take(count: number, values: readonly Values[], split?: SplitName, locate?: Locate): Promise<void> {
    const kept = this.#present(count, values, locate)
    this.#skipped += count - (kept?.length ?? count)
    this.rows += kept?.length ?? count
    const dealer = this.#dealerOf(split)
    if (dealer === null) {
      await this.#put(split ?? 'train', values, kept ?? count)
      return
    }
    const rows = kept?.length ?? count
    const dealt = { train: new Uint32Array(rows), validation: new Uint32Array(rows), test: new Uint32Array(rows) }
    const counts = { train: 0, validation: 0, test: 0 }
    for (let i = 0; i < rows; i++) {
      const name = dealer.next()
      dealt[name][counts[name]++] = kept?.[i] ?? i
    }
    for (const name of SPLITS) {
      if (counts[name] > 0) await this.#put(name, values, dealt[name].subarray(0, counts[name]))
    }
  }

  /** Emits what is left and says what there was. `columns` are now known with all their categories. */
  async end(columns: readonly Column[] = this.#columns): Promise<Omit<IngestSummary, 'format'>> {
    for (const building of this.#building.values()) await building.flush()
    const train = this.#building.get('train')
    if (train === undefined || train.count === 0) {
      throw malformed(this.rows === 0 ? 'there are no rows' : `none of the ${this.rows} rows is for training`)
    }
    const whole = this.#withClasses(columns)
    const known = SPLITS.flatMap((name) => {
      const building = this.#building.get(name)
      return building === undefined
        ? []
        : [[name, { count: building.count, statistics: building.statistics.result(whole) }] as const]
    })
    return {
      columns: whole,
      target: this.#target?.name ?? null,
      splits: Object.fromEntries(known),
      split: this.#dealt?.shares ?? null,
      skipped: this.#skipped,
    }
  }

  /** Who deals rows that came as `split`; null where they stay in it. */
  #dealerOf(split: SplitName | undefined): Dealer | null {
    const said = this.#options.split
    if (split === 'validation' || split === 'test') {
      if ((said?.[split] ?? 0) === 0) return null
      const expected = `nothing: the files have rows for ${split} already`
      throw invalid(`split.${split}`, expected, String(said?.[split]))
    }
    if (split === 'train' && (said?.validation ?? 0) + (said?.test ?? 0) === 0) return null
    if (this.#dealt === null) {
      const shares = { ...(split === 'train' ? SHARES_OF_TRAIN : SPLIT_DEFAULT), ...said }
      this.#dealt = { shares, dealer: new Dealer(shares) }
    }
    return this.#dealt.dealer
  }

  /** Whole numbers 0 … n−1, each of them there, are classes where they are what is to be predicted. */
  #withClasses(columns: readonly Column[]): readonly Column[] {
    const index = columns.findIndex(({ name }) => name === this.#target?.name)
    const target = columns[index]
    if (target === undefined || target.categories !== undefined || target.shape.length > 0) return columns
    const values = new Set<number>()
    for (const { statistics } of this.#building.values()) {
      const seen = statistics.seen(index)
      if (seen === undefined) return columns
      for (const value of seen) values.add(value)
    }
    const count = values.size
    const isCodes =
      count >= 2 &&
      count <= CLASSES_INFERRED_MAX &&
      [...values].every((v) => Number.isInteger(v) && v >= 0 && v < count)
    if (!isCodes) return columns
    for (const { statistics } of this.#building.values()) statistics.countAsClasses(index)
    return columns.with(index, { ...target, categories: { count } })
  }

  /** The rows that stay, or undefined where all do. A row without what is to be predicted never does. */
  #present(count: number, values: readonly Values[], locate: Locate | undefined): number[] | undefined {
    const { missing } = this.#options
    const gone = new Set<number>()
    for (const [c, column] of this.#columns.entries()) {
      const isTarget = column === this.#target
      if ((missing === 'keep' && !isTarget) || column.dtype === 'uint8') continue
      const elements = elementsOf(column)
      const absent = column.categories === undefined ? Number.NaN : MISSING_CATEGORY
      if (column.dtype === 'int32' && column.categories === undefined) continue
      const list = values[c]
      for (let i = 0; i < count * elements; i++) {
        const value = list?.[i] ?? 0
        if (value === value && value !== absent) continue
        const row = Math.floor(i / elements)
        if (missing === 'refuse') throw malformed(`${locate?.(row) ?? 'a row'}: column "${column.name}" has no value`)
        gone.add(row)
      }
    }
    if (gone.size === 0) return undefined
    return Array.from({ length: count }, (_, row) => row).filter((row) => !gone.has(row))
  }

  async #put(split: SplitName, values: readonly Values[], rows: number | Rows): Promise<void> {
    let building = this.#building.get(split)
    if (building === undefined) {
      building = new Building(split, this.#columns, this.#target, this.#options)
      this.#building.set(split, building)
    }
    await building.take(values, rows)
  }
}

/** Rows of a batch, by their places in it. */
type Rows = ArrayLike<number>

/** What is dealt of rows that came for training: only what is asked for. */
const SHARES_OF_TRAIN: SplitOptions = { ...SPLIT_DEFAULT, validation: 0, test: 0 }

/** More than these are taken for classes only when somebody says so. */
const CLASSES_INFERRED_MAX = 100

/** One split's shards, one at a time. */
class Building {
  readonly #split: SplitName
  readonly #columns: readonly Column[]
  readonly #capacity: number
  readonly #emit: SinkOptions['emit']
  readonly #allocate: SinkOptions['allocate']
  readonly statistics: SplitStatistics
  #shard: ReturnType<typeof newShard> | undefined
  #filled = 0
  count = 0

  constructor(split: SplitName, columns: readonly Column[], target: Column | undefined, options: SinkOptions) {
    this.#split = split
    this.#columns = columns
    this.#capacity = rowsPerShard(columns, options.shardBytes)
    this.#emit = options.emit
    this.#allocate = options.allocate
    this.statistics = new SplitStatistics(columns, target)
  }

  async take(values: readonly Values[], rows: number | Rows): Promise<void> {
    const total = typeof rows === 'number' ? rows : rows.length
    for (let done = 0; done < total;) {
      this.#shard ??= newShard(this.#columns, this.#capacity, this.#allocate)
      const count = Math.min(total - done, this.#capacity - this.#filled)
      this.#copy(this.#shard, values, rows, done, count)
      done += count
      this.#filled += count
      this.count += count
      if (this.#filled === this.#capacity) await this.flush()
    }
  }

  /** Emits what there is as a shard. */
  async flush(): Promise<void> {
    const [shard, count] = [this.#shard, this.#filled]
    if (shard === undefined || count === 0) return
    this.#shard = undefined
    this.#filled = 0
    const { bytes, ...whole } = count === this.#capacity ? shard : cut(shard, this.#columns, count)
    this.statistics.take(whole)
    const infinite = this.#columns[this.statistics.infinite() ?? -1]
    if (infinite !== undefined) {
      const expected = 'finite numbers, up to 3.4e38'
      throw malformed(`column "${infinite.name}": expected ${expected}, found an infinite one`, { column: infinite.name, expected }) // prettier-ignore
    }
    await this.#emit({ split: this.#split, bytes, count })
  }

  #copy(
    { layout, blocks }: ReturnType<typeof newShard>,
    values: readonly Values[],
    rows: number | Rows,
    from: number,
    count: number,
  ): void {
    for (const [b, { columns, width, dtype }] of layout.blocks.entries()) {
      const block = blocks[b] ?? newValues(dtype, 0)
      for (const { column, offset, elements } of columns) {
        const source = values[column] ?? newValues(dtype, 0)
        if (typeof rows === 'number') {
          if (elements === width) block.set(source.subarray(from * width, (from + count) * width), this.#filled * width)
          else {
            for (let i = 0; i < count; i++) block[(this.#filled + i) * width + offset] = source[from + i] ?? 0
          }
        } else if (elements === 1) {
          for (let i = 0; i < count; i++) block[(this.#filled + i) * width + offset] = source[rows[from + i] ?? 0] ?? 0
        } else copyRuns(block, source, rows, from, count, this.#filled, elements)
      }
    }
  }
}

/** Rows that follow one another are copied as one. */
function copyRuns(
  block: Values,
  source: Values,
  rows: Rows,
  from: number,
  count: number,
  to: number,
  elements: number,
): void {
  for (let i = 0; i < count;) {
    const first = rows[from + i] ?? 0
    let length = 1
    while (i + length < count && rows[from + i + length] === first + length) length++
    block.set(source.subarray(first * elements, (first + length) * elements), (to + i) * elements)
    i += length
  }
}

/** The first rows of a shard as a shard of its own. */
function cut(
  shard: ReturnType<typeof newShard>,
  columns: readonly Column[],
  count: number,
): ReturnType<typeof newShard> {
  const smaller = newShard(columns, count)
  for (const [b, { width }] of smaller.layout.blocks.entries()) {
    const from = shard.blocks[b]
    if (from !== undefined) smaller.blocks[b]?.set(from.subarray(0, count * width))
  }
  return smaller
}

function malformed(reason: string, data: Readonly<Record<string, string>> = {}): KernelError {
  return new KernelError('data.malformed', `Cannot make a dataset of this: ${reason}`, data)
}
