/**
 * Kernels of the `tensorflow` back end that the package has slow, or not whole. Measured on one core, on the activations of
 * a CNN's first layer (128 × 26 × 26 × 16):
 *
 *     gradient of ReLU   step, cast and product of the package  5.3 ms   ReluGrad                  0.4 ms
 *     max pooling        MaxPool of the package                 1.1 ms   oneDNN's                  0.2 ms
 *     its gradient       MaxPoolGrad of the package             8.5 ms   oneDNN's, told the places 0.2 ms
 *     a bias             Add after the convolution              0.6 ms   within it, oneDNN's       0.05 ms
 *
 * TensorFlow puts these of oneDNN's into graphs by itself, and not into single operations, as the package calls them: so they
 * are asked for by their own names. Where a build or a processor has no such operation, a trial finds that out, and the
 * package's own kernels stay. A convolution with ReLU in one operation (`_MklNativeFusedConv2D`) would want a list of
 * strings, which the add-on cannot pass.
 */
import type { KernelBackend, KernelConfig, NamedAttrMap, Tensor, TensorInfo } from '@tensorflow/tfjs-core'
import type { Tf } from '../../tfjs.ts'
import { depthwiseFilterGradient, repeatGradient } from './deterministic.ts'

/** The parts of the add-on and of the package's back end that are used here; the rest is between the two. */
export interface Binding {
  readonly TF_Version: string
  readonly TF_ATTR_TYPE: number
  readonly TF_ATTR_INT: number
  readonly TF_ATTR_STRING: number
  readonly TF_ATTR_BOOL: number
  readonly TF_FLOAT: number
  executeOp(
    name: string,
    attributes: readonly OpAttribute[],
    inputs: readonly number[],
    outputs: number,
  ): TensorHandle[]
  deleteTensor(id: number): void
}

/** A tensor of TensorFlow's, before tfjs knows of it. */
interface TensorHandle {
  readonly id: number
}

interface OpAttribute {
  readonly name: string
  readonly type: number
  readonly value: unknown
}

export interface NodeBackend extends KernelBackend {
  readonly binding: Binding
  readonly isUsingGpuDevice: boolean
  executeSingleOutput(name: string, attributes: readonly OpAttribute[], inputs: readonly TensorInfo[]): Tensor
  getInputTensorIds(tensors: readonly TensorInfo[]): number[]
  createOutputTensor(handle: TensorHandle): Tensor
}

const NAME = 'tensorflow'

/** Says whether oneDNN's kernels are there to be asked for, which is part of how numbers come out. */
export function replaceKernels(tf: Tf, backend: NodeBackend): { readonly oneDnn: boolean } {
  replacePrelu(tf)
  replaceReluGradient(tf, backend)
  const oneDnn = !backend.isUsingGpuDevice && hasOneDnn(tf, backend)
  if (oneDnn) {
    replaceMaxPooling(tf, backend)
    replaceFusedConvolution(tf, backend)
  }
  if (backend.isUsingGpuDevice) replaceUnordered(tf)
  return { oneDnn }
}

/** Gradients that a GPU has no order for; see `deterministic.ts`. */
function replaceUnordered(tf: Tf): void {
  replace(tf, 'DepthwiseConv2dNativeBackpropFilter', () => ({ inputs, attrs }) => {
    const { x, dy } = inputs as { x: TensorInfo; dy: TensorInfo } // what the operation gives its kernel
    return depthwiseFilterGradient(tf, x, dy, attrs ?? {})
  })
  replace(tf, 'ResizeNearestNeighborGrad', (usual) => (args) => {
    const { images, dy } = args.inputs as { images: TensorInfo; dy: TensorInfo } // as above
    return (args.attrs?.['alignCorners'] === true ? null : repeatGradient(tf, images, dy)) ?? usual(args)
  })
}

/** The package's own calls methods that tensors have in the whole of tfjs, and not with its core alone. */
function replacePrelu(tf: Tf): void {
  tf.unregisterKernel('Prelu', NAME)
  tf.registerKernel({
    kernelName: 'Prelu',
    backendName: NAME,
    kernelFunc: ({ inputs }) => {
      const { x, alpha } = inputs as { x: Tensor; alpha: Tensor } // what the operation gives its kernel
      return tf.tidy(() => tf.add(tf.relu(x), tf.mul(tf.mul(alpha, tf.sub(x, tf.abs(x))), 0.5)))
    },
  })
}

