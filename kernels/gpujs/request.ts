/**
 * A chunk of a kernel job as it travels to a kernel process, and its inputs there: numbers that stand in the spec, NPY
 * files, or the rows of a dataset's split. Whatever it comes from, an input is an array of one to three dimensions.
 */
import type { Column } from '../data/column.ts'
import type { Dataset } from '../data/dataset.ts'
import type { DatasetSlice } from '../data/manifest.ts'
import type { Pipeline } from '../data/pipeline.ts'
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
  | { from: 'dataset'; data: DatasetSlice }
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
      const row = rowShape(dataset.input.shape)
      return { ...input, shape: [dataset.count, ...row], read: readerOf(name, dataset, row) }
    }
  }
}

/** Columns as they are in the data: nothing is scaled, encoded or filled in. Several lie one after another. */
export function rawPipeline(columns: readonly Column[]): Pipeline {
  const [only, ...more] = columns
  const total = columns.reduce((sum, { shape }) => sum + elementCount(shape), 0)
  const shape = only !== undefined && more.length === 0 ? only.shape : [total]
  return {
    features: columns,
    steps: [],
    input: { shape, dtype: 'float32' },
    target: null,
    output: { kind: 'value', shape },
    shuffle: 'none',
  }
}

/** What one row is to a kernel: without dimensions of one, and flat where more than two are left. */
export function rowShape(shape: readonly number[]): number[] {
  const long = shape.filter((length) => length !== 1)
  return long.length <= 2 ? long : [elementCount(long)]
}

function ofArray(shape: readonly number[], values: Float32Array): Pick<MapInput, 'shape' | 'read'> {
  const rowElements = elementCount(shape.slice(1))
  return { shape, read: (start, rows) => values.subarray(start * rowElements, (start + rows) * rowElements) }
}

function readerOf(name: string, dataset: Dataset, row: number[]): MapInput['read'] {
  return (start, rows) => {
    if (rows * elementCount(row) > KERNEL_INPUT_ELEMENTS_MAX) {
      throw new KernelError(
        'request.invalid',
        `inputs.${name}: expected at most ${KERNEL_INPUT_ELEMENTS_MAX} elements, found ${rows * elementCount(row)}`,
      )
    }
    const indices = Uint32Array.from({ length: rows }, (_, i) => start + i)
    return dataset.read(indices).features
  }
}
