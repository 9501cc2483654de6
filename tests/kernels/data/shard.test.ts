import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeShard, encodeShard } from '../../../kernels/mod.ts'
import type { ShardColumn, Values } from '../../../kernels/mod.ts'
import { newValues } from '../../../kernels/data/column.ts'
import { codeOf } from '../models.ts'

const columns: ShardColumn[] = [
  { dtype: 'float32', shape: [] },
  { dtype: 'uint8', shape: [2, 2, 1] },
  { dtype: 'float32', shape: [] },
  { dtype: 'int32', shape: [] },
]
const values: Values[] = [
  Float32Array.of(1, 2, 3),
  Uint8Array.from({ length: 12 }, (_, i) => i),
  Float32Array.of(10, 20, 30),
  Int32Array.of(-1, 0, 1),
]
const bytes = encodeShard(columns, 3, values)

describe('a shard', () => {
  test('keeps the numbers of a row side by side, and a picture in a block of its own', () => {
    const { layout, blocks } = decodeShard(bytes)
    expect(layout.count).toBe(3)
    expect(blocks.map((block) => [...block])).toEqual([[1, 10, 2, 20, 3, 30], [...(values[1] ?? [])], [-1, 0, 1]])
    expect(blocks.every((block) => block.buffer === bytes.buffer)).toBe(true)
  })

  test('is read wherever it lies in a Buffer', () => {
    const { blocks } = decodeShard(bytes)
    for (let offset = 0; offset < 8; offset++) {
      const buffer = Buffer.concat([Buffer.alloc(offset), bytes]).subarray(offset)
      expect(decodeShard(buffer).blocks).toEqual(blocks)
    }
  })

  test('is refused with an error when any byte of it is damaged or missing', () => {
    fc.assert(
      fc.property(fc.nat(bytes.length), fc.nat(160), fc.nat(255), (length, at, value) => {
        const damaged = bytes.slice(0, length)
        if (at < damaged.length) damaged[at] = value
        expect(codeOf(() => decodeShard(damaged))).toMatch(/^(none|data\.malformed)$/)
      }),
    )
  })

  test('gives back what went in, whatever the columns', () => {
    const column = fc.record({
      dtype: fc.constantFrom('uint8', 'int32', 'float32'),
      shape: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 3 }),
    })
    fc.assert(
      fc.property(fc.array(column, { minLength: 1, maxLength: 6 }), fc.nat(9), fc.integer(), (some, count, seed) => {
        const filled = some.map(({ dtype, shape }, c) => {
          const list = newValues(dtype, count * shape.reduce((a, b) => a * b, 1))
          return list.map((_, i) => (seed + c * 31 + i * 7) % 200)
        })
        const { layout, blocks } = decodeShard(encodeShard(some, count, filled))
        for (const [b, { columns: inside, width }] of layout.blocks.entries()) {
          for (const { column: c, offset, elements } of inside) {
            for (let row = 0; row < count; row++) {
              const found = blocks[b]?.subarray(row * width + offset, row * width + offset + elements)
              expect(found).toEqual(filled[c]?.subarray(row * elements, (row + 1) * elements))
            }
          }
        }
      }),
    )
  })
})
