/**
 * The inner optimisers, in plain arithmetic over float32 arrays: float64 in between, rounded once where a value is
 * stored, and no Math.pow (β^t is carried and multiplied), so that every machine takes the same step from the same
 * gradient. Their state is a safetensors file, so a round can go on anywhere.
 *
 * Sources: Adam, Kingma and Ba 2014 (1412.6980), in Keras's form with the correction in the learning rate; AdamW,
 * Loshchilov and Hutter 2017 (1711.05101); momentum and Nesterov as Sutskever et al. 2013, in Keras's form.
 */
import { KernelError } from './errors.ts'
import { decodeTensors, encodeTensors } from './safetensors.ts'
import type { NamedTensor } from './safetensors.ts'
import { learningRateAt } from './schedule.ts'
import type { Schedule } from './schedule.ts'

export type OptimizerSettings = { learningRate: number; schedule?: Schedule } & (
  | { kind: 'sgd' }
  | { kind: 'momentum'; momentum?: number; nesterov?: boolean }
  | { kind: 'adam'; beta1?: number; beta2?: number; epsilon?: number }
  | { kind: 'adamw'; beta1?: number; beta2?: number; epsilon?: number; weightDecay?: number }
)

export type OptimizerKind = OptimizerSettings['kind']
export const OPTIMIZERS: readonly OptimizerKind[] = ['sgd', 'momentum', 'adam', 'adamw']

export interface Parameter {
  name: string
  shape: readonly number[]
  /** Changed in place by a step. */
  values: Float32Array
}

export interface Optimizer {
  /** One step of all parameters; `step` is the replica's global step, for the schedule. */
  apply(parameters: readonly Parameter[], gradients: ReadonlyMap<string, Float32Array>, step: number): void
  /** `more` is what else belongs to the replica's state; a later `createOptimizer` leaves it alone. */
  encodeState(more?: readonly NamedTensor[]): Uint8Array
}

/** An optimiser that goes on from `state`, or starts fresh without one. */
export function createOptimizer(
  settings: OptimizerSettings,
  parameters: readonly Parameter[],
  state: Uint8Array | undefined,
): Optimizer {
  const slotNames = SLOTS[settings.kind]
  if (!slotNames) {
    throw new KernelError(
      'request.invalid',
      `Unknown optimizer ${JSON.stringify(settings)}; known: ${OPTIMIZERS.join(', ')}`,
    )
  }
  const memory = state ? decodeMemory(state, settings, parameters) : freshMemory(slotNames, parameters)
  return {
    apply(list, gradients, step) {
      const rate = learningRateAt(settings, step)
      if (settings.kind === 'adam' || settings.kind === 'adamw') {
        memory.beta1Power *= settings.beta1 ?? 0.9
        memory.beta2Power *= settings.beta2 ?? 0.999
      }
      for (const parameter of list) {
        const gradient = gradients.get(parameter.name)
        if (gradient) update(settings, rate, parameter, gradient, memory)
      }
    },
    encodeState: (more = []) => encodeMemory(settings, slotNames, parameters, memory, more),
  }
}

interface Memory {
  /** Per slot and parameter: moving averages of gradients or their squares, velocities. */
  slots: Map<string, Float32Array>
  beta1Power: number
  beta2Power: number
}

const SLOTS: Record<OptimizerKind, readonly string[]> = {
  sgd: [],
  momentum: ['velocity'],
  adam: ['m', 'v'],
  adamw: ['m', 'v'],
}

