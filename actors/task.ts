/** The task's actor: a chart that tells and waits, without effects of its own; its work runs on a worker. */
import { taskMachine } from '../machines/task.ts'
import { defineActor } from '../runtime/mod.ts'
import type { Actor } from '../runtime/mod.ts'

export function taskActor(): Actor<typeof taskMachine> {
  return defineActor({ kind: 'task', version: 1, machine: taskMachine, effects: {} })
}
