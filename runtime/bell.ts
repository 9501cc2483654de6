/**
 * Wakes one sleeper. A ring while nobody sleeps is remembered, so that no wake-up is lost between a look and a nap.
 *
 * An owner under asks naps some hundred times a second and is rung long before its time, and a sleep of the clock costs more
 * than the rest of the nap. So a sleep goes on when its sleeper is woken early, and serves the next naps too, as long as it
 * ends before they do.
 */
import type { Clock } from './clock.ts'

/** A reason of our own: without one each abort makes an error with its stack. */
const OVER = 'over'

export class Bell {
  readonly #clock: Clock
  #rung = false
  #wake: (() => void) | null = null
  /** When the sleeper wants to be woken, whoever rings. */
  #until = 0
  #sleep: { readonly until: number; readonly end: AbortController } | null = null

  constructor(clock: Clock) {
    this.#clock = clock
  }

  ring(): void {
    this.#rung = true
    this.#wake?.()
  }

  /** Resolves at the next ring, after `ms`, or when the signal aborts. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    if (!this.#rung && !signal.aborted && ms > 0) {
      const { promise, resolve } = Promise.withResolvers<void>()
      const wake = (): void => resolve()
      this.#wake = wake
      this.#until = this.#clock.now() + ms
      signal.addEventListener('abort', wake, { once: true })
      this.#sleepOn()
      await promise
      signal.removeEventListener('abort', wake)
      this.#wake = null
    }
    if (signal.aborted) this.stop()
    this.#rung = false
  }

  /** Ends the sleep that may still be under way for nobody. */
  stop(): void {
    this.#sleep?.end.abort(OVER)
    this.#sleep = null
  }

  #sleepOn(): void {
    const until = this.#until
    if (this.#sleep !== null && this.#sleep.until <= until) return
    this.stop()
    const end = new AbortController()
    this.#sleep = { until, end }
    void this.#clock.sleep(Math.max(0, until - this.#clock.now()), end.signal).then(() => {
      if (end.signal.aborted) return
      this.#sleep = null
      if (this.#wake === null) return
      if (this.#clock.now() < this.#until) this.#sleepOn()
      else this.#wake()
    })
  }
}
