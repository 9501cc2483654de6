/**
 * Rules of the layers that work over space or time windows: convolutions, pooling, padding, cropping, upsampling.
 * Images are [height, width, channels], sequences [steps, channels]; channels come last, the only order the `wasm`
 * back end computes.
 */
import { activation, bias, integer, integerOf, kernel, initializer, oneOf, ones, optional, rank, regularizer, absent, required, slide, tuple, tupleOf, weightFields } from '../layer.ts' // prettier-ignore
import type { Config, Field, LayerRule, Report, Shape } from '../layer.ts'

const channelsLast: Field = optional(oneOf('channels_last', 'channelsLast'))
const noDilation = (space: number): Field => ones(space, 'tfjs has no gradient of dilated convolutions')

function convolutionFields(space: number): Record<string, Field> {
  return {
    ...weightFields,
    kernel_size: required(tuple(space)),
    strides: tuple(space),
    padding: oneOf('valid', 'same'),
    data_format: channelsLast,
    dilation_rate: noDilation(space),
    groups: oneOf(1),
    activation,
  }
}

/** Space dimensions after a sliding window of `field`; undefined once reported. */
function slideAll(
  input: Shape,
  config: Config,
  field: string,
  strides: number[],
  report: Report,
): number[] | undefined {
  const windows = tupleOf(config, field, strides.length, [2, 2])
  const sizes: number[] = []
  for (const [i, stride] of strides.entries()) {
    const size = slide(input[i] ?? 0, windows[i] ?? 1, stride, config['padding'] ?? 'valid', report, field)
    if (size === undefined) return undefined
    sizes.push(size)
  }
  return sizes
}

function convolution(space: number, layer: string): LayerRule {
  const one = Array.from({ length: space }, () => 1)
  return {
    fields: { ...convolutionFields(space), filters: required(integer(1)) },
    inputs: 'one',
    shape(inputs, config, report) {
      const input = rank(inputs, space + 1, layer, report)
      const sizes = input && slideAll(input, config, 'kernel_size', tupleOf(config, 'strides', space, one), report)
      return sizes && [...sizes, integerOf(config, 'filters')]
    },
    weights: ([input = []], config) => {
      const filters = integerOf(config, 'filters')
      return [
        kernel([...tupleOf(config, 'kernel_size', space, one), input.at(-1) ?? 0, filters]),
        ...bias(filters, config),
      ]
    },
  }
}

function pooling(space: number, layer: string): LayerRule {
  const two = Array.from({ length: space }, () => 2)
  return {
    fields: {
      pool_size: tuple(space),
      strides: optional(tuple(space)),
      padding: oneOf('valid', 'same'),
      data_format: channelsLast,
    },
    inputs: 'one',
    shape(inputs, config, report) {
      const input = rank(inputs, space + 1, layer, report)
      const strides = tupleOf(config, 'strides', space, tupleOf(config, 'pool_size', space, two))
      const sizes = input && slideAll(input, config, 'pool_size', strides, report)
      return sizes && [...sizes, input?.at(-1) ?? 0]
    },
  }
}

function globalPooling(space: number, layer: string): LayerRule {
  return {
    fields: { data_format: channelsLast, keepdims: absent('not in tfjs') },
    inputs: 'one',
    shape(inputs, _config, report) {
      const input = rank(inputs, space + 1, layer, report)
      return input && [input.at(-1) ?? 0]
    },
  }
}

function pair(v: unknown): [number, number] | undefined {
  if (Number.isSafeInteger(v) && Number(v) >= 0) return [Number(v), Number(v)]
  if (!Array.isArray(v) || v.length !== 2 || !v.every((n) => Number.isSafeInteger(n) && n >= 0)) return undefined
  return [Number(v[0]), Number(v[1])]
}

/** `1`, `[1, 2]` or `[[1, 1], [2, 2]]`, as [[top, bottom], [left, right]]. */
function margins(config: Config, field: string): [[number, number], [number, number]] | undefined {
  const value = config[field] ?? 1
  if (!Array.isArray(value)) {
    const same = pair(value)
    return same && [same, same]
  }
  const rows = pair(value[0])
  const columns = pair(value[1])
  return value.length === 2 && rows && columns ? [rows, columns] : undefined
}

const marginsField = (field: string): Field => ({
  check: (v) => (margins({ [field]: v }, field) ? undefined : 'a whole number, a pair, or a pair of pairs'),
})

function resized(layer: string, field: string, sign: 1 | -1): LayerRule {
  return {
    fields: { [field]: marginsField(field), data_format: channelsLast },
    inputs: 'one',
    shape(inputs, config, report) {
      const input = rank(inputs, 3, layer, report)
      const found = margins(config, field)
      if (!input || !found) return undefined
      const shape = [0, 1].map((i) => (input[i] ?? 0) + sign * ((found[i]?.[0] ?? 0) + (found[i]?.[1] ?? 0)))
      if (shape.some((size) => size < 1)) {
        report.add(field, `less than its input [${input.join(', ')}]`, config[field])
        return undefined
      }
      return [...shape, input[2] ?? 0]
    },
  }
}

