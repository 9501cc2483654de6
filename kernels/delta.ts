/**
 * Weights as they travel: whole, or as the difference to weights that both ends have, in fewer bits. What the bits
 * cannot say is not lost: the sender keeps the error and adds it to its next difference (error feedback, Seide et al.
 * 2014; Karimireddy et al. 2019, 1901.09847). The error is state like an optimiser's: it is stored with the checkpoint,
 * so that whoever goes on with a replica sends the same bytes.
 *
 *   float16   the difference rounded to half precision, cut at its largest number
 *   int8      the difference in units of a 127th of the tensor's largest, rounded half away from zero
 *
 * Most differences are small beside the largest, so their bytes are worth deflating (RFC 1951): int8 by a sixth to a third.
 * `float32` is no difference at all: the weights themselves, exact.
 */
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib'
import { KernelError } from './errors.ts'
import { decodeTensors, encodeTensors } from './safetensors.ts'
import type { NamedTensor } from './safetensors.ts'

export const DELTA_PRECISIONS = ['float32', 'float16', 'int8'] as const
export type DeltaPrecision = (typeof DELTA_PRECISIONS)[number]

export type FloatTensor = NamedTensor & { dtype: 'F32' }

export interface EncodedDelta {
  bytes: Uint8Array
  /** What the bytes do not say, for the next delta of the same sender. */
  error: FloatTensor[]
}

const FLOAT16_MAX = 65_504
const INT8_MAX = 127
/** One value per tensor, in the order of the tensors. */
const UNITS = 'units'
/** All tensors of a delta, deflated. */
const DEFLATED = 'deflated'
/** More than a tensor's entry takes in a header beside its name. */
const ENTRY_BYTES_MAX = 256

/** The way from `start` to `end`, with the error of the delta before it. All three have the same tensors. */
export function encodeDelta(
  precision: Exclude<DeltaPrecision, 'float32'>,
  start: readonly FloatTensor[],
  end: readonly FloatTensor[],
  error: readonly FloatTensor[] | undefined,
): EncodedDelta {
  const units = new Float32Array(start.length)
  const errors: FloatTensor[] = []
  const sent = start.map((from, t): NamedTensor => {
    const to = end[t]!.data
    const before = error?.[t]?.data
    const wanted = new Float32Array(from.data.length)
    for (let i = 0; i < wanted.length; i++) wanted[i] = to[i]! - from.data[i]! + (before?.[i] ?? 0)
    const { tensor, said } = precision === 'int8' ? toInt8(from, wanted, units, t) : toFloat16(from, wanted)
    for (let i = 0; i < wanted.length; i++) wanted[i] = wanted[i]! - said[i]!
    errors.push({ ...from, data: wanted })
    return tensor
  })
  const unitTensor: NamedTensor = { name: UNITS, shape: [units.length], dtype: 'F32', data: units }
  const whole = encodeTensors(precision === 'int8' ? [unitTensor, ...sent] : sent)
  // Values do not repeat each other: looking for repetitions costs thrice the time and finds nothing.
  const data = new Uint8Array(deflateRawSync(whole, { strategy: constants.Z_HUFFMAN_ONLY }))
  const bytes = encodeTensors([{ name: DEFLATED, shape: [data.length], dtype: 'U8', data }], { delta: precision })
  return { bytes, error: errors }
}

/** What weights become by bytes that are either a delta to them, or weights themselves. */
export function applyDelta(start: readonly FloatTensor[], bytes: Uint8Array, whose: string): FloatTensor[] {
  const { tensors, metadata } = decodeTensors(bytes)
  const precision = metadata['delta']
  if (precision === undefined) return floatsOf(tensors, whose, start)
  const sent = decodeTensors(inflated(tensors[0], start, whose)).tensors
  const [units, ...rest] = precision === 'int8' ? sent : [undefined, ...sent]
  return start.map((from, t): FloatTensor => {
    const tensor = rest[t]
    if (tensor?.name !== from.name || tensor.data.length !== from.data.length) throw mismatch(whose, from.name)
    const said = saidBy(tensor, units?.dtype === 'F32' ? (units.data[t] ?? 0) : 0, whose)
    const data = new Float32Array(said.length)
    for (let i = 0; i < data.length; i++) data[i] = from.data[i]! + said[i]!
    return { ...from, data }
  })
}

