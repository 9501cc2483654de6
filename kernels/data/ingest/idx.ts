/**
 * IDX, the format of MNIST's files (http://yann.lecun.com/exdb/mnist, "THE IDX FILE FORMAT"): two zero bytes, a type,
 * the number of dimensions, each dimension as a big-endian uint32, then the values row by row, big-endian. A file of
 * pictures or of rows of numbers may stand beside a file of labels; several such pairs are the splits of a dataset.
 */
import { KernelError } from '../../errors.ts'
import { CLASSES_MAX } from '../../limits.ts'
import type { Column } from '../column.ts'
import type { SplitName } from '../manifest.ts'
import { openBytes } from './bytes.ts'
import type { ByteReader } from './bytes.ts'
import type { FileType } from './numbers.ts'
import type { IngestFile, IngestOptions } from './request.ts'
import type { RowSink } from './sink.ts'
import { splitsOfFiles } from './split.ts'
import { checkShape, columnsOf, readTensors } from './tensors.ts'
import type { TensorSource } from './tensors.ts'

const TYPES: Readonly<Record<number, FileType>> = { 8: 'u1', 9: 'i1', 11: 'i2', 12: 'i4', 13: 'f4', 14: 'f8' }
const DIMENSIONS_MAX = 6
const LABEL = 'label'

export async function readIdx(
  files: readonly IngestFile[],
  sink: RowSink,
  _: IngestOptions,
  onBytes: (bytes: number) => void,
): Promise<readonly Column[]> {
  await using opened = new AsyncDisposableStack()
  const splits = splitsOfFiles(files)
  const sets = new Map<SplitName | undefined, TensorSource[]>()
  for (const [i, file] of files.entries()) {
    const source = await readHeader(opened.use(await openBytes(file.path, file.name)))
    const split = splits?.[i]
    const beside = sets.get(split) ?? []
    if (beside.some(({ column }) => column === source.column)) {
      throw malformed(file.name, `it is a second file of ${source.column === LABEL ? 'labels' : 'pictures'}`)
    }
    sets.set(
      split,
      [...beside, source].toSorted((a, b) => Number(a.column === LABEL) - Number(b.column === LABEL)),
    )
  }
  const [first = []] = [...sets.values()]
  const columns = columnsOf(first, new Set([LABEL]))
  for (const set of sets.values()) requireSame(first, set, columns)
  sink.begin(columns, columns.find(({ name }) => name === LABEL)?.name)
  let highest = 0
  for (const [split, set] of sets) {
    await readTensors(set, sink, split, (column, values) => {
      onBytes([...sets.values()].flat().reduce((sum, { bytes }) => sum + bytes.position, 0))
      if (set[column]?.column !== LABEL) return
      for (let i = 0; i < values.length; i++) if ((values[i] ?? 0) > highest) highest = values[i] ?? 0
    })
  }
  if (highest >= CLASSES_MAX) throw malformed(LABEL, `label ${highest} is above ${CLASSES_MAX - 1}`)
  return columns.map((column) => (column.name === LABEL ? { ...column, categories: { count: highest + 1 } } : column))
}

async function readHeader(bytes: ByteReader): Promise<TensorSource> {
  const { name } = bytes
  const magic = new Uint8Array(4)
  const found = await bytes.read(magic)
  if (found < 4) throw malformed(name, `it has ${found} bytes, an IDX file starts with 4`)
  if (magic[0] !== 0 || magic[1] !== 0) {
    throw malformed(name, `it starts with bytes ${magic[0]} ${magic[1]}, an IDX file starts with 0 0`)
  }
  const type = TYPES[magic[2] ?? 0]
  if (type === undefined) {
    throw malformed(name, `its values have type 0x${(magic[2] ?? 0).toString(16)}, expected one of 8, 9, b, c, d, e`)
  }
  const rank = magic[3] ?? 0
  if (rank < 1 || rank > DIMENSIONS_MAX)
    throw malformed(name, `it has ${rank} dimensions, expected 1 to ${DIMENSIONS_MAX}`)
  const header = new Uint8Array(rank * 4)
  if ((await bytes.read(header)) < header.byteLength) {
    throw malformed(name, `it ends within its header of ${4 + rank * 4} bytes`)
  }
  const view = new DataView(header.buffer)
  const shape = Array.from({ length: rank }, (_, i) => view.getUint32(i * 4))
  checkShape(name, shape)
  if (rank === 1 && type !== 'u1' && type !== 'i4' && type !== 'i2')
    throw malformed(name, 'its labels are no whole numbers')
  return { bytes, type, isLittle: false, shape, column: rank === 1 ? LABEL : rank > 2 ? 'image' : 'x' }
}

/** All splits have the same columns. */
function requireSame(first: readonly TensorSource[], set: readonly TensorSource[], columns: readonly Column[]): void {
  for (const [i, { column, type, shape, bytes }] of set.entries()) {
    const other = first[i]
    if (other?.column === column && other.type === type && other.shape.slice(1).join() === shape.slice(1).join())
      continue
    const expected = other === undefined ? 'none' : `${columns[i]?.name} of [${other.shape.slice(1).join(', ')}]`
    throw malformed(
      bytes.name,
      `its rows are ${column} of [${shape.slice(1).join(', ')}], expected ${expected} as in the other split`,
    )
  }
  if (set.length < first.length) throw malformed(set[0]?.bytes.name ?? '', 'its split lacks a file that the other has')
}

function malformed(name: string, reason: string): KernelError {
  return new KernelError('data.malformed', `Cannot read ${name} as IDX: ${reason}`, { file: name })
}
