/**
 * The replicas' results become the next global weights: plain JavaScript over safetensors bytes, no tfjs, so that any
 * process can do it. The sum is a fixed pairwise tree in replica order with float64 in its nodes: the result does not
 * depend on who finished first, and not on the machine.
 *
 * What is averaged is a mean over replicas, each of equal weight: all take the same number of examples per round. Moving
 * statistics of normalisation layers are weights that no gradient moves; they are averaged under every outer optimiser.
 */
import { KernelError } from './errors.ts'
import { decodeTensors, encodeTensors } from './safetensors.ts'
import type { NamedTensor } from './safetensors.ts'

/** `average` replaces the weights by the mean; `nesterov` is DiLoCo's outer step (Douillard et al. 2023, 2311.08105). */
export type OuterSettings = { kind: 'average' } | { kind: 'nesterov'; learningRate: number; momentum: number }

export const DILOCO_OUTER: OuterSettings = { kind: 'nesterov', learningRate: 0.7, momentum: 0.9 }

export interface ReduceInput {
  /** Global weights at the round's start. */
  weights: Uint8Array
  /** The replicas' weights at its end, in replica order. */
  replicas: readonly Uint8Array[]
  outer: OuterSettings
  /** Velocities from the round before; none in the first. */
  outerState?: Uint8Array | undefined
  /** Names of weights that are moved by no gradient (`describeModel` knows them). */
  statistics?: readonly string[]
}

export interface ReduceResult {
  weights: Uint8Array
  /** Absent where the outer optimiser has no state. */
  outerState?: Uint8Array
}

type FloatTensor = NamedTensor & { dtype: 'F32' }

export function reduce({ weights, replicas, outer, outerState, statistics = [] }: ReduceInput): ReduceResult {
  if (replicas.length === 0) throw new KernelError('request.invalid', 'Cannot reduce a round without replicas')
  const start = floats(weights, 'the global weights')
  const ends = replicas.map((bytes, replica) => {
    const tensors = floats(bytes, `replica ${replica}`)
    assertSame(start, tensors, `replica ${replica}`)
    return tensors
  })
  if (outer.kind === 'average') {
    return {
      weights: encodeTensors(start.map((tensor, i) => ({ ...tensor, data: mean(ends.map((end) => end[i]!.data)) }))),
    }
  }
  const velocities = outerState ? floats(outerState, 'the outer state') : undefined
  if (velocities) assertSame(start, velocities, 'the outer state')
  const still = new Set(statistics)
  const nextWeights: NamedTensor[] = []
  const nextVelocities: NamedTensor[] = []
  for (const [i, tensor] of start.entries()) {
    const parts = ends.map((end) => end[i]!.data)
    const velocity = velocities?.[i]?.data.slice() ?? new Float32Array(tensor.data.length)
    const moved = still.has(tensor.name)
      ? mean(parts)
      : nesterov(tensor.data, parts, velocity, outer.learningRate, outer.momentum)
    nextWeights.push({ ...tensor, data: moved })
    nextVelocities.push({ ...tensor, data: velocity })
  }
  return { weights: encodeTensors(nextWeights), outerState: encodeTensors(nextVelocities) }
}

/** v ← μ v + g; θ ← θ − η (g + μ v), with g the mean of θ − θ_k. Changes `velocity` in place, gives the new θ. */
function nesterov(
  theta: Float32Array,
  parts: readonly Float32Array[],
  velocity: Float32Array,
  learningRate: number,
  momentum: number,
): Float32Array {
  const total = pairwiseSum(parts)
  const next = new Float32Array(theta.length)
  for (let i = 0; i < theta.length; i++) {
    const g = theta[i]! - total[i]! / parts.length
    const v = momentum * velocity[i]! + g
    velocity[i] = v
    next[i] = theta[i]! - learningRate * (g + momentum * v)
  }
  return next
}

function mean(parts: readonly Float32Array[]): Float32Array {
  const total = pairwiseSum(parts)
  const result = new Float32Array(total.length)
  for (let i = 0; i < result.length; i++) result[i] = total[i]! / parts.length
  return result
}

/** ((0+1)+(2+3))+… : the tree's form depends on the number of parts alone. */
export function pairwiseSum(parts: readonly Float32Array[]): Float64Array {
  let level: Float64Array[] = parts.map((part) => Float64Array.from(part))
  while (level.length > 1) {
    const next: Float64Array[] = []
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

function floats(bytes: Uint8Array, whose: string): FloatTensor[] {
  return decodeTensors(bytes).tensors.map((tensor) => {
    if (tensor.dtype === 'F32') return tensor
    throw new KernelError(
      'weights.mismatch',
      `Cannot reduce ${whose}: ${tensor.name} is ${tensor.dtype}, expected F32`,
      { tensor: tensor.name },
    )
  })
}

function assertSame(expected: readonly FloatTensor[], found: readonly FloatTensor[], whose: string): void {
  const odd = expected.find(
    (tensor, i) => found[i]?.name !== tensor.name || found[i].shape.join() !== tensor.shape.join(),
  )
  if (!odd && expected.length === found.length) return
  throw new KernelError(
    'weights.mismatch',
    `Cannot reduce ${whose}: its weights are not those of the model${odd ? ` (${odd.name})` : ''}`,
    { whose },
  )
}
