/**
 * Gradient kernels that tfjs's WebAssembly back end lacks or computes slowly, in AssemblyScript, for 128-bit SIMD.
 * The module has no memory of its own: it is instantiated over tfjs's, and every argument named after a tensor is a
 * byte offset into it. Nothing here allocates, reads a clock or knows tfjs.
 *
 * No relaxed SIMD: its fused products would be faster on some CPUs and different on others. Each sum has one order, so
 * results are equal bit for bit on every machine.
 *
 * Rebuild with kernels/backends/wasm/build.sh after a change here, and raise `kernelVersion` in ../wasm.ts.
 */

/**
 * Filter gradient of a convolution: dw[kh, kw, ci, co] = Σ over n, oh, ow of x[n, oh·sh + kh, ow·sw + kw, ci] · dy[n, oh, ow, co].
 * x must be padded already. For one kh, the taps (kw, ci) are contiguous both in a row of x and in dw, so they are one
 * dimension of `taps` = KW·Ci here, and the kernel is a product of matrices: taps × pixels times pixels × channels.
 * Image by image, so that both operands stay in the first-level cache; 4 taps × 8 channels in registers.
 */
export function filterGradient(
  x: usize, dy: usize, dw: usize,
  batch: i32, height: i32, width: i32, channelsIn: i32,
  outHeight: i32, outWidth: i32, channelsOut: i32,
  filterHeight: i32, filterWidth: i32, strideHeight: i32, strideWidth: i32,
): void {
  const taps = filterWidth * channelsIn
  memory.fill(dw, 0, (<usize>(filterHeight * taps * channelsOut)) << 2)
  const xImage: usize = (<usize>(height * width * channelsIn)) << 2
  const dyImage: usize = (<usize>(outHeight * outWidth * channelsOut)) << 2
  const xStep: usize = (<usize>(strideWidth * channelsIn)) << 2
  const dyStep: usize = (<usize>channelsOut) << 2
  const xRow: usize = (<usize>(strideHeight * width * channelsIn)) << 2
  const dyRow: usize = (<usize>(outWidth * channelsOut)) << 2
  for (let n = 0; n < batch; n++) {
    for (let kh = 0; kh < filterHeight; kh++) {
      const xBase = x + <usize>n * xImage + ((<usize>(kh * width * channelsIn)) << 2)
      const dyBase = dy + <usize>n * dyImage
      const dwBase = dw + ((<usize>(kh * taps * channelsOut)) << 2)
      let tap = 0
      for (; tap + 4 <= taps; tap += 4) {
        let co = 0
        for (; co + 8 <= channelsOut; co += 8) {
          tile4x8(xBase + (<usize>tap << 2), dyBase + (<usize>co << 2), dwBase + (<usize>(tap * channelsOut + co) << 2),
            outHeight, outWidth, xStep, dyStep, xRow, dyRow)
        }
        for (; co + 4 <= channelsOut; co += 4) {
          for (let t = tap; t < tap + 4; t++) {
            tile1x4(xBase + (<usize>t << 2), dyBase + (<usize>co << 2), dwBase + (<usize>(t * channelsOut + co) << 2),
              outHeight, outWidth, xStep, dyStep, xRow, dyRow)
          }
        }
        for (; co < channelsOut; co++) {
          for (let t = tap; t < tap + 4; t++) {
            tile1x1(xBase + (<usize>t << 2), dyBase + (<usize>co << 2), dwBase + (<usize>(t * channelsOut + co) << 2),
              outHeight, outWidth, xStep, dyStep, xRow, dyRow)
          }
        }
      }
      if (taps - tap == 3) {
        // A first layer over grey images has three taps a row: worth a tile of its own.
        let co = 0
        for (; co + 8 <= channelsOut; co += 8) {
          tile3x8(xBase + (<usize>tap << 2), dyBase + (<usize>co << 2), dwBase + (<usize>(tap * channelsOut + co) << 2),
            outHeight, outWidth, xStep, dyStep, xRow, dyRow)
        }
        for (; co < channelsOut; co++) {
          for (let t = tap; t < taps; t++) {
            tile1x1(xBase + (<usize>t << 2), dyBase + (<usize>co << 2), dwBase + (<usize>(t * channelsOut + co) << 2),
              outHeight, outWidth, xStep, dyStep, xRow, dyRow)
          }
        }
        tap = taps
      }
      for (; tap < taps; tap++) {
        let co = 0
        for (; co + 4 <= channelsOut; co += 4) {
          tile1x4(xBase + (<usize>tap << 2), dyBase + (<usize>co << 2), dwBase + (<usize>(tap * channelsOut + co) << 2),
            outHeight, outWidth, xStep, dyStep, xRow, dyRow)
        }
        for (; co < channelsOut; co++) {
          tile1x1(xBase + (<usize>tap << 2), dyBase + (<usize>co << 2), dwBase + (<usize>(tap * channelsOut + co) << 2),
            outHeight, outWidth, xStep, dyStep, xRow, dyRow)
        }
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function accumulate(at: usize, sum: v128): void {
  v128.store(at, f32x4.add(v128.load(at), sum))
}

function tile4x8(
  x: usize, dy: usize, dw: usize, rows: i32, columns: i32, xStep: usize, dyStep: usize, xRow: usize, dyRow: usize,
): void {
  let a0 = f32x4.splat(0), a1 = f32x4.splat(0), b0 = f32x4.splat(0), b1 = f32x4.splat(0)
  let c0 = f32x4.splat(0), c1 = f32x4.splat(0), d0 = f32x4.splat(0), d1 = f32x4.splat(0)
  for (let row = 0; row < rows; row++) {
    let px = x + <usize>row * xRow
    let py = dy + <usize>row * dyRow
    for (let column = 0; column < columns; column++) {
      const y0 = v128.load(py)
      const y1 = v128.load(py, 16)
      let tap = v128.load32_splat(px)
      a0 = f32x4.add(a0, f32x4.mul(tap, y0))
      a1 = f32x4.add(a1, f32x4.mul(tap, y1))
      tap = v128.load32_splat(px, 4)
      b0 = f32x4.add(b0, f32x4.mul(tap, y0))
      b1 = f32x4.add(b1, f32x4.mul(tap, y1))
      tap = v128.load32_splat(px, 8)
      c0 = f32x4.add(c0, f32x4.mul(tap, y0))
      c1 = f32x4.add(c1, f32x4.mul(tap, y1))
      tap = v128.load32_splat(px, 12)
      d0 = f32x4.add(d0, f32x4.mul(tap, y0))
      d1 = f32x4.add(d1, f32x4.mul(tap, y1))
      px += xStep
      py += dyStep
    }
  }
  accumulate(dw, a0)
  accumulate(dw + 16, a1)
  accumulate(dw + dyStep, b0)
  accumulate(dw + dyStep + 16, b1)
  accumulate(dw + 2 * dyStep, c0)
  accumulate(dw + 2 * dyStep + 16, c1)
  accumulate(dw + 3 * dyStep, d0)
  accumulate(dw + 3 * dyStep + 16, d1)
}

function tile3x8(
  x: usize, dy: usize, dw: usize, rows: i32, columns: i32, xStep: usize, dyStep: usize, xRow: usize, dyRow: usize,
): void {
  let a0 = f32x4.splat(0), a1 = f32x4.splat(0), b0 = f32x4.splat(0), b1 = f32x4.splat(0)
  let c0 = f32x4.splat(0), c1 = f32x4.splat(0)
  for (let row = 0; row < rows; row++) {
    let px = x + <usize>row * xRow
    let py = dy + <usize>row * dyRow
    for (let column = 0; column < columns; column++) {
      const y0 = v128.load(py)
      const y1 = v128.load(py, 16)
      let tap = v128.load32_splat(px)
      a0 = f32x4.add(a0, f32x4.mul(tap, y0))
      a1 = f32x4.add(a1, f32x4.mul(tap, y1))
      tap = v128.load32_splat(px, 4)
      b0 = f32x4.add(b0, f32x4.mul(tap, y0))
      b1 = f32x4.add(b1, f32x4.mul(tap, y1))
      tap = v128.load32_splat(px, 8)
      c0 = f32x4.add(c0, f32x4.mul(tap, y0))
      c1 = f32x4.add(c1, f32x4.mul(tap, y1))
      px += xStep
      py += dyStep
    }
  }
  accumulate(dw, a0)
  accumulate(dw + 16, a1)
  accumulate(dw + dyStep, b0)
  accumulate(dw + dyStep + 16, b1)
  accumulate(dw + 2 * dyStep, c0)
  accumulate(dw + 2 * dyStep + 16, c1)
}

function tile1x4(
  x: usize, dy: usize, dw: usize, rows: i32, columns: i32, xStep: usize, dyStep: usize, xRow: usize, dyRow: usize,
): void {
  let sum = f32x4.splat(0)
  for (let row = 0; row < rows; row++) {
    let px = x + <usize>row * xRow
    let py = dy + <usize>row * dyRow
    for (let column = 0; column < columns; column++) {
      sum = f32x4.add(sum, f32x4.mul(v128.load32_splat(px), v128.load(py)))
      px += xStep
      py += dyStep
    }
  }
  accumulate(dw, sum)
}

function tile1x1(
  x: usize, dy: usize, dw: usize, rows: i32, columns: i32, xStep: usize, dyStep: usize, xRow: usize, dyRow: usize,
): void {
  let sum: f32 = 0
  for (let row = 0; row < rows; row++) {
    let px = x + <usize>row * xRow
    let py = dy + <usize>row * dyRow
    for (let column = 0; column < columns; column++) {
      sum += load<f32>(px) * load<f32>(py)
      px += xStep
      py += dyStep
    }
  }
  store<f32>(dw, load<f32>(dw) + sum)
}

/**
 * Copies images into the middle of larger, zeroed ones: padding (step 1) and, for the input gradient of strided
 * convolutions, spreading pixels `stepHeight` × `stepWidth` apart. `out` has outHeight × outWidth pixels.
 */
export function spread(
  x: usize, out: usize, batch: i32, height: i32, width: i32, channels: i32,
  outHeight: i32, outWidth: i32, top: i32, left: i32, stepHeight: i32, stepWidth: i32,
): void {
  memory.fill(out, 0, (<usize>(batch * outHeight * outWidth * channels)) << 2)
  const pixel: usize = (<usize>channels) << 2
  for (let n = 0; n < batch; n++) {
    for (let row = 0; row < height; row++) {
      let from = x + <usize>((n * height + row) * width) * pixel
      let to = out + <usize>((n * outHeight + top + row * stepHeight) * outWidth + left) * pixel
      if (stepWidth == 1) {
        memory.copy(to, from, <usize>width * pixel)
        continue
      }
      for (let column = 0; column < width; column++) {
        memory.copy(to, from, pixel)
        from += pixel
        to += <usize>stepWidth * pixel
      }
    }
  }
}

/** out[column, row] = x[row, column], in tiles of 4 × 4 where they fit, for `batch` matrices. */
export function transpose(x: usize, out: usize, batch: i32, rows: i32, columns: i32): void {
  const xRow: usize = (<usize>columns) << 2
  const outRow: usize = (<usize>rows) << 2
  const matrix: usize = <usize>rows * xRow
  for (let n = 0; n < batch; n++) {
    const from = x + <usize>n * matrix
    const to = out + <usize>n * matrix
    let row = 0
    for (; row + 4 <= rows; row += 4) {
      let column = 0
      for (; column + 4 <= columns; column += 4) {
        const at = from + <usize>row * xRow + (<usize>column << 2)
        const r0 = v128.load(at)
        const r1 = v128.load(at + xRow)
        const r2 = v128.load(at + 2 * xRow)
        const r3 = v128.load(at + 3 * xRow)
        const low01 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5)
        const high01 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7)
        const low23 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5)
        const high23 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7)
        const put = to + <usize>column * outRow + (<usize>row << 2)
        v128.store(put, v128.shuffle<f32>(low01, low23, 0, 1, 4, 5))
        v128.store(put + outRow, v128.shuffle<f32>(low01, low23, 2, 3, 6, 7))
        v128.store(put + 2 * outRow, v128.shuffle<f32>(high01, high23, 0, 1, 4, 5))
        v128.store(put + 3 * outRow, v128.shuffle<f32>(high01, high23, 2, 3, 6, 7))
      }
      for (; column < columns; column++) {
        for (let r = row; r < row + 4; r++) {
          store<f32>(to + <usize>column * outRow + (<usize>r << 2), load<f32>(from + <usize>r * xRow + (<usize>column << 2)))
        }
      }
    }
    for (; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        store<f32>(to + <usize>column * outRow + (<usize>row << 2), load<f32>(from + <usize>row * xRow + (<usize>column << 2)))
      }
    }
  }
}

