/** What the views of jobs, batches and sweeps have in common. */
import type { Fault } from '../machines/fault.ts'
import { idOf } from '../runtime/mod.ts'
import type { ActorAddress, ActorSnapshot } from '../runtime/mod.ts'

/** When it came to be, changed last and ended, and how often it has changed. */
export function lifeOf({ createdAt, changedAt, status, seq }: ActorSnapshot) {
  return { createdAt, changedAt, ...(status !== 'active' && { endedAt: changedAt }), seq }
}

/** What each worker did, by the worker's id. */
export function workersOf<Did>(workers: Readonly<Record<string, Did>>): Record<string, Did> {
  return Object.fromEntries(
    Object.entries(workers).map(([worker, did]) => [idOf(worker as ActorAddress), did]), // told by the worker itself
  )
}

export function errorOf(fault: Fault | null) {
  return fault !== null && { error: { code: fault.code, message: fault.message, remedy: fault.remedy } }
}
