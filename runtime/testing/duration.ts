/** A span of time as people write it: `1500`, `'250 ms'`, `'30 min'`, `'2 h'`. A bare number is milliseconds. */
const UNITS_MS = { ms: 1, s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000 } as const

export type Duration = number | `${number} ${keyof typeof UNITS_MS}`

/** Throws a RangeError when the text is no duration, or a negative one. */
export function durationMs(duration: Duration): number {
  const [amount = '', unit = 'ms'] = typeof duration === 'number' ? [String(duration)] : duration.split(' ')
  const ms = Number(amount) * (unit in UNITS_MS ? UNITS_MS[unit as keyof typeof UNITS_MS] : Number.NaN)
  if (!(ms >= 0)) throw new RangeError(`Cannot read "${duration}" as a duration: expected e.g. 1500, "30 min" or "2 h"`)
  return ms
}
