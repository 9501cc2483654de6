/**
 * Named tensors as bytes, in Hugging Face's safetensors format (https://github.com/huggingface/safetensors), which
 * Python reads: 8 bytes little-endian header length, a JSON header padded with spaces to a multiple of 8, the tensors'
 * raw little-endian bytes without holes.
 *
 * Equal tensors in equal order give equal bytes: the header is written in the given order with a fixed formatting, so
 * the sha256 of a weights file stands for the weights. Decoding trusts nothing: every offset, shape and type is checked
 * before a view is made, and views do not copy unless alignment forces it.
 */
import { KernelError } from './errors.ts'
import { DIMENSION_MAX, RANK_MAX, SAFETENSORS_HEADER_BYTES_MAX, SAFETENSORS_TENSORS_MAX } from './limits.ts'

/** F16 and BF16 are carried as their bits: the arithmetic of this folder is float32 and float64. */
export type TensorValues =
  | { dtype: 'F32'; data: Float32Array }
  | { dtype: 'F64'; data: Float64Array }
  | { dtype: 'F16'; data: Uint16Array }
  | { dtype: 'BF16'; data: Uint16Array }
  | { dtype: 'I32'; data: Int32Array }
  | { dtype: 'I64'; data: BigInt64Array }
  | { dtype: 'I8'; data: Int8Array }
  | { dtype: 'U8'; data: Uint8Array }

export type TensorDtype = TensorValues['dtype']

export type NamedTensor = { name: string; shape: readonly number[] } & TensorValues

export interface TensorFile {
  tensors: NamedTensor[]
  metadata: Record<string, string>
}

const ELEMENT_BYTES: Record<TensorDtype, number> = { F64: 8, I64: 8, F32: 4, I32: 4, F16: 2, BF16: 2, I8: 1, U8: 1 }

export function encodeTensors(tensors: readonly NamedTensor[], metadata: Record<string, string> = {}): Uint8Array {
  const names = new Set<string>()
  // Built as text so that neither number-like names nor a prototype can reorder or drop a key.
  const entries: string[] = []
  const metadataKeys = Object.keys(metadata).toSorted()
  if (metadataKeys.length > 0) {
    const pairs = metadataKeys.map((key) => `${JSON.stringify(key)}:${JSON.stringify(metadata[key])}`)
    entries.push(`"__metadata__":{${pairs.join(',')}}`)
  }
  let offset = 0
  for (const tensor of tensors) {
    if (names.has(tensor.name) || tensor.name === '__metadata__') {
      throw malformed(`name ${JSON.stringify(tensor.name)} is taken twice`, { name: tensor.name })
    }
    names.add(tensor.name)
    const elements = elementCount(tensor.shape)
    if (elements !== tensor.data.length) {
      throw malformed(
        `tensor ${tensor.name} has ${tensor.data.length} values, its shape [${tensor.shape.join(', ')}] has ${elements}`,
        { name: tensor.name },
      )
    }
    const end = offset + tensor.data.byteLength
    entries.push(
      `${JSON.stringify(tensor.name)}:{"dtype":"${tensor.dtype}","shape":[${tensor.shape.join(',')}],"data_offsets":[${offset},${end}]}`,
    )
    offset = end
  }
  const header = Buffer.from(`{${entries.join(',')}}`, 'utf8')
  const headerSize = Math.ceil(header.length / 8) * 8
  const bytes = new Uint8Array(8 + headerSize + offset)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(headerSize), true)
  bytes.fill(0x20, 8, 8 + headerSize)
  bytes.set(header, 8)
  let at = 8 + headerSize
  for (const { data } of tensors) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at)
    at += data.byteLength
  }
  return bytes
}

export function decodeTensors(bytes: Uint8Array): TensorFile {
  const header = readHeader(bytes)
  const bodyStart = header.end
  const bodySize = bytes.byteLength - bodyStart
  const metadata = readMetadata(header.fields['__metadata__'])
  const names = Object.keys(header.fields).filter((name) => name !== '__metadata__')
  if (names.length > SAFETENSORS_TENSORS_MAX) {
    throw malformed(`it names ${names.length} tensors, at most ${SAFETENSORS_TENSORS_MAX} are read`, {})
  }
  const entries = names.map((name) => ({ name, ...readEntry(name, header.fields[name]) }))
  // The format allows names in any order and no holes or overlaps: in order of offsets, each starts where the last ended.
  entries.sort((a, b) => a.start - b.start || a.end - b.end)
  let expected = 0
  for (const { name, start, end } of entries) {
    if (start !== expected) throw malformed(`tensor ${name} starts at ${start}, expected ${expected}`, { name })
    expected = end
  }
  if (expected !== bodySize) throw malformed(`its tensors take ${expected} bytes, it carries ${bodySize}`, {})
  return { tensors: entries.map((entry) => view(bytes, bodyStart, entry)), metadata }
}

