/** Wakes one sleeper. A ring while nobody sleeps is remembered, so that no wake-up is lost between a look and a nap. */
import type { Clock } from './clock.ts'

/** A reason of our own: without one each abort makes an error with its stack, which a ring can't afford. */
const RUNG = 'rung'

export class Bell {
  readonly #clock: Clock
  #rung = false
  #sleeper: AbortController | null = null

  constructor(clock: Clock) {
    this.#clock = clock
  }

  ring(): void {
    this.#rung = true
    this.#sleeper?.abort(RUNG)
  }

  /** Resolves at the next ring, after `ms`, or when the signal aborts. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    if (!this.#rung && !signal.aborted && ms > 0) {
      const sleeper = new AbortController()
      this.#sleeper = sleeper
      const abort = (): void => sleeper.abort(RUNG)
      signal.addEventListener('abort', abort, { once: true })
      await this.#clock.sleep(ms, sleeper.signal)
      signal.removeEventListener('abort', abort)
      this.#sleeper = null
    }
    this.#rung = false
  }
}
