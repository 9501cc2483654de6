/**
 * An array that is stored column by column (Fortran's order: the first index runs fastest), given row by row: all of it is
 * read before its first row is known, and turned piece by piece as it is asked for.
 */
import { elementCount } from '../../safetensors.ts'
import type { ByteReader } from './bytes.ts'

export class TurnedBytes implements ByteReader {
  readonly #source: ByteReader
  readonly #rows: number
  readonly #valueBytes: number
  /** Of each value of a row: how many values after the row's first it is stored, in the order of rows. */
  readonly #offsets: Float64Array
  #stored: Uint8Array | undefined
  /** Values that were given. */
  #given = 0

  /** `shape` has the rows first. */
  constructor(source: ByteReader, shape: readonly number[], valueBytes: number) {
    this.#source = source
    this.#rows = shape[0] ?? 0
    this.#valueBytes = valueBytes
    const row = shape.slice(1)
    this.#offsets = new Float64Array(elementCount(row))
    for (let value = 0; value < this.#offsets.length; value++)
      this.#offsets[value] = this.#rows * fortranPlace(value, row)
  }

  get name(): string {
    return this.#source.name
  }

  get position(): number {
    return this.#source.position
  }

  async read(target: Uint8Array): Promise<number> {
    const stored = (this.#stored ??= await this.#readAll())
    const [bytes, perRow] = [this.#valueBytes, this.#offsets.length]
    const whole = stored.byteLength / bytes === this.#rows * perRow
    // Of an array that is cut short no row is whole; beyond the array there may be more, which nobody asked for.
    const count = whole ? Math.min(target.byteLength / bytes, this.#rows * perRow - this.#given) : 0
    if (count < 1) return whole ? this.#source.read(target) : 0
    let row = Math.floor(this.#given / perRow)
    let value = this.#given % perRow
    for (let to = 0; to < count * bytes;) {
      const from = (row + (this.#offsets[value] ?? 0)) * bytes
      for (let byte = 0; byte < bytes; byte++) target[to++] = stored[from + byte] ?? 0
      if (++value < perRow) continue
      value = 0
      row++
    }
    this.#given += count
    return count * bytes
  }

  async #readAll(): Promise<Uint8Array> {
    const stored = new Uint8Array(this.#rows * this.#offsets.length * this.#valueBytes)
    return stored.subarray(0, await this.#source.read(stored))
  }

  async [Symbol.asyncDispose](): Promise<void> {} // its source is its opener's
}

/** Where a value, counted with the last index fastest, stands when the first runs fastest. */
function fortranPlace(value: number, shape: readonly number[]): number {
  let place = 0
  let rest = value
  let stride = elementCount(shape)
  for (const dimension of shape.toReversed()) {
    stride /= dimension
    place += (rest % dimension) * stride
    rest = Math.floor(rest / dimension)
  }
  return place
}
