/**
 * A job's telemetry: capped streams beside the mailboxes, for whoever watches. Losing a line changes nothing, so what
 * cannot be written is reported and not retried; no effect fails for it.
 */
import type { LogLine, MetricLine } from '../machines/views.ts'
import type { Client, Clock, Json } from '../runtime/mod.ts'

export const metricsStream = (job: string): string => `job:${job}:metrics`
export const logsStream = (job: string): string => `job:${job}:logs`

/** What is told about what could not be told. */
export type Trouble = (where: string, error: unknown) => void

export interface Telemetry {
  readonly client: Pick<Client, 'append'>
  readonly clock: Pick<Clock, 'now'>
  readonly trouble: Trouble
}

export type Log = (level: LogLine['level'], message: string) => Promise<void>

/** A log of one job, written by `source`. */
export function jobLog({ client, clock, trouble }: Telemetry, job: string, source: string): Log {
  return async (level, message) => {
    const line: LogLine = { at: clock.now(), level, source, message }
    await append(client, logsStream(job), [line], trouble)
  }
}

/** At most this many lines a second leave a running task. */
const BATCH_MS = 200
const BATCH_LINES_MAX = 256

/** Gathers metric lines and sends them together, when one comes after the pause and at the end. */
export class MetricBatch {
  readonly #telemetry: Telemetry
  readonly #stream: string
  #lines: MetricLine[] = []
  #sentAt = 0
  #sending: Promise<void> = Promise.resolve()

  constructor(telemetry: Telemetry, job: string) {
    this.#telemetry = telemetry
    this.#stream = metricsStream(job)
  }

  add(line: MetricLine): void {
    this.#lines.push(line)
    if (line.at - this.#sentAt >= BATCH_MS || this.#lines.length >= BATCH_LINES_MAX) this.#send(line.at)
  }

  /** Sends what is left, and resolves when all is sent. */
  async end(): Promise<void> {
    this.#send(this.#telemetry.clock.now())
    await this.#sending
  }

  #send(at: number): void {
    const lines = this.#lines
    this.#lines = []
    this.#sentAt = at
    if (lines.length === 0) return
    const { client, trouble } = this.#telemetry
    // One after the other, so that a stream's lines stand in the order of their steps.
    this.#sending = this.#sending.then(() => append(client, this.#stream, lines, trouble))
  }
}

async function append(
  client: Pick<Client, 'append'>,
  stream: string,
  lines: readonly (LogLine | MetricLine)[],
  trouble: Trouble,
): Promise<void> {
  try {
    await client.append(stream, lines as unknown as readonly Json[]) // lines are plain data; interfaces have no index signature
  } catch (error) {
    trouble(`append ${stream}`, error)
  }
}
