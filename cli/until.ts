/** Resolves once the signal has been aborted. */
import { once } from 'node:events'

export async function aborted(signal: AbortSignal): Promise<undefined> {
  if (!signal.aborted) await once(signal, 'abort')
  return undefined
}