interface Entry {
  name: string
  dtype: TensorDtype
  shape: number[]
  start: number
  end: number
}

function readHeader(bytes: Uint8Array): { fields: Record<string, unknown>; end: number } {
  if (bytes.byteLength < 8) throw malformed(`it has ${bytes.byteLength} bytes, a header needs 8`, {})
  const size = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true)
  if (size > BigInt(SAFETENSORS_HEADER_BYTES_MAX)) {
    throw malformed(`its header claims ${size} bytes, at most ${SAFETENSORS_HEADER_BYTES_MAX} are read`, {})
  }
  const end = 8 + Number(size)
  if (end > bytes.byteLength)
    throw malformed(`its header claims ${size} bytes, it has ${bytes.byteLength - 8} left`, {})
  let fields: unknown
  try {
    fields = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(8, end)))
  } catch (error) {
    throw malformed(`its header is no JSON (${error instanceof Error ? error.message : String(error)})`, {})
  }
  if (!isRecord(fields)) throw malformed('its header is no JSON object', {})
  return { fields, end }
}

function readMetadata(value: unknown): Record<string, string> {
  if (value === undefined) return {}
  if (!isRecord(value)) throw malformed('__metadata__ is no object', {})
  const metadata: Record<string, string> = {}
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string') throw malformed(`__metadata__.${key} is no string`, {})
    metadata[key] = text
  }
  return metadata
}

function readEntry(name: string, value: unknown): Omit<Entry, 'name'> {
  if (!isRecord(value)) throw malformed(`tensor ${name} is described by no object`, { name })
  const { dtype, shape, data_offsets: offsets } = value
  if (typeof dtype !== 'string' || !Object.hasOwn(ELEMENT_BYTES, dtype)) {
    throw malformed(
      `tensor ${name} has dtype ${JSON.stringify(dtype)}, known are ${Object.keys(ELEMENT_BYTES).join(', ')}`,
      { name },
    )
  }
  if (!Array.isArray(shape) || shape.length > RANK_MAX || !shape.every((d) => isNatural(d) && d <= DIMENSION_MAX)) {
    throw malformed(`tensor ${name} has shape ${JSON.stringify(shape)}, expected up to ${RANK_MAX} whole numbers`, {
      name,
    })
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isNatural)) {
    throw malformed(`tensor ${name} has data_offsets ${JSON.stringify(offsets)}, expected two whole numbers`, { name })
  }
  const [start, end] = offsets as [number, number]
  const known = dtype as TensorDtype // checked against ELEMENT_BYTES above
  const sizeBytes = elementCount(shape) * ELEMENT_BYTES[known]
  if (end - start !== sizeBytes) {
    throw malformed(`tensor ${name} spans ${end - start} bytes, its shape and dtype need ${sizeBytes}`, { name })
  }
  return { dtype: known, shape, start, end }
}

function view(bytes: Uint8Array, bodyStart: number, entry: Entry): NamedTensor {
  const { name, shape, dtype } = entry
  const element = ELEMENT_BYTES[dtype]
  const length = (entry.end - entry.start) / element
  const { buffer, offset } = alignedAt(bytes, bodyStart + entry.start, entry.end - entry.start, element)
  switch (dtype) {
    case 'F32':
      return { name, shape, dtype, data: new Float32Array(buffer, offset, length) }
    case 'F64':
      return { name, shape, dtype, data: new Float64Array(buffer, offset, length) }
    case 'F16':
    case 'BF16':
      return { name, shape, dtype, data: new Uint16Array(buffer, offset, length) }
    case 'I32':
      return { name, shape, dtype, data: new Int32Array(buffer, offset, length) }
    case 'I64':
      return { name, shape, dtype, data: new BigInt64Array(buffer, offset, length) }
    case 'I8':
      return { name, shape, dtype, data: new Int8Array(buffer, offset, length) }
    case 'U8':
      return { name, shape, dtype, data: new Uint8Array(buffer, offset, length) }
  }
}

/** Where a typed array of elements of this size may look at bytes: where they are, or in a copy when they lie odd. */
export function alignedAt(
  bytes: Uint8Array,
  start: number,
  sizeBytes: number,
  elementBytes: number,
): { readonly buffer: ArrayBufferLike; readonly offset: number } {
  const offset = bytes.byteOffset + start
  if (offset % elementBytes === 0) return { buffer: bytes.buffer, offset }
  // Not by `slice`, which on a Buffer gives a view.
  return { buffer: new Uint8Array(bytes.subarray(start, start + sizeBytes)).buffer, offset: 0 }
}

export function elementCount(shape: readonly number[]): number {
  let count = 1
  for (const dimension of shape) count *= dimension
  return count
}

function isNatural(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function malformed(reason: string, data: Record<string, unknown>): KernelError {
  return new KernelError('weights.malformed', `Cannot read or write safetensors: ${reason}`, data)
}
