/**
 * The worker's actor. In the worker's own process it is bound to kernels (`run-task.ts` does the work); a node that
 * adopts it after the process died binds it to nothing: by then all that it has to do is to tell.
 */
import { workerMachine } from '../machines/worker.ts'
import { defineActor, idOf } from '../runtime/mod.ts'
import type { Actor, Effect } from '../runtime/mod.ts'
import { FleetError } from './errors.ts'
import { KernelSlots } from './kernel-slots.ts'
import type { Kernel } from './kernel-slots.ts'
import { TaskRunner } from './run-task.ts'
import type { RunServices } from './run-task.ts'

export interface WorkerServices extends Omit<RunServices, 'slots'> {
  /** The kernel of a slot; its process starts when the worker joins. */
  readonly kernel: (slot: number) => Kernel
}

/** Stop the node before the kernels: a task whose effect is aborted goes elsewhere, one whose kernel vanishes has failed. */
export function workerActor(services: WorkerServices | 'adopt'): Actor<typeof workerMachine> {
  if (services === 'adopt') return defineWorker({ open: refuse, runTask: refuse })
  const slots = new KernelSlots(services.kernel)
  const runner = new TaskRunner({ ...services, slots })
  return defineWorker({
    open: ({ slots: count }) => slots.open(count),
    runTask: (input, { signal, actor }) => runner.run(input, idOf(actor), signal),
  })
}

const refuse: Effect<unknown, never> = (_, { actor }) =>
  Promise.reject(new FleetError('work.wrong-place', `The process of ${actor} is gone: nothing of it runs here`))

type WorkerEffects = Parameters<typeof defineActor<typeof workerMachine>>[0]['effects']

function defineWorker(effects: WorkerEffects): Actor<typeof workerMachine> {
  return defineActor({
    kind: 'worker',
    version: 1,
    pinned: true,
    machine: workerMachine,
    effects,
    // Tasks have their own retries, which may go to another worker.
    policy: { effectRetry: { attempts: 1, baseMs: 1, maxMs: 1 } },
  })
}
