import { describe, expect, test } from 'vitest'
import { classesOf, predictionHead, predictionLines } from '../../kernels/mod.ts'
import type { TargetSpec } from '../../kernels/mod.ts'

const PETS: TargetSpec = { kind: 'class', classes: 2, names: ['cat, wild', 'dog'] }
const NUMBER: TargetSpec = { kind: 'value', shape: [] }
const values = Float32Array.of(0.1, 0.9, 0.75, 0.25)

describe('predictions as text', () => {
  test('name the likeliest class, and a single output speaks of the second', () => {
    expect(classesOf(PETS, values, 2)).toEqual(['dog', 'cat, wild'])
    expect(classesOf(PETS, Float32Array.of(0.4, 0.6), 2)).toEqual(['cat, wild', 'dog'])
    expect(classesOf({ kind: 'class', classes: 2 }, values, 2)).toEqual([1, 0])
    expect(classesOf(NUMBER, values, 4)).toBeUndefined()
  })

  test('are CSV with a head, quoted where that must be, in as few digits as tell floats apart', () => {
    expect(predictionHead('csv', PETS, 2)).toBe('row,class,"p cat, wild",p dog\n')
    expect(predictionLines('csv', PETS, { start: 7, rows: 2, values })).toBe(
      '7,dog,0.100000001,0.899999976\n8,"cat, wild",0.75,0.25\n',
    )
    expect(predictionHead('csv', NUMBER, 1)).toBe('row,value\n')
    expect(predictionLines('csv', NUMBER, { start: 0, rows: 1, values: Float32Array.of(NaN) })).toBe('0,\n')
  })

  test('are JSON, a row a line', () => {
    const lines = predictionLines('jsonl', PETS, { start: 7, rows: 2, values }).trimEnd().split('\n')
    expect(lines.map((line) => JSON.parse(line) as object)).toEqual([
      { row: 7, class: 'dog', outputs: [0.100000001, 0.899999976] },
      { row: 8, class: 'cat, wild', outputs: [0.75, 0.25] },
    ])
    expect(predictionHead('jsonl', PETS, 2)).toBe('')
  })
})
