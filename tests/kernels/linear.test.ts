/**
 * What we have layers and losses call instead of what tfjs would, beside what tfjs's own layers and loss give for the same
 * weights: the other tests compare back ends with each other, all of which have it.
 */
import { beforeAll, describe, expect, it } from 'vitest'
import { compileModel, startBackend } from '../../kernels/mod.ts'
import type { Backend, BackendName, CompiledModel, FeatureSpec, ModelTopology, TargetSpec } from '../../kernels/mod.ts'
import { buildable } from '../../kernels/plan.ts'
import { gradientsOf } from '../../kernels/step.ts'
import { backendsDir, has } from '../harness/parts.ts'
import { functional, layer, node, seededValues, sequential } from './models.ts'
import type { LayerJson } from './models.ts'
import { difference } from './numerics.ts'

const ROWS = 5
const CLASSES = 4
const input: FeatureSpec = { shape: [9, 7, 3], dtype: 'float32' }
const target: TargetSpec = { kind: 'class', classes: CLASSES }
const targets = Float32Array.from({ length: ROWS }, (_, i) => i % CLASSES)

const conv = (config: object = {}): LayerJson => layer('Conv2D', { filters: 6, kernel_size: 3, ...config })
const relu = { activation: 'relu' }
const end = [layer('Flatten'), layer('Dense', { units: CLASSES, activation: 'softmax' })]

const MODELS: Record<string, ModelTopology> = {
  'a rectified convolution that is pooled': sequential(conv(relu), layer('MaxPooling2D'), ...end),
  'one that is padded, strided and pooled with overlap': sequential(conv({ ...relu, padding: 'same', strides: 2 }), layer('MaxPooling2D', { pool_size: 3, strides: 1, padding: 'same' }), ...end), // prettier-ignore
  'one without a bias': sequential(conv({ ...relu, use_bias: false }), layer('MaxPooling2D'), ...end),
  'one that is averaged': sequential(conv(relu), layer('AveragePooling2D'), ...end),
  'one that is used twice': branches(),
  'convolutions with other activations': sequential(conv(), conv({ activation: 'tanh' }), layer('MaxPooling2D'), ...end), // prettier-ignore
  'dense layers over images and rows': sequential(layer('Dense', { units: 5 }), layer('Dense', { units: 3, activation: 'relu' }), layer('Flatten'), layer('Dense', { units: 7, use_bias: false }), layer('Dense', { units: CLASSES, activation: 'softmax' })), // prettier-ignore
}

const TESTED: { name: BackendName; isThere: boolean }[] = [
  { name: 'cpu', isThere: true },
  { name: 'wasm', isThere: true },
  { name: 'tensorflow', isThere: has('tensorflow') },
]

for (const { name, isThere } of TESTED) {
  describe.skipIf(!isThere)(`on ${name}, the loss and gradients of tfjs's own layers are those of`, () => {
    let backend: Backend
    beforeAll(async () => {
      backend = await startBackend(name, { backendsDir })
    })

    it.each(Object.keys(MODELS))('%s', async (model) => {
      const compiled = await compileModel(backend, MODELS[model]!, input)
      for (const [i, { variable, shape }] of compiled.weights.entries()) {
        variable.assign(backend.tf.tensor(seededValues(variable.size, 20 + i, -0.6, 0.6), [...shape]))
      }
      const features = seededValues(ROWS * 9 * 7 * 3, 5, -1, 1)
      const objective = { loss: 'categoricalCrossentropy', classWeights: [1, 2, 0.5, 1] } as const
      const batch = { rows: ROWS, features, targets }
      const ours = await gradientsOf(compiled, compiled.weights, batch, { target }, objective)
      const theirs = await usual(compiled, features, objective.classWeights)
      const found = [
        ...difference('loss', [ours.loss], [theirs.loss]),
        ...compiled.weights.flatMap(({ name: weight }, i) =>
          difference(weight, ours.gradients.get(weight), theirs.gradients[i]!),
        ),
      ]
      compiled.dispose()
      expect(found).toEqual([])
    })

    const counts = name === 'tensorflow' ? ['the add-on'] : [] // which alone counts what tfjs does not see
    it.each(counts)(
      'a step, of which by the count of %s nothing stays, nor what oneDNN remembers of a pooling',
      async () => {
        const compiled = await compileModel(backend, sequential(conv(relu), layer('MaxPooling2D'), ...end), input)
        const { binding } = backend.tf.backend() as unknown as { binding: { getNumOfTensors(): number } } // the add-on's own
        const step = async (): Promise<number> => {
          const batch = { rows: ROWS, features: new Float32Array(ROWS * 9 * 7 * 3).fill(0.5), targets }
          await gradientsOf(compiled, compiled.weights, batch, { target }, { loss: 'categoricalCrossentropy' })
          return binding.getNumOfTensors()
        }
        const before = await step()
        expect(await step()).toBe(before)
        compiled.dispose()
      },
    )
  })
}

