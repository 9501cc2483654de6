/**
 * How good a model is, as sums over examples that can be merged: each part of a split gives its sums, the parts are
 * merged in their order, and the measures follow from the whole. Counts merge exactly; float64 sums in the order of the
 * parts, so the measures do not depend on who evaluated what.
 *
 * Precision, recall and F1 are macro means over the classes that occur. AUC is that of each class against the rest, their
 * mean over the classes that occur, from a histogram of scores: 2,048 bins of the score's logit, so that scores near 0 and
 * 1 are told apart as well as those in the middle. Scores within a bin count as ties; everything else is exact, and the
 * memory does not grow with the examples. R² compares with the mean of each output.
 */
import type { TargetSpec } from './data/column.ts'
import { lossSum } from './loss.ts'
import type { LossName } from './loss.ts'

/** Of how many likeliest classes it is told whether the true one is among them. */
const TOPS = [2, 3, 5, 10] as const
const TOP_METRICS = ['top2', 'top3', 'top5', 'top10'] as const satisfies readonly `top${(typeof TOPS)[number]}`[]

const CLASS_METRICS = ['accuracy', ...TOP_METRICS, 'precision', 'recall', 'f1', 'auc'] as const
export const METRICS = ['loss', ...CLASS_METRICS, 'mae', 'rmse', 'r2'] as const
export type MetricName = (typeof METRICS)[number]

/** Whether the metric says something about this target. */
export function metricFits(metric: MetricName, target: TargetSpec): boolean {
  if (metric === 'loss') return true
  const isOfClasses = CLASS_METRICS.some((each) => each === metric)
  if (target.kind !== 'class') return !isOfClasses
  // Among all classes the true one always is.
  return isOfClasses && target.classes > (TOPS[TOP_METRICS.findIndex((each) => each === metric)] ?? 0)
}

/** Above this a confusion matrix is no longer something to look at. */
const CONFUSION_CLASSES_MAX = 1_000
/** Above this, histograms of all classes would be larger than what they are of. */
const AUC_CLASSES_MAX = 100
/** Above this, R² is not told: its sums are kept for each output. */
const R2_OUTPUTS_MAX = 4_096
const BINS = 2_048
/** The logit of the smallest and largest score that is told apart. */
const LOGIT_MAX = 16

/** Sums over examples. Plain data: it travels as JSON. */
export interface Evaluation {
  examples: number
  lossSum: number
  classes?: ClassSums
  values?: ValueSums
}

interface ClassSums {
  /** What the data calls them, in the order of their codes; of those that have a confusion. */
  names?: readonly string[]
  correct: number
  /** How often the true class was among the likeliest, by `TOPS`; of as many as are less than the classes. */
  inTop: number[]
  /** confusion[actual][predicted]; of up to 1,000 classes. */
  confusion?: number[][]
  /** By class, by bin of its score: examples that are of the class, and that are not. Bins without examples are left out. */
  scores?: { of: Record<string, number>; others: Record<string, number> }[]
}

interface ValueSums {
  absolute: number
  squares: number
  /** Of each output's expected values: mean, and squared distances to it (Chan et al. 1979). */
  means?: number[]
  spreads?: number[]
}

export interface EvaluationSummary {
  examples: number
  loss: number
  accuracy?: number
  /** Share of examples whose class is among so many likeliest; where there are more classes. */
  top2?: number
  top3?: number
  top5?: number
  top10?: number
  /** Means over the classes. */
  precision?: number
  recall?: number
  f1?: number
  auc?: number
  mae?: number
  rmse?: number
  r2?: number
  byClass?: ClassMeasures[]
  confusion?: number[][]
}

export interface ClassMeasures {
  /** What the data calls the class. */
  name?: string
  examples: number
  precision: number
  recall: number
  f1: number
  auc?: number
}

export function emptyEvaluation(target: TargetSpec): Evaluation {
  if (target.kind === 'value') return { examples: 0, lossSum: 0, values: { absolute: 0, squares: 0 } }
  const { classes, names } = target
  const sums: ClassSums = { correct: 0, inTop: zeros(TOPS.filter((top) => top < classes).length) }
  if (classes <= CONFUSION_CLASSES_MAX) {
    sums.confusion = Array.from({ length: classes }, () => zeros(classes))
    if (names !== undefined) sums.names = names
  }
  if (classes <= AUC_CLASSES_MAX) sums.scores = Array.from({ length: classes }, () => ({ of: {}, others: {} }))
  return { examples: 0, lossSum: 0, classes: sums }
}