/** out[column] = Σ over rows of x[row, column]: the gradient of a bias. Rows are added in blocks of 64, which keeps rounding small. */
export function sumRows(x: usize, out: usize, rows: i32, columns: i32): void {
  const rowBytes: usize = (<usize>columns) << 2
  memory.fill(out, 0, rowBytes)
  for (let block = 0; block < rows; block += 64) {
    const end = min(block + 64, rows)
    let column = 0
    for (; column + 4 <= columns; column += 4) {
      let sum = f32x4.splat(0)
      let at = x + <usize>block * rowBytes + (<usize>column << 2)
      for (let row = block; row < end; row++) {
        sum = f32x4.add(sum, v128.load(at))
        at += rowBytes
      }
      accumulate(out + (<usize>column << 2), sum)
    }
    for (; column < columns; column++) {
      let sum: f32 = 0
      let at = x + <usize>block * rowBytes + (<usize>column << 2)
      for (let row = block; row < end; row++) {
        sum += load<f32>(at)
        at += rowBytes
      }
      const to = out + (<usize>column << 2)
      store<f32>(to, load<f32>(to) + sum)
    }
  }
}

/** out[segment[i]] += x[i] for rows of `width` numbers; a segment out of range is left out, as TensorFlow does. */
export function segmentSum(x: usize, segments: usize, out: usize, rows: i32, width: i32, count: i32): void {
  memory.fill(out, 0, (<usize>(count * width)) << 2)
  for (let row = 0; row < rows; row++) {
    const segment = load<i32>(segments + (<usize>row << 2))
    if (segment < 0 || segment >= count) continue
    let from = x + (<usize>(row * width) << 2)
    let to = out + (<usize>(segment * width) << 2)
    let k = 0
    for (; k + 4 <= width; k += 4) {
      accumulate(to, v128.load(from))
      from += 16
      to += 16
    }
    for (; k < width; k++) {
      store<f32>(to, load<f32>(to) + load<f32>(from))
      from += 4
      to += 4
    }
  }
}