const depthwiseFields: Record<string, Field> = {
  depth_multiplier: integer(1, 1024),
  depthwise_initializer: initializer,
  depthwise_regularizer: regularizer,
  depthwise_constraint: absent('constraints are not supported'),
}

export const spatialLayers: Record<string, LayerRule> = {
  Conv1D: convolution(1, 'Conv1D'),
  Conv2D: convolution(2, 'Conv2D'),
  Conv2DTranspose: {
    fields: { ...convolutionFields(2), filters: required(integer(1)), output_padding: absent('not in tfjs') },
    inputs: 'one',
    shape(inputs, config, report) {
      const input = rank(inputs, 3, 'Conv2DTranspose', report)
      if (!input) return undefined
      const windows = tupleOf(config, 'kernel_size', 2, [1, 1])
      const strides = tupleOf(config, 'strides', 2, [1, 1])
      const sizes = [0, 1].map((i) => {
        const grown = (input[i] ?? 0) * (strides[i] ?? 1)
        return config['padding'] === 'same' ? grown : grown + Math.max((windows[i] ?? 1) - (strides[i] ?? 1), 0)
      })
      return [...sizes, integerOf(config, 'filters')]
    },
    weights: ([input = []], config) => {
      const filters = integerOf(config, 'filters')
      return [
        kernel([...tupleOf(config, 'kernel_size', 2, [1, 1]), filters, input.at(-1) ?? 0]),
        ...bias(filters, config),
      ]
    },
  },
  SeparableConv2D: {
    fields: {
      ...convolutionFields(2),
      ...depthwiseFields,
      filters: required(integer(1)),
      pointwise_initializer: initializer,
      pointwise_regularizer: regularizer,
      pointwise_constraint: absent('constraints are not supported'),
    },
    inputs: 'one',
    shape: (inputs, config, report) => convolution(2, 'SeparableConv2D').shape(inputs, config, report),
    weights: ([input = []], config) => {
      const channels = input.at(-1) ?? 0
      const depth = integerOf(config, 'depth_multiplier')
      const filters = integerOf(config, 'filters')
      return [
        kernel(
          [...tupleOf(config, 'kernel_size', 2, [1, 1]), channels, depth],
          'depthwise_kernel',
          'depthwise_initializer',
        ),
        kernel([1, 1, channels * depth, filters], 'pointwise_kernel', 'pointwise_initializer'),
        ...bias(filters, config),
      ]
    },
  },
  DepthwiseConv2D: {
    fields: { ...convolutionFields(2), ...depthwiseFields },
    inputs: 'one',
    shape(inputs, config, report) {
      const input = rank(inputs, 3, 'DepthwiseConv2D', report)
      const sizes = input && slideAll(input, config, 'kernel_size', tupleOf(config, 'strides', 2, [1, 1]), report)
      return sizes && [...sizes, (input?.[2] ?? 0) * integerOf(config, 'depth_multiplier')]
    },
    weights: ([input = []], config) => {
      const channels = input.at(-1) ?? 0
      const depth = integerOf(config, 'depth_multiplier')
      const shape = [...tupleOf(config, 'kernel_size', 2, [1, 1]), channels, depth]
      return [kernel(shape, 'depthwise_kernel', 'depthwise_initializer'), ...bias(channels * depth, config)]
    },
  },
  MaxPooling1D: pooling(1, 'MaxPooling1D'),
  MaxPooling2D: pooling(2, 'MaxPooling2D'),
  AveragePooling1D: pooling(1, 'AveragePooling1D'),
  AveragePooling2D: pooling(2, 'AveragePooling2D'),
  GlobalMaxPooling1D: globalPooling(1, 'GlobalMaxPooling1D'),
  GlobalMaxPooling2D: globalPooling(2, 'GlobalMaxPooling2D'),
  GlobalAveragePooling1D: globalPooling(1, 'GlobalAveragePooling1D'),
  GlobalAveragePooling2D: globalPooling(2, 'GlobalAveragePooling2D'),
  ZeroPadding2D: resized('ZeroPadding2D', 'padding', 1),
  Cropping2D: resized('Cropping2D', 'cropping', -1),
  UpSampling2D: {
    fields: {
      size: tuple(2),
      data_format: channelsLast, // The gradient of the bilinear kind is wrong in tfjs for images that are not square.
      interpolation: oneOf('nearest'),
    },
    inputs: 'one',
    shape(inputs, config, report) {
      const input = rank(inputs, 3, 'UpSampling2D', report)
      const [rows = 2, columns = 2] = tupleOf(config, 'size', 2, [2, 2])
      return input && [(input[0] ?? 0) * rows, (input[1] ?? 0) * columns, input[2] ?? 0]
    },
  },
}
