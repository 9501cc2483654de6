/**
 * Rules of the layers that reshape, activate, drop or look up, and of Dense.
 */
import { bias, boolean, absent, activation, ignored, initializer, integer, integerOf, kernel, number, oneOf, optional, rank, regularizer, required, tupleOf, weightFields } from '../layer.ts' // prettier-ignore
import type { Field, LayerRule, Shape } from '../layer.ts'

const product = (shape: Shape): number => shape.reduce((a, b) => a * b, 1)

const unchanged: LayerRule['shape'] = ([input]) => input

const elementwise = (fields: Record<string, Field>): LayerRule => ({ fields, inputs: 'one', shape: unchanged })

const dimensions: Field = {
  check: (v) =>
    Array.isArray(v) && v.length <= 6 && v.every((d) => Number.isSafeInteger(d) && d >= -1 && d !== 0)
      ? undefined
      : 'a list of dimensions',
}

const axisLast: Field = {
  check: (v) => {
    const value = Array.isArray(v) && v.length === 1 ? (v[0] as unknown) : v
    return Number.isSafeInteger(value) ? undefined : 'the last axis (-1)'
  },
}

export const coreLayers: Record<string, LayerRule> = {
  Dense: {
    fields: { ...weightFields, units: required(integer(1)), activation, input_dim: ignored },
    inputs: 'one',
    shape([input], config, report) {
      if (!input || input.length === 0) {
        report.add('', 'an input of at least 1 dimension for Dense', input)
        return undefined
      }
      return [...input.slice(0, -1), integerOf(config, 'units')]
    },
    weights: ([input], config) => {
      const units = integerOf(config, 'units')
      return [kernel([input?.at(-1) ?? 0, units]), ...bias(units, config)]
    },
  },
  Flatten: { fields: { data_format: ignored }, inputs: 'one', shape: ([input]) => [product(input ?? [])] },
  Reshape: {
    fields: { target_shape: required(dimensions) },
    inputs: 'one',
    shape([input], config, report) {
      const size = product(input ?? [])
      const target = config['target_shape'] as number[] // checked by its field
      const known = target.filter((d) => d !== -1)
      const open = target.length - known.length
      const shape = target.map((d) => (d === -1 ? size / product(known) : d))
      if (open > 1 || product(shape) !== size || !shape.every(Number.isSafeInteger)) {
        report.add(
          'target_shape',
          `dimensions whose product is ${size}, as of its input [${(input ?? []).join(', ')}]`,
          target,
        )
        return undefined
      }
      return shape
    },
  },
  Permute: {
    fields: { dims: required(dimensions) },
    inputs: 'one',
    shape([input = []], config, report) {
      const dims = config['dims'] as number[] // checked by its field
      if (dims.toSorted((a, b) => a - b).some((d, i) => d !== i + 1) || dims.length !== input.length) {
        report.add('dims', `the numbers 1 to ${input.length} in some order`, dims)
        return undefined
      }
      return dims.map((d) => input[d - 1] ?? 0)
    },
  },
  RepeatVector: {
    fields: { n: required(integer(1)) },
    inputs: 'one',
    shape(inputs, config, report) {
      const input = rank(inputs, 1, 'RepeatVector', report)
      return input && [integerOf(config, 'n'), ...input]
    },
  },
  Activation: elementwise({ activation: required(activation) }),
  ReLU: elementwise({
    max_value: optional(number(0, 1e9)),
    negative_slope: absent('use LeakyReLU'),
    threshold: absent('tfjs has no gradient of it'),
  }),
  LeakyReLU: elementwise({ alpha: number(0, 1e3), negative_slope: number(0, 1e3) }),
  ELU: elementwise({ alpha: oneOf(1) }),
  Softmax: elementwise({ axis: axisLast }),
  PReLU: {
    fields: {
      alpha_initializer: initializer,
      alpha_regularizer: regularizer,
      alpha_constraint: absent('constraints are not supported'),
      shared_axes: absent('shared axes are not supported'),
    },
    inputs: 'one',
    shape: unchanged,
    weights: ([input = []]) => [
      { name: 'alpha', shape: input, initializer: 'alpha_initializer', initializerDefault: 'zeros', trainable: true },
    ],
  },
  Dropout: elementwise({
    rate: required(number(0, 0.999)),
    noise_shape: absent('use SpatialDropout1D'),
    seed: ignored,
  }),
  SpatialDropout1D: {
    fields: { rate: required(number(0, 0.999)), seed: ignored, noise_shape: ignored },
    inputs: 'one',
    shape: (inputs, _config, report) => rank(inputs, 2, 'SpatialDropout1D', report),
  },
  Embedding: {
    fields: {
      input_dim: required(integer(1)),
      output_dim: required(integer(1)),
      input_length: ignored,
      embeddings_initializer: initializer,
      embeddings_regularizer: regularizer,
      embeddings_constraint: absent('constraints are not supported'),
      activity_regularizer: absent('activity regularizers are not supported'),
      mask_zero: absent('masking is not supported'),
      sparse: ignored,
    },
    inputs: 'one',
    shape: ([input = []], config) => [...input, integerOf(config, 'output_dim')],
    weights: (_inputs, config) => [
      {
        name: 'embeddings',
        shape: tupleOf(config, 'dims', 2, [integerOf(config, 'input_dim'), integerOf(config, 'output_dim')]),
        initializer: 'embeddings_initializer',
        initializerDefault: 'random_uniform',
        trainable: true,
      },
    ],
  },
  BatchNormalization: {
    fields: {
      axis: axisLast,
      momentum: number(0, 1),
      epsilon: number(0, 1),
      // tfjs trains it with both only.
      center: oneOf(true),
      scale: oneOf(true),
      synchronized: ignored,
      ...normalisationFields(['beta', 'gamma', 'moving_mean', 'moving_variance']),
    },
    inputs: 'one',
    shape([input = []], config, report) {
      return lastAxis(config, input) ? input : (report.add('axis', 'the last axis (-1)', config['axis']), undefined)
    },
    weights: ([input = []], config) => {
      const shape = [input.at(-1) ?? 0]
      return [
        ...scaleAndCenter(shape, config),
        statistic('moving_mean', shape, 'zeros'),
        statistic('moving_variance', shape, 'ones'),
      ]
    },
  },
  LayerNormalization: {
    fields: {
      axis: axisLast,
      epsilon: number(0, 1),
      center: boolean,
      scale: boolean,
      rms_scaling: absent('not in tfjs'),
      ...normalisationFields(['beta', 'gamma']),
    },
    inputs: 'one',
    shape([input = []], config, report) {
      return lastAxis(config, input) ? input : (report.add('axis', 'the last axis (-1)', config['axis']), undefined)
    },
    weights: ([input = []], config) => scaleAndCenter([input.at(-1) ?? 0], config),
  },
}

function normalisationFields(names: readonly string[]): Record<string, Field> {
  const fields: Record<string, Field> = {}
  for (const name of names) {
    fields[`${name}_initializer`] = initializer
    fields[`${name}_regularizer`] = regularizer
    fields[`${name}_constraint`] = absent('constraints are not supported')
  }
  return fields
}

/** Axis counts the batch dimension when it is not negative. */
function lastAxis(config: Record<string, unknown>, input: Shape): boolean {
  const value: unknown = config['axis'] ?? -1
  const axis: unknown = Array.isArray(value) ? value[0] : value
  return axis === -1 || axis === input.length
}

function scaleAndCenter(shape: Shape, config: Record<string, unknown>) {
  const specs = []
  if (config['scale'] !== false) {
    specs.push({ name: 'gamma', shape, initializer: 'gamma_initializer', initializerDefault: 'ones', trainable: true })
  }
  if (config['center'] !== false) {
    specs.push({ name: 'beta', shape, initializer: 'beta_initializer', initializerDefault: 'zeros', trainable: true })
  }
  return specs
}

function statistic(name: string, shape: Shape, initializerDefault: string) {
  return { name, shape, initializer: `${name}_initializer`, initializerDefault, trainable: false }
}
