/** The scheduler's actor: one per pool, a chart without effects. */
import { schedulerMachine } from '../machines/scheduler.ts'
import { defineActor } from '../runtime/mod.ts'
import type { Actor } from '../runtime/mod.ts'

export function schedulerActor(): Actor<typeof schedulerMachine> {
  return defineActor({ kind: 'scheduler', version: 1, machine: schedulerMachine, effects: {} })
}
