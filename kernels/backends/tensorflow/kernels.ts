/**
 * Kernels of the `tensorflow` back end that the package has slow, or not whole. Measured on one core, on the activations of
 * a CNN's first layer (128 × 26 × 26 × 16):
 *
 *     gradient of ReLU   step, cast and product of the package  5.3 ms   ReluGrad                 0.4 ms
 *     max pooling        MaxPool of the package                 1.1 ms   oneDNN's                 0.2 ms
 *     its gradient       MaxPoolGrad of the package             8.5 ms   oneDNN's, forward again  0.4 ms
 *
 * TensorFlow puts oneDNN's pooling into graphs by itself, and not into single operations, as the package calls them: so it is
 * asked for by its own name. Where a build or a processor has no such operation, a trial finds that out, and the package's
 * own kernels stay.
 */
import type { KernelBackend, KernelConfig, NamedAttrMap, Tensor, TensorInfo } from '@tensorflow/tfjs-core'
import type { Tf } from '../../tfjs.ts'

/** The parts of the add-on and of the package's back end that are used here; the rest is between the two. */
export interface Binding {
  readonly TF_Version: string
  readonly TF_ATTR_TYPE: number
  readonly TF_ATTR_INT: number
  readonly TF_ATTR_STRING: number
  readonly TF_ATTR_BOOL: number
  readonly TF_FLOAT: number
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
  executeMultipleOutputs(
    name: string,
    attributes: readonly OpAttribute[],
    inputs: readonly TensorInfo[],
    outputs: number,
  ): Tensor[]
}

const NAME = 'tensorflow'

/** Says whether oneDNN pools, which is part of how numbers come out. */
export function replaceKernels(tf: Tf, backend: NodeBackend): { readonly oneDnnPooling: boolean } {
  replacePrelu(tf)
  replaceReluGradient(tf, backend)
  const oneDnnPooling = !backend.isUsingGpuDevice && hasOneDnnPooling(tf, backend)
  if (oneDnnPooling) replaceMaxPooling(tf, backend)
  return { oneDnnPooling }
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

function replaceMaxPooling(tf: Tf, backend: NodeBackend): void {
  replace(tf, 'MaxPool', (usual) => (args) => {
    const { x } = args.inputs as { x: TensorInfo } // what the operation gives its kernel
    const attributes = poolAttributes(tf, backend.binding, x, args.attrs)
    if (attributes === null) return usual(args)
    const [pooled, workspace] = pool(backend, attributes, x)
    workspace.dispose()
    return pooled
  })
  replace(tf, 'MaxPoolGrad', (usual) => (args) => {
    const { dy, input, output } = args.inputs as { dy: TensorInfo; input: TensorInfo; output: TensorInfo } // as above
    const attributes = poolAttributes(tf, backend.binding, input, args.attrs)
    if (attributes === null) return usual(args)
    // Where the maxima stood is known to the forward operation alone, which tfjs has left behind: so it is made once more.
    const [pooled, workspace] = pool(backend, attributes, input)
    const gradient = backend.executeSingleOutput('_MklNativeMaxPoolGrad', attributes, [input, output, dy, workspace])
    pooled.dispose()
    workspace.dispose()
    return gradient
  })
}

function pool(backend: NodeBackend, attributes: readonly OpAttribute[], x: TensorInfo): [Tensor, Tensor] {
  return backend.executeMultipleOutputs('_MklNativeMaxPool', attributes, [x], 2) as [Tensor, Tensor] // as many as asked for
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
    // The label under which TensorFlow keeps its own names for oneDNN's kernels (mkl_op_registry).
    { name: '_kernel', type: TF_ATTR_STRING, value: 'MklNameChangeOp' },
  ]
}

function float({ TF_ATTR_TYPE, TF_FLOAT }: Binding): OpAttribute {
  return { name: 'T', type: TF_ATTR_TYPE, value: TF_FLOAT }
}

function hasOneDnnPooling(tf: Tf, backend: NodeBackend): boolean {
  return tf.tidy(() => {
    const x = tf.ones([1, 2, 2, 1])
    const attributes = poolAttributes(tf, backend.binding, x, { filterSize: 2, strides: 2, pad: 'valid' })
    try {
      const [y, workspace] = pool(backend, attributes ?? [], x)
      backend.executeSingleOutput('_MklNativeMaxPoolGrad', attributes ?? [], [x, y, y, workspace])
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
