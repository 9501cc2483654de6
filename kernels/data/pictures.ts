/**
 * What is done to pictures, each a run of [height, width, channels] values: another size, and the random changes of
 * augmentation. A picture's changes follow from one seed, so that an example of an epoch is the same wherever and
 * however often it is computed.
 *
 * Flips, shifts, turns and crops are one mapping of places, taken backwards (for each new pixel, where it comes from)
 * with bilinear interpolation. What comes from outside of the picture is 0.
 */
import { random } from '../random.ts'
import type { AugmentOptions } from './preprocess.ts'

type Size = readonly number[] // [height, width, channels]

/** Bilinear, with the corners of pixels aligned, as `tf.image.resizeBilinear(…, halfPixelCenters: true)` does. */
export function resize(from: Float32Array, fromSize: Size, to: Float32Array, toSize: Size): void {
  const [height = 1, width = 1, channels = 1] = fromSize
  const [newHeight = 1, newWidth = 1] = toSize
  for (let y = 0; y < newHeight; y++) {
    const sourceY = clamp(((y + 0.5) * height) / newHeight - 0.5, height - 1)
    const top = Math.floor(sourceY)
    const bottom = Math.min(top + 1, height - 1)
    const down = sourceY - top
    for (let x = 0; x < newWidth; x++) {
      const sourceX = clamp(((x + 0.5) * width) / newWidth - 0.5, width - 1)
      const left = Math.floor(sourceX)
      const right = Math.min(left + 1, width - 1)
      const across = sourceX - left
      for (let c = 0; c < channels; c++) {
        const at = (row: number, column: number): number => from[(row * width + column) * channels + c] ?? 0
        const upper = at(top, left) * (1 - across) + at(top, right) * across
        const lower = at(bottom, left) * (1 - across) + at(bottom, right) * across
        to[(y * newWidth + x) * channels + c] = upper * (1 - down) + lower * down
      }
    }
  }
}

/** Changes one picture in place. `spare` is as large as it and is overwritten. */
export function augment(
  picture: Float32Array,
  size: Size,
  options: AugmentOptions,
  seed: number,
  spare: Float32Array,
): void {
  const { flip, shift = 0, rotate = 0, crop = 0, brightness = 0, noise = 0 } = options
  const [height = 1, width = 1, channels = 1] = size
  const generator = random(seed)
  const nextUnit = (): number => generator.nextUnit()
  // Every draw is made whether it is used or not: one option does not change what another draws.
  const [flipX, flipY, dx, dy] = [generator.nextBelow(2), generator.nextBelow(2), nextUnit(), nextUnit()]
  const [turn, shrink, placeX, placeY, light] = [nextUnit(), nextUnit(), nextUnit(), nextUnit(), nextUnit()]
  const mirrorX = flipX === 1 && (flip === 'horizontal' || flip === 'both') ? -1 : 1
  const mirrorY = flipY === 1 && (flip === 'vertical' || flip === 'both') ? -1 : 1
  const moveX = Math.round((dx * 2 - 1) * shift)
  const moveY = Math.round((dy * 2 - 1) * shift)
  const angle = ((turn * 2 - 1) * rotate * Math.PI) / 180
  const scale = 1 - shrink * crop
  const [centreX, centreY] = [(width - 1) / 2, (height - 1) / 2]
  const cropX = (placeX - 0.5) * (1 - scale) * (width - 1)
  const cropY = (placeY - 0.5) * (1 - scale) * (height - 1)
  const isMoved = mirrorX < 0 || mirrorY < 0 || moveX !== 0 || moveY !== 0 || angle !== 0 || scale !== 1
  if (isMoved) {
    spare.set(picture)
    const [cos, sin] = [Math.cos(angle) * scale, Math.sin(angle) * scale]
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const [u, v] = [(x - centreX) * mirrorX - moveX, (y - centreY) * mirrorY - moveY]
        const fromX = centreX + cos * u - sin * v + cropX
        const fromY = centreY + sin * u + cos * v + cropY
        sample(spare, height, width, channels, fromY, fromX, picture, (y * width + x) * channels)
      }
    }
  }
  const gain = 1 + (light * 2 - 1) * brightness
  if (gain !== 1) for (let i = 0; i < picture.length; i++) picture[i] = (picture[i] ?? 0) * gain
  if (noise > 0) for (let i = 0; i < picture.length; i++) picture[i] = (picture[i] ?? 0) + noise * normal(nextUnit)
}

function sample(
  from: Float32Array,
  height: number,
  width: number,
  channels: number,
  y: number,
  x: number,
  to: Float32Array,
  at: number,
): void {
  const [top, left] = [Math.floor(y), Math.floor(x)]
  const [down, across] = [y - top, x - left]
  for (let c = 0; c < channels; c++) {
    let sum = 0
    for (const [row, column, weight] of [
      [top, left, (1 - down) * (1 - across)],
      [top, left + 1, (1 - down) * across],
      [top + 1, left, down * (1 - across)],
      [top + 1, left + 1, down * across],
    ] as const) {
      if (weight === 0 || row < 0 || column < 0 || row >= height || column >= width) continue
      sum += weight * (from[(row * width + column) * channels + c] ?? 0)
    }
    to[at + c] = sum
  }
}

/** Box and Muller's transform of two uniform numbers. */
function normal(nextUnit: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - nextUnit())) * Math.cos(2 * Math.PI * nextUnit())
}

function clamp(value: number, max: number): number {
  return Math.min(Math.max(value, 0), max)
}
