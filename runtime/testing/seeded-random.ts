/**
 * Chance that repeats: the same seed draws the same numbers. Small and fast, good enough for tests, unfit for secrets.
 * The generator is sfc32 (Doty-Humphrey, PractRand); a seed is spread over its state by MurmurHash3's final mix.
 */
import type { Random } from '../clock.ts'

export class SeededRandom implements Random {
  #a: number
  #b: number
  #c: number
  #counter = 1

  /** Seeds that differ in a part only give unrelated numbers. */
  constructor(...seed: readonly (number | string)[]) {
    let hash = 0x811c9dc5
    for (const part of seed) {
      const text = `${part}/`
      for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
    }
    this.#a = mix(hash)
    this.#b = mix(hash + 0x9e3779b9)
    this.#c = mix(hash + 0x3c6ef372)
    for (let i = 0; i < 12; i++) this.#draw()
  }

  next(): number {
    return this.#draw() / 0x1_0000_0000
  }

  word(): string {
    return this.#draw().toString(16).padStart(8, '0') + this.#draw().toString(16).padStart(8, '0')
  }

  /** A whole number, `min` and `max` included. */
  int(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1))
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  /** Throws when there is nothing to pick from. */
  pick<T>(from: readonly T[]): T {
    if (from.length === 0) throw new RangeError('Cannot pick from an empty list')
    return from[Math.floor(this.next() * from.length)] as T // the index is within
  }

  #draw(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0
    return sum >>> 0
  }
}

function mix(value: number): number {
  let hash = value | 0
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}
