/**
 * The types of `predict.js` for one model: its columns by name, categories and classes as the words that they are. A
 * TypeScript project that imports the file from the model's folder is told of a misspelt column before it runs.
 */
import type { FeatureColumn } from './data/column.ts'
import type { Pipeline } from './data/pipeline.ts'

/** Of more than so many a type says only that they are words. */
const WORDS_MAX = 100

export function takeHomeTypes({ features, output }: Pick<Pipeline, 'features' | 'output'>): string {
  const fields = features.map((column) => `  readonly ${JSON.stringify(column.name)}: ${typeOf(column)}\n`)
  const listed = `readonly [${features.map(typeOf).join(', ')}]`
  const [only] = features
  const alone = features.length === 1 && only !== undefined ? ` | ${typeOf(only)}` : ''
  const classes = output.kind === 'class' ? `  /** The likeliest class of each example. */\n  classes: (${wordsOf(output.names)})[]\n` : '' // prettier-ignore
  return `/** A list of numbers in the shape of a column, or flat. */
export type Values = readonly (number | null | Values)[]

/** A row as the dataset has it; null is a missing value. */
export interface NamedExample {
${fields.join('')}}

/** By the names of the columns, or a list in their order. */
export type Example = NamedExample | ${listed}${alone}

export interface Answers {
  /** Of each example, what the model says of it. */
  outputs: number[][]
${classes}}

/** What is needed of TensorFlow.js: give the module. */
export interface TensorFlow {
  tensor(values: Float32Array, shape: number[]): { data(): Promise<ArrayLike<number>>; dispose(): void }
}

/** What tf.loadLayersModel gives for the model.json of this folder. */
export interface LoadedModel {
  predict(inputs: never): unknown
  getUserDefinedMetadata(): unknown
}

/** Throws a TypeError that names each place of an example that does not fit. */
export function predict(tf: TensorFlow, model: LoadedModel, examples: readonly Example[]): Promise<Answers>
`
}

function typeOf({ shape, categories, nullable }: FeatureColumn): string {
  const missing = nullable === true ? ' | null' : ''
  if (shape.length > 0) return shape.every((dimension) => dimension === 1) ? `Values | number${missing}` : 'Values'
  return `${categories === undefined ? 'number' : wordsOf(categories.names, 'number')}${missing}`
}

/** A class is a word where it has one, and else its number; an example may have its number in any case. */
function wordsOf(names: readonly string[] | undefined, ...others: readonly string[]): string {
  if (names === undefined) return 'number'
  const words = names.length > WORDS_MAX ? ['string'] : names.map((name) => JSON.stringify(name))
  return [...words, ...others].join(' | ')
}
