/**
 * A worker: a process with slots for kernels. The actor is pinned to that process, which runs its effects; when the
 * process dies, a node adopts the actor, so that somebody tells the worker's tasks.
 *
 *   joining (opening → registering) → ready (idle ⇄ busy) → draining → gone → retired
 *
 * Invariants:
 * 1. `running` names the tasks whose effect is under way, never more than slots; the effect's id is the task's address.
 * 2. A task that was accepted hears exactly one of `done`, `failed`, `stopped`, `worker.lost`, and the scheduler hears
 *    `worker.freed`, or `worker.gone` for all of them.
 * 3. A worker that is gone still answers `run`, until everybody can have heard.
 */
import { assign, setup } from 'xstate'
import { schedulerAddress } from './address.ts'
import { effect } from './effect.ts'
import type { Fault } from './fault.ts'
import { WORKER_LIMITS } from './limits.ts'
import type { SchedulerEvent } from './scheduler.ts'
import type { TaskEvent } from './task.ts'
import { vocabulary } from './vocabulary.ts'
import type { Tell } from './vocabulary.ts'
import type { Work, WorkOutput } from './work.ts'
import type { Gpu } from './views.ts'

export interface WorkerInput {
  /** The worker's address. */
  readonly self: string
  readonly pool: string
  readonly slots: number
  readonly host: string
  readonly pid: number
  readonly joinedAt: number
}

/** What the kernels of this host turned out to be. */
export interface Opened {
  readonly backend: string
  readonly fingerprint: string
  readonly gpus: readonly Gpu[]
}

export interface WorkerContext extends WorkerInput {
  readonly backend: string
  readonly fingerprint: string
  readonly gpus: readonly Gpu[]
  readonly running: Readonly<Record<string, Run>>
  /** How many runs of its last jobs were done here, the latest job last. */
  readonly ran: Readonly<Record<string, number>>
}

/** A task that runs here. */
export interface Run {
  readonly attempt: number
  readonly job: string
  readonly expectedMs: number
}

export interface RunInput {
  readonly task: string
  readonly attempt: number
  readonly job: string
  readonly work: Work
  /** How long it should take on a worker like the others; 0 when nothing is known. */
  readonly expectedMs: number
}

export type WorkerEvent =
  | { readonly type: 'welcome' }
  | ({ readonly type: 'run' } & RunInput)
  | { readonly type: 'cancel'; readonly task: string; readonly attempt: number; readonly ack: boolean }
  | { readonly type: 'drain' }
  /** How busy its GPUs are; its own process says so. */
  | { readonly type: 'gpus'; readonly gpus: readonly Gpu[] }
  /** Its process stops now: what still runs goes elsewhere at once. */
  | { readonly type: 'leave' }
  | { readonly type: 'owner.lost' }
  | { readonly type: 'xstate.done.actor.*'; readonly actorId: string; readonly output: unknown }
  | { readonly type: 'xstate.error.actor.*'; readonly actorId: string; readonly error: unknown }

type Args = { readonly context: WorkerContext; readonly event: WorkerEvent }

const base = setup({
  types: { context: {} as WorkerContext, events: {} as WorkerEvent, input: {} as WorkerInput },
  actors: {
    open: effect<{ readonly slots: number }, Opened>(),
    runTask: effect<RunInput, WorkOutput>(),
  },
  actions: {
    ...vocabulary,
    takeOpened: assign((_, { backend, fingerprint, gpus }: Opened) => ({ backend, fingerprint, gpus })),
    takeGpus: assign(({ context, event }) => ({ gpus: event.type === 'gpus' ? event.gpus : context.gpus })),
  },
  guards: {
    hasRoom: ({ context, event }) =>
      event.type === 'run' && (event.task in context.running || Object.keys(context.running).length < context.slots),
    isRunning: ({ context, event }) => taskOf(event) in context.running,
    isRunningAttempt: ({ context, event }) =>
      event.type === 'cancel' && context.running[event.task]?.attempt === event.attempt,
    isEmpty: ({ context }) => Object.keys(context.running).length === 0,
  },
  delays: {
    openLimit: WORKER_LIMITS.openMs,
    welcomeAgain: WORKER_LIMITS.welcomeMs,
    drainLimit: WORKER_LIMITS.drainMs,
    linger: WORKER_LIMITS.lingerMs,
  },
})

