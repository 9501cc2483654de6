import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { mergeEvaluations, metricFits, summarize } from '../../kernels/mod.ts'
import type { Evaluation, EvaluationSummary, TargetSpec } from '../../kernels/mod.ts'
import { addBatch, emptyEvaluation } from '../../kernels/metrics.ts'
import { random } from '../../kernels/random.ts'

const target = (classes: number): TargetSpec => ({ kind: 'class', classes })

function ofClasses(classes: number, outputs: number[][], targets: number[]): Evaluation {
  const evaluation = emptyEvaluation(target(classes))
  addBatch(evaluation, 'meanAbsoluteError', targets.length, {
    outputs: Float32Array.from(outputs.flat()),
    expected: new Float32Array(outputs.flat().length),
    targets: Float32Array.from(targets),
  })
  return evaluation
}

function ofValues(outputs: number[], expected: number[]): Evaluation {
  const evaluation = emptyEvaluation({ kind: 'value', shape: [1] })
  const rows = {
    outputs: Float32Array.from(outputs),
    expected: Float32Array.from(expected),
    targets: new Float32Array(0),
  }
  addBatch(evaluation, 'meanSquaredError', outputs.length, rows)
  return evaluation
}

describe('measures of classes', () => {
  // Three of class 0 (one taken for 1), one of class 1, one of class 2 (taken for 0).
  const outputs = [
    [0.9, 0.1, 0],
    [0.8, 0.1, 0.1],
    [0.2, 0.7, 0.1],
    [0.1, 0.8, 0.1],
    [0.5, 0.1, 0.4],
  ]
  const summary = summarize(ofClasses(3, outputs, [0, 0, 0, 1, 2]))

  it('count right ones, and who was taken for whom', () => {
    expect(summary.accuracy).toBeCloseTo(3 / 5)
    expect(summary.confusion).toEqual([
      [2, 1, 0],
      [0, 1, 0],
      [1, 0, 0],
    ])
  })

  it('tell precision, recall and F1 by class, and their means', () => {
    expect(summary.byClass?.map(({ precision, recall, examples }) => [precision, recall, examples])).toEqual([
      [2 / 3, 2 / 3, 3],
      [1 / 2, 1, 1],
      [0, 0, 1],
    ])
    expect(summary.f1).toBeCloseTo((2 / 3 + 2 / 3 + 0) / 3)
  })

  it('call classes what the data calls them, whoever measured which part', () => {
    const named = (): Evaluation => {
      const evaluation = emptyEvaluation({ kind: 'class', classes: 2, names: ['setosa', 'virginica'] })
      const rows = { outputs: Float32Array.of(0.9, 0.1), expected: new Float32Array(2), targets: Float32Array.of(0) }
      addBatch(evaluation, 'meanAbsoluteError', 1, rows)
      return evaluation
    }
    const { byClass } = summarize(mergeEvaluations([named(), named()]))
    expect(byClass?.map(({ name, examples }) => [name, examples])).toEqual([
      ['setosa', 2],
      ['virginica', 0],
    ])
    expect(summary.byClass?.[0]).not.toHaveProperty('name')
  })

  it('know a class that neither occurs nor is guessed from one that is never right', () => {
    const { precision } = summarize(
      ofClasses(
        3,
        [
          [0.9, 0.1, 0],
          [0.9, 0.1, 0],
        ],
        [0, 0],
      ),
    )
    expect(precision).toBe(1)
  })

  it('count the likeliest, where there are more classes', () => {
    const descending = [0.3, 0.2, 0.15, 0.1, 0.1, 0.08, 0.07]
    const found = summarize(ofClasses(7, [descending, descending, descending, descending], [0, 1, 4, 6]))
    expect(found).toMatchObject({ accuracy: 0.25, top2: 0.5, top3: 0.5, top5: 0.75 })
    expect(found).not.toHaveProperty('top10')
  })

  it.each([
    ['top2', 2, 3],
    ['top3', 3, 4],
    ['top5', 5, 6],
    ['top10', 10, 11],
  ] as const)('know %s of more than %i classes only', (metric, few, enough) => {
    expect(metricFits(metric, { kind: 'class', classes: few })).toBe(false)
    expect(metricFits(metric, { kind: 'class', classes: enough })).toBe(true)
    expect(metricFits(metric, { kind: 'value', shape: [] })).toBe(false)
  })

  it('give the area under the curve as the sorted scores do', () => {
    const generator = random(5)
    const scores = Array.from({ length: 400 }, () => generator.nextUnit())
    const truths = scores.map((score) => (generator.nextUnit() < score ? 1 : 0))
    let pairs = 0
    let right = 0
    for (const [i, a] of scores.entries()) {
      for (const [j, b] of scores.entries()) {
        if (truths[i] !== 1 || truths[j] !== 0) continue
        pairs++
        right += a > b ? 1 : a === b ? 0.5 : 0
      }
    }
    const single = summarize(
      ofClasses(
        2,
        scores.map((score) => [score]),
        truths,
      ),
    )
    expect(single.auc).toBeCloseTo(right / pairs, 3)
    expect(single.byClass?.[0]?.auc).toBeCloseTo(single.auc ?? 0, 3)
  })
})

