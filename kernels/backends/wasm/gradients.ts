/**
 * The gradient kernels of the wasm back end, as tfjs's registry takes them: convolutions, depthwise convolutions,
 * pooling, embeddings, transposed products, sums of rows. Each computes in `gradients.as` or by one of XNNPACK's fast
 * forward kernels; each is checked against the cpu back end in `tests/kernels/gradients.test.ts`.
 *
 * The input gradient of a convolution is itself a forward convolution: dy, spread by the strides, under the filter
 * reversed in space with its channels swapped. XNNPACK does that ten times faster than tfjs's own kernel.
 */
import type { KernelConfig, KernelFunc, NamedAttrMap, Tensor, TensorInfo } from '@tensorflow/tfjs-core'
import { KernelError } from '../../errors.ts'
import type { Tf } from '../../tfjs.ts'
import { instantiateGradients, offset, withScratch } from './module.ts'
import type { GradientModule, WasmBackend } from './module.ts'

type Inputs = Record<string, TensorInfo>
type Compute = (inputs: Inputs, attrs: NamedAttrMap, backend: WasmBackend) => TensorInfo
type Shape4 = [number, number, number, number]

/** A kernel that tfjs does not know. */
const RELU_GRADIENT = 'TensorFleetReluGrad'

/** Replaces or adds the kernels in tfjs's registry. Called again for the same tfjs, it does nothing. */
export function registerGradientKernels(tf: Tf): void {
  if (tf.getKernel('UnsortedSegmentSum', 'wasm')) return
  // tfjs does not type a back end's inside; `WasmBackend` names what its own kernels use.
  const module = instantiateGradients(tf.backend() as unknown as WasmBackend)
  const kernels: Record<string, Compute> = {
    ...convolutionKernels(tf, module),
    ...depthwiseKernels(tf, module),
    ...otherKernels(tf, module),
  }
  for (const [kernelName, compute] of Object.entries(kernels)) {
    const before = tf.getKernel(kernelName, 'wasm')
    if (before) tf.unregisterKernel(kernelName, 'wasm')
    const kernelFunc: KernelFunc = ({ inputs, attrs, backend }) =>
      compute(inputs as Inputs, attrs ?? {}, backend as WasmBackend)
    const config: KernelConfig = { kernelName, backendName: 'wasm', kernelFunc }
    tf.registerKernel(config)
  }
  replaceReluGradient(tf)
}

