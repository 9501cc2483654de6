/** The scheduler's actor, one per pool, and the pages of its queues: charts without effects. */
import { pageMachine } from '../machines/page.ts'
import { schedulerMachine } from '../machines/scheduler.ts'
import { defineActor } from '../runtime/mod.ts'
import type { Actor } from '../runtime/mod.ts'

export function schedulerActor(): Actor<typeof schedulerMachine> {
  // Without it nothing runs any more: however often it fails over a message, it goes on with the next.
  const policy = { intensity: { failuresMax: Infinity, periodMs: 1_000 } }
  return defineActor({ kind: 'scheduler', version: 1, machine: schedulerMachine, effects: {}, policy })
}

/** A page has given all that it had: nobody looks at it again. */
const PAGE_RETENTION_MS = 60_000

export function pageActor(): Actor<typeof pageMachine> {
  const policy = { retentionMs: PAGE_RETENTION_MS }
  return defineActor({ kind: 'page', version: 1, machine: pageMachine, effects: {}, policy })
}
