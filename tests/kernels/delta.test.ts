import { deflateRawSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DELTA_PRECISIONS, encodeTensors, followWeights, reduce } from '../../kernels/mod.ts'
import { applyDelta, encodeDelta } from '../../kernels/delta.ts'
import type { FloatTensor } from '../../kernels/delta.ts'
import { seededValues } from './models.ts'

const tensorsOf = (...values: Float32Array[]): FloatTensor[] =>
  values.map((data, i) => ({ name: `w${i}`, shape: [data.length], dtype: 'F32', data }))
const short = DELTA_PRECISIONS.filter((precision) => precision !== 'float32')
const start = tensorsOf(seededValues(1_000, 1), seededValues(50, 2))
const end = tensorsOf(seededValues(1_000, 3), seededValues(50, 4))

const sum = (a: readonly FloatTensor[], b: readonly FloatTensor[]): FloatTensor[] =>
  a.map((tensor, t) => ({ ...tensor, data: tensor.data.map((value, i) => value + b[t]!.data[i]!) }))
/** Like differences of weights: most are small beside the largest. */
const bells = (count: number, seed: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => i).map((i) => seededValues(8, seed + i).reduce((a, b) => a + b) / 100)

describe.each(short)('a delta of %s', (precision) => {
  it('brings the other end near to where the sender came, and the error says exactly how near', () => {
    const { bytes, error } = encodeDelta(precision, start, end, undefined)
    for (const [t, tensor] of applyDelta(start, bytes, 'it').entries()) {
      for (let i = 0; i < tensor.data.length; i++) {
        expect(Math.abs(tensor.data[i]! - end[t]!.data[i]!)).toBeLessThan(0.02)
        expect(tensor.data[i]! + error[t]!.data[i]!).toBeCloseTo(end[t]!.data[i]!, 5)
      }
    }
  })

  it('takes less bytes than its name says, all in all, and always the same', () => {
    const large = tensorsOf(seededValues(20_000, 1), seededValues(50, 2))
    const moved = tensorsOf(bells(20_000, 3), bells(50, 4))
    const { bytes } = encodeDelta(precision, large, sum(large, moved), undefined)
    expect(bytes.byteLength).toBeLessThan(20_050 * (precision === 'int8' ? 1 : 2))
    expect(encodeDelta(precision, large, sum(large, moved), undefined).bytes).toEqual(bytes)
  })

  it('loses nothing over many rounds: what one does not say, the next ones do', () => {
    const small = tensorsOf(Float32Array.of(1, 1e-4))
    const zero = tensorsOf(new Float32Array(2))
    let error: FloatTensor[] | undefined
    let arrived = 0
    for (let round = 0; round < 200; round++) {
      const sent = encodeDelta(precision, zero, small, error)
      error = sent.error
      arrived += applyDelta(zero, sent.bytes, 'it')[0]!.data[1]!
    }
    // Never further away than one unit of the larger value beside it.
    expect(Math.abs(arrived - 200 * 1e-4)).toBeLessThan(1.1 / 127)
  })

  it('says nothing of what did not move, and survives what is out of its range', () => {
    const { bytes, error } = encodeDelta(precision, start, start, undefined)
    expect(applyDelta(start, bytes, 'it')).toEqual(start)
    expect(error.every(({ data }) => data.every((value) => value === 0))).toBe(true)
    fc.assert(
      fc.property(
        fc.float({ noNaN: true, noDefaultInfinity: true, max: Math.fround(1e30), min: Math.fround(-1e30) }),
        (value) => {
          const sent = encodeDelta(
            precision,
            tensorsOf(Float32Array.of(0)),
            tensorsOf(Float32Array.of(value)),
            undefined,
          )
          expect(applyDelta(tensorsOf(Float32Array.of(0)), sent.bytes, 'it')[0]!.data[0]).not.toBeNaN()
        },
      ),
    )
  })

  it('is what the reducer sends too, so that the new weights follow from the old ones and a short update', () => {
    const weights = encodeTensors(start)
    const replicas = [end, start].map((to) => encodeDelta(precision, start, to, undefined).bytes)
    const reduced = reduce({
      weights,
      replicas,
      precision,
      outer: { kind: 'nesterov', learningRate: 0.7, momentum: 0.9 },
    })
    expect(followWeights(weights, reduced.update ?? new Uint8Array(0))).toEqual(reduced.weights)
    expect(reduced.update?.byteLength).toBeLessThan(weights.byteLength * 0.6)
  })
})

it('a delta to other weights is refused by name', () => {
  const { bytes } = encodeDelta('int8', start, end, undefined)
  const other = [{ ...start[0]!, name: 'else' }, start[1]!]
  expect(() => applyDelta(other, bytes, 'the result of replica 1')).toThrow(/the result of replica 1: .*\(else\)/)
})

it.each([
  [
    'more than weights of the model can be',
    deflateRawSync(new Uint8Array(1_000_000)),
    /Cannot use it: .* at most \d+ bytes/,
  ],
  ['no deflated bytes', Uint8Array.of(7, 7, 7), /Cannot use it: its delta cannot be inflated/],
  ['no file of tensors', deflateRawSync(Uint8Array.of(1)), /./],
])('a delta that is %s is refused', (_, data, message) => {
  const bytes = encodeTensors([{ name: 'deflated', shape: [data.length], dtype: 'U8', data: new Uint8Array(data) }], {
    delta: 'int8',
  })
  expect(() => applyDelta(start, bytes, 'it')).toThrow(
    expect.objectContaining({ code: 'weights.malformed', message: expect.stringMatching(message) }),
  )
})

it('replicas count by their shares', () => {
  const one = (value: number): Uint8Array => encodeTensors(tensorsOf(Float32Array.of(value)))
  const { weights } = reduce({
    weights: one(0),
    replicas: [one(1), one(5)],
    shares: [3, 1],
    outer: { kind: 'average' },
  })
  expect(weights).toEqual(one(2))
})
