/** A model that is taken home runs in plain TensorFlow.js and says what it said here. */
import { beforeAll, describe, expect, it } from 'vitest'
import {
  compileModel,
  exportFiles,
  exportKerasModel,
  exportLayersModel,
  initialise,
  startBackend,
  writeWeights,
} from '../../kernels/mod.ts'
import type { Backend, FeatureSpec, ModelTopology } from '../../kernels/mod.ts'
import { forward } from '../../kernels/compiled.ts'
import { codeOf, layer, plainPipeline, seededValues, sequential, smallCnn } from './models.ts'

const ROWS = 3

const MODELS: Record<string, { model: ModelTopology; shape: number[]; indices?: number }> = {
  'a convolutional network with normalisation and dropout': { model: smallCnn, shape: [8, 8, 1] },
  'depthwise and separable convolutions': {
    model: sequential(
      layer('DepthwiseConv2D', { kernel_size: 3, depth_multiplier: 2 }),
      layer('SeparableConv2D', { filters: 4, kernel_size: 3 }),
      layer('PReLU'),
      layer('GlobalAveragePooling2D'),
      layer('LayerNormalization'),
      layer('Dense', { units: 2 }),
    ),
    shape: [8, 8, 2],
  },
  'an LSTM over embedded words': {
    model: sequential(
      layer('Embedding', { input_dim: 11, output_dim: 4 }),
      layer('LSTM', { units: 5, return_sequences: true }),
      layer('GRU', { units: 3 }),
      layer('Dense', { units: 2, activation: 'softmax' }),
    ),
    shape: [6],
    indices: 11,
  },
}

let backend: Backend
beforeAll(async () => {
  backend = await startBackend('cpu')
})

describe('exportLayersModel', () => {
  it.each(Object.entries(MODELS))('%s', async (_, { model, shape, indices }) => {
    const input: FeatureSpec = { shape, dtype: 'float32' }
    const weights = initialise(model, 3, input)
    const size = shape.reduce((a, b) => a * b, 1)
    const rows = seededValues(ROWS * size, 5).map((value) =>
      indices === undefined ? value : Math.floor(Math.abs(value) * indices),
    )
    const ours = await compileModel(backend, model, input)
    writeWeights(ours, weights)
    const said = await forward(ours, rows, ROWS)

    const { tf, layers } = backend
    const files = exportLayersModel(model, plainPipeline(input), weights)
    const { modelTopology, weightsManifest } = JSON.parse(JSON.stringify(files.model)) as {
      modelTopology: object
      weightsManifest: { weights: [] }[]
    }
    const weightData = new Uint8Array(files.weights).buffer
    const artifacts = { modelTopology, weightSpecs: weightsManifest[0]?.weights ?? [], weightData }
    const theirs = await layers.loadLayersModel({ load: async () => artifacts })
    const output = theirs.predict(tf.tensor(rows, [ROWS, ...shape]))

    expect(Array.isArray(output) ? [] : [...output.dataSync()]).toEqual([...said])
  })

  it('writes for Keras what its loader needs, in one folder', () => {
    const input: FeatureSpec = { shape: [8, 8, 1], dtype: 'float32' }
    const weights = new Uint8Array(initialise(smallCnn, 3, input))
    const files = exportFiles('keras', smallCnn, plainPipeline(input), weights)
    expect(files.map(({ name }) => name)).toEqual(['model.json', 'model.safetensors', 'load.py'])
    const [model, tensors, loader] = files.map(({ bytes }) => new TextDecoder().decode(bytes))
    expect(JSON.parse(model ?? '')).toEqual(exportKerasModel(smallCnn, input))
    expect(tensors).toContain('"dtype":"F32"')
    for (const { name } of files.slice(0, 2)) expect(loader).toContain(`"${name}"`)
  })

  it('refuses weights of another model', () => {
    const input: FeatureSpec = { shape: [8, 8, 1], dtype: 'float32' }
    const other = initialise(sequential(layer('Flatten'), layer('Dense', { units: 3 })), 1, input)
    expect(codeOf(() => exportLayersModel(smallCnn, plainPipeline(input), other))).toBe('weights.mismatch')
  })
})
