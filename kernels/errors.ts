/**
 * The one error of the compute folder. Every failure that a caller may meet carries a stable `code`, a sentence for a
 * person, the data that explains it, and a `remedy`: what the caller should do about it. The codes are API: they stand
 * in task results, in metrics and in tests, so a code is added, never renamed.
 */

export type Remedy = 'retry' | 'retry-elsewhere' | 'fix-request' | 'give-up'

/** Each code with the remedy that follows from it: a request that is wrong here is wrong everywhere, a dead process is not. */
const REMEDIES = {
  'request.invalid': 'fix-request',
  'model.invalid': 'fix-request',
  'data.malformed': 'fix-request',
  'weights.malformed': 'fix-request',
  'weights.mismatch': 'fix-request',
  'loss.not-finite': 'fix-request',
  'loss.exploded': 'fix-request',
  'blob.missing': 'retry',
  'blob.corrupt': 'retry',
  'backend.unavailable': 'retry-elsewhere',
  'gpu.fell-back': 'retry-elsewhere',
  'kernel.start': 'retry-elsewhere',
  'kernel.hung': 'retry-elsewhere',
  'kernel.died': 'retry-elsewhere',
  'kernel.memory': 'retry-elsewhere',
  'kernel.busy': 'retry',
  'kernel.cancelled': 'give-up',
  'kernel.failed': 'give-up',
} as const satisfies Record<string, Remedy>

export type KernelErrorCode = keyof typeof REMEDIES

/** What crosses the process boundary in place of the error itself. */
export interface KernelErrorData {
  code: KernelErrorCode
  message: string
  remedy: Remedy
  data: Record<string, unknown>
}

export class KernelError extends Error {
  override readonly name = 'KernelError'
  readonly code: KernelErrorCode
  readonly remedy: Remedy
  readonly data: Record<string, unknown>

  constructor(code: KernelErrorCode, message: string, data: Record<string, unknown> = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.remedy = REMEDIES[code]
    this.data = data
  }

  toJSON(): KernelErrorData {
    return { code: this.code, message: this.message, remedy: this.remedy, data: this.data }
  }

  static fromJSON(error: KernelErrorData): KernelError {
    return new KernelError(error.code, error.message, error.data)
  }

  /** Anything thrown, as a KernelError; what nobody foresaw becomes `kernel.failed`, with its own message kept. */
  static from(thrown: unknown): KernelError {
    if (thrown instanceof KernelError) return thrown
    const message = thrown instanceof Error ? thrown.message : String(thrown)
    const stack = thrown instanceof Error ? thrown.stack : undefined
    if (
      /out of memory|Array buffer allocation failed|memory access out of bounds|Cannot enlarge memory/i.test(message)
    ) {
      return new KernelError('kernel.memory', `Cannot compute: memory ran out (${message})`, { stack }, thrown)
    }
    return new KernelError('kernel.failed', `Cannot compute: ${message}`, { stack }, thrown)
  }
}
