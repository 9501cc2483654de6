/**
 * From a dataset's columns and a job's wishes to a pipeline: which columns are the model's input, which is its target,
 * and each preprocessing step with its constants. It is plain data, stored with the model; `transform.ts` carries it out.
 *
 * Fitting needs no pass over the data: the manifest has the training split's statistics, and a linear step moves them
 * as it moves the values. Without statistics (a dataset that is known but not brought in yet) the shapes are right and
 * the constants are not: enough to check a model against.
 */
import { problem } from '../layer.ts'
import type { Problem } from '../layer.ts'
import { DIMENSION_MAX, EXAMPLE_ELEMENTS_MAX } from '../limits.ts'
import { elementCount } from '../safetensors.ts'
import type { Column, FeatureColumn, FeatureSpec, TargetSpec } from './column.ts'
import type { DatasetManifest } from './manifest.ts'
import type { AugmentOptions, PreprocessStep, ShuffleMode } from './preprocess.ts'
import { groupsOf } from './statistics.ts'
import type { ColumnStatistics } from './statistics.ts'

/** `column` counts the pipeline's features. Lists have an entry for each element or channel, or one for all. */
export type FittedStep =
  | {
      readonly op: 'affine'
      readonly column: number
      readonly factor: readonly number[]
      readonly offset: readonly number[]
    }
  | { readonly op: 'impute'; readonly column: number; readonly isCategory: boolean; readonly values: readonly number[] }
  | { readonly op: 'onehot'; readonly column: number; readonly classes: number }
  | { readonly op: 'resize'; readonly column: number; readonly from: readonly number[]; readonly to: readonly number[] }
  | ({ readonly op: 'augment'; readonly column: number; readonly shape: readonly number[] } & AugmentOptions)

export interface Pipeline {
  /** The columns that the model takes, as the data has them, in the order of its input. */
  readonly features: readonly FeatureColumn[]
  readonly steps: readonly FittedStep[]
  /** What the model is given of a row: the one feature in its shape, or all values of several, one after another. */
  readonly input: FeatureSpec
  /** The target's column; null for a model that gives its own input back (an autoencoder). */
  readonly target: Column | null
  /** What the loss compares the model's output with. */
  readonly output: TargetSpec
  readonly shuffle: ShuffleMode
}

/** What of a dataset a job trains on. */
export interface Selection {
  /** The column to predict; the dataset's own where absent, null for the input itself. */
  readonly target?: string | null
  /** All other columns where absent. */
  readonly features?: readonly string[]
}

/** As much of a manifest as is known. */
export interface PipelineData extends Pick<DatasetManifest, 'columns' | 'target'> {
  readonly splits?: DatasetManifest['splits']
}

type OnColumns = { readonly columns?: readonly string[] }

/** A feature on its way through the steps. */
interface Feature {
  readonly column: Column
  shape: readonly number[]
  kind: 'number' | 'category' | 'onehot'
  /** Values of some split that are missing and that no step has replaced. */
  missing: number
  mean: readonly number[]
  std: readonly number[]
  min: readonly number[]
  max: readonly number[]
}

export function planPipeline(
  data: PipelineData,
  selection: Selection,
  steps: readonly PreprocessStep[],
): { readonly pipeline?: Pipeline; readonly problems: readonly Problem[] } {
  const problems: Problem[] = []
  const target = targetOf(data, selection, problems)
  const features = featuresOf(data, selection, target ?? null, problems)
  if (target === undefined || problems.length > 0) return { problems }
  const planning = new Planning(
    features.map((column) => featureOf(data, column)),
    target === null ? null : featureOf(data, target),
    problems,
  )
  for (const [i, step] of steps.entries()) planning.take(step, `preprocess[${i}]`)
  const pipeline = planning.end()
  return problems.length > 0 ? { problems } : { pipeline, problems }
}

function targetOf(
  { columns, target }: PipelineData,
  selection: Selection,
  problems: Problem[],
): Column | null | undefined {
  const name = selection.target === undefined ? target : selection.target
  if (selection.target === null) return null
  const names = columns.map((column) => column.name).join(', ')
  if (name === null) {
    problems.push(problem('dataset.target', `the column to predict, one of ${names}`, 'nothing'))
    return undefined
  }
  const found = columns.find((column) => column.name === name)
  if (found === undefined) problems.push(problem('dataset.target', `one of ${names}`, name))
  return found
}

function featuresOf(
  { columns }: PipelineData,
  selection: Selection,
  target: Column | null,
  problems: Problem[],
): readonly Column[] {
  const others = columns.filter((column) => column !== target)
  if (selection.features === undefined) {
    if (others.length === 0) problems.push(problem('dataset.features', 'a column beside the target', 'none'))
    return others
  }
  const names = others.map(({ name }) => name).join(', ')
  return selection.features.flatMap((name, i) => {
    const found = others.find((column) => column.name === name)
    const isTwice = selection.features?.indexOf(name) !== i
    if (found !== undefined && !isTwice) return found
    problems.push(problem(`dataset.features[${i}]`, isTwice ? 'each column once' : `one of ${names}`, name))
    return []
  })
}