function update(
  settings: OptimizerSettings,
  rate: number,
  parameter: Parameter,
  gradient: Float32Array,
  memory: Memory,
): void {
  const { values, name } = parameter
  switch (settings.kind) {
    case 'sgd':
      for (let i = 0; i < values.length; i++) values[i] = values[i]! - rate * gradient[i]!
      return
    case 'momentum': {
      const velocity = slot(memory, 'velocity', name)
      const momentum = settings.momentum ?? 0.9
      const nesterov = settings.nesterov ?? false
      for (let i = 0; i < values.length; i++) {
        const step = rate * gradient[i]!
        const next = momentum * velocity[i]! - step
        velocity[i] = next
        values[i] = values[i]! + (nesterov ? momentum * next - step : next)
      }
      return
    }
    case 'adam':
    case 'adamw': {
      const m = slot(memory, 'm', name)
      const v = slot(memory, 'v', name)
      const beta1 = settings.beta1 ?? 0.9
      const beta2 = settings.beta2 ?? 0.999
      const epsilon = settings.epsilon ?? 1e-7
      const decay = settings.kind === 'adamw' ? rate * (settings.weightDecay ?? 0.01) : 0
      const corrected = (rate * Math.sqrt(1 - memory.beta2Power)) / (1 - memory.beta1Power)
      for (let i = 0; i < values.length; i++) {
        const g = gradient[i]!
        const mi = beta1 * m[i]! + (1 - beta1) * g
        const vi = beta2 * v[i]! + (1 - beta2) * g * g
        m[i] = mi
        v[i] = vi
        values[i] = values[i]! - decay * values[i]! - (corrected * mi) / (Math.sqrt(vi) + epsilon)
      }
    }
  }
}

function slot(memory: Memory, name: string, parameter: string): Float32Array {
  const values = memory.slots.get(`${name}/${parameter}`)
  if (!values)
    throw new KernelError('weights.mismatch', `Optimizer state has no ${name} of ${parameter}`, { parameter })
  return values
}

function freshMemory(slotNames: readonly string[], parameters: readonly Parameter[]): Memory {
  const slots = new Map<string, Float32Array>()
  for (const name of slotNames) {
    for (const parameter of parameters)
      slots.set(`${name}/${parameter.name}`, new Float32Array(parameter.values.length))
  }
  return { slots, beta1Power: 1, beta2Power: 1 }
}

function encodeMemory(
  settings: OptimizerSettings,
  slotNames: readonly string[],
  parameters: readonly Parameter[],
  memory: Memory,
  more: readonly NamedTensor[],
): Uint8Array {
  // Float64 first: a float32 tensor in front would leave them unaligned.
  const tensors: NamedTensor[] = [
    { name: 'powers', shape: [2], dtype: 'F64', data: Float64Array.of(memory.beta1Power, memory.beta2Power) },
  ]
  for (const name of slotNames) {
    for (const parameter of parameters) {
      const data = slot(memory, name, parameter.name)
      tensors.push({ name: `${name}/${parameter.name}`, shape: parameter.shape, dtype: 'F32', data })
    }
  }
  return encodeTensors([...tensors, ...more], { optimizer: settings.kind })
}

function decodeMemory(state: Uint8Array, settings: OptimizerSettings, parameters: readonly Parameter[]): Memory {
  const { tensors, metadata } = decodeTensors(state)
  if (metadata['optimizer'] !== settings.kind) {
    throw new KernelError(
      'weights.mismatch',
      `Optimizer state is of ${metadata['optimizer'] ?? 'no optimizer'}, the job uses ${settings.kind}`,
    )
  }
  const memory: Memory = { slots: new Map(), beta1Power: 1, beta2Power: 1 }
  const lengths = new Map(parameters.map((parameter) => [parameter.name, parameter.values.length]))
  for (const tensor of tensors) {
    if (tensor.dtype === 'F64' && tensor.name === 'powers') {
      memory.beta1Power = tensor.data[0] ?? 1
      memory.beta2Power = tensor.data[1] ?? 1
      continue
    }
    if (!SLOTS[settings.kind].some((name) => tensor.name.startsWith(`${name}/`))) continue
    const parameter = tensor.name.slice(tensor.name.indexOf('/') + 1)
    if (tensor.dtype !== 'F32' || lengths.get(parameter) !== tensor.data.length) {
      throw new KernelError('weights.mismatch', `Optimizer state ${tensor.name} does not fit the model`, {
        tensor: tensor.name,
      })
    }
    // Copied: a step writes into it, and the state it came from may be shared.
    memory.slots.set(tensor.name, tensor.data.slice())
  }
  for (const name of SLOTS[settings.kind]) for (const parameter of parameters) slot(memory, name, parameter.name)
  return memory
}
