/**
 * The replicas' results become the next global weights: plain JavaScript over safetensors bytes, no tfjs, so that any
 * process can do it. The sum is a fixed pairwise tree in replica order with float64 in its nodes: the result does not
 * depend on who finished first, and not on the machine.
 *
 * What is averaged is a mean over replicas, each with the weight of the rows that it sees in a step. Moving statistics
 * of normalisation layers are weights that no gradient moves; they are averaged under every outer optimiser.
 *
 * With a precision below float32 the way back is short too: the new weights are the old ones plus a delta of that
 * precision, so whoever has the old ones needs the delta alone (`update`); what it does not say waits in the outer state
 * for the next round, as it does on the replicas' side (Tang et al. 2019, 1905.05957).
 */
import { applyDelta, encodeDelta, floatsOf } from './delta.ts'
import type { DeltaPrecision, FloatTensor } from './delta.ts'
import { KernelError } from './errors.ts'
import { decodeTensors, encodeTensors } from './safetensors.ts'
import type { NamedTensor } from './safetensors.ts'

/** `average` replaces the weights by the mean; `nesterov` is DiLoCo's outer step (Douillard et al. 2023, 2311.08105). */
export type OuterSettings = { kind: 'average' } | { kind: 'nesterov'; learningRate: number; momentum: number }

export const DILOCO_OUTER: OuterSettings = { kind: 'nesterov', learningRate: 0.7, momentum: 0.9 }

export interface ReduceInput {
  /** Global weights at the round's start. */
  weights: Uint8Array
  /** The replicas' weights at its end, or their deltas to the weights at its start, in replica order. */
  replicas: readonly Uint8Array[]
  /** What each replica counts, in the same order; all count alike when left out. */
  shares?: readonly number[]
  outer: OuterSettings
  /** Of the way back; the replicas' own is told by their bytes. */
  precision?: DeltaPrecision
  /** Velocities and errors from the round before; none in the first. */
  outerState?: Uint8Array | undefined
  /** Names of weights that are moved by no gradient (`describeModel` knows them). */
  statistics?: readonly string[]
}

export interface ReduceResult {
  weights: Uint8Array
  /** The delta from the weights before; absent with float32. */
  update?: Uint8Array
  /** Absent where there is no state. */
  outerState?: Uint8Array
}

const VELOCITY = 'velocity/'
const ERROR = 'error/'

export function reduce(input: ReduceInput): ReduceResult {
  const { weights, replicas, outer, precision = 'float32', statistics = [] } = input
  if (replicas.length === 0) throw new KernelError('request.invalid', 'Cannot reduce a round without replicas')
  const start = floatsOf(decodeTensors(weights).tensors, 'the global weights')
  const ends = replicas.map((bytes, replica) => applyDelta(start, bytes, `the result of replica ${replica}`))
  const shares = input.shares ?? replicas.map(() => 1)
  const means = start.map((tensor, i): FloatTensor => ({ ...tensor, data: mean(ends.map((end) => end[i]!.data), shares) })) // prettier-ignore
  const before = input.outerState ? decodeTensors(input.outerState).tensors : []
  const state: NamedTensor[] = []
  let next = means
  if (outer.kind === 'nesterov') {
    const velocities = stateOf(before, VELOCITY, start) ?? start.map((t) => ({ ...t, data: new Float32Array(t.data.length) })) // prettier-ignore
    const still = new Set(statistics)
    next = start.map((tensor, i): FloatTensor => {
      if (still.has(tensor.name)) return means[i]!
      const velocity = velocities[i]!.data.slice()
      const data = nesterov(tensor.data, means[i]!.data, velocity, outer.learningRate, outer.momentum)
      state.push({ ...tensor, name: VELOCITY + tensor.name, data: velocity })
      return { ...tensor, data }
    })
  }
  if (precision === 'float32') return withState({ weights: encodeTensors(next) }, state)
  const { bytes: update, error } = encodeDelta(precision, start, next, stateOf(before, ERROR, start))
  for (const tensor of error) state.push({ ...tensor, name: ERROR + tensor.name })
  return withState({ weights: encodeTensors(applyDelta(start, update, 'the update')), update }, state)
}

/** The weights that follow from those before and a delta: what `reduce` made, made again elsewhere. */
export function followWeights(weights: Uint8Array, update: Uint8Array): Uint8Array {
  const start = floatsOf(decodeTensors(weights).tensors, 'the weights before')
  return encodeTensors(applyDelta(start, update, 'the update'))
}

function withState(result: ReduceResult, state: readonly NamedTensor[]): ReduceResult {
  return state.length === 0 ? result : { ...result, outerState: encodeTensors(state) }
}

/** The part of the outer state with this prefix, in the order of the weights; statistics have no velocity. */
function stateOf(
  tensors: readonly NamedTensor[],
  prefix: string,
  like: readonly FloatTensor[],
): FloatTensor[] | undefined {
  const found = new Map(tensors.filter(({ name }) => name.startsWith(prefix)).map((tensor) => [tensor.name, tensor]))
  if (found.size === 0) return undefined
  return like.map((tensor) => {
    const part = found.get(prefix + tensor.name) ?? { ...tensor, data: new Float32Array(tensor.data.length) }
    if (part.dtype === 'F32' && part.data.length === tensor.data.length) return { ...tensor, data: part.data }
    throw new KernelError('weights.mismatch', `Cannot use the outer state: ${part.name} does not fit the model`)
  })
}

/** v ← μ v + g; θ ← θ − η (g + μ v), with g the mean of θ − θ_k. Changes `velocity` in place, gives the new θ. */
function nesterov(
  theta: Float32Array,
  mean: Float32Array,
  velocity: Float32Array,
  learningRate: number,
  momentum: number,
): Float32Array {
  const next = new Float32Array(theta.length)
  for (let i = 0; i < theta.length; i++) {
    const g = theta[i]! - mean[i]!
    const v = momentum * velocity[i]! + g
    velocity[i] = v
    next[i] = theta[i]! - learningRate * (g + momentum * v)
  }
  return next
}

/** The mean of the parts, each with its share, by the pairwise tree. */
export function mean(parts: readonly Float32Array[], shares: readonly number[]): Float32Array {
  const total = pairwiseSum(parts, shares)
  const whole = shares.reduce((sum, share) => sum + share, 0)
  const result = new Float32Array(total.length)
  for (let i = 0; i < result.length; i++) result[i] = total[i]! / whole
  return result
}

/** ((0+1)+(2+3))+… : the tree's form depends on the number of parts alone. A share is whole, so its product is exact. */
export function pairwiseSum(parts: readonly Float32Array[], shares: readonly number[]): Float64Array {
  let level = parts.map((part, k) => {
    const share = shares[k] ?? 1
    const scaled = Float64Array.from(part)
    if (share !== 1) for (let i = 0; i < scaled.length; i++) scaled[i] = scaled[i]! * share
    return scaled
  })
  while (level.length > 1) {
    const next: Float64Array<ArrayBuffer>[] = []
    for (let i = 0; i < level.length; i += 2) {
      const left = level[i]!
      const right = level[i + 1]
      if (right) for (let k = 0; k < left.length; k++) left[k] = left[k]! + right[k]!
      next.push(left)
    }
    level = next
  }
  return level[0] ?? new Float64Array(0)
}
