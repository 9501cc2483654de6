/** Examples from a request into one typed array, with every shape error named; and outputs into classes. */
import type { ModelVersionView } from '../machines/views.ts'
import { LIMITS } from './limits.ts'
import { GatewayError, type FieldError } from './problems.ts'
import { describe } from './schemas/field-errors.ts'
import type { Predictions, Rows } from './services.ts'

/** Each input is nested as `shape` says, or flat: all its numbers in one list, the last dimension fastest. */
export function rowsOf(inputs: readonly unknown[], shape: readonly number[]): Rows {
  const size = shape.reduce((product, dimension) => product * dimension, 1)
  const values = new Float32Array(inputs.length * size) // [inputs, ...shape]
  const filling = new Filling(values, shape)
  for (const [i, input] of inputs.entries()) filling.fill(input, i, i * size, size)
  if (filling.errors.length > 0) {
    throw new GatewayError('request.invalid', `The inputs do not fit the model: ${filling.errors[0]?.message}`, {
      errors: filling.errors,
    })
  }
  return { shape, values }
}

/** One list of numbers for each row. */
export function outputsOf({ rows, values }: Predictions): number[][] {
  const size = values.length / rows
  return Array.from({ length: rows }, (_, row) => [...values.subarray(row * size, (row + 1) * size)])
}

/** The likeliest class of each row, by its name where the model has names. Undefined for a model of values. */
export function classesOf({ target }: ModelVersionView, outputs: readonly number[][]): (number | string)[] | undefined {
  if (target.kind !== 'class') return undefined
  return outputs.map((row) => {
    const likeliest = row.reduce((best, value, i) => (value > (row[best] ?? -Infinity) ? i : best), 0)
    return target.names?.[likeliest] ?? likeliest
  })
}

class Filling {
  readonly errors: FieldError[] = []
  readonly #data: Float32Array
  readonly #shape: readonly number[]

  constructor(data: Float32Array, shape: readonly number[]) {
    this.#data = data
    this.#shape = shape
  }

  fill(input: unknown, row: number, offset: number, size: number): void {
    const flat = Array.isArray(input) && input.length === size && !Array.isArray(input[0])
    this.#fill(input, flat ? [size] : this.#shape, `inputs[${row}]`, offset)
  }

  /** `shape` is what is left of it below `path`. Gives the offset after what it wrote. */
  #fill(value: unknown, shape: readonly number[], path: string, offset: number): number {
    if (this.errors.length >= LIMITS.errorsMax) return offset
    const [length, ...inner] = shape
    if (length === undefined) {
      if (typeof value === 'number' && Number.isFinite(value)) this.#data[offset] = value
      else this.#complain(path, 'a number', describe(value))
      return offset + 1
    }
    if (!Array.isArray(value) || value.length !== length) {
      const of =
        inner.length === 0 ? `${length} numbers` : `${length} lists, as the shape [${this.#shape.join(', ')}] says`
      this.#complain(path, of, describe(value))
      return offset
    }
    let next = offset
    for (let i = 0; i < length; i++) next = this.#fill(value[i], inner, `${path}[${i}]`, next)
    return next
  }

  #complain(path: string, expected: string, found: string): void {
    this.errors.push({ path, expected, found, message: `${path}: expected ${expected}, found ${found}` })
  }
}