export const workerMachine = base
  .extend({
    actions: {
      // Enqueued, since the ids of these effects come with the events. A second order for a task that is running, of a
      // later attempt, starts nothing: the run under way will answer for it.
      begin: base.enqueueActions(({ context, event, enqueue }) => {
        if (event.type !== 'run') return
        const { task, attempt, job, work, expectedMs } = event
        enqueue.assign({ running: { ...context.running, [task]: { attempt, job, expectedMs } } })
        if (task in context.running) return
        enqueue.spawnChild('runTask', { id: task, input: { task, attempt, job, work, expectedMs } })
      }),
      stopTask: base.enqueueActions(({ event, enqueue }) => {
        if (event.type === 'cancel') enqueue.stopChild(event.task)
      }),
      stopAll: base.enqueueActions(({ context, enqueue }) => {
        for (const task of Object.keys(context.running)) enqueue.stopChild(task)
      }),
      countRun: base.assign({ ran: ({ context, event }) => counted(context.ran, context.running[taskOf(event)]?.job) }),
      endTask: base.assign({ running: ({ context, event }) => without(context.running, taskOf(event)) }),
      endAll: base.assign({ running: {} }),
    },
  })
  .createMachine({
    id: 'worker',
    context: ({ input }) => ({ ...input, backend: '', fingerprint: '', gpus: [], running: {}, ran: {} }),
    initial: 'joining',
    on: {
      leave: '.gone',
      gpus: { actions: ['takeGpus', { type: 'tell', params: gpusNow }] },
      'owner.lost': '.gone',
      cancel: [
        { guard: 'isRunningAttempt', actions: ['stopTask', { type: 'tell', params: stopped }, 'endTask'] },
        // Of what is not here the same is true, and one that runs a later attempt stays.
        { actions: { type: 'tell', params: stopped } },
      ],
      'xstate.done.actor.*': {
        guard: 'isRunning',
        actions: [{ type: 'tell', params: done }, 'countRun', 'endTask'],
      },
      'xstate.error.actor.*': {
        guard: 'isRunning',
        actions: [{ type: 'tell', params: failed }, 'endTask'],
      },
    },
    states: {
      joining: {
        initial: 'opening',
        on: { run: { actions: { type: 'tell', params: rejection } }, drain: 'gone' },
        states: {
          opening: {
            invoke: {
              id: 'open',
              src: 'open',
              input: ({ context }) => ({ slots: context.slots }),
              onDone: { target: 'registering', actions: { type: 'takeOpened', params: ({ event }) => event.output } },
              onError: '#worker.gone',
            },
            after: { openLimit: '#worker.gone' },
          },
          registering: {
            entry: { type: 'tell', params: registration },
            on: { welcome: '#worker.ready' },
            after: { welcomeAgain: { target: 'registering', reenter: true } },
          },
        },
      },
      ready: {
        initial: 'idle',
        on: {
          welcome: {},
          run: [
            { guard: 'hasRoom', target: '.busy', actions: ['begin', { type: 'tell', params: acceptance }] },
            { actions: { type: 'tell', params: rejection } },
          ],
          drain: 'draining',
        },
        states: {
          idle: {},
          busy: { always: { guard: 'isEmpty', target: 'idle' } },
        },
      },
      draining: {
        entry: { type: 'tell', params: drainingWord },
        on: { run: { actions: { type: 'tell', params: rejection } }, drain: {}, welcome: {} },
        always: { guard: 'isEmpty', target: 'gone' },
        after: { drainLimit: 'gone' },
      },
      gone: {
        entry: ['stopAll', { type: 'tell', params: farewells }, 'endAll'],
        on: {
          run: { actions: { type: 'tell', params: lossOfRun } },
          'owner.lost': {},
          leave: {},
          drain: {},
          welcome: {},
        },
        after: { linger: 'retired' },
      },
      retired: { type: 'final' },
    },
  })

function taskOf(event: WorkerEvent): string {
  if ('task' in event) return event.task
  return 'actorId' in event ? event.actorId : ''
}

function without(running: WorkerContext['running'], task: string): WorkerContext['running'] {
  const { [task]: _ended, ...others } = running
  return others
}

