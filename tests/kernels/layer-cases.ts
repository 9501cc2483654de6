/**
 * What the numerical suite computes: every layer type that a model may use, in each of its forms that takes a path of
 * its own through a back end.
 */
import type { ModelTopology } from '../../kernels/mod.ts'
import { functional, layer, node, sequential } from './models.ts'
import type { LayerJson } from './models.ts'

export const ROWS = 5
export const CLASSES = 4

export interface Case {
  /** A layer between others, or a whole model. */
  tested: LayerJson | ModelTopology
  input: number[]
  /** Inputs are indices below this instead of numbers. */
  indices?: number
}

const image = [9, 7, 3]
export const series = [6, 5]
const conv = (config: Record<string, unknown>, input = image): Case => ({
  tested: layer('Conv2D', { filters: 9, kernel_size: 3, ...config }),
  input,
})

/** By layer type; the suite holds that none is missing. */
export const CASES: Record<string, Case[]> = {
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
  return functional(
    'branches',
    node('in', layer('InputLayer', { batch_input_shape: [null, 6] })),
    node('a', layer('Dense', { units: 6, activation: 'tanh' }), 'in'),
    node('b', layer('Dense', { units: 6, activation: 'sigmoid' }), 'in'),
    node('c', layer('Reshape', { target_shape: shape }), 'a'),
    node('d', layer('Reshape', { target_shape: shape }), 'b'),
    node('merged', merge, 'c', 'd'),
    node('flat', layer('Flatten'), 'merged'),
    node('out', layer('Dense', { units: CLASSES, activation: 'softmax' }), 'flat'),
  )
}

/** PReLU before the layer has a weight per input, so the layer's input gradient is compared too. */
export function modelOf({ tested }: Case): ModelTopology {
  if (!isLayer(tested)) return tested
  return sequential(layer('PReLU'), tested, layer('Flatten'), layer('Dense', { units: CLASSES, activation: 'softmax' }))
}

function isLayer(tested: LayerJson | ModelTopology): tested is LayerJson {
  return tested['class_name'] !== 'Sequential' && tested['class_name'] !== 'Functional'
}
