/**
 * What plain convolutions and dense layers compute, called otherwise than tfjs's layers do: a convolution with its bias and
 * ReLU as one kernel, a dense layer as a plain product. tfjs forgoes its fused kernels while a gradient is recorded (three
 * passes over the largest tensors of a model instead of one), or gives them a gradient that computes the input's even for a
 * first layer, where nobody asks for it and where it takes longer than all else. Here each part of a gradient is computed
 * for who asks. On all back ends alike; measured on a CNN with 16 and 32 filters, a step takes 0.9 of its time on both
 * `wasm` and `tensorflow`.
 */
import type { Tensor } from '@tensorflow/tfjs-core'
import type { LayersModel } from '@tensorflow/tfjs-layers'
import { KernelError } from './errors.ts'
import type { ModelPlan } from './plan.ts'
import type { Tf } from './tfjs.ts'

type Layer = LayersModel['layers'][number]

/** What tfjs's classes have inside; it types none of it. */
interface Linear {
  kernel: { read(): Tensor }
  bias: { read(): Tensor } | null
  activation: { apply(x: Tensor): Tensor; getClassName(): string }
  /** Of a convolution. */
  strides: number[]
  padding: 'same' | 'valid'
}

const CONVOLUTION = 'FusedConv2D'

/** tfjs's own gradient of the fused kernel is the operation's, not the kernel's: the kernel has none yet. */
export function registerConvolutionGradient(tf: Tf): void {
  tf.registerGradient({
    kernelName: CONVOLUTION,
    inputsToSave: ['x', 'filter'],
    outputsToSave: [true],
    gradFunc: (dy, saved, attrs) => {
      const [x, filter, y] = saved
      if (Array.isArray(dy)) throw new KernelError('kernel.failed', `${CONVOLUTION} has one output`)
      // ReLU lets through where its output is positive, which is where its input is.
      const before =
        attrs['activation'] === 'relu' ? need(tf.getGradient('Relu').gradFunc(dy, [need(y), need(y)], {})['x'])() : dy
      const product = tf.getGradient('Conv2D').gradFunc(before, [need(x), need(filter)], attrs)
      return { ...product, bias: () => tf.sum(before, [0, 1, 2]) }
    },
  })
}

/** A model's layers, as tfjs has built them by the plan. */
export function replaceLinearLayers(tf: Tf, model: LayersModel, plan: ModelPlan): void {
  for (const [index, { className, name }] of plan.layers.entries()) {
    const layer = model.getLayer(name)
    if (className === 'Dense') layer.call = dense(tf, layer)
    if (className !== 'Conv2D') continue
    const pooling = isRelu(layer) ? poolingOf(plan, index) : undefined
    layer.call = convolution(tf, layer, pooling !== undefined)
    if (pooling !== undefined) rectify(tf, model.getLayer(pooling))
  }
}

/** The pooling that is the only one to use this layer. */
function poolingOf(plan: ModelPlan, index: number): string | undefined {
  const users = plan.layers.filter(({ inputs }) => inputs.includes(index))
  const isAlone = users.length === 1 && plan.output !== index
  return isAlone && users[0]?.className === 'MaxPooling2D' ? users[0].name : undefined
}

/**
 * ReLU keeps order, so the largest of rectified numbers is the largest number, rectified; its gradient goes the same way. Of
 * what was pooled it is taken for a quarter of the price.
 */
function rectify(tf: Tf, pooling: Layer): void {
  const usual = pooling.call.bind(pooling)
  pooling.call = (inputs, kwargs) => tf.tidy(() => tf.relu(first(usual(inputs, kwargs))))
}

function convolution(tf: Tf, layer: Layer, isRectifiedLater: boolean): Layer['call'] {
  const { kernel, bias, strides, padding, activation } = inside(layer)
  const isLinear = isRectifiedLater || !isRelu(layer)
  const attrs = {
    strides,
    pad: padding,
    dataFormat: 'NHWC',
    dilations: [1, 1],
    activation: isLinear ? 'linear' : 'relu',
  }
  return (inputs) =>
    tf.tidy(() => {
      const given = { x: first(inputs), filter: kernel.read(), ...(bias && { bias: bias.read() }) }
      const y = tf.engine().runKernel(CONVOLUTION, given, attrs) as Tensor // it has one output
      return isRelu(layer) ? y : activation.apply(y)
    })
}

function dense(tf: Tf, layer: Layer): Layer['call'] {
  const { kernel, bias, activation } = inside(layer)
  const usual = layer.call.bind(layer)
  return (inputs, kwargs) =>
    tf.tidy(() => {
      const x = first(inputs)
      if (x.rank !== 2) return usual(inputs, kwargs)
      const product = tf.matMul(x, kernel.read())
      return activation.apply(bias ? tf.add(product, bias.read()) : product)
    })
}

function isRelu(layer: Layer): boolean {
  return inside(layer).activation.getClassName() === 'relu'
}

function inside(layer: Layer): Linear {
  return layer as unknown as Linear // see there
}

function first(tensors: Tensor | Tensor[]): Tensor {
  return need(Array.isArray(tensors) ? tensors[0] : tensors)
}

function need<T>(value: T | undefined): T {
  if (value === undefined) throw new KernelError('kernel.failed', 'A layer lacks what it computes from')
  return value
}
