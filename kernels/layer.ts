/**
 * What a layer type must say about itself to be allowed in a model: the fields of its config, the shape it gives, the
 * weights it owns. The rules in `layers/` answer in plain arithmetic, without tfjs, so that a whole model can be checked
 * in the node's own process in a millisecond and before anything of it is built.
 *
 * A model is data that strangers send. What is not on the list (`layers/all.ts`) does not run: no Lambda, no custom
 * class, no URL. What tfjs would accept but could not train the same way twice (dropout inside recurrent layers,
 * stateful layers) is refused here, by its field.
 */

/** One thing wrong with a request: where, what was expected, what was found, and the sentence that says all three. */
export interface Problem {
  path: string
  expected: string
  found: string
  message: string
}

export function problem(path: string, expected: string, found: unknown): Problem {
  const shown = describe(found)
  return { path, expected, found: shown, message: `${path}: expected ${expected}, found ${shown}` }
}

/** A value in a message: JSON, cut where it is long. */
export function describe(value: unknown): string {
  if (value === undefined) return 'nothing'
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  if (text.length > 120 && Array.isArray(value)) return `a list of ${value.length} items`
  return text.length > 120 ? `${text.slice(0, 117)}...` : text
}

/** Dimensions of one example, without the batch. */
export type Shape = readonly number[]

export type Config = Record<string, unknown>

/** Collects problems below one path. */
export interface Report {
  path: string
  add(field: string, expected: string, found: unknown): void
}

/** A check of one config value: undefined when it is right, else what was expected. */
export type Field = { required?: boolean; check: (value: unknown) => string | undefined }

export interface WeightSpec {
  name: string
  shape: Shape
  /** The config field that names its initializer, and what applies without one. */
  initializer: string
  initializerDefault: string
  /** Moving statistics are carried and averaged, never optimised. */
  trainable: boolean
}

export interface LayerRule {
  fields: Record<string, Field>
  /** How many inputs it takes. */
  inputs: 'one' | 'many'
  /** The output's shape; reports what does not fit and gives undefined then. */
  shape(inputs: readonly Shape[], config: Config, report: Report): Shape | undefined
  weights?(inputs: readonly Shape[], config: Config): WeightSpec[]
}

export function kernel(shape: Shape, name = 'kernel', initializer = 'kernel_initializer'): WeightSpec {
  return { name, shape, initializer, initializerDefault: 'glorot_uniform', trainable: true }
}

export function bias(size: number, config: Config): WeightSpec[] {
  if (config['use_bias'] === false) return []
  return [
    { name: 'bias', shape: [size], initializer: 'bias_initializer', initializerDefault: 'zeros', trainable: true },
  ]
}

// The readers below are used after the fields were checked: they take the default where the field is absent.

export function integerOf(config: Config, field: string, otherwise = 1): number {
  const value = config[field]
  return typeof value === 'number' ? value : otherwise
}

/** `3`, `[3]` and `[3, 3]` alike, as `length` numbers. */
export function tupleOf(config: Config, field: string, length: number, otherwise: readonly number[]): number[] {
  const value = config[field]
  if (typeof value === 'number') return Array.from({ length }, () => value)
  if (Array.isArray(value))
    return value.length === length ? (value as number[]) : Array.from({ length }, () => Number(value[0]))
  return [...otherwise]
}

export function rank(inputs: readonly Shape[], expected: number, layer: string, report: Report): Shape | undefined {
  const input = inputs[0]
  if (input?.length === expected) return input
  report.add('', `an input of ${expected} dimensions for ${layer}`, input)
  return undefined
}

/** Size after a window slides over `size`; undefined (and a report) when the window does not fit. */
export function slide(
  size: number,
  window: number,
  stride: number,
  padding: unknown,
  report: Report,
  field: string,
): number | undefined {
  if (padding === 'same') return Math.ceil(size / stride)
  if (window > size) {
    report.add(field, `at most ${size}, the size of its input`, window)
    return undefined
  }
  return Math.floor((size - window) / stride) + 1
}

export const integer = (min: number, max = 2 ** 24): Field => ({
  check: (v) =>
    Number.isSafeInteger(v) && Number(v) >= min && Number(v) <= max
      ? undefined
      : `a whole number from ${min} to ${max}`,
})

export const number = (min: number, max: number): Field => ({
  check: (v) => (typeof v === 'number' && v >= min && v <= max ? undefined : `a number from ${min} to ${max}`),
})