/** Adds a batch; `outputs` and `expected` are row after row, `targets` class indices where there are classes. */
export function addBatch(
  evaluation: Evaluation,
  loss: LossName,
  rows: number,
  { outputs, expected, targets }: { outputs: Float32Array; expected: Float32Array; targets: Float32Array },
  /** What a scaled target is multiplied by to be the data's: errors are told in the data's unit. */
  unit = 1,
): void {
  evaluation.lossSum += lossSum(loss, outputs, expected, rows)
  if (evaluation.classes) addClasses(evaluation.classes, outputs, targets, rows)
  if (evaluation.values) addValues(evaluation.values, evaluation.examples, outputs, expected, { rows, unit })
  evaluation.examples += rows
}

function addClasses(sums: ClassSums, outputs: Float32Array, targets: Float32Array, rows: number): void {
  const width = outputs.length / rows
  const classes = sums.confusion?.length ?? Math.max(2, width)
  for (let row = 0; row < rows; row++) {
    const truth = targets[row] ?? 0
    // One output is the probability of the second of two classes.
    const score = (k: number): number => {
      const first = outputs[row * width + (width === 1 ? 0 : k)] ?? 0
      return width === 1 && k === 0 ? 1 - first : first
    }
    let best = width === 1 && score(1) > 0.5 ? 1 : 0
    let above = 0
    const own = score(truth)
    for (let k = 0; k < width; k++) {
      if (width > 1 && score(k) > score(best)) best = k
      if (score(k) > own) above++
    }
    if (best === truth) sums.correct++
    for (let i = sums.inTop.length - 1; i >= 0 && above < TOPS[i]!; i--) sums.inTop[i] = sums.inTop[i]! + 1
    const line = sums.confusion?.[truth]
    if (line) line[best] = (line[best] ?? 0) + 1
    for (let k = 0; sums.scores && k < classes; k++) {
      const { of, others } = sums.scores[k]!
      const counts = k === truth ? of : others
      const bin = binOf(score(k))
      counts[bin] = (counts[bin] ?? 0) + 1
    }
  }
}

function binOf(score: number): number {
  const logit = Math.log(score / (1 - score))
  const place = Math.floor(((logit + LOGIT_MAX) / (2 * LOGIT_MAX)) * BINS)
  return Math.min(BINS - 1, Math.max(0, Number.isNaN(place) ? 0 : place))
}

function addValues(
  sums: ValueSums,
  before: number,
  outputs: Float32Array,
  expected: Float32Array,
  { rows, unit }: { rows: number; unit: number },
): void {
  const width = outputs.length / rows
  if (before === 0 && width <= R2_OUTPUTS_MAX) Object.assign(sums, { means: zeros(width), spreads: zeros(width) })
  const { means, spreads } = sums
  for (let i = 0; i < outputs.length; i++) {
    const value = (expected[i] ?? 0) * unit
    const off = (outputs[i] ?? 0) * unit - value
    sums.absolute += Math.abs(off) / width
    sums.squares += (off * off) / width
    if (!means || !spreads) continue
    // Welford 1962: a running mean, since sums of squares would cancel each other out.
    const column = i % width
    const seen = before + Math.floor(i / width) + 1
    const distance = value - means[column]!
    means[column] = means[column]! + distance / seen
    spreads[column] = spreads[column]! + distance * (value - means[column]!)
  }
}

/** The evaluation of all parts together. Give the parts in order: floats are added in it. */
export function mergeEvaluations(parts: readonly Evaluation[]): Evaluation {
  const [first, ...rest] = parts
  if (!first) return { examples: 0, lossSum: 0 }
  return rest.reduce(mergeTwo, structuredClone(first))
}

function mergeTwo(into: Evaluation, part: Evaluation): Evaluation {
  if (into.classes && part.classes) mergeClasses(into.classes, part.classes)
  if (into.values && part.values) mergeValues(into.values, into.examples, part.values, part.examples)
  into.examples += part.examples
  into.lossSum += part.lossSum
  return into
}

