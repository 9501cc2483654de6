/**
 * A model that tfjs has built, with our names on its weights: reading and writing them as safetensors, seeding its
 * dropout masks, running it forward. Building takes tens of milliseconds, so a kernel process keeps it between rounds;
 * everything that a round depends on is written into it at the round's start.
 */
import type { Tensor, Variable } from '@tensorflow/tfjs-core'
import type { LayersModel, layers as LayersNamespace } from '@tensorflow/tfjs-layers'
import type { Backend } from './backend.ts'
import type { FeatureSpec } from './data/column.ts'
import { KernelError } from './errors.ts'
import { replaceLinearLayers } from './linear.ts'
import { buildable, requirePlan } from './plan.ts'
import type { ModelPlan } from './plan.ts'
import { deriveSeed, dropoutMask } from './random.ts'
import { decodeTensors, elementCount, encodeTensors } from './safetensors.ts'
import type { NamedTensor } from './safetensors.ts'
import type { ModelTopology } from './topology.ts'

type Layer = ReturnType<typeof LayersNamespace.dense>

export interface ModelWeight {
  name: string
  shape: readonly number[]
  trainable: boolean
  variable: Variable
}

export interface CompiledModel {
  backend: Backend
  plan: ModelPlan
  model: LayersModel
  /** In the order of the plan: layer after layer. */
  weights: ModelWeight[]
  /** Every dropout mask of the next training step derives from this. */
  seedDropout(seed: number): void
  dispose(): void
}

export async function compileModel(
  backend: Backend,
  topology: ModelTopology,
  input: FeatureSpec,
): Promise<CompiledModel> {
  const plan = requirePlan(topology, input)
  const { layers } = backend
  // tfjs types its argument as JSON of its own; `buildable` writes exactly that.
  const model = await layers.models.modelFromJSON({ modelTopology: buildable(plan) } as never)
  const weights = plan.layers.flatMap((planned) => {
    const layer = model.getLayer(planned.name)
    return planned.weights.map((spec) => {
      const last = spec.name.slice(spec.name.lastIndexOf('/') + 1)
      const found = layer.weights.find((weight) => weight.originalName.split('/').at(-1) === last)
      if (!found || found.shape.join() !== spec.shape.join()) {
        throw new KernelError(
          'kernel.failed',
          `tfjs built ${spec.name} as [${found?.shape.join(', ')}], planned [${spec.shape.join(', ')}]`,
        )
      }
      // `val` is protected in the types; LayerVariable has no other way to its variable.
      const { val } = found as unknown as { val: Variable }
      return { name: spec.name, shape: spec.shape, trainable: spec.trainable, variable: val }
    })
  })
  const built = model.weights.length
  if (built !== weights.length)
    throw new KernelError('kernel.failed', `tfjs built ${built} weights, the plan has ${weights.length}`)
  const seeds = { step: 0 }
  seedDropoutLayers(backend, model, seeds)
  replaceLinearLayers(backend.tf, model, plan)
  return {
    backend,
    plan,
    model,
    weights,
    seedDropout: (seed) => {
      seeds.step = seed
    },
    dispose: () => void model.dispose(),
  }
}

/**
 * tfjs's Dropout draws its mask from one seed, the same at every step, or from Math.random. Ours derives it from the
 * step's seed and the layer's name, so that a step gives one mask wherever it runs.
 */
function seedDropoutLayers({ tf }: Backend, model: LayersModel, seeds: { step: number }): void {
  for (const layer of model.layers) {
    const className = layer.getClassName()
    if (className !== 'Dropout' && className !== 'SpatialDropout1D') continue
    const rate = Number(layer.getConfig()['rate'])
    const perChannel = className === 'SpatialDropout1D'
    const call: Layer['call'] = (inputs, kwargs) => {
      const x = Array.isArray(inputs) ? inputs[0] : inputs
      if (!x) throw new KernelError('kernel.failed', `Dropout ${layer.name} has no input`)
      if (kwargs['training'] !== true || rate <= 0) return x
      // [batch, 1, channels] drops whole channels; the multiplication broadcasts it.
      const shape = perChannel ? [x.shape[0] ?? 1, 1, x.shape[2] ?? 1] : x.shape
      const mask = dropoutMask(elementCount(shape), rate, deriveSeed(seeds.step, 'dropout', layer.name))
      return tf.mul(x, tf.tensor(mask, shape))
    }
    layer.call = call
  }
}

export function writeWeights(compiled: CompiledModel, bytes: Uint8Array): void {
  const { tf } = compiled.backend
  const { tensors } = decodeTensors(bytes)
  const given = new Map(tensors.map((tensor) => [tensor.name, tensor]))
  // All are compared before one is written: a wrong file leaves the model as it was.
  const pairs = compiled.weights.map((weight) => ({ weight, tensor: given.get(weight.name) }))
  const wrong = pairs.find(
    ({ weight, tensor }) => tensor?.dtype !== 'F32' || tensor.shape.join() !== weight.shape.join(),
  )
  if (wrong || tensors.length !== compiled.weights.length) {
    const name =
      wrong?.weight.name ?? tensors.find(({ name: n }) => !compiled.weights.some((weight) => weight.name === n))?.name
    const found = wrong?.tensor
      ? `${wrong.tensor.dtype} [${wrong.tensor.shape.join(', ')}]`
      : wrong
        ? 'nothing'
        : 'a weight too many'
    throw new KernelError(
      'weights.mismatch',
      `Weights do not fit the model: ${name} expected [${wrong?.weight.shape.join(', ') ?? ''}], found ${found}`,
      { weight: name },
    )
  }
  for (const { weight, tensor } of pairs) if (tensor?.dtype === 'F32') assign(tf, weight, tensor.data)
}

export async function readWeights(compiled: CompiledModel): Promise<Uint8Array> {
  const read = compiled.weights.map(async ({ name, shape, variable }): Promise<NamedTensor> => {
    return { name, shape, dtype: 'F32', data: await values(variable) }
  })
  return encodeTensors(await Promise.all(read))
}

export function assign(tf: Backend['tf'], weight: ModelWeight, data: Float32Array): void {
  tf.tidy(() => {
    weight.variable.assign(tf.tensor(data, [...weight.shape], 'float32'))
  })
}

/** A GPU gives its values only to who waits for them, so every read is one that waits. */
export async function values(tensor: Tensor): Promise<Float32Array> {
  const data = await tensor.data()
  return data instanceof Float32Array ? data : Float32Array.from(data)
}

/** The model's outputs for a batch in inference mode. */
export async function forward(compiled: CompiledModel, features: Float32Array, rows: number): Promise<Float32Array> {
  const { tf } = compiled.backend
  const outputs = tf.tidy(() => {
    const x = tf.tensor(features, [rows, ...compiled.plan.inputShape], 'float32')
    return single(compiled.model.apply(x, { training: false }))
  })
  const read = await values(outputs)
  outputs.dispose()
  return read
}

/** A plan has one output, so tfjs gives one tensor. */
export function single(outputs: unknown): Tensor {
  return (Array.isArray(outputs) ? outputs[0] : outputs) as Tensor
}
