/**
 * Predictions as people and programs read them: the class of each row by its name, and lines of CSV or JSON. A row is
 * named by its place in the split.
 */
import type { TargetSpec } from './data/column.ts'

export const PREDICT_FORMATS = ['npy', 'csv', 'jsonl'] as const
export type PredictFormat = (typeof PREDICT_FORMATS)[number]

/** The likeliest class of one row's outputs. A single output says how likely the second of two classes is. */
export function likeliest(outputs: ArrayLike<number>): number {
  if (outputs.length === 1) return Number((outputs[0] ?? 0) > 0.5)
  let best = 0
  for (let k = 1; k < outputs.length; k++) if ((outputs[k] ?? 0) > (outputs[best] ?? -Infinity)) best = k
  return best
}

/** The class of each row, by its name where the target has names. Undefined for a target of values. */
export function classesOf(target: TargetSpec, values: Float32Array, rows: number): (number | string)[] | undefined {
  if (target.kind !== 'class') return undefined
  const width = values.length / rows
  return Array.from({ length: rows }, (_, row) => {
    const k = likeliest(values.subarray(row * width, (row + 1) * width))
    return target.names?.[k] ?? k
  })
}

/** The first line of a CSV file, and nothing of other formats. */
export function predictionHead(format: PredictFormat, target: TargetSpec, width: number): string {
  if (format !== 'csv') return ''
  const columns = Array.from({ length: width }, (_, k) => outputName(target, k, width))
  return `${['row', ...(target.kind === 'class' ? ['class'] : []), ...columns].map(quoted).join(',')}\n`
}

/** Rows from `start` on, a line each. */
export function predictionLines(
  format: Exclude<PredictFormat, 'npy'>,
  target: TargetSpec,
  { start, rows, values }: { readonly start: number; readonly rows: number; readonly values: Float32Array },
): string {
  const width = values.length / rows
  const classes = classesOf(target, values, rows)
  const lines: string[] = []
  for (let row = 0; row < rows; row++) {
    const outputs = Array.from(values.subarray(row * width, (row + 1) * width), shortest)
    const predicted = classes?.[row]
    if (format === 'jsonl') lines.push(JSON.stringify({ row: start + row, class: predicted, outputs }))
    else
      lines.push([start + row, ...(predicted === undefined ? [] : [quoted(String(predicted))]), ...outputs].join(','))
  }
  return `${lines.join('\n')}\n`
}

function outputName(target: TargetSpec, k: number, width: number): string {
  if (target.kind === 'value') return width === 1 ? 'value' : `value ${k}`
  // A single unit speaks of the second class.
  const index = width === 1 ? 1 : k
  return `p ${target.names?.[index] ?? index}`
}

/** As many digits as tell one float32 from the next. What is no number is null, as JSON has it. */
function shortest(value: number): number | null {
  return Number.isFinite(value) ? Number(value.toPrecision(9)) : null
}

function quoted(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
