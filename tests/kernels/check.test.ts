import { describe, expect, it } from 'vitest'
import { checkModel, describeModel } from '../../kernels/mod.ts'
import type { ModelCheck } from '../../kernels/mod.ts'
import { CLASSES, IMAGES, layer, sequential, smallCnn } from './models.ts'

function check(model: unknown, more: Partial<ModelCheck> = {}): string[] {
  const problems = checkModel({ model, input: IMAGES, target: CLASSES, loss: 'sparseCategoricalCrossentropy', ...more })
  return problems.map(({ message }) => message)
}

const output = layer('Dense', { units: 3, activation: 'softmax' })

describe('checkModel', () => {
  it('has nothing to say about a model that fits, bare or wrapped, and knows its size', () => {
    expect(check(smallCnn, { metrics: ['accuracy'] })).toEqual([])
    expect(check({ modelTopology: { model_config: smallCnn }, weightsManifest: [] })).toEqual([])
    expect(describeModel(smallCnn, IMAGES)).toMatchObject({
      parameters: 4 * 9 + 4 + 4 * 4 + 36 * 3 + 3,
      outputShape: [3],
    })
  })

  it('names every problem at once, each with its path', () => {
    const model = sequential(
      layer('Conv2D', { filters: 0, kernel_size: 3, batch_input_shape: [null, 28, 28, 1] }),
      layer('Lambda', { function: 'x => x' }),
      layer('Dense', { units: 4, activation: 'sotfmax', unitz: 1 }),
    )
    const problems = checkModel({ model, input: IMAGES, target: CLASSES, loss: 'crossentropy', metrics: ['rmse'] })
    expect(problems.map(({ path }) => path).toSorted()).toEqual([
      'loss',
      'metrics[0]',
      'model.config.layers[0].config.batch_input_shape',
      'model.config.layers[0].config.filters',
      'model.config.layers[1].class_name',
      'model.config.layers[2].config.activation',
      'model.config.layers[2].config.unitz',
    ])
    for (const { path, expected, found, message } of problems)
      expect(message).toBe(`${path}: expected ${expected}, found ${found}`)
  })

  it('finds an output that does not fit the classes, with the number that would', () => {
    const model = sequential(layer('Flatten'), layer('Dense', { units: 10, activation: 'softmax' }))
    expect(check(model)).toEqual([
      'model.config.layers[1].config.units: expected 3 output units, one per class of the dataset, found [10]',
    ])
  })

  it('finds a loss that does not fit the target or the last activation', () => {
    expect(check(sequential(layer('Flatten'), layer('Dense', { units: 3 })))).toEqual([
      expect.stringMatching(/activation: expected softmax/),
    ])
    expect(check(sequential(layer('Flatten'), output), { loss: 'meanSquaredError' })).toEqual([
      expect.stringMatching(/^loss: expected sparse/),
    ])
    const value = { target: { kind: 'value', shape: [1] }, loss: 'meanSquaredError' } as const
    expect(check(sequential(layer('Flatten'), layer('Dense', { units: 1 })), value)).toEqual([])
    expect(check(sequential(layer('Flatten'), layer('Dense', { units: 2 })), value)).toEqual([
      expect.stringMatching(/output of shape \[1\]/),
    ])
  })

  it('finds shapes that do not fit inside of the model', () => {
    const windows = sequential(
      layer('Conv2D', { filters: 2, kernel_size: 5 }),
      layer('Conv2D', { filters: 2, kernel_size: 5 }),
    )
    expect(check(windows)).toEqual([
      'model.config.layers[1].config.kernel_size: expected at most 4, the size of its input, found 5',
    ])
    const reshape = sequential(layer('Reshape', { target_shape: [5, -1] }), layer('Flatten'), output)
    expect(check(reshape)).toEqual([expect.stringMatching(/target_shape: expected dimensions whose product is 64/)])
    expect(check(sequential(layer('LSTM', { units: 4 }), output))).toEqual([
      expect.stringMatching(/input of 2 dimensions for LSTM/),
    ])
  })

  it('refuses what would not train the same way twice, or not at all', () => {
    const recurrent = sequential(
      layer('Reshape', { target_shape: [8, 8] }),
      layer('LSTM', { units: 4, recurrent_dropout: 0.2 }),
      output,
    )
    expect(check(recurrent)).toEqual([
      expect.stringMatching(/recurrent_dropout: expected null \(its mask cannot be seeded/),
    ])
    const dilated = sequential(
      layer('Conv2D', { filters: 2, kernel_size: 3, dilation_rate: 2 }),
      layer('Flatten'),
      output,
    )
    expect(check(dilated)).toEqual([expect.stringMatching(/dilation_rate: expected 1/)])
    const firstChannels = sequential(
      layer('Conv2D', { filters: 2, kernel_size: 3, data_format: 'channels_first' }),
      layer('Flatten'),
      output,
    )
    expect(check(firstChannels)).toEqual([expect.stringMatching(/data_format/)])
  })

  it('refuses a model of too many parameters before anything is allocated', () => {
    const huge = sequential(layer('Flatten'), layer('Dense', { units: 10_000_000 }), output)
    expect(check(huge)).toEqual([expect.stringMatching(/at most 100000000 parameters, found 680000003/)])
  })

  it('fills an open or missing input shape from the dataset', () => {
    const open = sequential(layer('InputLayer', { batch_input_shape: [null, null, null, 1] }), layer('Flatten'), output)
    expect(check(open)).toEqual([])
    expect(check(sequential(layer('Flatten', { batch_input_shape: [null, 64] }), output))).toEqual([
      "model.config.layers[0].config.batch_input_shape: expected [null, 8, 8, 1], the shape of the dataset's rows, found [null, 64]",
    ])
  })

  it("reads Keras 3's functional form", () => {
    const tensor = (name: string): unknown => ({
      class_name: '__keras_tensor__',
      config: { shape: [null, 1], keras_history: [name, 0, 0] },
    })
    const model = {
      class_name: 'Functional',
      config: {
        name: 'f',
        layers: [
          { class_name: 'InputLayer', module: 'keras.layers', name: 'x', config: { batch_shape: [null, 8, 8, 1], dtype: 'float32', name: 'x', sparse: false }, inbound_nodes: [] },
          { class_name: 'Flatten', name: 'flat', config: { name: 'flat' }, inbound_nodes: [{ args: [tensor('x')], kwargs: {} }] },
          { class_name: 'Dense', name: 'y', config: { name: 'y', units: 3, activation: 'softmax' }, inbound_nodes: [{ args: [tensor('flat')], kwargs: {} }] },
        ],
        input_layers: ['x', 0, 0],
        output_layers: ['y', 0, 0],
      },
    } // prettier-ignore
    expect(check(model)).toEqual([])
  })

  it('answers anything at all with problems, never with an exception', () => {
    const cyclic = {
      class_name: 'Functional',
      config: {
        layers: [
          { class_name: 'InputLayer', name: 'x', config: { name: 'x' }, inbound_nodes: [] },
          { class_name: 'Add', name: 'a', config: {}, inbound_nodes: [[['b', 0, 0, {}], ['b', 0, 0, {}]]] },
          { class_name: 'Add', name: 'b', config: {}, inbound_nodes: [[['a', 0, 0, {}], ['a', 0, 0, {}]]] },
        ],
        input_layers: [['x', 0, 0]],
        output_layers: [['b', 0, 0]],
      },
    } // prettier-ignore
    const odd = [undefined, null, 7, 'model', [], {}, { class_name: 'Sequential' }, { class_name: 'Sequential', config: { layers: [null] } }, sequential(), cyclic, { class_name: '__proto__', config: {} }, sequential(layer('constructor'))] // prettier-ignore
    expect(odd.filter((model) => check(model).length === 0)).toEqual([])
  })
})
