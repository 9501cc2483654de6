/** What a benchmark has started beside its own process: whoever interrupts it, by Ctrl-C or by a time limit, finds nothing left. */
const started = new Set<() => Promise<void>>()

/** Makes a disposer of what stops something; until it is called, an interruption calls it. */
export function owned(stop: () => Promise<void>): () => Promise<void> {
  const once = async (): Promise<void> => {
    if (started.delete(once)) await stop()
  }
  started.add(once)
  return once
}

/** On an interruption, stops all that is owned and ends the process as the signal would have. */
export function stopWhenInterrupted(): void {
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.once(signal, () => {
      void Promise.allSettled([...started].map((stop) => stop())).then(() => process.exit(code))
    })
  }
}
