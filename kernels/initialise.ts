/**
 * Initial weights from a topology and a seed, as safetensors. Plain arithmetic, no tfjs: each weight has its own seed,
 * derived from (seed, layer, weight), so it depends on nothing but those three, on every machine and back end alike.
 * The distributions are Keras's; only the generator is ours (`random.ts`).
 */
import type { FeatureSpec } from './data/column.ts'
import { KernelError } from './errors.ts'
import { initializerName } from './layer.ts'
import type { Config, Shape, WeightSpec } from './layer.ts'
import { requirePlan } from './plan.ts'
import type { PlannedLayer } from './plan.ts'
import { deriveSeed, random } from './random.ts'
import type { Random } from './random.ts'
import { elementCount, encodeTensors } from './safetensors.ts'
import type { NamedTensor } from './safetensors.ts'
import { toSnake } from './topology.ts'
import type { ModelTopology } from './topology.ts'
import { weightsOf } from './weights.ts'

export function initialise(model: ModelTopology, seed: number, input: FeatureSpec): Uint8Array {
  const plan = requirePlan(model, input)
  const tensors: NamedTensor[] = []
  for (const layer of plan.layers) {
    for (const weight of layer.weights) {
      const data = initialValues(layer, weight, random(deriveSeed(seed, 'weight', layer.name, weight.name)))
      tensors.push({ name: weight.name, shape: weight.shape, dtype: 'F32', data })
    }
  }
  return encodeTensors(tensors)
}

/** Weights that another training came to, for this model. Throws `weights.mismatch` where it has others. */
export function restart(model: ModelTopology, from: Uint8Array, input: FeatureSpec): Uint8Array {
  return encodeTensors(weightsOf(requirePlan(model, input), from))
}

function initialValues(layer: PlannedLayer, weight: WeightSpec, generator: Random): Float32Array {
  const stated = layer.config[weight.initializer] ?? weight.initializerDefault
  const config = (typeof stated === 'object' ? ((stated as { config?: Config }).config ?? {}) : {}) as Config
  const values = new Float32Array(elementCount(weight.shape))
  fill(values, weight.shape, initializerName(stated), config, generator)
  // Jozefowicz et al. 2015, Keras's default: the forget gate (the second of four) starts open.
  const forgetOpen =
    layer.className === 'LSTM' && weight.name.endsWith('/bias') && layer.config['unit_forget_bias'] !== false
  if (forgetOpen) values.fill(1, values.length / 4, values.length / 2)
  return values
}

function fill(values: Float32Array, shape: Shape, name: string, config: Config, generator: Random): void {
  const given = (field: string, otherwise: number): number => {
    const value = config[field]
    return typeof value === 'number' ? value : otherwise
  }
  switch (name) {
    case 'zeros':
      return
    case 'ones':
      values.fill(1)
      return
    case 'constant':
      values.fill(given('value', 0))
      return
    case 'identity':
      for (let i = 0; i < Math.min(shape[0] ?? 0, shape[1] ?? 0); i++)
        values[i * (shape[1] ?? 0) + i] = given('gain', 1)
      return
    case 'random_uniform':
      uniform(values, given('minval', -0.05), given('maxval', 0.05), generator)
      return
    case 'random_normal':
      normal(values, given('mean', 0), given('stddev', 0.05), generator)
      return
    case 'truncated_normal':
      truncatedNormal(values, given('mean', 0), given('stddev', 0.05), generator)
      return
    case 'orthogonal':
      orthogonal(values, shape, given('gain', 1), generator)
      return
    default:
      varianceScaling(values, shape, scaling(name, config), generator)
  }
}

interface Scaling {
  scale: number
  mode: 'fan_in' | 'fan_out' | 'fan_avg'
  distribution: 'uniform' | 'normal' | 'truncated_normal' | 'untruncated_normal'
}

const SCALINGS: Record<string, Scaling> = {
  glorot_uniform: { scale: 1, mode: 'fan_avg', distribution: 'uniform' },
  glorot_normal: { scale: 1, mode: 'fan_avg', distribution: 'truncated_normal' },
  he_uniform: { scale: 2, mode: 'fan_in', distribution: 'uniform' },
  he_normal: { scale: 2, mode: 'fan_in', distribution: 'truncated_normal' },
  lecun_uniform: { scale: 1, mode: 'fan_in', distribution: 'uniform' },
  lecun_normal: { scale: 1, mode: 'fan_in', distribution: 'truncated_normal' },
}

