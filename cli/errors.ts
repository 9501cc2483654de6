/** What a command tells its user when it cannot go on: a sentence, never a stack trace, and an exit code for scripts. */

/** Exit codes are API: scripts test them. */
export const EXIT = {
  ok: 0,
  /** The job failed, or something unforeseen happened. */
  failed: 1,
  /** Wrong use: an unknown option, a spec with errors, no such job. */
  usage: 2,
  /** The API cannot be reached or does not accept our token. */
  unreachable: 3,
  /** Ended by Ctrl-C. */
  interrupted: 130,
} as const

export class CliError extends Error {
  override readonly name = 'CliError'
  readonly exitCode: number
  /** More lines for the user, below the sentence. */
  readonly details: readonly string[]

  constructor(message: string, options: { exitCode?: number; details?: readonly string[]; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.exitCode = options.exitCode ?? EXIT.failed
    this.details = options.details ?? []
  }
}
