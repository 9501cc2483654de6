/**
 * A chunk of a kernel job as it travels to a kernel process, and its inputs there: numbers that stand in the spec, NPY
 * files, or the rows of a dataset's split. Whatever it comes from, an input is an array of one to three dimensions.
 */
import { targetElements } from '../data/column.ts'
import type { FeatureSpec, TargetSpec } from '../data/column.ts'
import type { Dataset } from '../data/dataset.ts'
import type { DatasetSlice } from '../data/manifest.ts'
import { KernelError } from '../errors.ts'
import { KERNEL_INPUT_ELEMENTS_MAX } from '../limits.ts'
import { decodeNpy } from '../npy.ts'
import type { BlobFile } from '../protocol.ts'
import { elementCount } from '../safetensors.ts'
import type { MapInput, MapSettings } from './map.ts'

export interface MapRequest {
  op: 'map'
  settings: MapSettings
  inputs: RequestInput[]
}

export type RequestInput = { name: string; mapped: boolean } & (
  | { from: 'values'; shape: number[]; values: number[] }
  | { from: 'npy'; file: BlobFile }
  | { from: 'dataset'; data: DatasetSlice; column: 'features' | 'target' }
)

export interface Readers {
  bytes(file: BlobFile): Uint8Array
  dataset(slice: DatasetSlice): Dataset
}

export function inputOf(request: RequestInput, readers: Readers): MapInput {
  const { name, mapped } = request
  const input = { name, mapped }
  switch (request.from) {
    case 'values':
      return { ...input, ...ofArray(request.shape, Float32Array.from(request.values)) }
    case 'npy': {
      const { shape, values } = decodeNpy(readers.bytes(request.file))
      return { ...input, ...ofArray(shape, values) }
    }
    case 'dataset': {
      const dataset = readers.dataset(request.data)
      const row = rowShape(request.column, dataset.input, dataset.target)
      return { ...input, shape: [dataset.count, ...row], read: readerOf(name, dataset, request.column, row) }
    }
  }
}

/** What one row of a column is to a kernel: without dimensions of one, and flat where more than two are left. */
export function rowShape(column: 'features' | 'target', features: FeatureSpec, target: TargetSpec): number[] {
  if (column === 'target') return targetElements(target) === 1 ? [] : [targetElements(target)]
  const shape = features.shape.filter((length) => length !== 1)
  return shape.length <= 2 ? shape : [elementCount(shape)]
}

function ofArray(shape: readonly number[], values: Float32Array): Pick<MapInput, 'shape' | 'read'> {
  const rowElements = elementCount(shape.slice(1))
  return { shape, read: (start, rows) => values.subarray(start * rowElements, (start + rows) * rowElements) }
}

function readerOf(name: string, dataset: Dataset, column: 'features' | 'target', row: number[]): MapInput['read'] {
  return (start, rows) => {
    if (rows * elementCount(row) > KERNEL_INPUT_ELEMENTS_MAX) {
      throw new KernelError(
        'request.invalid',
        `inputs.${name}: expected at most ${KERNEL_INPUT_ELEMENTS_MAX} elements, found ${rows * elementCount(row)}`,
      )
    }
    const indices = Uint32Array.from({ length: rows }, (_, i) => start + i)
    const batch = dataset.read(indices)
    return column === 'features' ? batch.features : batch.targets
  }
}