function featureOf({ columns, splits }: PipelineData, column: Column): Feature {
  const index = columns.indexOf(column)
  const statistics = splits?.train.statistics[index]
  const missing = Object.values(splits ?? {}).reduce((sum, split) => sum + (split.statistics[index]?.missing ?? 0), 0)
  const ones = Array.from({ length: groupsOf(column) }, () => 1)
  return {
    column,
    shape: column.shape,
    kind: column.categories === undefined ? 'number' : 'category',
    missing,
    mean: statistics?.mean ?? ones,
    std: statistics?.std ?? ones,
    min: statistics?.min ?? ones,
    max: statistics?.max ?? ones,
    ...modeOf(statistics),
  }
}

/** The most frequent class stands in for a category's mean. */
function modeOf(statistics: ColumnStatistics | undefined): { mean?: readonly number[] } {
  const classes = statistics?.classes
  if (classes === undefined || classes.length === 0) return {}
  return { mean: [classes.indexOf(Math.max(...classes))] }
}

class Planning {
  readonly #features: readonly Feature[]
  readonly #target: Feature | null
  readonly #problems: Problem[]
  readonly #fitted: FittedStep[] = []
  #shuffle: ShuffleMode = 'auto'
  #unscale = { factor: 1, offset: 0 }

  constructor(features: readonly Feature[], target: Feature | null, problems: Problem[]) {
    this.#features = features
    this.#target = target
    this.#problems = problems
  }

