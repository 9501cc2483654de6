/**
 * NPY (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html), one array in a file, and NPZ, several in
 * a zip. Arrays of as many rows stand side by side as columns under their names; names like `x_train` and `y_test` say
 * a split, and the column is what is left of the name.
 */
import { KernelError } from '../../errors.ts'
import { COLUMN_MAJOR_BYTES_MAX } from '../../limits.ts'
import { elementCount } from '../../safetensors.ts'
import type { Column } from '../column.ts'
import { SPLITS } from '../manifest.ts'
import type { SplitName } from '../manifest.ts'
import { openBytes } from './bytes.ts'
import type { ByteReader } from './bytes.ts'
import { FILE_TYPE_BYTES } from './numbers.ts'
import { TurnedBytes } from './turned.ts'
import type { FileType } from './numbers.ts'
import type { IngestFile, IngestOptions } from './request.ts'
import type { RowSink } from './sink.ts'
import { splitOfName } from './split.ts'
import { checkShape, columnsOf, readTensors } from './tensors.ts'
import type { TensorSource } from './tensors.ts'
import { openZip } from './zip.ts'

const HEADER_BYTES_MAX = 64 * 1024

export async function readNpy(
  files: readonly IngestFile[],
  sink: RowSink,
  _: IngestOptions,
  onBytes: (bytes: number) => void,
): Promise<readonly Column[]> {
  await using opened = new AsyncDisposableStack()
  const arrays: NamedArray[] = []
  for (const { path, name, split } of files) {
    arrays.push(await readHeader(opened.use(await openBytes(path, name)), name.replace(/^.*\//, ''), split))
  }
  return await readArrays(files[0]?.name ?? '', arrays, sink, onBytes)
}

export async function readNpz(
  files: readonly IngestFile[],
  sink: RowSink,
  _: IngestOptions,
  onBytes: (bytes: number) => void,
): Promise<readonly Column[]> {
  await using opened = new AsyncDisposableStack()
  const arrays: NamedArray[] = []
  for (const { path, name, split } of files) {
    const zip = opened.use(await openZip(path, name))
    for (const entry of zip.entries) {
      if (!entry.name.endsWith('.npy')) throw malformed(`${name}/${entry.name}`, 'it is no array of an NPZ file')
      arrays.push(await readHeader(opened.use(await zip.read(entry)), entry.name, split))
    }
  }
  return await readArrays(files[0]?.name ?? '', arrays, sink, onBytes)
}

interface NamedArray extends TensorSource {
  readonly split: SplitName | undefined
}

async function readArrays(
  file: string,
  arrays: readonly NamedArray[],
  sink: RowSink,
  onBytes: (bytes: number) => void,
): Promise<readonly Column[]> {
  if (arrays.length === 0) throw malformed(file, 'it holds no arrays')
  // Where some names say a split and others don't, no name does: `test` may be what a column is called.
  const isSplit = arrays.every(({ split }) => split !== undefined) && arrays.some(({ split }) => split === 'train')
  const sets = isSplit ? SPLITS.map((split) => arrays.filter((array) => array.split === split)) : [arrays]
  const [first = []] = sets
  const columns = columnsOf(first, new Set())
  for (const set of sets) requireSame(first, set)
  sink.begin(columns)
  for (const set of sets) {
    if (set.length === 0) continue
    await readTensors(set, sink, isSplit ? set[0]?.split : undefined, () => {
      onBytes(arrays.reduce((sum, { bytes }) => sum + bytes.position, 0))
    })
  }
  return columns
}

async function readHeader(bytes: ByteReader, file: string, split: SplitName | undefined): Promise<NamedArray> {
  const { name } = bytes
  const prefix = new Uint8Array(10)
  const found = await bytes.read(prefix)
  if (found < 10 || Buffer.from(prefix.subarray(0, 6)).toString('latin1') !== '\x93NUMPY') {
    throw malformed(name, 'it does not start as one')
  }
  const view = new DataView(prefix.buffer)
  let headerBytes = view.getUint16(8, true)
  if ((prefix[6] ?? 0) >= 2) {
    const more = new Uint8Array(2)
    await bytes.read(more)
    headerBytes += new DataView(more.buffer).getUint16(0, true) * 65_536
  }
  if (headerBytes > HEADER_BYTES_MAX) throw malformed(name, `its header claims ${headerBytes} bytes`)
  const header = new Uint8Array(headerBytes)
  if ((await bytes.read(header)) < headerBytes) throw malformed(name, 'it ends within its header')
  const text = Buffer.from(header).toString('latin1')
  const descr = /'descr':\s*'([^']*)'/.exec(text)?.[1]
  const shapeText = /'shape':\s*\(([\d\s,]*)\)/.exec(text)?.[1]
  if (shapeText === undefined) throw malformed(name, 'its header has no shape')
  const shape = shapeText.split(',').flatMap((part) => (part.trim() === '' ? [] : [Number(part)]))
  checkShape(name, shape)
  const type = descr?.slice(1)
  if (type === undefined || !isFileType(type)) {
    const known = Object.keys(FILE_TYPE_BYTES).join(', ')
    throw malformed(name, `its values are ${descr ?? 'structured'}, expected numbers: ${known}`)
  }
  const base = file.replace(/\.npy$/, '')
  const part = split ?? splitOfName(base)
  const column = part === undefined ? base : withoutSplit(base)
  const isByColumn = /'fortran_order':\s*True/.test(text) && shape.length > 1
  const rows = isByColumn ? rowsOfColumns(bytes, shape, FILE_TYPE_BYTES[type]) : bytes
  return { bytes: rows, type, isLittle: descr?.[0] !== '>', shape, column, split: part }
}

/** Rows of an array that is stored column by column (as pandas gives them): turned in memory, so of bounded size. */
function rowsOfColumns(bytes: ByteReader, shape: readonly number[], valueBytes: number): ByteReader {
  const sizeBytes = elementCount(shape) * valueBytes
  if (sizeBytes > COLUMN_MAJOR_BYTES_MAX) {
    throw malformed(
      bytes.name,
      `it is stored column by column, and of its ${sizeBytes} bytes at most ${COLUMN_MAJOR_BYTES_MAX} are turned; save numpy.ascontiguousarray of it`,
    )
  }
  return new TurnedBytes(bytes, shape, valueBytes)
}

/** `x_train` → `x`; a name that is nothing but a split stays. */
function withoutSplit(name: string): string {
  const rest = name.replace(/(^|[^a-z])(train|training|val|valid|validation|dev|test|testing)(?=[^a-z]|$)/i, '')
  return rest.replace(/^[^a-z0-9]+|[^a-z0-9]+$/gi, '') || name
}

function isFileType(text: string): text is FileType {
  return Object.hasOwn(FILE_TYPE_BYTES, text)
}

/** All splits have the same arrays. */
function requireSame(first: readonly TensorSource[], set: readonly TensorSource[]): void {
  for (const { column, type, shape, bytes } of set) {
    const other = first.find((source) => source.column === column)
    if (other?.type === type && other.shape.slice(1).join() === shape.slice(1).join()) continue
    throw malformed(bytes.name, `no array of the training split is called "${column}" and has its type and shape`)
  }
  if (set.length > 0 && set.length < first.length) throw malformed(set[0]?.bytes.name ?? '', 'its split lacks an array')
}

function malformed(name: string, reason: string): KernelError {
  return new KernelError('data.malformed', `Cannot read ${name} as NPY: ${reason}`, { file: name })
}