function convolutionKernels(tf: Tf, module: GradientModule): Record<string, Compute> {
  const forward = kernelOf(tf, 'Conv2D')
  return {
    Conv2DBackpropFilter({ x, dy }, attrs, backend) {
      const info = convolutionInfo(tf, shape4(x), attrs['filterShape'] as Shape4, attrs)
      const out = backend.makeOutput(info.filterShape, 'float32')
      withPadded(module, backend, need(x), info, (padded, height, width) => {
        module.filterGradient(
          offset(backend, padded), offset(backend, need(dy)), offset(backend, out),
          info.batchSize, height, width, info.inChannels, info.outHeight, info.outWidth, info.outChannels,
          info.filterHeight, info.filterWidth, info.strideHeight, info.strideWidth,
        ) // prettier-ignore
      })
      return out
    },
    Conv2DBackpropInput({ dy, filter }, attrs, backend) {
      const info = convolutionInfo(tf, attrs['inputShape'] as Shape4, shape4(filter), attrs)
      const { filterHeight, filterWidth, strideHeight, strideWidth, inChannels, outChannels } = info
      const reversed = backend.makeOutput([filterHeight, filterWidth, outChannels, inChannels], 'float32')
      reverseFilter(module, backend, need(filter), reversed, info)
      const top = filterHeight - 1 - info.padInfo.top
      const left = filterWidth - 1 - info.padInfo.left
      // What a stride skipped at the end is spread over as well, so that the result has the input's size.
      const height = info.inHeight + filterHeight - 1
      const width = info.inWidth + filterWidth - 1
      const plain = strideHeight === 1 && strideWidth === 1 && top >= 0 && left >= 0
      const run = (image: TensorInfo, pad: unknown): TensorInfo =>
        forward({
          inputs: { x: image, filter: reversed },
          attrs: { strides: [1, 1], pad, dataFormat: 'NHWC', dilations: [1, 1] } as unknown as NamedAttrMap,
          backend,
        })
      try {
        if (plain) {
          const bottom = height - info.outHeight - top
          const right = width - info.outWidth - left
          if (bottom >= 0 && right >= 0) return run(need(dy), [[0, 0], [top, bottom], [left, right], [0, 0]]) // prettier-ignore
        }
        // Padding wider than the filter leaves dy's rim outside of the image; spread it into the whole padded image, then crop.
        const fullHeight = Math.max(
          height,
          (info.outHeight - 1) * strideHeight + 1 + filterHeight - 1 + Math.max(0, top),
        )
        const fullWidth = Math.max(width, (info.outWidth - 1) * strideWidth + 1 + filterWidth - 1 + Math.max(0, left))
        if (top < 0 || left < 0 || fullHeight > height || fullWidth > width) return spreadAndCrop()
        return withScratch(backend, [info.batchSize, height, width, outChannels], (image) => {
          module.spread(
            offset(backend, need(dy)), offset(backend, image), info.batchSize, info.outHeight, info.outWidth, outChannels,
            height, width, top, left, strideHeight, strideWidth,
          ) // prettier-ignore
          return run(image, 'valid')
        })
      } finally {
        backend.disposeData(reversed.dataId)
      }

      /** The general way: the gradient of the padded image, its padding cut off. */
      function spreadAndCrop(): TensorInfo {
        const paddedHeight = Math.max(
          (info.outHeight - 1) * strideHeight + filterHeight,
          info.padInfo.top + info.inHeight,
        )
        const paddedWidth = Math.max((info.outWidth - 1) * strideWidth + filterWidth, info.padInfo.left + info.inWidth)
        const shape = [info.batchSize, paddedHeight + filterHeight - 1, paddedWidth + filterWidth - 1, outChannels]
        return withScratch(backend, shape, (image) => {
          module.spread(
            offset(backend, need(dy)), offset(backend, image), info.batchSize, info.outHeight, info.outWidth, outChannels,
            shape[1]!, shape[2]!, filterHeight - 1, filterWidth - 1, strideHeight, strideWidth,
          ) // prettier-ignore
          const padded = run(image, 'valid')
          const out = backend.makeOutput([...info.inShape], 'float32')
          module.crop(
            offset(backend, padded), offset(backend, out), info.batchSize, paddedHeight, paddedWidth, inChannels,
            info.inHeight, info.inWidth, info.padInfo.top, info.padInfo.left,
          ) // prettier-ignore
          backend.disposeData(padded.dataId)
          return out
        })
      }
    },
  }
}

function depthwiseKernels(tf: Tf, module: GradientModule): Record<string, Compute> {
  return {
    DepthwiseConv2dNativeBackpropFilter({ x, dy }, attrs, backend) {
      const info = convolutionInfo(tf, shape4(x), attrs['filterShape'] as Shape4, attrs, true)
      const out = backend.makeOutput(info.filterShape, 'float32')
      withPadded(module, backend, need(x), info, (padded, height, width) => {
        module.depthwiseFilterGradient(
          offset(backend, padded), offset(backend, need(dy)), offset(backend, out),
          info.batchSize, height, width, info.inChannels, info.outChannels / info.inChannels, info.outHeight, info.outWidth,
          info.filterHeight, info.filterWidth, info.strideHeight, info.strideWidth,
        ) // prettier-ignore
      })
      return out
    },
    DepthwiseConv2dNativeBackpropInput({ dy, filter }, attrs, backend) {
      const info = convolutionInfo(tf, attrs['inputShape'] as Shape4, shape4(filter), attrs, true)
      const { height, width } = paddedSize(info)
      const out = backend.makeOutput([...info.inShape], 'float32')
      const compute = (image: TensorInfo): void =>
        module.depthwiseInputGradient(
          offset(backend, need(dy)), offset(backend, need(filter)), offset(backend, image),
          info.batchSize, height, width, info.inChannels, info.outChannels / info.inChannels, info.outHeight, info.outWidth,
          info.filterHeight, info.filterWidth, info.strideHeight, info.strideWidth,
        ) // prettier-ignore
      if (height === info.inHeight && width === info.inWidth) {
        compute(out)
        return out
      }
      withScratch(backend, [info.batchSize, height, width, info.inChannels], (image) => {
        compute(image)
        module.crop(
          offset(backend, image), offset(backend, out), info.batchSize, height, width, info.inChannels,
          info.inHeight, info.inWidth, info.padInfo.top, info.padInfo.left,
        ) // prettier-ignore
      })
      return out
    },
  }
}

