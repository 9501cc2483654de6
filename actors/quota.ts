/** An owner's quota of jobs: a chart without effects. */
import { quotaMachine } from '../machines/quota.ts'
import { defineActor } from '../runtime/mod.ts'
import type { Actor } from '../runtime/mod.ts'

export function quotaActor(): Actor<typeof quotaMachine> {
  // Without it its owner starts nothing any more: however often it fails over a message, it goes on with the next.
  const policy = { intensity: { failuresMax: Infinity, periodMs: 1_000 } }
  return defineActor({ kind: 'quota', version: 1, machine: quotaMachine, effects: {}, policy })
}
