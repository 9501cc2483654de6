/**
 * The numerical suite: every layer type that a model may use, in each of its forms, gives on a back end the outputs and
 * gradients that the cpu back end gives. Tolerance: 1e-4 of a tensor's largest magnitude, plus 1e-6; float32 sums in
 * another order differ by about 1e-6.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import { LAYERS } from '../../kernels/layers/all.ts'
import { compileModel, encodeTensors, initialise, startBackend, writeWeights } from '../../kernels/mod.ts'
import type { Backend, FeatureSpec, LossName, ModelTopology, TargetSpec } from '../../kernels/mod.ts'
import { planModel } from '../../kernels/plan.ts'
import { gradientsOf } from '../../kernels/step.ts'
import { elementCount } from '../../kernels/safetensors.ts'
import { layer, seededValues, sequential } from './models.ts'
import type { LayerJson } from './models.ts'

const ROWS = 5
const CLASSES = 4

interface Case {
  /** A layer between others, or a whole model. */
  tested: LayerJson | ModelTopology
  input: number[]
  /** Inputs are indices below this instead of numbers. */
  indices?: number
  loss?: LossName
}

const image = [9, 7, 3]
const series = [6, 5]
const conv = (config: Record<string, unknown>, input = image): Case => ({
  tested: layer('Conv2D', { filters: 9, kernel_size: 3, ...config }),
  input,
})

/** By layer type; the test below holds that none is missing. */
const CASES: Record<string, Case[]> = {
  Dense: [
    { tested: layer('Dense', { units: 6, activation: 'tanh' }), input: [11] },
    { tested: layer('Dense', { units: 6, use_bias: false, activation: 'gelu' }), input: series },
    { tested: layer('Dense', { units: 5, activation: 'swish', kernel_regularizer: { class_name: 'L1L2', config: { l1: 0.01, l2: 0.02 } } }), input: [7] }, // prettier-ignore
    { tested: layer('Dense', { units: 5, activation: 'mish' }), input: [7] },
    { tested: layer('Dense', { units: 5, activation: 'selu' }), input: [7] },
    { tested: layer('Dense', { units: 5, activation: 'softplus' }), input: [7] },
    { tested: layer('Dense', { units: 5, activation: 'hard_sigmoid' }), input: [7] },
  ],
  Flatten: [{ tested: layer('Flatten'), input: image }],
  Reshape: [{ tested: layer('Reshape', { target_shape: [7, -1] }), input: image }],
  Permute: [{ tested: layer('Permute', { dims: [3, 1, 2] }), input: image }],
  RepeatVector: [{ tested: layer('RepeatVector', { n: 3 }), input: [5] }],
  Activation: [{ tested: layer('Activation', { activation: 'elu' }), input: series }],
  ReLU: [{ tested: layer('ReLU', { max_value: 0.6 }), input: series }],
  LeakyReLU: [{ tested: layer('LeakyReLU', { alpha: 0.2 }), input: series }],
  ELU: [{ tested: layer('ELU'), input: series }],
  Softmax: [{ tested: layer('Softmax'), input: series }],
  PReLU: [{ tested: layer('PReLU'), input: series }],
  Dropout: [{ tested: layer('Dropout', { rate: 0.4 }), input: series }],
  SpatialDropout1D: [{ tested: layer('SpatialDropout1D', { rate: 0.4 }), input: series }],
  Embedding: [{ tested: sequential(layer('Embedding', { input_dim: 7, output_dim: 6 }), layer('Flatten'), layer('Dense', { units: CLASSES, activation: 'softmax' })), input: [8], indices: 7 }], // prettier-ignore
  BatchNormalization: [
    { tested: layer('BatchNormalization'), input: image },
    { tested: layer('BatchNormalization', { momentum: 0.5 }), input: [6] },
  ],
  LayerNormalization: [{ tested: layer('LayerNormalization'), input: series }],
  Conv1D: [
    { tested: layer('Conv1D', { filters: 5, kernel_size: 3, activation: 'relu' }), input: [9, 3] },
    { tested: layer('Conv1D', { filters: 5, kernel_size: 3, padding: 'same', strides: 2 }), input: [9, 3] },
  ],
  Conv2D: [
    conv({}),
    conv({ padding: 'same', activation: 'relu' }),
    conv({ strides: 2 }),
    conv({ strides: [2, 3], padding: 'same' }),
    conv({ kernel_size: 1, filters: 4 }),
    conv({ kernel_size: [2, 4], strides: 2, filters: 16, use_bias: false }),
    conv({ kernel_size: 5, padding: 'same', filters: 8 }, [6, 6, 1]),
    conv({ kernel_size: 2, strides: 3, filters: 3 }),
    conv({ kernel_size: 3, padding: 'same', filters: 13 }, [4, 5, 5]),
    conv({ kernel_size: 4, padding: 'same', strides: 2, filters: 12 }, [8, 7, 2]),
  ],
  Conv2DTranspose: [
    { tested: layer('Conv2DTranspose', { filters: 4, kernel_size: 3 }), input: [4, 5, 3] },
    { tested: layer('Conv2DTranspose', { filters: 4, kernel_size: 3, strides: 2, padding: 'same' }), input: [4, 5, 3] },
    { tested: layer('Conv2DTranspose', { filters: 4, kernel_size: 2, strides: 2 }), input: [4, 5, 3] },
  ],
  SeparableConv2D: [
    { tested: layer('SeparableConv2D', { filters: 5, kernel_size: 3, depth_multiplier: 2 }), input: image },
    { tested: layer('SeparableConv2D', { filters: 5, kernel_size: 3, strides: 2, padding: 'same' }), input: [9, 7, 5] },
  ],
  DepthwiseConv2D: [
    { tested: layer('DepthwiseConv2D', { kernel_size: 3 }), input: [7, 6, 6] },
    {
      tested: layer('DepthwiseConv2D', { kernel_size: 3, strides: 2, padding: 'same', depth_multiplier: 3 }),
      input: image,
    },
  ],
  MaxPooling1D: [{ tested: layer('MaxPooling1D'), input: series }],
  MaxPooling2D: [
    { tested: layer('MaxPooling2D'), input: [9, 7, 6] },
    { tested: layer('MaxPooling2D', { pool_size: 3, strides: 2, padding: 'same' }), input: image },
    { tested: layer('MaxPooling2D', { pool_size: [3, 2], strides: 1 }), input: image },
  ],
  AveragePooling1D: [{ tested: layer('AveragePooling1D'), input: series }],
  AveragePooling2D: [
    { tested: layer('AveragePooling2D'), input: image },
    { tested: layer('AveragePooling2D', { pool_size: 3, strides: 2, padding: 'same' }), input: image },
  ],
  GlobalMaxPooling1D: [{ tested: layer('GlobalMaxPooling1D'), input: series }],
  GlobalMaxPooling2D: [{ tested: layer('GlobalMaxPooling2D'), input: image }],
  GlobalAveragePooling1D: [{ tested: layer('GlobalAveragePooling1D'), input: series }],
  GlobalAveragePooling2D: [{ tested: layer('GlobalAveragePooling2D'), input: image }],
  ZeroPadding2D: [{ tested: layer('ZeroPadding2D', { padding: [[1, 2], [0, 3]] }), input: image }], // prettier-ignore
  Cropping2D: [{ tested: layer('Cropping2D', { cropping: [[1, 2], [1, 0]] }), input: image }], // prettier-ignore
  UpSampling2D: [
    { tested: layer('UpSampling2D', { size: 2 }), input: [3, 4, 2] },
    { tested: layer('UpSampling2D', { size: [2, 3], interpolation: 'nearest' }), input: [3, 4, 2] },
  ],
  SimpleRNN: [{ tested: layer('SimpleRNN', { units: 4 }), input: series }],
  LSTM: [
    { tested: layer('LSTM', { units: 4 }), input: series },
    { tested: layer('LSTM', { units: 4, return_sequences: true, go_backwards: true }), input: series },
  ],
  GRU: [{ tested: layer('GRU', { units: 4 }), input: series }],
  ...Object.fromEntries(
    ['Add', 'Multiply', 'Average', 'Maximum', 'Minimum', 'Concatenate'].map((merge) => [
      merge,
      [{ tested: branches(layer(merge)), input: [6] }],
    ]),
  ),
  Dot: [{ tested: branches(layer('Dot', { axes: 2 }), [2, 3]), input: [6] }],
}