describe('measures of values', () => {
  it('are the mean error, its root of squares, and the share of the spread that is explained', () => {
    const summary = summarize(ofValues([2, 4, 7], [1, 4, 9]))
    expect(summary.mae).toBeCloseTo(1)
    expect(summary.rmse).toBeCloseTo(Math.sqrt(5 / 3))
    const mean = 14 / 3
    const spread = (1 - mean) ** 2 + (4 - mean) ** 2 + (9 - mean) ** 2
    expect(summary.r2).toBeCloseTo(1 - 5 / spread)
    expect(summarize(ofValues([1e6 + 1, 1e6 + 2], [1e6 + 1, 1e6 + 2])).r2).toBe(1)
  })

  it('have no R² where all expected values are one', () => {
    expect(summarize(ofValues([1, 2], [3, 3])).r2).toBeUndefined()
  })
})

describe('parts of a split', () => {
  /** Measures that may differ in their last digits, and counts that may not. */
  const rounded = ({ confusion, byClass, ...measures }: EvaluationSummary): object => ({
    confusion,
    byClass,
    measures: Object.entries(measures).map(([name, value]) => `${name} ${value.toPrecision(8)}`),
  })

  it('merge to what the whole is, wherever it is cut', () => {
    const row = fc.tuple(
      fc.array(
        fc.integer({ min: 1, max: 99 }).map((n) => n / 100),
        { minLength: 3, maxLength: 3 },
      ),
      fc.nat(2),
    )
    fc.assert(
      fc.property(fc.array(row, { minLength: 2, maxLength: 30 }), fc.nat(), (rows, seed) => {
        const cut = 1 + (seed % (rows.length - 1))
        const part = (some: typeof rows) =>
          ofClasses(
            3,
            some.map(([o]) => o),
            some.map(([, t]) => t),
          )
        const merged = mergeEvaluations([part(rows.slice(0, cut)), part(rows.slice(cut))])
        expect(rounded(summarize(merged))).toEqual(rounded(summarize(part(rows))))
        const values = (some: typeof rows) =>
          ofValues(
            some.map(([o]) => o[0] ?? 0),
            some.map(([o]) => o[1] ?? 0),
          )
        const mergedValues = mergeEvaluations([values(rows.slice(0, cut)), values(rows.slice(cut))])
        expect(rounded(summarize(mergedValues))).toEqual(rounded(summarize(values(rows))))
      }),
    )
  })

  it('travel as JSON', () => {
    const evaluation = ofClasses(3, [[0.5, 0.3, 0.2]], [1])
    expect(summarize(JSON.parse(JSON.stringify(evaluation)) as Evaluation)).toEqual(summarize(evaluation))
  })
})
