/** A whole number above 0, as an option of the command line gives it. */
import { CliError, EXIT } from './errors.ts'

export function count(text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value > 0) return value
  throw new CliError(`Cannot use "${text}": expected a whole number above 0`, { exitCode: EXIT.usage })
}

/** `none`: as many as one likes. */
export function countOrNone(text: string): number | 'none' {
  return text === 'none' ? text : count(text)
}