function counted(ran: WorkerContext['ran'], job = ''): WorkerContext['ran'] {
  const { [job]: before = 0, ...others } = ran
  const kept = Object.entries(others).slice(-(WORKER_LIMITS.jobsKept - 1))
  return { ...Object.fromEntries(kept), [job]: before + 1 }
}

/**
 * The first run of a job in a kernel takes long whoever has it: it brings the data and compiles the model. So what runs
 * take says something of a worker's pace once there were as many of the job as there are kernels.
 */
function isWarmFor({ ran, slots }: WorkerContext, job: string): boolean {
  return (ran[job] ?? 0) >= slots
}

function toTask(task: string, event: TaskEvent): Tell {
  return { to: task, event }
}

function toScheduler(context: WorkerContext, event: SchedulerEvent): Tell {
  return { to: schedulerAddress(context.pool), event }
}

function freed(context: WorkerContext, task: string, attempt: number, pace?: number): Tell {
  const event = { type: 'worker.freed', worker: context.self, task, attempt, ...(pace !== undefined && { pace }) } as const // prettier-ignore
  return toScheduler(context, event)
}

function registration({ context }: Args): Tell {
  const { self, slots, backend, fingerprint, host, pid, joinedAt, gpus } = context
  return toScheduler(context, {
    type: 'worker.joined',
    worker: self,
    slots,
    backend,
    fingerprint,
    host,
    pid,
    joinedAt,
    gpus,
  })
}

function gpusNow({ context }: Args): Tell {
  return toScheduler(context, { type: 'worker.gpus', worker: context.self, gpus: context.gpus })
}

function drainingWord({ context }: Args): Tell {
  return toScheduler(context, { type: 'worker.draining', worker: context.self })
}

function acceptance({ context, event }: Args): readonly Tell[] {
  if (event.type !== 'run') return []
  const { task, attempt, job } = event
  return [toTask(task, { type: 'accepted', worker: context.self, attempt, isWarm: isWarmFor(context, job) })]
}

function rejection({ context, event }: Args): readonly Tell[] {
  if (event.type !== 'run') return []
  return [toTask(event.task, { type: 'rejected', worker: context.self, attempt: event.attempt })]
}

function lossOfRun({ context, event }: Args): readonly Tell[] {
  if (event.type !== 'run') return []
  return [toTask(event.task, { type: 'worker.lost', worker: context.self, attempt: event.attempt })]
}

function stopped({ context, event }: Args): readonly Tell[] {
  if (event.type !== 'cancel') return []
  const { task, attempt, ack } = event
  const word = toTask(task, { type: 'stopped', worker: context.self, attempt })
  return [...(ack ? [word] : []), freed(context, task, attempt)]
}

function done({ context, event }: Args): readonly Tell[] {
  if (!('output' in event)) return []
  const task = event.actorId
  const { attempt = 0, expectedMs = 0, job = '' } = context.running[task] ?? {}
  const output = event.output as WorkOutput // `runTask` alone runs under a task's address
  const isTelling = expectedMs >= WORKER_LIMITS.paceFromMs && isWarmFor(context, job)
  const pace = isTelling ? output.elapsedMs / expectedMs : undefined
  return [toTask(task, { type: 'done', worker: context.self, attempt, output }), freed(context, task, attempt, pace)]
}

function failed({ context, event }: Args): readonly Tell[] {
  if (!('error' in event)) return []
  const task = event.actorId
  const attempt = context.running[task]?.attempt ?? 0
  const fault = event.error as Fault // the runtime's promise (runtime/actor.ts, `Effect`)
  // The process is dead and `owner.lost` comes next: a slot that is freed here would be given away once more.
  if (fault.code === 'effect.lost') return [toTask(task, { type: 'worker.lost', worker: context.self, attempt })]
  return [toTask(task, { type: 'failed', worker: context.self, attempt, fault }), freed(context, task, attempt)]
}

function farewells({ context }: Args): readonly Tell[] {
  const losses = Object.entries(context.running).map(([task, { attempt }]) =>
    toTask(task, { type: 'worker.lost', worker: context.self, attempt }),
  )
  return [...losses, toScheduler(context, { type: 'worker.gone', worker: context.self })]
}
