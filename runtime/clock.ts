/**
 * Time and chance come in as arguments, so that a test or the simulator can own them.
 * Nothing else in the runtime reads a clock, sets a timer or draws a random number.
 */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number
  /** Resolves after `ms`, or at once when the signal aborts; never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

export interface Random {
  /** Uniform in [0, 1). */
  next(): number
  /** A fresh word of 16 hexadecimal digits, for nonces and ids. */
  word(): string
}

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted === true) {
        resolve()
        return
      }
      const wake = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', wake)
        resolve()
      }
      const timer = setTimeout(wake, ms)
      signal?.addEventListener('abort', wake, { once: true })
    }),
}

export const systemRandom: Random = {
  next: () => Math.random(),
  word: () => {
    const bytes = crypto.getRandomValues(new Uint8Array(8))
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
  },
}