function scaling(name: string, config: Config): Scaling {
  const preset = SCALINGS[name]
  if (preset) return preset
  if (name !== 'variance_scaling') throw new KernelError('model.invalid', `Unknown initializer ${name}`, { name })
  const mode = textOf(config['mode'], 'fan_in')
  const distribution = textOf(config['distribution'], 'truncated_normal')
  return {
    scale: typeof config['scale'] === 'number' ? config['scale'] : 1,
    mode: mode === 'fan_out' || mode === 'fan_avg' ? mode : 'fan_in',
    distribution:
      distribution === 'uniform'
        ? 'uniform'
        : distribution === 'untruncated_normal'
          ? distribution
          : 'truncated_normal',
  }
}

/** tfjs writes `fanAvg`, Keras `fan_avg`. */
function textOf(value: unknown, otherwise: string): string {
  return typeof value === 'string' ? toSnake(value) : otherwise
}

function varianceScaling(
  values: Float32Array,
  shape: Shape,
  { scale, mode, distribution }: Scaling,
  generator: Random,
): void {
  const { fanIn, fanOut } = fans(shape)
  const fan = mode === 'fan_in' ? fanIn : mode === 'fan_out' ? fanOut : (fanIn + fanOut) / 2
  const variance = scale / Math.max(1, fan)
  if (distribution === 'uniform') {
    const limit = Math.sqrt(3 * variance)
    uniform(values, -limit, limit, generator)
  } else if (distribution === 'untruncated_normal') {
    normal(values, 0, Math.sqrt(variance), generator)
  } else {
    // Cutting at two deviations narrows the distribution by this factor; Keras widens it back.
    truncatedNormal(values, 0, Math.sqrt(variance) / 0.87962566103423978, generator)
  }
}

/** Inputs and outputs of one unit: space dimensions multiply both. */
function fans(shape: Shape): { fanIn: number; fanOut: number } {
  if (shape.length === 0) return { fanIn: 1, fanOut: 1 }
  if (shape.length === 1) return { fanIn: shape[0] ?? 1, fanOut: shape[0] ?? 1 }
  const field = elementCount(shape.slice(0, -2))
  return { fanIn: field * (shape.at(-2) ?? 1), fanOut: field * (shape.at(-1) ?? 1) }
}

function uniform(values: Float32Array, low: number, high: number, generator: Random): void {
  for (let i = 0; i < values.length; i++) values[i] = low + (high - low) * generator.nextUnit()
}

function normal(values: Float32Array, mean: number, deviation: number, generator: Random): void {
  for (let i = 0; i < values.length; i++) values[i] = mean + deviation * standardNormal(generator)
}

function truncatedNormal(values: Float32Array, mean: number, deviation: number, generator: Random): void {
  for (let i = 0; i < values.length; i++) {
    let z = standardNormal(generator)
    while (Math.abs(z) > 2) z = standardNormal(generator)
    values[i] = mean + deviation * z
  }
}

/** Box and Muller's polar form by Marsaglia, the second number left unused so that no state is carried. */
function standardNormal(generator: Random): number {
  for (;;) {
    const u = 2 * generator.nextUnit() - 1
    const v = 2 * generator.nextUnit() - 1
    const s = u * u + v * v
    if (s > 0 && s < 1) return u * Math.sqrt((-2 * Math.log(s)) / s)
  }
}

/** Orthonormal rows or columns (whichever are fewer) of a matrix of all but the last dimension × the last: Gram and Schmidt, twice. */
function orthogonal(values: Float32Array, shape: Shape, gain: number, generator: Random): void {
  const columns = shape.at(-1) ?? 1
  const rows = values.length / columns
  const count = Math.min(rows, columns)
  const length = Math.max(rows, columns)
  const basis: Float64Array[] = []
  while (basis.length < count) {
    const vector = Float64Array.from({ length }, () => standardNormal(generator))
    for (let pass = 0; pass < 2; pass++) {
      for (const other of basis) {
        let dot = 0
        for (let i = 0; i < length; i++) dot += (vector[i] ?? 0) * (other[i] ?? 0)
        for (let i = 0; i < length; i++) vector[i] = (vector[i] ?? 0) - dot * (other[i] ?? 0)
      }
    }
    const norm = Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0))
    if (norm > 1e-6) basis.push(vector.map((x) => x / norm))
  }
  for (let k = 0; k < count; k++) {
    for (let i = 0; i < length; i++) {
      const at = rows >= columns ? i * columns + k : k * columns + i
      values[at] = gain * (basis[k]?.[i] ?? 0)
    }
  }
}
