import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Dealer, splitOfName } from '../../../kernels/data/ingest/split.ts'
import { ingest } from './files.ts'

const share = fc.integer({ min: 0, max: 45 }).map((percent) => percent / 100)

describe('a split by seed', () => {
  test('gives every row to one split, and each split its share to within two rows in every beginning', () => {
    fc.assert(
      fc.property(fc.nat(), share, share, fc.integer({ min: 20, max: 700 }), (seed, validation, test, count) => {
        const dealer = new Dealer({ seed, validation, test })
        const dealt = { train: 0, validation: 0, test: 0 }
        const rows = count - (count % 20)
        for (let row = 0; row < rows; row++) dealt[dealer.next()]++
        expect(dealt.train + dealt.validation + dealt.test).toBe(rows)
        expect(Math.abs(dealt.validation - validation * rows)).toBeLessThan(2)
        expect(Math.abs(dealt.test - test * rows)).toBeLessThan(2)
      }),
    )
  })

  test('is the same for the same seed, and another for another', () => {
    const deal = (seed: number): string => {
      const dealer = new Dealer({ seed, validation: 0.1, test: 0.2 })
      return Array.from({ length: 200 }, () => dealer.next()).join()
    }
    expect(deal(1)).toBe(deal(1))
    expect(deal(1)).not.toBe(deal(2))
  })

  test('loses and doubles no row, whatever the batches and shards', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 30, max: 400 }), fc.nat(), async (count, seed) => {
        const text = `x\n${Array.from({ length: count }, (_, i) => i).join('\n')}\n`
        const read = await ingest({ 'd.csv': text }, { split: { seed, validation: 0.2, test: 0.1 } }, 4096 + 64)
        const parts = (['train', 'validation', 'test'] as const).map((split) => read.values('x', split))
        for (const part of parts) expect(part).toEqual(part.toSorted((a, b) => a - b))
        expect(parts.flat().toSorted((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i))
      }),
      { numRuns: 20 },
    )
  })

  test('is left alone where the files are named by theirs', () => {
    const names = ['train.csv', 'my_test.csv', 't10k-images-idx3-ubyte', 'valid.npy', 'contest.csv', 'trainers.csv']
    expect(names.map(splitOfName)).toEqual(['train', 'test', 'test', 'validation', undefined, undefined])
  })
})
