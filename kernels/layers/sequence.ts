/**
 * Rules of recurrent layers, of the wrappers around another layer, and of the layers that merge several inputs.
 * Dropout inside a recurrent layer is refused: tfjs draws its masks from Math.random, so a round would not be repeatable.
 */
import { absent, activation, boolean, ignored, initializer, integer, integerOf, oneOf, optional, rank, required, weightFields } from '../layer.ts' // prettier-ignore
import type { Config, Field, LayerRule, Shape, WeightSpec } from '../layer.ts'

const unseeded = absent('its mask cannot be seeded; put a Dropout layer beside it')

const recurrentFields: Record<string, Field> = {
  ...weightFields,
  units: required(integer(1)),
  activation,
  recurrent_activation: activation,
  recurrent_initializer: initializer,
  recurrent_regularizer: absent('recurrent regularizers are not supported'),
  recurrent_constraint: absent('constraints are not supported'),
  unit_forget_bias: boolean,
  dropout: unseeded,
  recurrent_dropout: unseeded,
  return_sequences: boolean,
  return_state: absent('a model has one output'),
  go_backwards: boolean,
  stateful: absent('state does not cross batches'),
  unroll: ignored,
  implementation: ignored,
  time_major: absent('time is the first dimension of a row'),
  zero_output_for_mask: ignored,
  use_cudnn: ignored,
}

function recurrent(layer: string, gates: number, fields: Record<string, Field> = {}): LayerRule {
  return {
    fields: { ...recurrentFields, ...fields },
    inputs: 'one',
    shape(inputs, config, report) {
      const input = rank(inputs, 2, layer, report)
      const units = integerOf(config, 'units')
      return input && (config['return_sequences'] === true ? [input[0] ?? 0, units] : [units])
    },
    weights: ([input = []], config) => recurrentWeights(input, config, gates),
  }
}

function recurrentWeights(input: Shape, config: Config, gates: number): WeightSpec[] {
  const units = integerOf(config, 'units')
  const specs: WeightSpec[] = [
    { name: 'kernel', shape: [input[1] ?? 0, gates * units], initializer: 'kernel_initializer', initializerDefault: 'glorot_uniform', trainable: true },
    { name: 'recurrent_kernel', shape: [units, gates * units], initializer: 'recurrent_initializer', initializerDefault: 'orthogonal', trainable: true },
  ] // prettier-ignore
  if (config['use_bias'] !== false) {
    specs.push({
      name: 'bias',
      shape: [gates * units],
      initializer: 'bias_initializer',
      initializerDefault: 'zeros',
      trainable: true,
    })
  }
  return specs
}

function merge(): LayerRule {
  return {
    fields: {},
    inputs: 'many',
    shape(inputs, _config, report) {
      const [first] = inputs
      const odd = inputs.find((shape) => shape.join() !== first?.join())
      if (inputs.length < 2) report.add('', 'at least two inputs', inputs)
      else if (odd) report.add('', `inputs of one shape, such as [${first?.join(', ')}]`, odd)
      else return first
      return undefined
    },
  }
}

export const sequenceLayers: Record<string, LayerRule> = {
  SimpleRNN: recurrent('SimpleRNN', 1),
  LSTM: recurrent('LSTM', 4),
  GRU: recurrent('GRU', 3, { reset_after: absent('tfjs computes GRU with reset_after false only') }),
  Add: merge(),
  Multiply: merge(),
  Average: merge(),
  Maximum: merge(),
  Minimum: merge(),
  Concatenate: {
    fields: { axis: optional(integer(-6, 6)) },
    inputs: 'many',
    shape(inputs, config, report) {
      const [first = []] = inputs
      const asked = integerOf(config, 'axis', -1)
      // A positive axis counts the batch dimension, which is not in our shapes.
      const axis = asked < 0 ? first.length + asked : asked - 1
      if (axis < 0 || axis >= first.length || asked === 0) {
        report.add('axis', `an axis of [${first.join(', ')}]`, asked)
        return undefined
      }
      const others = (shape: Shape): string => shape.filter((_, i) => i !== axis).join()
      const odd = inputs.find((shape) => shape.length !== first.length || others(shape) !== others(first))
      if (odd || inputs.length < 2) {
        report.add(
          '',
          odd ? `inputs that differ from [${first.join(', ')}] only in axis ${asked}` : 'at least two inputs',
          odd ?? inputs,
        )
        return undefined
      }
      const joined = inputs.reduce((sum, shape) => sum + (shape[axis] ?? 0), 0)
      return first.map((size, i) => (i === axis ? joined : size))
    },
  },
  Dot: { fields: { axes: required(ignored), normalize: oneOf(false) }, inputs: 'many', shape: dotShape },
}

/** Only what attention over [steps, features] needs: two inputs of rank 2 and one contracted axis each. */
function dotShape(inputs: readonly Shape[], config: Config, report: { add(f: string, e: string, v: unknown): void }) {
  const [a, b] = inputs
  const value = config['axes']
  const [i = 0, j = 0] = Array.isArray(value) ? (value as number[]) : [Number(value), Number(value)]
  if (!a || !b || inputs.length !== 2 || a.length !== 2 || b.length !== 2) {
    report.add('', 'two inputs of 2 dimensions', inputs)
    return undefined
  }
  const [x, y] = [axisAt(i, a), axisAt(j, b)]
  if (!(x in a) || !(y in b) || a[x] !== b[y]) {
    report.add('axes', `axes of equal size in [${a.join(', ')}] and [${b.join(', ')}]`, value)
    return undefined
  }
  return [...a.filter((_, k) => k !== x), ...b.filter((_, k) => k !== y)]
}

/** Negative axes count from the end, positive ones from the batch dimension, which is not in our shapes. */
function axisAt(axis: number, shape: Shape): number {
  return axis < 0 ? shape.length + axis : axis - 1
}