/**
 * Filter gradient of a depthwise convolution, x padded already:
 * dw[kh, kw, c, m] = Σ over n, oh, ow of x[n, oh·sh + kh, ow·sw + kw, c] · dy[n, oh, ow, c·M + m].
 */
export function depthwiseFilterGradient(
  x: usize, dy: usize, dw: usize,
  batch: i32, height: i32, width: i32, channels: i32, multiplier: i32,
  outHeight: i32, outWidth: i32, filterHeight: i32, filterWidth: i32, strideHeight: i32, strideWidth: i32,
): void {
  const outChannels = channels * multiplier
  memory.fill(dw, 0, (<usize>(filterHeight * filterWidth * outChannels)) << 2)
  for (let n = 0; n < batch; n++) {
    for (let kh = 0; kh < filterHeight; kh++) {
      for (let kw = 0; kw < filterWidth; kw++) {
        const dwBase = dw + (<usize>((kh * filterWidth + kw) * outChannels) << 2)
        let c = 0
        for (; multiplier == 1 && c + 4 <= channels; c += 4) {
          let sum = f32x4.splat(0)
          for (let oh = 0; oh < outHeight; oh++) {
            let px = x + (<usize>(((n * height + oh * strideHeight + kh) * width + kw) * channels + c) << 2)
            let py = dy + (<usize>((n * outHeight + oh) * outWidth * channels + c) << 2)
            for (let ow = 0; ow < outWidth; ow++) {
              sum = f32x4.add(sum, f32x4.mul(v128.load(px), v128.load(py)))
              px += <usize>(strideWidth * channels) << 2
              py += <usize>channels << 2
            }
          }
          accumulate(dwBase + (<usize>c << 2), sum)
        }
        for (let k = c * multiplier; k < outChannels; k++) {
          const channel = k / multiplier
          let sum: f32 = 0
          for (let oh = 0; oh < outHeight; oh++) {
            let px = x + (<usize>(((n * height + oh * strideHeight + kh) * width + kw) * channels + channel) << 2)
            let py = dy + (<usize>((n * outHeight + oh) * outWidth * outChannels + k) << 2)
            for (let ow = 0; ow < outWidth; ow++) {
              sum += load<f32>(px) * load<f32>(py)
              px += <usize>(strideWidth * channels) << 2
              py += <usize>outChannels << 2
            }
          }
          const to = dwBase + (<usize>k << 2)
          store<f32>(to, load<f32>(to) + sum)
        }
      }
    }
  }
}