/** Two different branches from one input, merged. */
function branches(merge: LayerJson, shape: number[] = [6]): ModelTopology {
  const node = (name: string, json: LayerJson, ...from: string[]): unknown => ({
    class_name: json.class_name,
    name,
    config: { ...json.config, name },
    inbound_nodes: from.length === 0 ? [] : [from.map((source) => [source, 0, 0, {}])],
  })
  return {
    class_name: 'Functional',
    config: {
      name: 'branches',
      layers: [
        node('in', layer('InputLayer', { batch_input_shape: [null, 6] })),
        node('a', layer('Dense', { units: 6, activation: 'tanh' }), 'in'),
        node('b', layer('Dense', { units: 6, activation: 'sigmoid' }), 'in'),
        node('c', layer('Reshape', { target_shape: shape }), 'a'),
        node('d', layer('Reshape', { target_shape: shape }), 'b'),
        node('merged', merge, 'c', 'd'),
        node('flat', layer('Flatten'), 'merged'),
        node('out', layer('Dense', { units: CLASSES, activation: 'softmax' }), 'flat'),
      ],
      input_layers: [['in', 0, 0]],
      output_layers: [['out', 0, 0]],
    },
  }
}

/** PReLU before the layer has a weight per input, so the layer's input gradient is compared too. */
function modelOf({ tested }: Case): ModelTopology {
  if (!isLayer(tested)) return tested
  return sequential(layer('PReLU'), tested, layer('Flatten'), layer('Dense', { units: CLASSES, activation: 'softmax' }))
}

