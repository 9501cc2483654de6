/**
 * A kernel job: one gpu.js function over an output that is cut into chunks, a task each, and put together at the end.
 *
 *   submitted → validating → preparing → queued → running → assembling → completed
 *   any of them → cancelling → cancelled | failed
 *
 * `queued` lasts until the first chunk is there. It fixes the numerics fingerprint: the others go to workers that compute
 * alike, so that the output does not depend on who was free.
 *
 * Invariants: those of a training job (job.ts, 2 to 4), and
 * 1. A chunk's result stands at its place, whenever it comes; the output is the chunks in order.
 */
import { assign, setup } from 'xstate'
import { chunkTaskId, taskAddress } from './address.ts'
import { effect } from './effect.ts'
import { faultOfEvent, timeoutFault } from './fault.ts'
import type { Fault } from './fault.ts'
import type { JobEvent } from './job-parts.ts'
import type { KernelOutput, KernelSpec } from './kernel-spec.ts'
import { JOB_LIMITS } from './limits.ts'
import { runLimitMs } from './task.ts'
import type { TaskEvent, TaskInput } from './task.ts'
import { vocabulary } from './vocabulary.ts'
import type { Spawn, Tell } from './vocabulary.ts'
import type { OutputOf } from './work.ts'

export interface KernelJobInput {
  readonly id: string
  readonly owner: string
  readonly spec: KernelSpec
}

/** What preparing finds out. */
export interface KernelPlan {
  /** sha256 of the recipe that all chunks have in common. */
  readonly recipe: string
  /** Row-major: the reverse of the spec's lengths. */
  readonly shape: readonly number[]
  readonly chunkRows: number
}

export interface AssembleInput {
  readonly job: string
  readonly shape: readonly number[]
  /** sha256 of each chunk, in order. */
  readonly chunks: readonly string[]
}

type ChunkOutput = OutputOf<'map'>

export interface KernelJobContext extends KernelJobInput {
  readonly plan: KernelPlan | null
  readonly pending: readonly string[]
  /** By chunk; null until it is there. */
  readonly results: readonly (ChunkOutput | null)[]
  readonly workers: Readonly<Record<string, number>>
  /** Of the worker that computed the first chunk: all others must have the same. */
  readonly fingerprint: string | null
  /** The slowest chunk so far. */
  readonly slowestMs: number
  readonly output: KernelOutput | null
  readonly fault: Fault | null
}

type Args = { readonly context: KernelJobContext; readonly event: JobEvent }

export const kernelJobMachine = setup({
  types: { context: {} as KernelJobContext, events: {} as JobEvent, input: {} as KernelJobInput },
  actors: {
    validate: effect<KernelJobInput, null>(),
    prepare: effect<KernelJobInput, KernelPlan>(),
    assemble: effect<AssembleInput, KernelOutput>(),
  },
  actions: {
    ...vocabulary,
    takePlan: assign((_, plan: KernelPlan) => ({ plan })),
    expectFirst: assign(({ context }) => ({ pending: [chunkAddress(context, 0)], results: Array.from({ length: chunkCount(context) }, () => null) })), // prettier-ignore
    expectOthers: assign(({ context }) => ({ pending: otherChunks(context).map((chunk) => chunkAddress(context, chunk)) })), // prettier-ignore
    takeChunk: assign(({ context, event }) => withChunk(context, event)),
    takeOutput: assign((_, output: KernelOutput) => ({ output })),
    settle: assign({ pending: ({ context, event }) => context.pending.filter((task) => task !== taskOf(event)) }),
    stopWaiting: assign({ pending: [] }),
    takeFault: assign({ fault: ({ context, event }) => (event.type === 'task.failed' ? event.fault : context.fault) }),
    fail: assign((_, fault: Fault) => ({ fault })),
  },
  guards: {
    isPending: ({ context, event }) => context.pending.includes(taskOf(event)),
    isLastPending: ({ context, event }) => context.pending.length === 1 && context.pending[0] === taskOf(event),
    isNothingPending: ({ context }) => context.pending.length === 0,
    hasFailed: ({ context }) => context.pending.length === 0 && context.fault !== null,
  },
  delays: {
    validateLimit: JOB_LIMITS.validateMs,
    prepareLimit: JOB_LIMITS.prepareMs,
    queueLimit: JOB_LIMITS.queueMs,
    runLimit: JOB_LIMITS.collectMs,
    assembleLimit: JOB_LIMITS.reduceMs,
    cancelLimit: JOB_LIMITS.cancelMs,
  },
}).createMachine({
  id: 'kernel',
  context: ({ input }) => ({
    ...input,
    plan: null,
    pending: [],
    results: [],
    workers: {},
    fingerprint: null,
    slowestMs: 0,
    output: null,
    fault: null,
  }),
  initial: 'submitted',
  on: {
    cancel: '.cancelling',
    'task.failed': { guard: 'isPending', target: '.cancelling', actions: ['settle', 'takeFault'] },
    'task.cancelled': {
      guard: 'isPending',
      target: '.cancelling',
      actions: ['settle', { type: 'fail', params: taskWasCancelled }],
    },
  },
  states: {
    submitted: { always: 'validating' },
    validating: {
      invoke: {
        id: 'validate',
        src: 'validate',
        input: inputOf,
        onDone: 'preparing',
        onError: { target: 'cancelling', actions: { type: 'fail', params: ({ event }) => faultOfEvent(event) } },
      },
      after: { validateLimit: { target: 'cancelling', actions: limitIsOver('validating', JOB_LIMITS.validateMs) } },
    },
    preparing: {
      invoke: {
        id: 'prepare',
        src: 'prepare',
        input: inputOf,
        onDone: { target: 'queued', actions: { type: 'takePlan', params: ({ event }) => event.output } },
        onError: { target: 'cancelling', actions: { type: 'fail', params: ({ event }) => faultOfEvent(event) } },
      },
      after: { prepareLimit: { target: 'cancelling', actions: limitIsOver('preparing', JOB_LIMITS.prepareMs) } },
    },
    queued: {
      entry: ['expectFirst', { type: 'spawn', params: firstTask }],
      on: { 'task.done': { guard: 'isPending', target: 'running', actions: ['takeChunk', 'settle'] } },
      after: { queueLimit: { target: 'cancelling', actions: limitIsOver('queued', JOB_LIMITS.queueMs) } },
    },
    running: {
      entry: ['expectOthers', { type: 'spawn', params: otherTasks }],
      always: { guard: 'isNothingPending', target: 'assembling' },
      on: {
        'task.done': [
          { guard: 'isLastPending', target: 'assembling', actions: ['takeChunk', 'settle'] },
          { guard: 'isPending', actions: ['takeChunk', 'settle'] },
        ],
      },
      after: { runLimit: { target: 'cancelling', actions: limitIsOver('running', JOB_LIMITS.collectMs) } },
    },
    assembling: {
      invoke: {
        id: 'assemble',
        src: 'assemble',
        input: ({ context }) => assembly(context),
        onDone: { target: 'completed', actions: { type: 'takeOutput', params: ({ event }) => event.output } },
        onError: { target: 'cancelling', actions: { type: 'fail', params: ({ event }) => faultOfEvent(event) } },
      },
      after: { assembleLimit: { target: 'cancelling', actions: limitIsOver('assembling', JOB_LIMITS.reduceMs) } },
    },
    cancelling: {
      entry: { type: 'tell', params: cancellations },
      on: {
        cancel: {},
        'task.done': { guard: 'isPending', actions: 'settle' },
        'task.failed': { guard: 'isPending', actions: 'settle' },
        'task.cancelled': { guard: 'isPending', actions: 'settle' },
      },
      always: [
        { guard: 'hasFailed', target: 'failed' },
        { guard: 'isNothingPending', target: 'cancelled' },
      ],
      after: { cancelLimit: { actions: 'stopWaiting' } },
    },
    completed: { type: 'final' },
    failed: { type: 'final' },
    cancelled: { type: 'final' },
  },
})

