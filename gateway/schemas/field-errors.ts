/**
 * What zod says, in our words: every issue as `{path, expected, found, message}`, all of them at once.
 * `found` is read from the input itself, since zod tells of types where a person wants to see the value.
 */
import type { z } from 'zod'
import type { FieldError } from '../problems.ts'

type Issue = z.core.$ZodIssue

/** The errors of a failed parse, in the order of the fields. */
export function fieldErrors(error: z.ZodError, input: unknown): FieldError[] {
  return error.issues.flatMap((issue) => errorsOf(issue, input))
}

function errorsOf(issue: Issue, input: unknown): FieldError[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const path = pathText([...issue.path, key])
      return fieldError(path, 'no such field', describe(valueAt(input, [...issue.path, key])), `Unknown field ${path}`)
    })
  }
  const meant = issue.code === 'invalid_union' ? meantOption(issue.errors) : undefined
  if (meant !== undefined) {
    return meant.flatMap((inner) => errorsOf({ ...inner, path: [...issue.path, ...inner.path] }, input))
  }
  const path = pathText(issue.path)
  const expected = expectationOf(issue)
  const found = describe(valueAt(input, issue.path))
  return [fieldError(path, expected, found, `${path === '' ? 'The body' : path}: expected ${expected}, found ${found}`)]
}

/** The one option that the value is of the kind of, or comes closest to, where that has something against single fields of it. */
function meantOption(options: readonly Issue[][]): Issue[] | undefined {
  const ofItsKind = options.filter((issues) => !issues.some(({ code, path }) => code === 'invalid_type' && path.length === 0)) // prettier-ignore
  const against = (issues: readonly Issue[]): number =>
    issues.reduce((sum, issue) => sum + (issue.code === 'unrecognized_keys' ? issue.keys.length : 1), 0)
  const [first, second] = ofItsKind.toSorted((a, b) => against(a) - against(b))
  if (first === undefined || first.some(({ code, path }) => code !== 'unrecognized_keys' && path.length === 0))
    return undefined
  return second !== undefined && against(second) === against(first) ? undefined : first
}

function fieldError(path: string, expected: string, found: string, message: string): FieldError {
  return { path, expected, found, message }
}

function expectationOf(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return TYPE_NAMES[issue.expected] ?? issue.expected
    case 'invalid_value':
      return oneOf(issue.values)
    case 'invalid_union':
      if ('options' in issue && Array.isArray(issue.options)) return oneOf(issue.options)
      return [...new Set(issue.errors.flat().map(expectationOf))].join(' or ') || issue.message
    case 'too_small': {
      const bound = `${issue.inclusive === false ? 'more than' : 'at least'} ${issue.minimum}`
      return `${bound}${unitOf(issue.origin)}`
    }
    case 'too_big': {
      const bound = `${issue.inclusive === false ? 'less than' : 'at most'} ${issue.maximum}`
      return `${bound}${unitOf(issue.origin)}`
    }
    case 'not_multiple_of':
      return `a multiple of ${issue.divisor}`
    case 'invalid_format':
      return issue.message
    default:
      return issue.message
  }
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  int: 'a whole number',
  number: 'a number',
  string: 'text',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object',
  nonoptional: 'a value',
}

function unitOf(origin: string): string {
  if (origin === 'string') return ' characters'
  if (origin === 'array') return ' items'
  return ''
}

function oneOf(values: readonly unknown[]): string {
  const names = values.map((value) => JSON.stringify(value))
  return names.length === 1 ? String(names[0]) : `one of ${names.join(', ')}`
}

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  let value = input
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
    value = (value as Record<PropertyKey, unknown>)[key] // an own property of an object: checked on the line above
  }
  return value
}

/** A value as a person reads it in a sentence: short, and never the whole of something large. */
export function describe(value: unknown): string {
  switch (typeof value) {
    case 'undefined':
      return 'nothing'
    case 'string':
      return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value)
    case 'object':
      if (value === null) return 'null'
      if (!Array.isArray(value)) return 'an object'
      return value.length === 1 ? 'a list of 1 item' : `a list of ${value.length} items`
    case 'number':
    case 'boolean':
      return String(value)
    default:
      return typeof value
  }
}

/** `train.layers[2].units` */
export function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`
    return text === '' ? String(key) : `${text}.${String(key)}`
  }, '')
}
