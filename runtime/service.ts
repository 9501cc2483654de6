/**
 * A background duty of a node: one loop with one lifecycle. It runs until it is stopped; when it throws, that is told
 * as an event and it goes on after a pause, since a duty that ends silently is the worst of failures.
 */
import type { Clock } from './clock.ts'
import type { RuntimeEvents } from './events.ts'

export interface Service {
  stop(): Promise<void>
}

const PAUSE_AFTER_TROUBLE_MS = 250

/** Starts a duty. `run` does one turn of it and returns for how long to rest. */
export function service(
  name: string,
  { clock, events }: { readonly clock: Clock; readonly events: RuntimeEvents },
  run: (signal: AbortSignal) => Promise<number>,
): Service {
  const abort = new AbortController()
  const { signal } = abort
  const loop = async (): Promise<void> => {
    while (!signal.aborted) {
      let restMs = PAUSE_AFTER_TROUBLE_MS
      try {
        restMs = await run(signal)
      } catch (error) {
        if (!signal.aborted) events.emit({ type: 'trouble', where: name, error })
      }
      await clock.sleep(restMs, signal)
    }
  }
  const ended = loop()
  return {
    async stop() {
      abort.abort()
      await ended
    },
  }
}