function mergeClasses(into: ClassSums, part: ClassSums): void {
  into.correct += part.correct
  for (const [i, count] of part.inTop.entries()) into.inTop[i] = into.inTop[i]! + count
  for (const [i, line] of (part.confusion ?? []).entries()) {
    for (const [j, count] of line.entries()) into.confusion![i]![j] = into.confusion![i]![j]! + count
  }
  for (const [k, { of, others }] of (part.scores ?? []).entries()) {
    addCounts(into.scores![k]!.of, of)
    addCounts(into.scores![k]!.others, others)
  }
}

function addCounts(into: Record<string, number>, counts: Record<string, number>): void {
  for (const [bin, count] of Object.entries(counts)) into[bin] = (into[bin] ?? 0) + count
}

function mergeValues(into: ValueSums, before: number, part: ValueSums, more: number): void {
  into.absolute += part.absolute
  into.squares += part.squares
  const { means, spreads } = into
  if (more === 0 || !part.means || !part.spreads) return
  if (!means || !spreads) {
    into.means = part.means
    into.spreads = part.spreads
    return
  }
  for (const [column, mean] of part.means.entries()) {
    const distance = mean - means[column]!
    const all = before + more
    means[column] = means[column]! + (distance * more) / all
    spreads[column] = spreads[column]! + part.spreads[column]! + (distance * distance * before * more) / all
  }
}

export function summarize({ examples, lossSum: total, classes, values }: Evaluation): EvaluationSummary {
  const share = (sum: number): number => (examples === 0 ? 0 : sum / examples)
  const summary: EvaluationSummary = { examples, loss: share(total) }
  if (classes) {
    summary.accuracy = share(classes.correct)
    for (const [i, count] of classes.inTop.entries()) summary[TOP_METRICS[i]!] = share(count)
    if (classes.confusion) Object.assign(summary, measuresOf(classes.confusion, classes))
  }
  if (values) {
    summary.mae = share(values.absolute)
    summary.rmse = Math.sqrt(share(values.squares))
    const spread = (values.spreads ?? []).reduce((a, b) => a + b, 0)
    if (values.spreads && spread > 0) summary.r2 = 1 - (values.squares * values.spreads.length) / spread
  }
  return summary
}

function measuresOf(confusion: number[][], { scores, names }: ClassSums): Partial<EvaluationSummary> {
  const byClass = confusion.map((line, k): ClassMeasures & { occurs: boolean } => {
    const right = line[k] ?? 0
    const examples = total(line)
    const guessed = total(confusion.map((other) => other[k] ?? 0))
    const precision = guessed === 0 ? 0 : right / guessed
    const recall = examples === 0 ? 0 : right / examples
    const f1 = precision + recall === 0 ? 0 : (2 * precision * recall) / (precision + recall)
    const auc = scores && aucOf(scores[k]!)
    const name = names?.[k]
    return {
      ...(name !== undefined && { name }),
      examples,
      precision,
      recall,
      f1,
      ...(auc !== undefined && { auc }),
      occurs: examples + guessed > 0,
    }
  })
  const occurring = byClass.filter(({ occurs }) => occurs)
  const mean = (of: (measures: ClassMeasures) => number): number =>
    occurring.length === 0 ? 0 : total(occurring.map(of)) / occurring.length
  const areas = byClass.flatMap(({ auc }) => auc ?? [])
  return {
    precision: mean(({ precision }) => precision),
    recall: mean(({ recall }) => recall),
    f1: mean(({ f1 }) => f1),
    ...(areas.length > 0 && { auc: total(areas) / areas.length }),
    byClass: byClass.map(({ occurs: _, ...measures }) => measures),
    confusion,
  }
}

/** The share of pairs (of the class, not of it) in which the one of the class scores higher; ties count half. */
function aucOf({ of, others }: { of: Record<string, number>; others: Record<string, number> }): number | undefined {
  const [all, rest] = [total(Object.values(of)), total(Object.values(others))]
  if (all === 0 || rest === 0) return undefined
  let below = 0
  let pairs = 0
  for (let bin = 0; bin < BINS; bin++) {
    const more = others[bin] ?? 0
    pairs += (of[bin] ?? 0) * (below + more / 2)
    below += more
  }
  return pairs / (all * rest)
}

function zeros(length: number): number[] {
  return Array.from({ length }, () => 0)
}

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0)
}
