/** The sweep's actor: its chart bound to the one thing that it does itself. Its trials are jobs (job.ts). */
import { sweepMachine } from '../machines/sweep.ts'
import { defineActor } from '../runtime/mod.ts'
import type { Actor } from '../runtime/mod.ts'
import type { Registry } from './registry.ts'

export interface SweepServices {
  readonly registry: Pick<Registry, 'register'>
}

export function sweepActor({ registry }: SweepServices): Actor<typeof sweepMachine> {
  return defineActor({
    kind: 'sweep',
    version: 1,
    machine: sweepMachine,
    // The version belongs to the trial's job: registered again after a crash, it is the same one.
    effects: { register: (input) => registry.register(input) },
  })
}