function otherKernels(tf: Tf, module: GradientModule): Record<string, Compute> {
  const product = kernelOf(tf, 'BatchMatMul')
  const sum = kernelOf(tf, 'Sum')
  const flipped = (backend: WasmBackend, matrix: TensorInfo): TensorInfo => {
    const [rows, columns] = [matrix.shape.at(-2) ?? 1, matrix.shape.at(-1) ?? 1]
    const outer = matrix.shape.slice(0, -2)
    const out = backend.makeOutput([...outer, columns, rows], 'float32')
    module.transpose(offset(backend, matrix), offset(backend, out), sizeOf(outer), rows, columns)
    return out
  }
  return {
    // XNNPACK multiplies what lies in order ten times faster than tfjs's transposing kernel: transpose first.
    BatchMatMul({ a, b }, attrs, backend) {
      const left = attrs['transposeA'] === true ? flipped(backend, need(a)) : need(a)
      const right = attrs['transposeB'] === true ? flipped(backend, need(b)) : need(b)
      const out = product({ inputs: { a: left, b: right }, attrs: { transposeA: false, transposeB: false }, backend })
      if (left !== a) backend.disposeData(left.dataId)
      if (right !== b) backend.disposeData(right.dataId)
      return out
    },
    // The gradient of a bias sums over all but the last axis, for which tfjs transposes the whole tensor.
    Sum({ x }, attrs, backend) {
      const input = need(x)
      const rank = input.shape.length
      const axes = tf.util.parseAxisParam(attrs['axis'] as number | number[], input.shape)
      const leading = rank > 1 && axes.length === rank - 1 && !axes.includes(rank - 1) && input.dtype === 'float32'
      if (!leading) return sum({ inputs: { x: input }, attrs, backend })
      const columns = input.shape[rank - 1] ?? 1
      const shape = attrs['keepDims'] === true ? [...input.shape.slice(0, -1).map(() => 1), columns] : [columns]
      const out = backend.makeOutput(shape, 'float32')
      module.sumRows(offset(backend, input), offset(backend, out), sizeOf(input.shape) / columns, columns)
      return out
    },
    MaxPoolGrad({ dy, input }, attrs, backend) {
      const image = need(input)
      const info = tf.backend_util.computePool2DInfo(
        shape4(image), attrs['filterSize'] as number, attrs['strides'] as number, 1, attrs['pad'] as 'valid', attrs['dimRoundingMode'] as 'floor',
      ) // prettier-ignore
      const out = backend.makeOutput([...image.shape], 'float32')
      module.maxPoolGradient(
        offset(backend, image), offset(backend, need(dy)), offset(backend, out),
        info.batchSize, info.inHeight, info.inWidth, info.inChannels, info.outHeight, info.outWidth,
        info.filterHeight, info.filterWidth, info.strideHeight, info.strideWidth, info.padInfo.top, info.padInfo.left,
      ) // prettier-ignore
      return out
    },
    [RELU_GRADIENT]({ dy, y }, _attrs, backend) {
      const out = backend.makeOutput([...need(y).shape], 'float32')
      module.reluGradient(
        offset(backend, need(dy)),
        offset(backend, need(y)),
        offset(backend, out),
        sizeOf(need(y).shape),
      )
      return out
    },
    UnsortedSegmentSum({ x, segmentIds }, attrs, backend) {
      const rows = need(x)
      const count = attrs['numSegments'] as number
      const length = segmentIds?.shape[0] ?? 0
      const out = backend.makeOutput([count, ...rows.shape.slice(1)], 'float32')
      const width = sizeOf(rows.shape.slice(1))
      module.segmentSum(
        offset(backend, rows),
        offset(backend, need(segmentIds)),
        offset(backend, out),
        length,
        width,
        count,
      )
      return out
    },
  }
}

/**
 * tfjs composes the gradient of ReLU of a step function, a cast and a product, each a pass over the largest tensors of a
 * model. A gradient belongs to an operation and not to a back end, so ours asks which one is active.
 */
