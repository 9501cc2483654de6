/**
 * A model that was trained here goes on in Python: Keras reads its topology, the library safetensors its weights, and it
 * says there what it says here.
 */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  compileModel,
  exportFiles,
  exportKerasModel,
  initialise,
  startBackend,
  writeWeights,
} from '../../kernels/mod.ts'
import type { Backend, ModelTopology } from '../../kernels/mod.ts'
import { forward } from '../../kernels/compiled.ts'
import { has, PYTHON } from '../harness/parts.ts'
import { BlobFolder, layer, plainPipeline, seededValues, sequential, smallCnn } from './models.ts'

const CASES: { name: string; model: ModelTopology; shape: number[] }[] = [
  { name: 'convolutions and normalisation', model: smallCnn, shape: [8, 8, 1] },
  {
    name: 'a recurrent network',
    model: sequential(
      layer('LSTM', { units: 5, return_sequences: true, recurrent_activation: 'sigmoid' }),
      layer('GRU', { units: 5, return_sequences: true, recurrent_activation: 'sigmoid' }),
      layer('SimpleRNN', { units: 4 }),
      layer('Dense', { units: 3 }),
    ),
    shape: [6, 3],
  },
  {
    name: 'separable and transposed convolutions',
    model: sequential(
      layer('SeparableConv2D', { filters: 4, kernel_size: 3 }),
      layer('Conv2DTranspose', { filters: 2, kernel_size: 2, strides: 2 }),
      layer('GlobalAveragePooling2D'),
    ),
    shape: [6, 6, 2],
  },
]

describe.skipIf(!has('keras'))('Keras in Python', () => {
  const folder = new BlobFolder()
  let cpu: Backend
  beforeAll(async () => {
    cpu = await startBackend('cpu')
  })
  afterAll(() => folder[Symbol.dispose]())

  it.each(CASES)('reads $name', async ({ model, shape }) => {
    const input = { shape, dtype: 'float32' } as const
    const weights = initialise(model, 3, input)
    const compiled = await compileModel(cpu, model, input)
    writeWeights(compiled, weights)
    const values = seededValues(4 * shape.reduce((a, b) => a * b, 1), 7)
    const expected = await forward(compiled, values, 4)
    const file = (name: string, content: string | Uint8Array): string => {
      const path = join(folder.root, name)
      writeFileSync(path, content)
      return path
    }
    for (const { name, bytes } of exportFiles('keras', model, plainPipeline(input), new Uint8Array(weights)))
      file(name, bytes)
    const args = [
      new URL('read-export.py', import.meta.url).pathname,
      folder.root,
      file('rows.json', JSON.stringify({ shape: [4, ...shape], values: [...values] })),
    ]
    const found = JSON.parse(
      execFileSync(PYTHON, args, { encoding: 'utf8' }).trim().split('\n').at(-1) ?? '',
    ) as number[] // its own print
    expect(found.length).toBe(expected.length)
    for (const [i, value] of expected.entries()) expect(found[i]).toBeCloseTo(value, 4)
  })
})

describe('a model that Keras would compute in another way', () => {
  it.each([
    [layer('LSTM', { units: 2 }), [3, 2]],
    [layer('Dense', { units: 2, activation: 'hard_sigmoid' }), [3]],
  ])('is not written for it', (tested, shape) => {
    const input = { shape, dtype: 'float32' } as const
    expect(() => exportKerasModel(sequential(tested), input)).toThrow(
      /hard_sigmoid, which Keras 3 computes in another way/,
    )
  })
})
