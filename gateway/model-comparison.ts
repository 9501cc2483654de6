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
  /** Figures that both have, right minus left: those of the test by their names, those of validation as `validation.loss`. */
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
  'validation',
] as const

export function compareModels(left: ModelVersionView, right: ModelVersionView): Comparison {
  const differences = COMPARED.flatMap((key) => [...differencesOf(key, left[key], right[key])]).filter(
    ({ path }) => !/^(evaluation|validation)\.report\./.test(path), // the hash of what is compared by itself
  )
  const gains = {
    ...gainsOf('', left.evaluation, right.evaluation),
    ...gainsOf('validation.', left.validation, right.validation),
  }
  return { differences, gains }
}

function gainsOf(prefix: string, left: object = {}, right: object = {}): Record<string, number> {
  const after = new Map<string, unknown>(Object.entries(right))
  const gains: Record<string, number> = {}
  for (const [name, before] of Object.entries(left) as [string, unknown][]) {
    const then = after.get(name)
    if (typeof before === 'number' && typeof then === 'number') gains[prefix + name] = then - before
  }
  return gains
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