export function chunkCount({ plan }: Pick<KernelJobContext, 'plan'>): number {
  return plan === null ? 0 : Math.ceil((plan.shape[0] ?? 1) / plan.chunkRows)
}

function planOf({ plan, id }: KernelJobContext): KernelPlan {
  if (plan === null) throw new Error(`Kernel job ${id} computes without a plan`)
  return plan
}

function otherChunks(context: KernelJobContext): readonly number[] {
  return Array.from({ length: chunkCount(context) - 1 }, (_, i) => i + 1)
}

function chunkAddress({ id }: KernelJobContext, chunk: number): string {
  return taskAddress(chunkTaskId(id, chunk))
}

function chunkInput(context: KernelJobContext, chunk: number): TaskInput {
  const { id, owner, spec, fingerprint, slowestMs } = context
  const { recipe, shape, chunkRows } = planOf(context)
  const start = chunk * chunkRows
  return {
    id: chunkTaskId(id, chunk),
    job: id,
    owner,
    pool: spec.pool,
    priority: spec.priority,
    fingerprint,
    ...(spec.backend !== undefined && fingerprint === null && { backend: spec.backend }),
    data: recipe,
    work: { kind: 'map', recipe, chunk, start, rows: Math.min(chunkRows, (shape[0] ?? 1) - start) },
    runLimitMs: runLimitMs(slowestMs),
    expectedMs: slowestMs,
  }
}

function firstTask({ context }: Args): readonly Spawn[] {
  return spawns([chunkInput(context, 0)])
}

function otherTasks({ context }: Args): readonly Spawn[] {
  return spawns(otherChunks(context).map((chunk) => chunkInput(context, chunk)))
}

function spawns(inputs: readonly TaskInput[]): readonly Spawn[] {
  return inputs.map((input) => ({ to: taskAddress(input.id), input }))
}

function withChunk(context: KernelJobContext, event: JobEvent): Partial<KernelJobContext> {
  if (event.type !== 'task.done' || event.output.kind !== 'map') return {}
  const { output, worker, fingerprint } = event
  return {
    results: context.results.with(output.chunk, output),
    workers: { ...context.workers, [worker]: (context.workers[worker] ?? 0) + 1 },
    fingerprint: context.fingerprint ?? fingerprint,
    slowestMs: Math.max(context.slowestMs, output.elapsedMs),
  }
}

function assembly(context: KernelJobContext): AssembleInput {
  const { id, results } = context
  return { job: id, shape: planOf(context).shape, chunks: results.flatMap((result) => result?.blob.sha256 ?? []) }
}

function taskOf(event: JobEvent): string {
  return 'task' in event ? event.task : ''
}

function inputOf({ context }: { readonly context: KernelJobContext }): KernelJobInput {
  return { id: context.id, owner: context.owner, spec: context.spec }
}

function cancellations({ context }: Args): readonly Tell[] {
  return context.pending.map((to) => ({ to, event: { type: 'cancel' } satisfies TaskEvent }))
}

function limitIsOver(state: string, limitMs: number): { readonly type: 'fail'; readonly params: Fault } {
  return { type: 'fail', params: timeoutFault(`kernel.${state}-timeout`, `The job's state "${state}"`, limitMs) }
}

function taskWasCancelled({ event }: Args): Fault {
  return {
    code: 'task.cancelled',
    message: `${taskOf(event)} was cancelled, though its job was not`,
    remedy: 'give-up',
  }
}