/**
 * Input gradient of a depthwise convolution, into a padded image:
 * dx[n, oh·sh + kh, ow·sw + kw, c] += dy[n, oh, ow, c·M + m] · w[kh, kw, c, m].
 */
export function depthwiseInputGradient(
  dy: usize, w: usize, dx: usize,
  batch: i32, height: i32, width: i32, channels: i32, multiplier: i32,
  outHeight: i32, outWidth: i32, filterHeight: i32, filterWidth: i32, strideHeight: i32, strideWidth: i32,
): void {
  const outChannels = channels * multiplier
  memory.fill(dx, 0, (<usize>(batch * height * width * channels)) << 2)
  for (let n = 0; n < batch; n++) {
    for (let oh = 0; oh < outHeight; oh++) {
      for (let kh = 0; kh < filterHeight; kh++) {
        for (let ow = 0; ow < outWidth; ow++) {
          const py = dy + (<usize>(((n * outHeight + oh) * outWidth + ow) * outChannels) << 2)
          for (let kw = 0; kw < filterWidth; kw++) {
            const pw = w + (<usize>((kh * filterWidth + kw) * outChannels) << 2)
            const px = dx + (<usize>(((n * height + oh * strideHeight + kh) * width + ow * strideWidth + kw) * channels) << 2)
            let c = 0
            for (; multiplier == 1 && c + 4 <= channels; c += 4) {
              const offset = <usize>c << 2
              accumulate(px + offset, f32x4.mul(v128.load(py + offset), v128.load(pw + offset)))
            }
            for (let k = c * multiplier; k < outChannels; k++) {
              const to = px + (<usize>(k / multiplier) << 2)
              store<f32>(to, load<f32>(to) + load<f32>(py + (<usize>k << 2)) * load<f32>(pw + (<usize>k << 2)))
            }
          }
        }
      }
    }
  }
}

