/** A kernel process that takes more memory with every sign of life, as one that leaks tensors would. */
const kept: Buffer[] = []
process.on('disconnect', () => process.exit(0))
process.send?.({ type: 'ready', backend: 'cpu', fingerprint: 'test' })
process.on('message', ({ id, request }: { id: number; request: { op: string } }) => void leak(id, request.op))

async function leak(id: number, op: string): Promise<void> {
  // What `initialise` leaks shows only with its result.
  for (let step = 1; step <= 20; step++) {
    kept.push(Buffer.alloc(20 * 1024 * 1024, 1))
    if (op === 'initialise') continue
    await send('progress', id)
  }
  await send('result', id)
}

/** Until it is on its way: the parent must have a chance to be quicker. */
function send(type: string, id: number): Promise<unknown> {
  const message = { type, id, result: { weights: null }, progress: {}, rssBytes: process.memoryUsage.rss() }
  return new Promise((resolve) => process.send?.(message, resolve))
}
