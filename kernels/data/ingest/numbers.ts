/**
 * Numbers as files hold them, of every width, sign and byte order, into the three types of a column. A batch is decoded
 * at once: one loop for each type, since a test of the type inside the loop would cost more than the decoding.
 */
import { KernelError } from '../../errors.ts'
import { newValues } from '../column.ts'
import type { Dtype, Values } from '../column.ts'

export type FileType = 'u1' | 'i1' | 'u2' | 'i2' | 'u4' | 'i4' | 'u8' | 'i8' | 'f2' | 'f4' | 'f8' | 'b1'

export const FILE_TYPE_BYTES: Readonly<Record<FileType, number>> = {
  u1: 1, i1: 1, b1: 1, u2: 2, i2: 2, f2: 2, u4: 4, i4: 4, f4: 4, u8: 8, i8: 8, f8: 8,
} // prettier-ignore

/** What a column holds of it. */
export const COLUMN_DTYPE: Readonly<Record<FileType, Dtype>> = {
  u1: 'uint8', b1: 'uint8', i1: 'int32', u2: 'int32', i2: 'int32', i4: 'int32', u4: 'int32', u8: 'int32', i8: 'int32',
  f2: 'float32', f4: 'float32', f8: 'float32',
} // prettier-ignore

/** Decodes numbers that follow one another; a view of the same bytes where they are what a column holds already. */
export function decodeNumbers(bytes: Uint8Array, type: FileType, isLittle: boolean, name: string): Values {
  const count = bytes.byteLength / FILE_TYPE_BYTES[type]
  const isAligned = bytes.byteOffset % 4 === 0
  if (type === 'u1' || type === 'b1') return bytes
  if (isLittle && isAligned && type === 'f4') return new Float32Array(bytes.buffer, bytes.byteOffset, count)
  if (isLittle && isAligned && type === 'i4') return new Int32Array(bytes.buffer, bytes.byteOffset, count)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const values = newValues(COLUMN_DTYPE[type], count)
  switch (type) {
    case 'i1':
      for (let i = 0; i < count; i++) values[i] = view.getInt8(i)
      break
    case 'u2':
      for (let i = 0; i < count; i++) values[i] = view.getUint16(i * 2, isLittle)
      break
    case 'i2':
      for (let i = 0; i < count; i++) values[i] = view.getInt16(i * 2, isLittle)
      break
    case 'f2':
      for (let i = 0; i < count; i++) values[i] = HALVES[view.getUint16(i * 2, isLittle)] ?? 0
      break
    case 'i4':
      for (let i = 0; i < count; i++) values[i] = view.getInt32(i * 4, isLittle)
      break
    case 'u4':
      for (let i = 0; i < count; i++) values[i] = fitting(view.getUint32(i * 4, isLittle), name)
      break
    case 'f4':
      for (let i = 0; i < count; i++) values[i] = view.getFloat32(i * 4, isLittle)
      break
    case 'f8':
      for (let i = 0; i < count; i++) values[i] = view.getFloat64(i * 8, isLittle)
      break
    case 'i8':
    case 'u8':
      // By halves: a BigInt of each would take most of the time.
      for (let i = 0; i < count; i++) {
        const low = view.getInt32(i * 8 + (isLittle ? 0 : 4), isLittle)
        const high = view.getInt32(i * 8 + (isLittle ? 4 : 0), isLittle)
        if (high === low >> 31 && (type === 'i8' || low >= 0)) values[i] = low
        else
          fitting(Number(type === 'i8' ? view.getBigInt64(i * 8, isLittle) : view.getBigUint64(i * 8, isLittle)), name)
      }
      break
  }
  return values
}

/** A whole number as int32 holds it; one that it cannot hold is an error, never another number. */
export function fitting(value: number, name: string): number {
  if (value >= -2_147_483_648 && value <= 2_147_483_647) return value
  throw new KernelError(
    'data.malformed',
    `Cannot read ${name}: expected whole numbers of 32 bits, found ${value}; store it as floating point instead`,
    { file: name, expected: 'whole numbers of 32 bits', found: String(value) },
  )
}

/** Every number of half precision, by its bits. */
const HALVES = Float32Array.from({ length: 65_536 }, (_, bits) => halfToNumber(bits))

/** IEEE 754's half precision. */
function halfToNumber(bits: number): number {
  const sign = (bits & 0x8000) === 0 ? 1 : -1
  const exponent = (bits >> 10) & 0x1f
  const fraction = bits & 0x3ff
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : Number.NaN
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}
