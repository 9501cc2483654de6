/**
 * Which rows are for training, validation and testing. Where files are named as such (`train.csv`, `t10k-images…`) the
 * source has decided. Else a seed does, row by row as they come, without knowing how many there will be: of every 20
 * consecutive rows a seeded choice goes to each split, as many as its share is, and what a share lacks in one block of
 * 20 it gets in a later one. So shares hold to within a row or two for any number of rows, sorted data is split evenly,
 * and a row's split depends on the seed and its place alone.
 */
import { deriveSeed, random } from '../../random.ts'
import type { Random } from '../../random.ts'
import type { SplitName, SplitOptions } from '../manifest.ts'
import { SPLITS } from '../manifest.ts'
import type { IngestFile } from './request.ts'

const BLOCK_ROWS = 20

/** Gives each row its split, in the order of the rows. */
export class Dealer {
  readonly #shares: Readonly<Record<SplitName, number>>
  readonly #random: Random
  readonly #block: SplitName[] = []
  /** What each split was owed and did not get, in rows. */
  readonly #owed = { train: 0, validation: 0, test: 0 }

  constructor({ seed, validation, test }: SplitOptions) {
    this.#shares = { train: 1 - validation - test, validation, test }
    this.#random = random(deriveSeed(seed, 'split'))
  }

  next(): SplitName {
    if (this.#block.length === 0) this.#deal()
    return this.#block.pop() ?? 'train'
  }

  #deal(): void {
    const block = this.#block
    for (const split of ['test', 'validation'] as const) {
      this.#owed[split] += this.#shares[split] * BLOCK_ROWS
      // Shares are decimal fractions: 0.1 × 20 must not come out as 1.9999.
      const count = Math.min(BLOCK_ROWS - block.length, Math.floor(this.#owed[split] + 1e-9))
      this.#owed[split] -= count
      for (let i = 0; i < count; i++) block.push(split)
    }
    while (block.length < BLOCK_ROWS) block.push('train')
    for (let i = BLOCK_ROWS - 1; i > 0; i--) {
      const j = this.#random.nextBelow(i + 1)
      const held = block[i] ?? 'train'
      block[i] = block[j] ?? 'train'
      block[j] = held
    }
  }
}

const NAMES: Readonly<Record<SplitName, RegExp>> = {
  train: /(^|[^a-z])(train|training)([^a-z]|$)/i,
  validation: /(^|[^a-z])(val|valid|validation|dev)([^a-z]|$)/i,
  test: /(^|[^a-z])(test|testing|t10k)([^a-z]|$)/i,
}

/** The splits that the files have by what was said or by their names; undefined where they are one whole. */
export function splitsOfFiles(files: readonly IngestFile[]): readonly SplitName[] | undefined {
  const splits = files.map(({ name, split }) => split ?? splitOfName(name))
  const known = new Set(splits)
  if (known.has('train') && known.size > 1 && !known.has(undefined)) return splits.map((split) => split ?? 'train')
  if (files.some(({ split }) => split !== undefined)) return splits.map((split) => split ?? 'train')
  return undefined
}

export function splitOfName(name: string): SplitName | undefined {
  return SPLITS.find((split) => NAMES[split].test(name))
}