function replaceReluGradient(tf: Tf): void {
  const composed = tf.getGradient('Relu')
  tf.unregisterGradient('Relu')
  tf.registerGradient({
    kernelName: 'Relu',
    inputsToSave: ['x'],
    outputsToSave: [true],
    gradFunc: (dy, saved, attrs) => {
      const [x, y] = saved
      if (tf.getBackend() !== 'wasm' || Array.isArray(dy) || !x || !y) return composed.gradFunc(dy, [x!], attrs)
      return { x: () => tf.engine().runKernel(RELU_GRADIENT, { dy, y }) as Tensor }
    },
  })
}

type ConvolutionInfo = ReturnType<Tf['backend_util']['computeConv2DInfo']>

function convolutionInfo(tf: Tf, x: Shape4, filter: Shape4, attrs: NamedAttrMap, depthwise = false): ConvolutionInfo {
  const { strides, pad, dimRoundingMode, dataFormat } = attrs
  if (dataFormat !== undefined && dataFormat !== 'NHWC') {
    throw new KernelError(
      'model.invalid',
      `The wasm back end computes channels-last convolutions only, not ${JSON.stringify(dataFormat)}`,
    )
  }
  return tf.backend_util.computeConv2DInfo(
    x,
    filter,
    strides as number,
    1,
    pad as 'same',
    dimRoundingMode as 'floor',
    depthwise,
  )
}

function paddedSize(info: ConvolutionInfo): { height: number; width: number } {
  const { top, bottom, left, right } = info.padInfo
  // A filter may also reach beyond the stated padding where rounding cut the output: never less than it reads.
  return {
    height: Math.max(info.inHeight + top + bottom, (info.outHeight - 1) * info.strideHeight + info.filterHeight),
    width: Math.max(info.inWidth + left + right, (info.outWidth - 1) * info.strideWidth + info.filterWidth),
  }
}

function withPadded(
  module: GradientModule,
  backend: WasmBackend,
  x: TensorInfo,
  info: ConvolutionInfo,
  use: (padded: TensorInfo, height: number, width: number) => void,
): void {
  const { height, width } = paddedSize(info)
  if (height === info.inHeight && width === info.inWidth) {
    use(x, height, width)
    return
  }
  withScratch(backend, [info.batchSize, height, width, info.inChannels], (padded) => {
    module.spread(
      offset(backend, x), offset(backend, padded), info.batchSize, info.inHeight, info.inWidth, info.inChannels,
      height, width, info.padInfo.top, info.padInfo.left, 1, 1,
    ) // prettier-ignore
    use(padded, height, width)
  })
}

/** [kh, kw, ci, co] to [KH−1−kh, KW−1−kw, co, ci]: each tap's matrix transposed, taps in reverse. */
function reverseFilter(
  module: GradientModule,
  backend: WasmBackend,
  filter: TensorInfo,
  out: TensorInfo,
  info: ConvolutionInfo,
): void {
  const taps = info.filterHeight * info.filterWidth
  const tapBytes = info.inChannels * info.outChannels * 4
  const [from, to] = [offset(backend, filter), offset(backend, out)]
  for (let tap = 0; tap < taps; tap++) {
    module.transpose(from + tap * tapBytes, to + (taps - 1 - tap) * tapBytes, 1, info.inChannels, info.outChannels)
  }
}

/** tfjs's own kernel, as it was before ours took its name. */
function kernelOf(
  tf: Tf,
  name: string,
): (call: { inputs: Inputs; attrs: NamedAttrMap; backend: WasmBackend }) => TensorInfo {
  const kernel = tf.getKernel(name, 'wasm')
  if (!kernel) throw new KernelError('backend.unavailable', `tfjs's wasm back end has no kernel ${name}`)
  return (call) => kernel.kernelFunc({ ...call, backend: call.backend }) as TensorInfo // these kernels give one output
}

function need(tensor: TensorInfo | undefined): TensorInfo {
  if (!tensor) throw new KernelError('kernel.failed', 'A kernel was called without one of its inputs')
  return tensor
}

function shape4(tensor: TensorInfo | undefined): Shape4 {
  return need(tensor).shape as Shape4 // tfjs calls these kernels with rank 4 only
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1)
}
