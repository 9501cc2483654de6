import { describe, expect, it } from 'vitest'
import { clipGradients } from '../../kernels/clip.ts'

const gradients = new Map([
  ['a', Float32Array.of(3, 0)],
  ['b', Float32Array.of(-4)],
])

describe('clipping', () => {
  it('by norm scales all gradients together, and only when their norm is larger', () => {
    const clipped = clipGradients(gradients, { kind: 'norm', max: 1 })
    expect([...(clipped.get('a') ?? [])].map((x) => x.toFixed(5))).toEqual(['0.60000', '0.00000'])
    expect(clipped.get('b')?.[0]).toBeCloseTo(-0.8, 6)
    expect(clipGradients(gradients, { kind: 'norm', max: 5 })).toBe(gradients)
  })

  it('by value cuts each by itself', () => {
    const clipped = clipGradients(gradients, { kind: 'value', max: 2 })
    expect([clipped.get('a'), clipped.get('b')]).toEqual([Float32Array.of(2, 0), Float32Array.of(-2)])
  })

  it('leaves what it was given as it was, and does nothing where nothing is asked', () => {
    expect(gradients.get('a')).toEqual(Float32Array.of(3, 0))
    expect(clipGradients(gradients, undefined)).toBe(gradients)
  })
})
