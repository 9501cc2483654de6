/**
 * How a job is controlled, apart from what it computes: which of its tasks it waits for, second copies of those that
 * take too long, and its limits.
 *
 * A second copy, a *twin*, computes the same on another worker; whichever is done first stands for both, and the other
 * is told to stop. So a word of either counts as one about the original.
 */
import { originalOf, taskAddress, twinAddress } from './address.ts'
import { timeoutFault } from './fault.ts'
import type { Fault } from './fault.ts'
import type { JobEvent } from './job-parts.ts'
import type { Outcome } from './predecessors.ts'
import type { TaskEvent } from './task.ts'
import type { TaskInput } from './task-input.ts'
import type { TrialEnd } from './trial.ts'
import type { Spawn, Tell } from './vocabulary.ts'

export interface Waiting {
  /** The tasks that have not told how they ended, twins among them. */
  readonly pending: readonly string[]
}

export function spawns(inputs: readonly TaskInput[]): readonly Spawn[] {
  return inputs.map((input) => ({ to: taskAddress(input.id), input }))
}

/** The task that an event is about. */
export function taskOf(event: JobEvent): string {
  return 'task' in event ? event.task : ''
}

export function taskWasCancelled({ event }: { readonly event: JobEvent }): Fault {
  return {
    code: 'task.cancelled',
    message: `${taskOf(event)} was cancelled, though its job was not`,
    remedy: 'give-up',
  }
}

/** The transitions of a state that only waits for tasks to end: what they bring is not asked for. */
export const SETTLING = {
  'task.done': { guard: 'isPending', actions: 'settle' },
  'task.failed': { guard: 'isPending', actions: 'settle' },
  'task.cancelled': { guard: 'isPending', actions: 'settle' },
} as const

/** An action of jobs: a state took too long. */
export function limitIsOver(state: string, limitMs: number): { readonly type: 'fail'; readonly params: Fault } {
  return { type: 'fail', params: timeoutFault(`job.${state}-timeout`, `The job's state "${state}"`, limitMs) }
}

/** Whether all that is waited for is this task and its twin. */
export function isLast({ pending }: Waiting, task: string): boolean {
  return pending.includes(task) && pending.every((other) => originalOf(other) === originalOf(task))
}

/** The task's other copy, if it is waited for. */
export function otherOf({ pending }: Waiting, task: string): string | undefined {
  return pending.find((other) => other !== task && originalOf(other) === originalOf(task))
}

/** What is still waited for once this task has brought the result for itself and its twin. */
export function afterResult({ pending }: Waiting, task: string): readonly string[] {
  return pending.filter((other) => originalOf(other) !== originalOf(task))
}

/** What is still waited for once this task, and it alone, has ended. */
export function settled({ pending }: Waiting, task: string): Waiting {
  return { pending: pending.filter((other) => other !== task) }
}

export function withTwin({ pending }: Waiting, task: string): Waiting {
  return { pending: [...pending, twinAddress(task)] }
}

/** The task's other copy is not needed any more. */
export function stopOfOther(waiting: Waiting, task: string): readonly Tell[] {
  const other = otherOf(waiting, task)
  return other === undefined ? [] : cancellations([other])
}

export function cancellations(tasks: readonly string[]): readonly Tell[] {
  return tasks.map((to) => ({ to, event: { type: 'cancel' } satisfies TaskEvent }))
}

/** A task may have a twin that has none and is none. */
export function mayHaveTwin(waiting: Waiting, task: string): boolean {
  return waiting.pending.includes(task) && originalOf(task) === task && otherOf(waiting, task) === undefined
}

/** The second copy of a task, for any worker but the one that has it. */
export function twinOf(inputs: readonly TaskInput[], task: string, worker: string): readonly Spawn[] {
  const input = inputs.find(({ id }) => taskAddress(id) === task)
  if (input === undefined) return []
  const { prefer: _slow, gang: _alone, ...same } = input
  const to = twinAddress(task)
  return [{ to, input: { ...same, id: twinAddress(input.id), avoid: worker } satisfies TaskInput }]
}

/** What a job says of itself when it has ended. */
export interface JobOutcome extends Outcome {
  /** For the sweep that it is a trial of. */
  readonly trial?: TrialEnd
}

export function costFault(costMs: number, limitS: number): Fault {
  return {
    code: 'job.cost-limit',
    message: `The job has used ${Math.round(costMs / 1_000)} slot-seconds; its limit is ${limitS}`,
    remedy: 'fix-request',
    data: { costMs, limitS },
  }
}

export function timeFault(limitS: number): Fault {
  return {
    code: 'job.time-limit',
    message: `The job has trained for ${limitS} s, which is its limit`,
    remedy: 'fix-request',
    data: { limitS },
  }
}
