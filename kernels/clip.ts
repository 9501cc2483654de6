/**
 * Gradient clipping, in plain arithmetic: by the norm of all gradients together (Pascanu et al. 2013, 1211.5063), which
 * keeps their direction, or each value by itself. It is done to the gradients that the optimiser takes: those of one
 * replica where replicas go on their own, the mean of all where they go together.
 */
export type ClipSettings = { kind: 'norm'; max: number } | { kind: 'value'; max: number }

/** The clipped gradients; what is given stays as it is, since a back end may share its memory between gradients. */
export function clipGradients(
  gradients: ReadonlyMap<string, Float32Array>,
  clip: ClipSettings | undefined,
): ReadonlyMap<string, Float32Array> {
  if (!clip) return gradients
  const { kind, max } = clip
  if (kind === 'value') return mapped(gradients, (value) => Math.min(max, Math.max(-max, value)))
  // In the order of the weights, in float64: the same sum everywhere.
  let squares = 0
  for (const values of gradients.values()) for (const value of values) squares += value * value
  const norm = Math.sqrt(squares)
  if (!(norm > max)) return gradients
  const factor = max / norm
  return mapped(gradients, (value) => value * factor)
}

function mapped(
  gradients: ReadonlyMap<string, Float32Array>,
  change: (value: number) => number,
): ReadonlyMap<string, Float32Array> {
  return new Map([...gradients].map(([name, values]) => [name, values.map(change)]))
}