  take(step: PreprocessStep, path: string): void {
    switch (step.op) {
      case 'scale':
        return this.#affine(step, path, ({ mean }) => mean.map(() => [step.factor, 0]))
      case 'shift':
        return this.#affine(step, path, ({ mean }) => mean.map(() => [1, step.by]))
      case 'standardise':
        // A column of one value has nothing to divide by: it becomes 0.
        return this.#affine(step, path, ({ mean, std }) =>
          mean.map((m, g) => {
            const deviation = std[g] ?? 0
            return deviation > 0 ? [1 / deviation, -m / deviation] : [1, -m]
          }),
        )
      case 'minmax':
        return this.#affine(step, path, ({ min, max }) => {
          const [low, high] = [step.min ?? 0, step.max ?? 1]
          return min.map((least, g) => {
            const range = (max[g] ?? 0) - least
            const factor = range > 0 ? (high - low) / range : 1
            return [factor, low - least * factor]
          })
        })
      case 'impute':
        return this.#impute(step, path)
      case 'onehot':
        for (const [column, feature] of this.#those(step, path, 'a category', isCategory)) {
          const classes = feature.column.categories?.count ?? 0
          this.#fitted.push({ op: 'onehot', column, classes })
          Object.assign(feature, { kind: 'onehot', shape: [classes], missing: 0 } satisfies Partial<Feature>)
        }
        return
      case 'resize':
        for (const [column, feature] of this.#those(
          step,
          path,
          'a picture of shape [height, width, channels]',
          isPicture,
        )) {
          const to = [step.height, step.width, feature.shape[2] ?? 1]
          this.#fitted.push({ op: 'resize', column, from: feature.shape, to })
          feature.shape = to
        }
        return
      case 'flatten':
        for (const [, feature] of this.#those(step, path, 'a column of a shape', ({ shape }) => shape.length > 0)) {
          feature.shape = [elementCount(feature.shape)]
        }
        return
      case 'augment': {
        const { columns: _, ...options } = step
        for (const [column, feature] of this.#those(
          step,
          path,
          'a picture of shape [height, width, channels]',
          isPicture,
        )) {
          this.#fitted.push({ ...options, column, shape: feature.shape })
        }
        return
      }
      case 'shuffle':
        this.#shuffle = step.rows
        return
    }
  }

  end(): Pipeline {
    for (const { column, missing } of this.#features) {
      if (missing > 0)
        this.#refuse('preprocess', `an impute step for "${column.name}", which lacks ${missing} values`, 'none')
    }
    if (this.#target !== null && this.#target.missing > 0) {
      const { column, missing } = this.#target
      this.#refuse('dataset.target', `a column without missing values ("${column.name}" lacks ${missing})`, column.name)
    }
    return {
      features: this.#features.map(({ column }, i) => (this.#isReplaced(i) ? { ...column, nullable: true } : column)),
      steps: this.#fitted,
      input: this.#input(),
      target: this.#target?.column ?? null,
      output: this.#output(),
      shuffle: this.#shuffle,
    }
  }

  /** Whether a step says what to make of a missing value. */
  #isReplaced(feature: number): boolean {
    return this.#fitted.some(({ op, column }) => column === feature && (op === 'impute' || op === 'onehot'))
  }

  /** A linear step: for each entry of a feature's lists a factor and an offset. */
  #affine(
    step: OnColumns,
    path: string,
    of: (feature: Feature) => (readonly [factor: number, offset: number])[],
  ): void {
    for (const [column, feature] of this.#those(step, path, 'a column of numbers', isNumber)) {
      const pairs = of(feature)
      const move = (values: readonly number[]): number[] =>
        values.map((value, g) => value * (pairs[g]?.[0] ?? 1) + (pairs[g]?.[1] ?? 0))
      const [first, last] = [move(feature.min), move(feature.max)]
      feature.mean = move(feature.mean)
      feature.std = feature.std.map((deviation, g) => deviation * Math.abs(pairs[g]?.[0] ?? 1))
      feature.min = first.map((value, g) => Math.min(value, last[g] ?? value))
      feature.max = first.map((value, g) => Math.max(value, last[g] ?? value))
      if (feature === this.#target) this.#unscaleBy(pairs[0] ?? [1, 0], path, pairs.length)
      else {
        const isOne = pairs.every(([factor, offset]) => factor === pairs[0]?.[0] && offset === pairs[0]?.[1])
        const kept = isOne ? pairs.slice(0, 1) : pairs
        const factor = kept.map((pair) => pair[0])
        this.#fitted.push({ op: 'affine', column, factor, offset: kept.map((pair) => pair[1]) })
      }
    }
  }

  /** The way back, extended by the inverse of one more step. */
  #unscaleBy([factor, offset]: readonly [number, number], path: string, groups: number): void {
    if (groups > 1) return this.#refuse(path, 'a target of one number', `one of ${groups}`)
    if (factor === 0) return this.#refuse(path, 'a factor other than 0 for the target, which must be turned back', '0')
    const before = this.#unscale
    this.#unscale = { factor: before.factor / factor, offset: before.offset - (before.factor * offset) / factor }
  }

  #impute(step: Extract<PreprocessStep, { op: 'impute' }>, path: string): void {
    const suits = step.with === 'mode' ? isCategory : isNumber
    const what = step.with === 'mode' ? 'a category' : 'a column of numbers'
    for (const [column, feature] of this.#those(step, path, what, suits, 'features')) {
      const values = typeof step.with === 'number' ? [step.with] : feature.mean
      this.#fitted.push({ op: 'impute', column, isCategory: feature.kind === 'category', values })
      feature.missing = 0
    }
  }

  /** The features that a step names, or all that it suits; and the target, where it is named and may be scaled. */
  #those(
    { columns }: OnColumns,
    path: string,
    what: string,
    suits: (feature: Feature) => boolean,
    scope: 'features' | 'all' = 'all',
  ): (readonly [index: number, feature: Feature])[] {
    const all = [...this.#features.entries()]
    if (columns === undefined) return all.filter(([, feature]) => suits(feature))
    const isLinear = suits === isNumber && scope === 'all'
    const target = isLinear && this.#target !== null ? [[-1, this.#target] as const] : []
    const known = [...all, ...target]
    return columns.flatMap((name, i) => {
      const found = known.find(([, { column }]) => column.name === name)
      if (found !== undefined && suits(found[1])) return [found]
      const names = known.filter(([, feature]) => suits(feature)).map(([, { column }]) => column.name)
      const expected = names.length === 0 ? `${what} (there is none)` : `${what}: one of ${names.join(', ')}`
      this.#refuse(`${path}.columns[${i}]`, expected, name)
      return []
    })
  }

  #input(): FeatureSpec {
    const [first] = this.#features
    const total = this.#features.reduce((sum, { shape }) => sum + elementCount(shape), 0)
    if (total > EXAMPLE_ELEMENTS_MAX || this.#features.some(({ shape }) => shape.some((d) => d > DIMENSION_MAX))) {
      this.#refuse('preprocess', `at most ${EXAMPLE_ELEMENTS_MAX} values of an example`, String(total))
    }
    const isOne = this.#features.length === 1 && first !== undefined && first.shape.length > 0
    return { shape: isOne ? first.shape : [total], dtype: 'float32' }
  }

  #output(): TargetSpec {
    if (this.#target === null) return { kind: 'value', shape: this.#input().shape }
    const { categories, shape } = this.#target.column
    if (categories !== undefined) {
      return { kind: 'class', classes: categories.count, ...(categories.names && { names: categories.names }) }
    }
    const isScaled = this.#unscale.factor !== 1 || this.#unscale.offset !== 0
    return { kind: 'value', shape, ...(isScaled && { unscale: this.#unscale }) }
  }

  #refuse(path: string, expected: string, found: string): void {
    this.#problems.push(problem(path, expected, found))
  }
}

function isCategory({ kind }: Feature): boolean {
  return kind === 'category'
}

function isNumber({ kind }: Feature): boolean {
  return kind === 'number'
}

function isPicture({ kind, shape }: Feature): boolean {
  return kind === 'number' && shape.length === 3
}