/** A gradient belongs to an operation and not to a back end, so ours asks which one is active. */
function replaceReluGradient(tf: Tf, backend: NodeBackend): void {
  const composed = tf.getGradient('Relu')
  tf.unregisterGradient('Relu')
  tf.registerGradient({
    ...composed,
    gradFunc: (dy, saved, attrs) => {
      const [x] = saved
      if (tf.getBackend() !== NAME || Array.isArray(dy) || x?.dtype !== 'float32')
        return composed.gradFunc(dy, saved, attrs)
      return { x: () => backend.executeSingleOutput('ReluGrad', [float(backend.binding)], [dy, x]) }
    },
  })
}

/**
 * oneDNN's gradient wants to know where the maxima stood, which its forward operation tells by a workspace and tfjs has no
 * place for. So it is kept by the data of what was pooled, and goes with it: computing it once more took as long as the rest.
 */
function replaceMaxPooling(tf: Tf, backend: NodeBackend): void {
  const { binding } = backend
  const workspaces = new WeakMap<object, number>()
  const disposeData = backend.disposeData.bind(backend)
  backend.disposeData = (dataId, force) => {
    const isGone = disposeData(dataId, force)
    const workspace = workspaces.get(dataId)
    if (isGone && workspace !== undefined) binding.deleteTensor(workspace)
    return isGone
  }
  replace(tf, 'MaxPool', (usual) => (args) => {
    const { x } = args.inputs as { x: TensorInfo } // what the operation gives its kernel
    const attributes = poolAttributes(tf, binding, x, args.attrs)
    if (attributes === null) return usual(args)
    const [pooled, workspace] = pool(backend, attributes, x)
    const output = backend.createOutputTensor(pooled)
    workspaces.set(output.dataId, workspace.id)
    return output
  })
  replace(tf, 'MaxPoolGrad', (usual) => (args) => {
    const { dy, input, output } = args.inputs as { dy: TensorInfo; input: TensorInfo; output: TensorInfo } // as above
    const attributes = poolAttributes(tf, binding, input, args.attrs)
    const workspace = workspaces.get(output.dataId)
    if (attributes === null || workspace === undefined) return usual(args)
    return poolGradient(backend, attributes, [input, output, dy], workspace)
  })
}

/** What was pooled, and where its maxima stood. */
function pool(backend: NodeBackend, attributes: readonly OpAttribute[], x: TensorInfo): [TensorHandle, TensorHandle] {
  const outputs = backend.binding.executeOp('_MklNativeMaxPool', attributes, backend.getInputTensorIds([x]), 2)
  return outputs as [TensorHandle, TensorHandle] // as many as asked for
}

function poolGradient(
  backend: NodeBackend,
  attributes: readonly OpAttribute[],
  inputs: readonly TensorInfo[],
  workspace: number,
): Tensor {
  const ids = [...backend.getInputTensorIds(inputs), workspace]
  const [gradient] = backend.binding.executeOp('_MklNativeMaxPoolGrad', attributes, ids, 1)
  return backend.createOutputTensor(gradient as TensorHandle) // as many as asked for
}

/** Null where only the package's kernel will do. */
function poolAttributes(
  tf: Tf,
  binding: Binding,
  x: TensorInfo,
  attrs: NamedAttrMap | undefined,
): OpAttribute[] | null {
  if (x.dtype !== 'float32' || x.shape.length !== 4 || attrs === undefined) return null
  const { strideHeight, strideWidth, filterHeight, filterWidth, padInfo, dataFormat } = tf.backend_util.computePool2DInfo(
    x.shape as [number, number, number, number], attrs['filterSize'] as number, attrs['strides'] as number, 1,
    attrs['pad'] as 'same', attrs['dimRoundingMode'] as 'floor',
  ) // prettier-ignore
  if (dataFormat !== 'channelsLast' || (padInfo.type !== 'VALID' && padInfo.type !== 'SAME')) return null
  const { TF_ATTR_INT, TF_ATTR_STRING, TF_ATTR_BOOL } = binding
  return [
    float(binding),
    { name: 'ksize', type: TF_ATTR_INT, value: [1, filterHeight, filterWidth, 1] },
    { name: 'strides', type: TF_ATTR_INT, value: [1, strideHeight, strideWidth, 1] },
    { name: 'padding', type: TF_ATTR_STRING, value: padInfo.type },
    { name: 'data_format', type: TF_ATTR_STRING, value: 'NHWC' },
    { name: 'workspace_enabled', type: TF_ATTR_BOOL, value: true },
    oneDnnKernel(binding),
  ]
}

