/**
 * How Node is started where a runtime node or a gateway lives. With V8's default of 16 MB for a half of its young generation
 * messages wait for a collection every few milliseconds, and on busy cores a collection waits for its helper threads: twice
 * as much room halves the slowest hundredth of asks (docs/decisions/asks.md).
 */
export const NODE_FLAGS: readonly string[] = [
  '--max-semi-space-size=32',
  '--disable-warning=ExperimentalWarning', // node:sqlite
]
