/**
 * NumPy's file format for one array (NEP 1, version 1.0): a magic, a header that is a Python dictionary, the elements in
 * C order. What kernel jobs give, and may take.
 */
import { KernelError } from './errors.ts'
import { elementCount } from './safetensors.ts'

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]
const HEADER_ALIGNMENT = 64
const HEADER_BYTES_MAX = 64 * 1024

/** What stands before the elements of a float32 array of this shape. */
export function npyHeader(shape: readonly number[]): Uint8Array {
  const dimensions = shape.length === 1 ? `${shape[0]},` : shape.join(', ')
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${dimensions}), }`
  const length = Math.ceil((10 + text.length + 1) / HEADER_ALIGNMENT) * HEADER_ALIGNMENT
  const header = new Uint8Array(length).fill(0x20)
  header.set([...MAGIC, 1, 0, (length - 10) & 0xff, (length - 10) >> 8])
  header.set(new TextEncoder().encode(text), 10)
  header[length - 1] = 0x0a
  return header
}

export interface NpyArray {
  shape: number[]
  values: Float32Array
}

/** Reads numbers of any of NumPy's common kinds as float32. */
export function decodeNpy(bytes: Uint8Array): NpyArray {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (!MAGIC.every((byte, i) => bytes[i] === byte)) throw malformed('it does not start as one')
  const version = bytes[6] ?? 0
  const headerBytes = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true)
  const start = (version === 1 ? 10 : 12) + headerBytes
  if (headerBytes > HEADER_BYTES_MAX || start > bytes.byteLength) throw malformed('its header has no end')
  const header = new TextDecoder('latin1').decode(bytes.subarray(version === 1 ? 10 : 12, start))
  const descr = /'descr':\s*'([^']*)'/.exec(header)?.[1] ?? ''
  const dimensions = /'shape':\s*\(([^)]*)\)/.exec(header)?.[1] ?? ''
  if (/'fortran_order':\s*True/.test(header)) throw malformed('its elements are in Fortran order')
  const shape = dimensions.split(',').map((part) => part.trim()).filter(Boolean).map(Number) // prettier-ignore
  const read = READERS[descr]
  if (read === undefined) throw malformed(`its elements are ${descr}, none of ${Object.keys(READERS).join(', ')}`)
  const count = elementCount(shape)
  const [size, at] = read
  if (!Number.isSafeInteger(count) || start + count * size !== bytes.byteLength) {
    throw malformed(`${bytes.byteLength - start} bytes are not ${count} elements`)
  }
  return { shape, values: Float32Array.from({ length: count }, (_, i) => at(view, start + i * size)) }
}

/** By NumPy's name: how many bytes an element has, and how to read it. */
const READERS: Readonly<Record<string, readonly [number, (view: DataView, at: number) => number]>> = {
  '<f4': [4, (view, at) => view.getFloat32(at, true)],
  '<f8': [8, (view, at) => view.getFloat64(at, true)],
  '<i4': [4, (view, at) => view.getInt32(at, true)],
  '<i8': [8, (view, at) => Number(view.getBigInt64(at, true))],
  '<i2': [2, (view, at) => view.getInt16(at, true)],
  '<u2': [2, (view, at) => view.getUint16(at, true)],
  '|u1': [1, (view, at) => view.getUint8(at)],
  '|i1': [1, (view, at) => view.getInt8(at)],
  '|b1': [1, (view, at) => view.getUint8(at)],
}

function malformed(reason: string): KernelError {
  return new KernelError('data.malformed', `This is no NPY file that can be read: ${reason}`)
}