/** What was deflated, if it is no more than a delta to these weights can be. */
function inflated(tensor: NamedTensor | undefined, start: readonly FloatTensor[], whose: string): Uint8Array {
  if (tensor?.dtype !== 'U8') throw mismatch(whose, tensor?.name)
  const maxOutputLength = start.reduce(
    (sum, { name, data }) => sum + data.byteLength + Buffer.byteLength(JSON.stringify(name)) + ENTRY_BYTES_MAX,
    ENTRY_BYTES_MAX,
  )
  try {
    return inflateRawSync(tensor.data, { maxOutputLength })
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    const message = `Cannot use ${whose}: its delta cannot be inflated to at most ${maxOutputLength} bytes (${reason})`
    throw new KernelError('weights.malformed', message, { whose, maxOutputLength }, error)
  }
}

/** The float32 tensors of a file, which must be those of `like` where that is given. */
export function floatsOf(tensors: readonly NamedTensor[], whose: string, like?: readonly FloatTensor[]): FloatTensor[] {
  const floats = tensors.map((tensor) => {
    if (tensor.dtype === 'F32') return tensor
    throw new KernelError('weights.mismatch', `Cannot use ${whose}: ${tensor.name} is ${tensor.dtype}, expected F32`, {
      tensor: tensor.name,
    })
  })
  const odd = like?.find(
    (tensor, i) => floats[i]?.name !== tensor.name || floats[i].shape.join() !== tensor.shape.join(),
  )
  if (odd || (like && like.length !== floats.length)) throw mismatch(whose, odd?.name)
  return floats
}

function toInt8(
  { name, shape }: FloatTensor,
  wanted: Float32Array,
  units: Float32Array,
  index: number,
): { tensor: NamedTensor; said: Float32Array } {
  let largest = 0
  for (const value of wanted) largest = Math.max(largest, Math.abs(value))
  // The unit as the receiver will read it: in float32.
  units[index] = largest / INT8_MAX
  const unit = units[index]
  const data = new Int8Array(wanted.length)
  if (unit > 0) {
    for (let i = 0; i < data.length; i++) {
      const steps = Math.min(INT8_MAX, Math.floor(Math.abs(wanted[i]!) / unit + 0.5))
      data[i] = wanted[i]! < 0 ? -steps : steps
    }
  }
  return { tensor: { name, shape, dtype: 'I8', data }, said: fromInt8(data, unit) }
}

function toFloat16({ name, shape }: FloatTensor, wanted: Float32Array): { tensor: NamedTensor; said: Float32Array } {
  const half = new Float16Array(wanted.length)
  for (let i = 0; i < half.length; i++) half[i] = Math.min(FLOAT16_MAX, Math.max(-FLOAT16_MAX, wanted[i]!))
  return { tensor: { name, shape, dtype: 'F16', data: new Uint16Array(half.buffer) }, said: Float32Array.from(half) }
}

function saidBy(tensor: NamedTensor, unit: number, whose: string): Float32Array {
  if (tensor.dtype === 'I8') return fromInt8(tensor.data, unit)
  if (tensor.dtype !== 'F16') throw mismatch(whose, tensor.name)
  // A copy, since a view of 16 bits may begin where a Float16Array may not.
  return Float32Array.from(new Float16Array(tensor.data.slice().buffer))
}

function fromInt8(data: Int8Array, unit: number): Float32Array {
  return Float32Array.from(data, (steps) => steps * unit)
}

function mismatch(whose: string, name: string | undefined): KernelError {
  return new KernelError(
    'weights.mismatch',
    `Cannot use ${whose}: its weights are not those of the model${name === undefined ? '' : ` (${name})`}`,
    { whose },
  )
}
