/**
 * What goes home with a model: examples in, predictions out, with the preprocessing that it was trained with and the
 * names of its classes. It is the code that predicts here, bundled into one file without imports
 * (`take-home.generated.js`, by `npm run generate`), for wherever TensorFlow.js runs.
 *
 *     import { predict } from './iris-v1/predict.js'
 *     const model = await tf.loadLayersModel('./iris-v1/model.json')
 *     const { outputs, classes } = await predict(tf, model, [{ sepal_length: 5.1, … }])
 */
import { readExamples } from './data/examples.ts'
import type { Pipeline } from './data/pipeline.ts'
import { transformRows, turnedBack } from './data/transform.ts'
import { classesOf } from './prediction-text.ts'

/** As much of TensorFlow.js as is needed of it. */
export interface TensorFlow {
  tensor(values: Float32Array, shape: number[]): TensorLike
}

export interface TensorLike {
  data(): Promise<ArrayLike<number>>
  dispose(): void
}

/** What `tf.loadLayersModel` gives, whichever package it is of. */
export interface LoadedModel {
  predict(inputs: never): unknown
  getUserDefinedMetadata(): unknown
}

/** What `model.json` says of a model beside what TensorFlow.js needs, in its `userDefinedMetadata`. */
export type TakenHome = Pick<Pipeline, 'features' | 'steps' | 'input' | 'output'>

export interface Answers {
  /** Of each example, what the model says of it. */
  outputs: number[][]
  /** The likeliest class of each example, by its name where it has one. Absent where the target is a number. */
  classes?: (number | string)[]
}

const BATCH_ROWS = 256

/** Examples are objects that name the columns, or lists in the order of the model's features. Throws a TypeError. */
export async function predict(tf: TensorFlow, model: LoadedModel, examples: readonly unknown[]): Promise<Answers> {
  const metadata = model.getUserDefinedMetadata()
  // Written by exportLayersModel, whose reader this is.
  const home = (metadata as { tensorfleet?: TakenHome } | null | undefined)?.tensorfleet
  if (home === undefined) throw new TypeError('This model.json says nothing of preprocessing: load that of this folder')
  const { values, problems } = readExamples(examples, home.features)
  if (problems.length > 0) throw new TypeError(problems.map(({ message }) => message).join('; '))
  const answers: Answers = { outputs: [] }
  const width = values.length / examples.length
  for (let at = 0; at < examples.length; at += BATCH_ROWS) {
    const rows = Math.min(BATCH_ROWS, examples.length - at)
    const features = transformRows(home, values.subarray(at * width, (at + rows) * width), rows)
    const said = turnedBack(await run(tf, model, features, [rows, ...home.input.shape]), home.output)
    const each = said.length / rows
    for (let row = 0; row < rows; row++) answers.outputs.push([...said.subarray(row * each, (row + 1) * each)])
    const classes = classesOf(home.output, said, rows)
    if (classes !== undefined) answers.classes = [...(answers.classes ?? []), ...classes]
  }
  return answers
}

async function run(tf: TensorFlow, model: LoadedModel, features: Float32Array, shape: number[]): Promise<Float32Array> {
  const inputs = tf.tensor(features, shape)
  const outputs = model.predict(inputs as never) as TensorLike // our models have one input and one output
  const said = Float32Array.from(await outputs.data())
  inputs.dispose()
  outputs.dispose()
  return said
}
