/**
 * Seeded randomness for everything that must come out the same on every machine: data order, initial weights, dropout
 * masks. Two well-known small generators, no state outside the caller's hands, and never `Math.random`.
 *
 * `deriveSeed` hashes a path of parts, such as (seed, 'dropout', step, layer), to 32 bits: every use of randomness has
 * its own stream and none depends on how many numbers another one took. That is what lets a round start in the middle.
 */

/**
 * FNV-1a over the parts' text (http://www.isthe.com/chongo/tech/comp/fnv/), finished with the mixer of MurmurHash3
 * (Appleby, public domain), because FNV alone leaves near seeds near.
 */
export function deriveSeed(...parts: readonly (number | string)[]): number {
  let hash = 0x811c9dc5
  for (const part of parts) {
    const text = `${typeof part === 'number' ? 'n' : 's'}${part}\u0000`
    for (let i = 0; i < text.length; i++) {
      hash ^= text.charCodeAt(i)
      hash = Math.imul(hash, 0x01000193)
    }
  }
  return mix(hash)
}

export interface Random {
  /** A uniform integer of 32 bits. */
  nextUint32(): number
  /** A uniform number in [0, 1) with 32 bits of resolution. */
  nextUnit(): number
  /** A uniform integer in [0, bound), without bias. */
  nextBelow(bound: number): number
}

/** xoshiro128** 1.1 by Blackman and Vigna (https://prng.di.unimi.it/xoshiro128starstar.c), state filled by splitmix32. */
export function random(seed: number): Random {
  const next32 = splitmix32(seed)
  let s0 = next32()
  let s1 = next32()
  let s2 = next32()
  let s3 = next32()
  const nextUint32 = (): number => {
    const scrambled = Math.imul(s1, 5)
    const result = Math.imul((scrambled << 7) | (scrambled >>> 25), 9) >>> 0
    const t = s1 << 9
    s2 ^= s0
    s3 ^= s1
    s1 ^= s2
    s0 ^= s3
    s2 ^= t
    s3 = (s3 << 11) | (s3 >>> 21)
    return result
  }
  return {
    nextUint32,
    nextUnit: () => nextUint32() / 4294967296,
    // Lemire's rejection would need 64-bit products; plain rejection of the biased tail is as exact and as simple.
    nextBelow(bound: number): number {
      const limit = 4294967296 - (4294967296 % bound)
      let value = nextUint32()
      while (value >= limit) value = nextUint32()
      return value % bound
    },
  }
}

/** A seeded permutation of 0 … count−1 by Fisher and Yates. */
export function permutation(count: number, seed: number): Uint32Array {
  const order = new Uint32Array(count)
  for (let i = 0; i < count; i++) order[i] = i
  const generator = random(seed)
  for (let i = count - 1; i > 0; i--) {
    const j = generator.nextBelow(i + 1)
    const swapped = order[i] ?? 0
    order[i] = order[j] ?? 0
    order[j] = swapped
  }
  return order
}

/**
 * The factors of an inverted dropout mask: 0 with probability `rate`, else 1 / (1 − rate), so that the expected
 * activation stays what it was.
 */
export function dropoutMask(size: number, rate: number, seed: number): Float32Array {
  const mask = new Float32Array(size)
  const kept = 1 / (1 - rate)
  const threshold = Math.round(rate * 4294967296)
  const generator = random(seed)
  for (let i = 0; i < size; i++) if (generator.nextUint32() >= threshold) mask[i] = kept
  return mask
}

/** splitmix32, the 32-bit relative of Steele, Lea and Flood's SplitMix: the customary way to fill a larger state. */
function splitmix32(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x9e3779b9) | 0
    return mix(state)
  }
}

function mix(hash: number): number {
  let mixed = hash ^ (hash >>> 16)
  mixed = Math.imul(mixed, 0x85ebca6b)
  mixed ^= mixed >>> 13
  mixed = Math.imul(mixed, 0xc2b2ae35)
  mixed ^= mixed >>> 16
  return mixed >>> 0
}