describe('a first layer', () => {
  it.each([
    ['Conv2DBackpropInput', sequential(conv(), ...end), 0],
    ['BatchMatMul', sequential(layer('Flatten'), layer('Dense', { units: CLASSES, activation: 'softmax' })), 2],
  ] as const)('asks for no gradient of its input, by %s', async (kernel, model, times) => {
    const backend = await startBackend('cpu')
    const compiled = await compileModel(backend, model, input)
    const { tf } = backend
    const features = new Float32Array(ROWS * 9 * 7 * 3).fill(0.5)
    const batch = { rows: ROWS, features, targets }
    const called: string[] = []
    const usualKernel = tf.getKernel(kernel, 'cpu')
    tf.unregisterKernel(kernel, 'cpu')
    const kernelFunc: typeof usualKernel.kernelFunc = (args) => {
      called.push(kernel)
      return usualKernel.kernelFunc(args)
    }
    tf.registerKernel({ ...usualKernel, kernelFunc })
    await gradientsOf(compiled, compiled.weights, batch, { target }, { loss: 'categoricalCrossentropy' })
    tf.unregisterKernel(kernel, 'cpu')
    tf.registerKernel(usualKernel)
    compiled.dispose()
    expect(called).toHaveLength(times)
  })
})

/** The same model as tfjs builds it, with the same weights, by tfjs's own operations. */
async function usual(
  compiled: CompiledModel,
  features: Float32Array,
  classWeights: readonly number[],
): Promise<{ loss: number; gradients: Float32Array[] }> {
  const { backend, plan } = compiled
  const { tf, layers } = backend
  const model = await layers.models.modelFromJSON({ modelTopology: buildable(plan) } as never) // tfjs types JSON of its own
  model.setWeights(compiled.weights.map(({ variable }) => variable))
  const variables = model.weights.map(
    (weight) => (weight as unknown as { val: (typeof compiled.weights)[0]['variable'] }).val,
  ) // as in compiled.ts
  const { value, grads } = tf.variableGrads(() => {
    const outputs = model.apply(tf.tensor(features, [ROWS, ...input.shape]), { training: true })
    const expected = tf.oneHot(tf.tensor1d([...targets], 'int32'), CLASSES)
    const weights = tf.gather([...classWeights], tf.tensor1d([...targets], 'int32'))
    const losses = layers.metrics.categoricalCrossentropy(expected, outputs as ReturnType<typeof tf.tensor>) // one output
    return tf.mean(tf.mul(losses, weights))
  }, variables)
  const gradients = await Promise.all(variables.map(async ({ name }) => Float32Array.from(await grads[name]!.data())))
  const [loss = Number.NaN] = await value.data()
  model.dispose()
  return { loss, gradients }
}

/** A rectified convolution whose output goes through a pooling and beside it. */
function branches(): ModelTopology {
  return functional(
    'branches',
    node('in', layer('InputLayer', { batch_input_shape: [null, 9, 7, 3] })),
    node('conv', conv({ ...relu, padding: 'same' }), 'in'),
    node('pooled', layer('MaxPooling2D', { pool_size: 2, strides: 1, padding: 'same' }), 'conv'),
    node('sum', layer('Add'), 'conv', 'pooled'),
    node('flat', layer('Flatten'), 'sum'),
    node('out', layer('Dense', { units: CLASSES, activation: 'softmax' }), 'flat'),
  )
}
