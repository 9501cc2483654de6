/**
 * The errors of the fleet's effects. Each has a stable `code` (API: never renamed), a sentence for a person, the data
 * that explains it, and a `remedy`; the runtime turns it into the fault that the chart sees.
 */
import type { Remedy } from '../runtime/mod.ts'

const REMEDIES = {
  'dataset.unknown': 'fix-request',
  'dataset.version-unknown': 'fix-request',
  /** A job or a model rests on it. */
  'dataset.in-use': 'fix-request',
  'dataset.source-unknown': 'fix-request',
  'dataset.too-large': 'fix-request',
  /** The files of a dataset that comes in a package are not there, or are not readable. */
  'dataset.unreadable': 'give-up',
  /** A blob of the dataset is lost, or its bytes are not what they were: it must be brought in anew. */
  'dataset.damaged': 'give-up',
  'model.alias-unknown': 'fix-request',
  'model.unknown': 'fix-request',
  /** Two workers of one numerics fingerprint computed different bits. */
  'round.disagreement': 'give-up',
  'spec.not-admitted': 'fix-request',
  'worker.backends-differ': 'give-up',
  'worker.stopping': 'retry-elsewhere',
  'work.wrong-place': 'retry-elsewhere',
} as const satisfies Record<string, Remedy>

export type FleetErrorCode = keyof typeof REMEDIES

export class FleetError extends Error {
  override readonly name = 'FleetError'
  readonly code: FleetErrorCode
  readonly remedy: Remedy
  readonly data: Readonly<Record<string, unknown>>

  constructor(code: FleetErrorCode, message: string, data: Readonly<Record<string, unknown>> = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.remedy = REMEDIES[code]
    this.data = data
  }
}
