/** What speaks against a specification, by its field: said alike wherever it is found. */
import type { Problem } from '../kernels/mod.ts'
import { FleetError } from './errors.ts'

export function problem(path: string, expected: string, found: string): Problem {
  return { path, expected, found, message: `${path}: expected ${expected}, found ${found}` }
}

/** That a dataset cannot be had as it was asked for; throws what is no fault of who asks. */
export function problemOfDataset(error: unknown): Problem {
  if (!(error instanceof FleetError) || error.remedy !== 'fix-request') throw error
  const { path, expected, found } = error.data
  return problem(String(path), String(expected), String(found))
}
