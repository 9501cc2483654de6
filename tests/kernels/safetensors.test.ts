import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeTensors, encodeTensors } from '../../kernels/mod.ts'
import type { NamedTensor } from '../../kernels/mod.ts'
import { codeOf } from './models.ts'

const tensors: NamedTensor[] = [
  { name: 'conv/kernel', shape: [2, 3], dtype: 'F32', data: Float32Array.of(1, -2, 3.5, 0, Number.MIN_VALUE, -0) },
  { name: 'labels', shape: [3], dtype: 'U8', data: Uint8Array.of(1, 2, 255) },
  { name: 'scalar', shape: [], dtype: 'F64', data: Float64Array.of(Math.PI) },
]

/** A file with this header, whatever it says. */
function fileOf(header: unknown, body = new Uint8Array(0)): Uint8Array {
  const json = typeof header === 'string' ? header : JSON.stringify(header)
  const bytes = new Uint8Array(8 + json.length + body.length)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true)
  bytes.set(Buffer.from(json), 8)
  bytes.set(body, 8 + json.length)
  return bytes
}

describe('safetensors', () => {
  it('gives back what was written, also where a tensor lies unaligned', () => {
    const { tensors: read, metadata } = decodeTensors(encodeTensors(tensors, { format: 'pt', about: 'test' }))
    expect(read).toEqual(tensors)
    expect(metadata).toEqual({ format: 'pt', about: 'test' })
  })

  it('reads a file wherever it lies in a Buffer', () => {
    const file = encodeTensors(tensors)
    for (let offset = 0; offset < 8; offset++) {
      const buffer = Buffer.concat([Buffer.alloc(offset), file]).subarray(offset)
      expect(decodeTensors(buffer).tensors).toEqual(tensors)
    }
  })

  it('gives back any list of float tensors, bit by bit', () => {
    const tensor = fc.record({
      name: fc.string({ minLength: 1, maxLength: 20 }),
      values: fc.float32Array({ maxLength: 50 }),
    })
    fc.assert(
      fc.property(fc.uniqueArray(tensor, { selector: ({ name }) => name, maxLength: 8 }), (list) => {
        fc.pre(list.every(({ name }) => name !== '__metadata__'))
        const given = list.map(
          ({ name, values }) => ({ name, shape: [values.length], dtype: 'F32', data: values }) as const,
        )
        const bytes = encodeTensors(given)
        expect(encodeTensors(decodeTensors(bytes).tensors)).toEqual(bytes)
        const read = new Map(decodeTensors(bytes).tensors.map((t) => [t.name, t.data]))
        for (const { name, data } of given) expect(read.get(name)).toEqual(data)
      }),
    )
  })

  it('writes equal bytes for equal tensors and starts the data at a multiple of 8', () => {
    const bytes = encodeTensors(tensors)
    expect(encodeTensors(structuredClone(tensors))).toEqual(bytes)
    expect(Number(new DataView(bytes.buffer).getBigUint64(0, true)) % 8).toBe(0)
  })

  it('refuses to write a shape that its values do not fill, and a name twice', () => {
    expect(() => encodeTensors([{ name: 'a', shape: [2], dtype: 'F32', data: new Float32Array(3) }])).toThrow(
      /has 3 values/,
    )
    const twice = { name: 'a', shape: [1], dtype: 'F32', data: new Float32Array(1) } as const
    expect(() => encodeTensors([twice, twice])).toThrow(/taken twice/)
  })

  const malformed: [why: string, bytes: Uint8Array, message: RegExp][] = [
    ['is shorter than its length field', new Uint8Array(3), /3 bytes, a header needs 8/],
    ['claims a header larger than itself', Uint8Array.of(255, 0, 0, 0, 0, 0, 0, 0, 1), /claims 255 bytes/],
    ['claims a header of exabytes', new Uint8Array(8).fill(255), /at most/],
    ['has a header that is no JSON', fileOf('{"a"'), /no JSON/],
    ['has a header that is no object', fileOf('[1]'), /no JSON object/],
    ['has a tensor of an unknown dtype', fileOf({ a: { dtype: 'F4', shape: [], data_offsets: [0, 0] } }), /dtype "F4"/],
    ['has a negative dimension', fileOf({ a: { dtype: 'F32', shape: [-1], data_offsets: [0, 4] } }), /shape \[-1\]/],
    ['has offsets that do not fit the shape', fileOf({ a: { dtype: 'F32', shape: [2], data_offsets: [0, 4] } }, new Uint8Array(4)), /need 8/],
    ['has offsets beyond its end', fileOf({ a: { dtype: 'F32', shape: [2], data_offsets: [0, 8] } }, new Uint8Array(4)), /take 8 bytes, it carries 4/],
    ['has a hole between tensors', fileOf({ a: { dtype: 'U8', shape: [1], data_offsets: [1, 2] } }, new Uint8Array(2)), /starts at 1, expected 0/],
    ['has tensors that overlap', fileOf({ a: { dtype: 'U8', shape: [2], data_offsets: [0, 2] }, b: { dtype: 'U8', shape: [2], data_offsets: [1, 3] } }, new Uint8Array(3)), /starts at 1, expected 2/],
    ['carries bytes that no tensor names', fileOf({}, new Uint8Array(5)), /carries 5/],
    ['has metadata that is no text', fileOf({ __metadata__: { a: 1 } }), /__metadata__\.a is no string/],
  ] // prettier-ignore
  for (const [why, bytes, message] of malformed) {
    it(`refuses a file that ${why}`, () => {
      expect(() => decodeTensors(bytes)).toThrow(message)
    })
  }

  it('answers any damaged file with weights.malformed, never with another error', () => {
    const good = encodeTensors(tensors)
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.nat(255), fc.nat(good.length), (at, value, length) => {
        const bytes = good.slice(0, length)
        if (at < bytes.length) bytes[at] = value
        expect(codeOf(() => decodeTensors(bytes))).toMatch(/^(none|weights\.malformed)$/)
      }),
    )
  })
})