function isLayer(tested: LayerJson | ModelTopology): tested is LayerJson {
  return tested['class_name'] !== 'Sequential' && tested['class_name'] !== 'Functional'
}

async function outcome(backend: Backend, tested: Case) {
  await backend.tf.setBackend(backend.name)
  const model = modelOf(tested)
  const input: FeatureSpec = { shape: tested.input, dtype: 'float32' }
  const compiled = await compileModel(backend, model, input)
  const weights = planModel(model, input).plan?.weights.map(({ name, shape }, i) => {
    const [low, high] = name.endsWith('moving_variance') ? [0.5, 1.5] : [-0.6, 0.6]
    return { name, shape, dtype: 'F32', data: seededValues(elementCount(shape), 100 + i, low, high) } as const
  })
  writeWeights(compiled, encodeTensors(weights ?? []))
  compiled.seedDropout(3)
  const count = ROWS * elementCount(tested.input)
  const drawn = seededValues(count, 5, -1, 1)
  const features =
    tested.indices === undefined ? drawn : drawn.map((x) => Math.floor(((x + 1) / 2) * (tested.indices ?? 1)))
  const batch = { rows: ROWS, features, targets: Float32Array.from({ length: ROWS }, (_, i) => i % CLASSES) }
  const target: TargetSpec = { kind: 'class', classes: CLASSES }
  const before = backend.tf.memory().numTensors
  const result = await gradientsOf(compiled, compiled.weights.filter((w) => w.trainable), batch, { target }, { loss: 'sparseCategoricalCrossentropy' }) // prettier-ignore
  const leaked = backend.tf.memory().numTensors - before
  const statistics = await Promise.all(
    compiled.weights.filter((w) => !w.trainable).map(async (w) => [w.name, await w.variable.data()] as const),
  )
  compiled.dispose()
  return { ...result, statistics: new Map(statistics), leaked }
}

function expectClose(name: string, found: ArrayLike<number> | undefined, expected: ArrayLike<number>): void {
  expect(found?.length, `${name}: length`).toBe(expected.length)
  const largest = Array.from(expected).reduce((max, x) => Math.max(max, Math.abs(x)), 0)
  const worst = Array.from(expected, (x, i) => Math.abs((found?.[i] ?? Number.NaN) - x)).reduce(
    (a, b) => (b <= a ? a : b),
    0,
  )
  expect({ name, within: worst <= 1e-4 * largest + 1e-6 }).toEqual({ name, within: true })
}

describe('wasm beside cpu', () => {
  let wasm: Backend
  let cpu: Backend
  beforeAll(async () => {
    wasm = await startBackend('wasm')
    cpu = await startBackend('cpu')
  })

  it('covers every layer type that a model may use', () => {
    expect(Object.keys(CASES).toSorted()).toEqual([...LAYERS.keys()].toSorted())
  })

  for (const [name, cases] of Object.entries(CASES)) {
    it(`gives the gradients of ${name}`, async () => {
      for (const tested of cases) {
        const label = `${name} ${JSON.stringify('config' in tested.tested ? tested.tested.config : {}).slice(0, 200)}`
        const expected = await outcome(cpu, tested)
        const found = await outcome(wasm, tested)
        expect(Math.abs(found.loss - expected.loss), `${label}: loss`).toBeLessThan(1e-4)
        expectClose(`${label}: outputs`, found.outputs, expected.outputs)
        expect([...found.gradients.keys()]).toEqual([...expected.gradients.keys()])
        for (const [weight, gradient] of expected.gradients)
          expectClose(`${label}: ${weight}`, found.gradients.get(weight), gradient)
        for (const [weight, value] of expected.statistics)
          expectClose(`${label}: ${weight}`, found.statistics.get(weight), value)
        expect(found.leaked, `${label}: tensors left behind`).toBeLessThanOrEqual(0)
      }
    })
  }

  it('draws the same initial weights whatever back end runs', () => {
    const model = modelOf(CASES['LSTM']?.[0] ?? { tested: layer('Dense'), input: [1] })
    const input: FeatureSpec = { shape: series, dtype: 'float32' }
    expect(initialise(model, 4, input)).toEqual(initialise(model, 4, input))
    expect(initialise(model, 4, input)).not.toEqual(initialise(model, 5, input))
  })

  it('has a fingerprint that differs from that of cpu and not from its own', async () => {
    const again = await startBackend('wasm')
    expect(again.fingerprint).toBe(wasm.fingerprint)
    expect(again.fingerprint).not.toBe(cpu.fingerprint)
  })

  it('was built from the source that stands beside it', () => {
    const folder = new URL('../../kernels/backends/wasm/', import.meta.url)
    const source = createHash('sha256')
      .update(readFileSync(new URL('gradients.as', folder)))
      .digest('hex')
    expect(
      readFileSync(new URL('gradients.wasm.source', folder), 'utf8').trim(),
      'run kernels/backends/wasm/build.sh',
    ).toBe(source)
  })
})
