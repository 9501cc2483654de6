import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeTensors, DILOCO_OUTER, encodeTensors, reduce } from '../../kernels/mod.ts'
import { pairwiseSum } from '../../kernels/reduce.ts'

const weightsOf = (...values: number[]): Uint8Array =>
  encodeTensors([
    { name: 'w', shape: [values.length], dtype: 'F32', data: Float32Array.from(values) },
    { name: 'bn/moving_mean', shape: [1], dtype: 'F32', data: Float32Array.of(values[0] ?? 0) },
  ])

const read = (bytes: Uint8Array, name = 'w'): number[] => {
  const found = decodeTensors(bytes).tensors.find((tensor) => tensor.name === name)
  return found?.dtype === 'F32' ? [...found.data] : []
}

describe('reduce', () => {
  it('averages the replicas', () => {
    const { weights, outerState } = reduce({
      weights: weightsOf(9, 9),
      replicas: [weightsOf(1, 2), weightsOf(3, 6)],
      outer: { kind: 'average' },
    })
    expect(read(weights)).toEqual([2, 4])
    expect(outerState).toBeUndefined()
  })

  it('leaves the weights of a single replica as they are, bit by bit', () => {
    const replica = weightsOf(0.1, 1e-30, -7.7)
    expect(reduce({ weights: weightsOf(0, 0, 0), replicas: [replica], outer: { kind: 'average' } }).weights).toEqual(
      replica,
    )
  })

  it("takes DiLoCo's outer step, carries its velocity, and only averages statistics", () => {
    const statistics = ['bn/moving_mean']
    const first = reduce({
      weights: weightsOf(1),
      replicas: [weightsOf(0), weightsOf(0.5)],
      outer: DILOCO_OUTER,
      statistics,
    })
    // g = 0.75, v = 0.75, θ = 1 − 0.7 (0.75 + 0.9 · 0.75)
    expect(read(first.weights)[0]).toBeCloseTo(1 - 0.7 * (0.75 + 0.9 * 0.75), 6)
    expect(read(first.weights, 'bn/moving_mean')).toEqual([0.25])
    const start = read(first.weights)[0] ?? 0
    const second = reduce({
      weights: first.weights,
      replicas: [first.weights],
      outer: DILOCO_OUTER,
      outerState: first.outerState,
      statistics,
    })
    // g = 0, v = 0.9 · 0.75
    expect(read(second.weights)[0]).toBeCloseTo(start - 0.7 * 0.9 * 0.9 * 0.75, 6)
  })

  it('adds in a tree that depends on the number of replicas alone', () => {
    const part = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 3, maxLength: 3 })
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 9 }), (rows) => {
        const parts = rows.map((row) => Float32Array.from(row))
        const tree = (list: Float64Array[]): Float64Array => {
          if (list.length <= 1) return list[0] ?? new Float64Array(3)
          const pairs = Array.from({ length: Math.ceil(list.length / 2) }, (_, i) => list.slice(i * 2, i * 2 + 2))
          return tree(pairs.map(([a, b]) => (a && b ? a.map((x, k) => x + (b[k] ?? 0)) : (a ?? new Float64Array(3)))))
        }
        expect(
          pairwiseSum(
            parts,
            parts.map(() => 1),
          ),
        ).toEqual(tree(parts.map((p) => Float64Array.from(p))))
      }),
    )
  })

  it('refuses replicas of another model and a round without any', () => {
    const odd = encodeTensors([{ name: 'other', shape: [1], dtype: 'F32', data: new Float32Array(1) }])
    expect(() => reduce({ weights: weightsOf(1), replicas: [weightsOf(1), odd], outer: { kind: 'average' } })).toThrow(
      /replica 1: its weights are not those of the model/,
    )
    expect(() => reduce({ weights: weightsOf(1), replicas: [], outer: { kind: 'average' } })).toThrow(
      /without replicas/,
    )
  })
})
