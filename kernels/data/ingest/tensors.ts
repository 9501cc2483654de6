/**
 * Files of rows of one size, one file for each column (images and labels, `x.npy` and `y.npy`), read side by side. What
 * IDX, NPY and NPZ have in common; each brings its own header.
 */
import { KernelError } from '../../errors.ts'
import { DIMENSION_MAX, EXAMPLE_ELEMENTS_MAX } from '../../limits.ts'
import { elementCount } from '../../safetensors.ts'
import type { Column } from '../column.ts'
import type { SplitName } from '../manifest.ts'
import type { ByteReader } from './bytes.ts'
import { COLUMN_DTYPE, decodeNumbers, FILE_TYPE_BYTES } from './numbers.ts'
import type { FileType } from './numbers.ts'
import type { RowSink } from './sink.ts'

/** A file whose header has been read: what follows in `bytes` are its rows. */
export interface TensorSource {
  readonly bytes: ByteReader
  readonly type: FileType
  readonly isLittle: boolean
  /** Of the whole file: rows first. */
  readonly shape: readonly number[]
  /** The column that it becomes. */
  readonly column: string
}

const BATCH_BYTES = 4 * 1024 * 1024

export function checkShape(name: string, shape: readonly number[]): void {
  const [rows = 0, ...row] = shape
  const isSound =
    Number.isSafeInteger(rows) &&
    row.every((d) => d > 0 && d <= DIMENSION_MAX) &&
    elementCount(row) <= EXAMPLE_ELEMENTS_MAX
  if (shape.length === 0) throw malformed(name, 'it holds one number, expected rows')
  if (!isSound) throw malformed(name, `its dimensions are [${shape.join(', ')}]`)
  if (rows === 0) throw malformed(name, 'it has no rows')
}

/** The columns of sources that stand side by side. A label is a category; its classes are known at the end. */
export function columnsOf(sources: readonly TensorSource[], labels: ReadonlySet<string>): Column[] {
  return sources.map(({ column, type, shape }) => {
    const row = shape.slice(1)
    // A grey picture gets its channel dimension here, because every convolution expects one.
    const isGrey = row.length === 2 && (type === 'u1' || type === 'b1')
    return {
      name: column,
      dtype: COLUMN_DTYPE[type],
      shape: isGrey ? [...row, 1] : row,
      ...(labels.has(column) && { categories: { count: 0 } }),
    }
  })
}

/** Reads all rows of sources that stand side by side into the sink. */
export async function readTensors(
  sources: readonly TensorSource[],
  sink: RowSink,
  split: SplitName | undefined,
  look?: (column: number, values: ArrayLike<number>) => void,
): Promise<void> {
  const [first] = sources
  const rows = first?.shape[0] ?? 0
  for (const { bytes, shape } of sources) {
    if (shape[0] === rows) continue
    throw malformed(bytes.name, `it has ${shape[0]} rows, ${first?.bytes.name} has ${rows}`)
  }
  const rowBytes = sources.map(({ shape, type }) => elementCount(shape.slice(1)) * FILE_TYPE_BYTES[type])
  const batchRows = Math.max(1, Math.floor(BATCH_BYTES / rowBytes.reduce((sum, each) => sum + each, 0)))
  const buffers = rowBytes.map((each) => new Uint8Array(Math.min(batchRows, rows) * each))
  for (let done = 0; done < rows;) {
    const count = Math.min(batchRows, rows - done)
    const values = []
    for (const [i, { bytes, type, isLittle, shape }] of sources.entries()) {
      const into = buffers[i]?.subarray(0, count * (rowBytes[i] ?? 0)) ?? new Uint8Array(0)
      const found = await bytes.read(into)
      if (found < into.byteLength) {
        const whole = done + Math.floor(found / (rowBytes[i] ?? 1))
        throw malformed(bytes.name, `it is cut short: [${shape.join(', ')}] needs ${rows} rows, it has ${whole}`)
      }
      const decoded = decodeNumbers(into, type, isLittle, bytes.name)
      look?.(i, decoded)
      values.push(decoded)
    }
    await sink.take(count, values, split)
    done += count
  }
  for (const { bytes, shape } of sources) {
    if ((await bytes.read(new Uint8Array(1))) === 0) continue
    throw malformed(bytes.name, `it is too long: [${shape.join(', ')}] needs ${rows} rows, it has more`)
  }
}

function malformed(name: string, reason: string): KernelError {
  return new KernelError('data.malformed', `Cannot read ${name}: ${reason}`, { file: name })
}