/** A convolution that adds its bias itself, where the usual one leaves that to the slowest pass over what came out. */
function replaceFusedConvolution(tf: Tf, backend: NodeBackend): void {
  replace(tf, 'FusedConv2D', (usual) => (args) => {
    const { x, filter, bias } = args.inputs as { x: TensorInfo; filter: TensorInfo; bias?: TensorInfo } // what the operation gives
    const activation = args.attrs?.['activation']
    const attributes = convolutionAttributes(tf, backend.binding, x, filter, args.attrs)
    if (attributes === null || bias?.shape.length !== 1 || (activation !== 'relu' && activation !== 'linear'))
      return usual(args)
    const y = convolveWithBias(backend, attributes, x, filter, bias)
    if (activation === 'linear') return y
    const rectified = backend.executeSingleOutput('Relu', [float(backend.binding)], [y])
    y.dispose()
    return rectified
  })
}

function convolveWithBias(
  backend: NodeBackend,
  attributes: readonly OpAttribute[],
  x: TensorInfo,
  filter: TensorInfo,
  bias: TensorInfo,
): Tensor {
  return backend.executeSingleOutput('_MklNativeConv2DWithBias', attributes, [x, filter, bias])
}

/** As above. */
function convolutionAttributes(
  tf: Tf,
  binding: Binding,
  x: TensorInfo,
  filter: TensorInfo,
  attrs: NamedAttrMap | undefined,
): OpAttribute[] | null {
  if (x.dtype !== 'float32' || attrs === undefined || attrs['dataFormat'] !== 'NHWC') return null
  const { strideHeight, strideWidth, dilationHeight, dilationWidth, padInfo } = tf.backend_util.computeConv2DInfo(
    x.shape as [number, number, number, number], filter.shape as [number, number, number, number], attrs['strides'] as number,
    attrs['dilations'] as number, attrs['pad'] as 'same', attrs['dimRoundingMode'] as 'floor',
  ) // prettier-ignore
  if (padInfo.type !== 'VALID' && padInfo.type !== 'SAME') return null
  const { TF_ATTR_INT, TF_ATTR_STRING } = binding
  return [
    float(binding),
    { name: 'strides', type: TF_ATTR_INT, value: [1, strideHeight, strideWidth, 1] },
    { name: 'dilations', type: TF_ATTR_INT, value: [1, dilationHeight, dilationWidth, 1] },
    { name: 'padding', type: TF_ATTR_STRING, value: padInfo.type },
    { name: 'data_format', type: TF_ATTR_STRING, value: 'NHWC' },
    oneDnnKernel(binding),
  ]
}

/** The label under which TensorFlow keeps its own names for oneDNN's kernels (mkl_op_registry). */
function oneDnnKernel({ TF_ATTR_STRING }: Binding): OpAttribute {
  return { name: '_kernel', type: TF_ATTR_STRING, value: 'MklNameChangeOp' }
}

function float({ TF_ATTR_TYPE, TF_FLOAT }: Binding): OpAttribute {
  return { name: 'T', type: TF_ATTR_TYPE, value: TF_FLOAT }
}

function hasOneDnn(tf: Tf, backend: NodeBackend): boolean {
  const { binding } = backend
  const stride = { strides: 1, pad: 'valid' }
  return tf.tidy(() => {
    const [x, filter, bias] = [tf.ones([1, 2, 2, 1]), tf.ones([1, 1, 1, 1]), tf.ones([1])]
    const pooling = poolAttributes(tf, binding, x, { filterSize: 2, ...stride })
    const attributes = convolutionAttributes(tf, binding, x, filter, { dilations: 1, dataFormat: 'NHWC', ...stride })
    if (pooling === null || attributes === null) return false
    try {
      convolveWithBias(backend, attributes, x, filter, bias)
      const [pooled, workspace] = pool(backend, pooling, x)
      const y = backend.createOutputTensor(pooled)
      poolGradient(backend, pooling, [x, y, y], workspace.id)
      binding.deleteTensor(workspace.id)
      return true
    } catch {
      return false // no such operation in this build, or none for this processor
    }
  })
}

type KernelFunc = KernelConfig['kernelFunc']

function replace(tf: Tf, kernelName: string, ours: (usual: KernelFunc) => KernelFunc): void {
  const usual = tf.getKernel(kernelName, NAME)
  tf.unregisterKernel(kernelName, NAME)
  tf.registerKernel({ ...usual, kernelFunc: ours(usual.kernelFunc) })
}
