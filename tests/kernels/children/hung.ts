/** A kernel process that says it is ready and then never says anything again, as a stuck native call would. */
process.send?.({ type: 'ready', backend: 'cpu', fingerprint: 'test' })
process.on('message', () => {
  const cell = new Int32Array(new SharedArrayBuffer(4))
  Atomics.wait(cell, 0, 0)
})
