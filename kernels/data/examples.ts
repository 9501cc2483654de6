/**
 * Examples as people and programs give them, into one typed array, with every problem named by its place. An example
 * is an object that names the columns, or a list of them in the model's order; a column with a shape is nested as the
 * shape says, or flat, all its numbers in one list. A category is given by its name, or by its code. Null is a missing
 * value, refused in a column of which preprocessing does not say what to make then: the model would answer with no number.
 */
import { problem } from '../layer.ts'
import type { Problem } from '../layer.ts'
import { elementsOf, MISSING_CATEGORY } from './column.ts'
import type { FeatureColumn } from './column.ts'

export interface Examples {
  /** [examples, all values of all columns]; of use only where there is no problem. */
  readonly values: Float32Array<ArrayBuffer>
  readonly problems: readonly Problem[]
}

const PROBLEMS_MAX = 100

export function readExamples(inputs: readonly unknown[], columns: readonly FeatureColumn[]): Examples {
  const width = columns.reduce((sum, column) => sum + elementsOf(column), 0)
  const filling = new Filling(columns, new Float32Array(inputs.length * width))
  for (const [i, input] of inputs.entries()) filling.fill(input, `inputs[${i}]`, i * width)
  return filling
}

class Filling {
  readonly problems: Problem[] = []
  /** [inputs, all values of all columns] */
  readonly values: Float32Array<ArrayBuffer>
  readonly #columns: readonly FeatureColumn[]

  constructor(columns: readonly FeatureColumn[], values: Float32Array<ArrayBuffer>) {
    this.#columns = columns
    this.values = values
  }

  fill(input: unknown, path: string, offset: number): void {
    const [only] = this.#columns
    if (typeof input === 'object' && input !== null && !Array.isArray(input)) {
      this.#fillNamed(input as Record<string, unknown>, path, offset) // an object with string keys, by the line above
    } else if (this.#columns.length === 1 && only !== undefined) this.#fillColumn(only, input, path, offset)
    else this.#fillListed(input, path, offset)
  }

  #fillNamed(input: Readonly<Record<string, unknown>>, path: string, offset: number): void {
    let at = offset
    for (const column of this.#columns) {
      const place = `${path}.${column.name}`
      if (Object.hasOwn(input, column.name)) this.#fillColumn(column, input[column.name], place, at)
      else this.#complain(place, expectationOf(column), undefined)
      at += elementsOf(column)
    }
    for (const name of Object.keys(input)) {
      if (this.#columns.some((column) => column.name === name)) continue
      const names = this.#columns.map((column) => column.name).join(', ')
      this.#complain(`${path}.${name}`, `one of the columns ${names}`, name)
    }
  }

  #fillListed(input: unknown, path: string, offset: number): void {
    const names = this.#columns.map(({ name }) => name)
    if (!Array.isArray(input) || input.length !== names.length) {
      const named = names.length > 20 ? `${names.slice(0, 20).join(', ')}, …` : names.join(', ')
      return this.#complain(path, `an object, or a list of ${names.length} values: ${named}`, input)
    }
    let at = offset
    for (const [i, column] of this.#columns.entries()) {
      this.#fillColumn(column, input[i], `${path}[${i}]`, at)
      at += elementsOf(column)
    }
  }

  #fillColumn(column: FeatureColumn, value: unknown, path: string, offset: number): void {
    const size = elementsOf(column)
    const isOne = column.shape.length === 0 || size === 1
    const isFlat = Array.isArray(value) && value.length === size && !Array.isArray(value[0])
    if (column.shape.length === 0) this.values[offset] = this.#number(column, onlyOf(value), path)
    else if (isOne && !Array.isArray(value)) this.values[offset] = this.#number(column, value, path)
    else this.#fillNested(column, value, isFlat ? [size] : column.shape, path, offset)
  }

  /** `shape` is what is left of it below `path`. Gives the offset after what it wrote. */
  #fillNested(column: FeatureColumn, value: unknown, shape: readonly number[], path: string, offset: number): number {
    if (this.problems.length >= PROBLEMS_MAX) return offset
    const [length, ...inner] = shape
    if (length === undefined) {
      this.values[offset] = this.#number(column, value, path)
      return offset + 1
    }
    if (!Array.isArray(value) || value.length !== length) {
      const of =
        inner.length === 0 ? `${length} numbers` : `${length} lists, as the shape [${column.shape.join(', ')}] says`
      this.#complain(path, of, value)
      return offset
    }
    let next = offset
    for (let i = 0; i < length; i++) next = this.#fillNested(column, value[i], inner, `${path}[${i}]`, next)
    return next
  }

  #number(column: FeatureColumn, value: unknown, path: string): number {
    const { categories, nullable } = column
    if (value === null && nullable === true) return categories === undefined ? Number.NaN : MISSING_CATEGORY
    if (categories === undefined) {
      if (typeof value === 'number' && Number.isFinite(value)) return value
    } else {
      const name = typeof value === 'string' || typeof value === 'number' ? String(value) : ''
      const isCode = typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < categories.count
      const code = isCode && categories.names?.includes(name) !== true ? value : undefined
      const named = categories.names?.indexOf(name) ?? -1
      if (named >= 0) return named
      if (code !== undefined) return code
    }
    this.#complain(path, expectationOf({ ...column, shape: [] }), value)
    return 0
  }

  #complain(path: string, expected: string, found: unknown): void {
    if (this.problems.length < PROBLEMS_MAX) this.problems.push(problem(path, expected, found))
  }
}

/** A list of one stands for what is in it. */
function onlyOf(value: unknown): unknown {
  return Array.isArray(value) && value.length === 1 ? (value[0] as unknown) : value
}

function expectationOf({ categories, shape }: FeatureColumn): string {
  if (categories?.names !== undefined) {
    const names = categories.names.slice(0, 10).map((name) => JSON.stringify(name))
    return `one of ${names.join(', ')}${categories.count > 10 ? ', …' : ''}`
  }
  if (categories !== undefined) return `a whole number from 0 to ${categories.count - 1}`
  return shape.length === 0 ? 'a number' : `numbers of shape [${shape.join(', ')}]`
}