/** Cuts the padding off again: the reverse of `spread` with steps of 1. */
export function crop(
  x: usize, out: usize, batch: i32, height: i32, width: i32, channels: i32, outHeight: i32, outWidth: i32, top: i32, left: i32,
): void {
  const pixel: usize = (<usize>channels) << 2
  for (let n = 0; n < batch; n++) {
    for (let row = 0; row < outHeight; row++) {
      memory.copy(
        out + <usize>((n * outHeight + row) * outWidth) * pixel,
        x + <usize>((n * height + top + row) * width + left) * pixel,
        <usize>outWidth * pixel,
      )
    }
  }
}

/**
 * Gradient of max pooling over a padded-free window grid: each output's gradient goes to the first largest input of its
 * window, as on the cpu back end. `top` and `left` are the padding before the image.
 */
export function maxPoolGradient(
  x: usize, dy: usize, dx: usize, batch: i32, height: i32, width: i32, channels: i32,
  outHeight: i32, outWidth: i32, filterHeight: i32, filterWidth: i32, strideHeight: i32, strideWidth: i32, top: i32, left: i32,
): void {
  memory.fill(dx, 0, (<usize>(batch * height * width * channels)) << 2)
  const pixel: usize = (<usize>channels) << 2
  for (let n = 0; n < batch; n++) {
    for (let oh = 0; oh < outHeight; oh++) {
      const rowStart = max(0, oh * strideHeight - top)
      const rowEnd = min(height, oh * strideHeight - top + filterHeight)
      for (let ow = 0; ow < outWidth; ow++) {
        const columnStart = max(0, ow * strideWidth - left)
        const columnEnd = min(width, ow * strideWidth - left + filterWidth)
        const py = dy + <usize>((n * outHeight + oh) * outWidth + ow) * pixel
        let c = 0
        for (; c + 4 <= channels; c += 4) {
          const offset = <usize>c << 2
          let best = f32x4.splat(-Infinity)
          let where = i32x4.splat(-1)
          for (let row = rowStart; row < rowEnd; row++) {
            for (let column = columnStart; column < columnEnd; column++) {
              const position = (n * height + row) * width + column
              const value = v128.load(x + <usize>position * pixel + offset)
              const larger = f32x4.gt(value, best)
              best = v128.bitselect(value, best, larger)
              where = v128.bitselect(i32x4.splat(position), where, larger)
            }
          }
          const gradient = v128.load(py + offset)
          addAt(dx, i32x4.extract_lane(where, 0), pixel, offset, f32x4.extract_lane(gradient, 0))
          addAt(dx, i32x4.extract_lane(where, 1), pixel, offset + 4, f32x4.extract_lane(gradient, 1))
          addAt(dx, i32x4.extract_lane(where, 2), pixel, offset + 8, f32x4.extract_lane(gradient, 2))
          addAt(dx, i32x4.extract_lane(where, 3), pixel, offset + 12, f32x4.extract_lane(gradient, 3))
        }
        for (; c < channels; c++) {
          let best: f32 = -Infinity
          let where = -1
          for (let row = rowStart; row < rowEnd; row++) {
            for (let column = columnStart; column < columnEnd; column++) {
              const position = (n * height + row) * width + column
              const value = load<f32>(x + <usize>position * pixel + (<usize>c << 2))
              if (value > best) {
                best = value
                where = position
              }
            }
          }
          addAt(dx, where, pixel, <usize>c << 2, load<f32>(py + (<usize>c << 2)))
        }
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function addAt(dx: usize, position: i32, pixel: usize, offset: usize, value: f32): void {
  // Nothing was larger than −∞: the window held NaN, and the loss will say so.
  if (position < 0) return
  const at = dx + <usize>position * pixel + offset
  store<f32>(at, load<f32>(at) + value)
}

/** out = dy where y > 0, else 0: the gradient of ReLU in one pass instead of a step function and a product. */
export function reluGradient(dy: usize, y: usize, out: usize, size: i32): void {
  let i = 0
  for (; i + 4 <= size; i += 4) {
    const offset = <usize>i << 2
    v128.store(out + offset, v128.and(v128.load(dy + offset), f32x4.gt(v128.load(y + offset), f32x4.splat(0))))
  }
  for (; i < size; i++) {
    const offset = <usize>i << 2
    store<f32>(out + offset, load<f32>(y + offset) > 0 ? load<f32>(dy + offset) : 0)
  }
}
