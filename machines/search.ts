/**
 * Which trials a sweep has: trial `i` as a function of the sweep's specification and of nothing else, so that neither
 * time nor chance nor a crash changes what it is, and nothing of it need be stored.
 *
 * A grid is counted through in an order drawn by the seed (a permutation of its combinations, Feistel rounds with cycle
 * walking: Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002). In the order in which people write values
 * down, neighbours are alike and often get better and better; successive halving needs a fair sample at any moment.
 */
import type { JobSpec } from './spec.ts'
import type { ParameterSpec, RangeSpec, SweepSpec } from './sweep-spec.ts'

/** How many trials there are in all. */
export function trialCount({ parameters, search }: Pick<SweepSpec, 'parameters' | 'search'>): number {
  return search.kind === 'random' ? search.trials : Math.min(gridSize(parameters), search.trials ?? Infinity)
}

/** How many combinations a grid has; Infinity where a parameter may be anything in between. */
export function gridSize(parameters: SweepSpec['parameters']): number {
  return Object.values(parameters).reduce<number>((size, parameter) => size * countOf(parameter), 1)
}

/** What trial `trial` has instead of the job's own, by path. */
export function parametersOf(
  { parameters, search }: Pick<SweepSpec, 'parameters' | 'search'>,
  trial: number,
): Readonly<Record<string, unknown>> {
  // By name: what a trial is must not depend on the order in which somebody wrote the parameters down.
  const paths = Object.keys(parameters).toSorted()
  let place = search.kind === 'grid' ? permuted(trial, gridSize(parameters), search.seed) : 0
  return Object.fromEntries(
    paths.map((path, i) => {
      const parameter = parameters[path] ?? []
      const count = countOf(parameter)
      if (search.kind === 'random') return [path, drawn(parameter, hash(search.seed, trial, i) / 2 ** 32)]
      const index = place % count
      place = Math.floor(place / count)
      return [path, valueAt(parameter, index)]
    }),
  )
}

/** The job that trial `trial` is. */
export function trialSpec(spec: SweepSpec, trial: number): JobSpec {
  const changed = Object.entries(parametersOf(spec, trial)).reduce<unknown>(
    (job, [path, value]) => withValue(job, pathOf(path), value),
    spec.job,
  )
  const job = changed as JobSpec // admission has checked every trial
  // One that is tried again by itself makes a version of the job's model.
  return { ...job, name: `${spec.name}-${trial}`, register: job.register ?? { name: job.name } }
}

/** `model.config.layers[0].config.units` → its fields and places. */
export function pathOf(text: string): readonly (string | number)[] {
  return [...text.matchAll(/\[(\d+)\]|[^.[\]]+/g)].map(([field, place]) =>
    place === undefined ? field : Number(place),
  )
}

/** A copy with another value at the path; whatever is not on the path is shared. */
export function withValue(target: unknown, [key, ...rest]: readonly (string | number)[], value: unknown): unknown {
  if (key === undefined) return value
  if (Array.isArray(target)) return target.with(Number(key), withValue(target[Number(key)], rest, value))
  const fields = target as Readonly<Record<string, unknown>> // admission has seen that the path leads somewhere
  return { ...fields, [key]: withValue(fields[key], rest, value) }
}

/** How many values a parameter may have. */
function countOf(parameter: ParameterSpec): number {
  if (isList(parameter)) return parameter.length
  const { min, max, scale } = parameter
  const step = stepOf(parameter)
  if (step === undefined) return Infinity
  const steps = scale === 'log' ? Math.log(max / min) / Math.log(step) : (max - min) / step
  return Math.floor(steps + TOLERANCE) + 1
}

/** 0.1 + 0.2 comes to 0.3 all the same. */
const TOLERANCE = 1e-9

function valueAt(parameter: ParameterSpec, index: number): unknown {
  if (isList(parameter)) return parameter[index]
  const { min, scale } = parameter
  const step = stepOf(parameter) ?? 0
  return rounded(parameter, scale === 'log' ? min * step ** index : min + step * index)
}

/** `chance` is in [0, 1). */
function drawn(parameter: ParameterSpec, chance: number): unknown {
  const count = countOf(parameter)
  if (count !== Infinity || isList(parameter)) return valueAt(parameter, Math.floor(chance * count))
  const { min, max, scale } = parameter
  return rounded(parameter, scale === 'log' ? min * (max / min) ** chance : min + (max - min) * chance)
}

/** Whole numbers in a row need not be told that they are one apart. */
function stepOf({ step, integer, scale }: RangeSpec): number | undefined {
  return step ?? (integer && scale === 'linear' ? 1 : undefined)
}

function rounded({ min, max, integer }: RangeSpec, value: number): number {
  const short = integer ? Math.round(value) : Number(value.toPrecision(DIGITS))
  return Math.min(max, Math.max(min, short))
}

/** As many as a person may want to read, and more than any training feels. */
const DIGITS = 6

function isList(parameter: ParameterSpec): parameter is readonly unknown[] {
  return Array.isArray(parameter)
}

const FEISTEL_ROUNDS = 4

/** Where `index` comes to in the permutation of 0 to size − 1 that belongs to the seed. */
function permuted(index: number, size: number, seed: number): number {
  const bits = Math.max(1, Math.ceil(Math.log2(size) / 2))
  const mask = 2 ** bits - 1
  let value = index
  do {
    let left = value >>> bits
    let right = value & mask
    for (let round = 0; round < FEISTEL_ROUNDS; round++) {
      const mixed = left ^ (hash(seed, round, right) & mask)
      left = right
      right = mixed
    }
    value = left * 2 ** bits + right
  } while (value >= size) // it permutes a power of four: who lands outside goes on until inside
  return value
}

/** 32 bits that look like chance (MurmurHash3's finaliser, word by word). */
function hash(...words: readonly number[]): number {
  let state = 0x9e3779b9
  for (const word of words) {
    state = Math.imul(state ^ word, 0x85ebca6b)
    state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35)
    state ^= state >>> 16
  }
  return state >>> 0
}
