/**
 * What a task moves between its worker and the blob store, in bytes, by what it is for: the exchange, without which
 * replicas could not become one model (weights, deltas, gradients), and the state, which is moved so that another worker
 * could go on (optimiser states, the weights of a checkpoint). What lies in the worker's cache already is not moved.
 */
export interface Moved {
  exchangeBytes: number
  stateBytes: number
}