export const boolean: Field = { check: (v) => (typeof v === 'boolean' ? undefined : 'true or false') }

/** What tfjs takes for the name of a tensor. */
export const layerName: Field = {
  check: (v) =>
    typeof v === 'string' && /^[A-Za-z0-9][-A-Za-z0-9._/]{0,199}$/.test(v)
      ? undefined
      : 'a name of up to 200 letters, digits, and . _ - /, beginning with a letter or digit',
}

/** Whatever it says has no effect on how we compute. */
export const ignored: Field = { check: () => undefined }

export const oneOf = (...values: readonly unknown[]): Field => ({
  check: (v) => (values.includes(v) ? undefined : values.map((value) => JSON.stringify(value)).join(' or ')),
})

/** One whole number, or as many as the layer has space dimensions. */
export const tuple = (length: number, min = 1, max = 2 ** 20): Field => ({
  check: (v) => {
    const values = Array.isArray(v) ? v : [v]
    const fits =
      (values.length === 1 || values.length === length) &&
      values.every((n) => Number.isSafeInteger(n) && n >= min && n <= max)
    return fits
      ? undefined
      : `${length === 1 ? 'a whole number' : `one or ${length} whole numbers`} from ${min} to ${max}`
  },
})

/** Every dimension must be one: what the gradients support. */
export const ones = (length: number, why: string): Field => ({
  check: (v) => {
    const values = Array.isArray(v) ? v : [v]
    return values.length <= length && values.every((n) => n === 1) ? undefined : `1 (${why})`
  },
})

export const required = (field: Field): Field => ({ ...field, required: true })

export const optional = (field: Field): Field => ({ check: (v) => (v === null ? undefined : field.check(v)) })

export const ACTIVATIONS = [
  'linear', 'relu', 'relu6', 'elu', 'selu', 'sigmoid', 'hard_sigmoid', 'hardSigmoid', 'softplus', 'softsign', 'tanh', 'softmax',
  'swish', 'mish', 'gelu', 'gelu_new',
] as const // prettier-ignore

export const activation: Field = optional(oneOf(...ACTIVATIONS))

export const INITIALIZERS = new Set([
  'zeros', 'ones', 'constant', 'random_uniform', 'random_normal', 'truncated_normal', 'variance_scaling', 'glorot_uniform',
  'glorot_normal', 'he_uniform', 'he_normal', 'lecun_uniform', 'lecun_normal', 'orthogonal', 'identity',
]) // prettier-ignore

/** An initializer's name in one form: `GlorotUniform`, `glorotUniform` and `glorot_uniform` are the same. */
export function initializerName(value: unknown): string {
  const name = typeof value === 'string' ? value : ((value as { class_name?: unknown } | null)?.class_name ?? '')
  return (typeof name === 'string' ? name : '')
    .replaceAll(/([a-z])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .replace('le_cun', 'lecun')
}

export const initializer: Field = optional({
  check: (v) => (INITIALIZERS.has(initializerName(v)) ? undefined : `an initializer (${[...INITIALIZERS].join(', ')})`),
})

export const regularizer: Field = optional({
  check: (v) => {
    const name = (v as { class_name?: unknown }).class_name
    return name === 'L1L2' || name === 'L1' || name === 'L2' ? undefined : 'an L1L2 regularizer or null'
  },
})

/** A feature of Keras that training here does not honour: refused, because ignoring it would train something else. */
export const absent = (why: string): Field => ({
  check: (v) => (v === null || v === undefined || v === false || v === 0 ? undefined : `null (${why})`),
})

const noConstraint = absent('constraints are not supported')

/** Fields of layers with a kernel and a bias. */
export const weightFields: Record<string, Field> = {
  use_bias: boolean,
  kernel_initializer: initializer,
  bias_initializer: initializer,
  kernel_regularizer: regularizer,
  bias_regularizer: regularizer,
  activity_regularizer: absent('activity regularizers are not supported'),
  kernel_constraint: noConstraint,
  bias_constraint: noConstraint,
}

/** Fields that every layer has. */
export const commonFields: Record<string, Field> = {
  name: layerName,
  trainable: boolean,
  dtype: ignored,
  batch_input_shape: ignored,
  batch_size: ignored,
  input_dtype: ignored,
  autocast: ignored,
}
