/** Two versions of a model side by side: what differs in how they were made, and in what they reached. */
import type { ModelVersionView } from '../machines/views.ts'

export interface Difference {
  /** Where, as in `spec.train.epochs`. */
  readonly path: string
  /** JSON as it stands in each; absent where one has nothing there. */
  readonly left?: unknown
  readonly right?: unknown
}

export interface Comparison {
  readonly differences: readonly Difference[]
  /** Figures of the evaluation that both have: right minus left. */
  readonly gains: Readonly<Record<string, number>>
}

/** Of interest in a comparison: how it was made. What only names the version (number, times, hashes) differs always. */
const COMPARED = [
  'spec',
  'parent',
  'dataset',
  'code',
  'fingerprint',
  'preprocess',
  'input',
  'target',
  'evaluation',
] as const

export function compareModels(left: ModelVersionView, right: ModelVersionView): Comparison {
  const differences = COMPARED.flatMap((key) => [...differencesOf(key, left[key], right[key])]).filter(
    ({ path }) => !path.startsWith('evaluation.report.'), // the hash of what is compared by itself
  )
  const reached = (model: ModelVersionView): Readonly<Record<string, unknown>> => ({ ...model.evaluation })
  const gains: Record<string, number> = {}
  for (const [name, before] of Object.entries(reached(left))) {
    const after = reached(right)[name]
    if (typeof before === 'number' && typeof after === 'number') gains[name] = after - before
  }
  return { differences, gains }
}

function* differencesOf(path: string, left: unknown, right: unknown): Generator<Difference> {
  if (isBranch(left) && isBranch(right) && Array.isArray(left) === Array.isArray(right)) {
    for (const key of new Set([...Object.keys(left), ...Object.keys(right)])) {
      yield* differencesOf(Array.isArray(left) ? `${path}[${key}]` : `${path}.${key}`, left[key], right[key])
    }
  } else if (left !== right) {
    yield { path, ...(left !== undefined && { left }), ...(right !== undefined && { right }) }
  }
}

function isBranch(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}
