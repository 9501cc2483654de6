/**
 * A chart under test, stepped as the runtime steps it: by `step.ts`, with its state through JSON between any two
 * events, so that whatever would not survive a crash does not survive here either. No clock: a test says which timer fires.
 */
import type { AnyEventObject, AnyStateMachine } from 'xstate'
import { POLICY_DEFAULT } from '../../runtime/actor.ts'
import type { ActorDefinition } from '../../runtime/actor.ts'
import { checkChart } from '../../runtime/chart.ts'
import type { Fault } from '../../runtime/errors.ts'
import type { ChartState } from '../../runtime/record.ts'
import { afterEvent, effectDone, effectFailed, freeze, start, step, thaw } from '../../runtime/step.ts'
import type { Op, Stepped } from '../../runtime/step.ts'
import { jobMachine } from '../../machines/job.ts'
import type { JobSpec } from '../../machines/spec.ts'
import { sweepMachine } from '../../machines/sweep.ts'
import type { SweepSpec } from '../../machines/sweep-spec.ts'
import { pageMachine } from '../../machines/page.ts'
import { schedulerMachine } from '../../machines/scheduler.ts'
import { taskMachine } from '../../machines/task.ts'
import type { TaskInput } from '../../machines/task-input.ts'
import { workerMachine } from '../../machines/worker.ts'
import { recipeOf } from '../../machines/training.ts'

export class Chart {
  readonly definition: ActorDefinition
  /** Effects under way, by id, with their input. */
  readonly effects = new Map<string, { readonly src: string; readonly input: unknown }>()
  /** Timers that wait, by name. */
  readonly timers = new Map<string, number>()
  #state: ChartState
  handled = true
  /** What the last step wanted done. */
  ops: readonly Op[] = []

  constructor(kind: string, machine: AnyStateMachine, input: unknown) {
    checkChart(kind, machine)
    this.definition = {
      kind,
      version: 1,
      pinned: false,
      indexed: true,
      machine,
      effects: {},
      policy: POLICY_DEFAULT,
      migrate: undefined,
    }
    const stepped = start(this.definition, throughJson(input))
    this.#state = this.#take(stepped)
  }

  get value(): unknown {
    return this.#state.value
  }

  get context(): unknown {
    return this.#state.context
  }

  get status(): ChartState['status'] {
    return this.#state.status
  }

  send(event: { readonly type: string }): this {
    if (this.status !== 'active') {
      this.ops = [] // the runtime gives a finished actor no more events
      this.handled = false
      return this
    }
    const snapshot = thaw(this.definition, this.#state, [...this.effects.keys()])
    this.#state = this.#take(step(this.definition, snapshot, throughJson(event) as AnyEventObject))
    return this
  }

  /** The wait of this name is over. */
  after(name: string): this {
    const event = afterEvent(this.definition, name)
    if (event === null || !this.timers.delete(name)) throw new Error(`${name} does not wait`)
    return this.send(event)
  }

  finish(id: string, output: unknown): this {
    if (!this.effects.delete(id)) throw new Error(`effect ${id} does not run`)
    return this.send(effectDone(id, output))
  }

  fail(id: string, fault: Fault): this {
    if (!this.effects.delete(id)) throw new Error(`effect ${id} does not run`)
    return this.send(effectFailed(id, fault))
  }

  /** What the last step told, and to whom. */
  get told(): readonly { readonly to: string; readonly event: AnyEventObject }[] {
    return this.ops.flatMap((op) => (op.op === 'tell' ? [{ to: op.to, event: op.event }] : []))
  }

  get output(): unknown {
    return this.#state.output
  }

  /** What the last step wants told later. */
  get scheduled(): readonly { readonly id: string; readonly delayMs: number | undefined }[] {
    return this.ops.flatMap((op) => (op.op === 'schedule' ? [{ id: op.id, delayMs: op.delayMs }] : []))
  }

  get spawned(): readonly { readonly to: string; readonly input: unknown }[] {
    return this.ops.flatMap((op) => (op.op === 'spawn' ? [{ to: op.to, input: op.input }] : []))
  }

  #take(stepped: Stepped): ChartState {
    this.ops = stepped.ops
    this.handled = stepped.handled
    for (const op of stepped.ops) {
      if (op.op === 'start') this.effects.set(op.id, { src: op.src, input: op.input })
      if (op.op === 'stop') this.effects.delete(op.id)
      if (op.op === 'wait') this.timers.set(op.name, op.delayMs)
      if (op.op === 'cancel') this.timers.delete(op.name)
    }
    return throughJson(freeze(stepped.snapshot))
  }
}

function throughJson<T>(value: T): T {
  return value === undefined ? value : (JSON.parse(JSON.stringify(value)) as T)
}

export const SPEC: JobSpec = {
  name: 'digits',
  dataset: { name: 'mnist' },
  preprocess: [{ op: 'scale', factor: 1 / 255 }],
  model: { class_name: 'Sequential', config: { name: 'm', layers: [] } },
  train: {
    replicas: 2,
    epochs: 1,
    batchSize: 8,
    seed: 7,
    loss: 'sparseCategoricalCrossentropy',
    labelSmoothing: 0,
    optimizer: { kind: 'adam', learningRate: 0.001, beta1: 0.9, beta2: 0.999, epsilon: 1e-7 },
    schedule: { kind: 'constant', warmupSteps: 0 },
    checkpoints: { everyRounds: 1, keepLast: 3 },
    onDivergence: { restart: false, factor: 0.5, times: 3, lossFactor: 1_000 },
    strategy: { kind: 'diloco', localSteps: 4, outer: { kind: 'average' }, precision: 'float32' },
  },
  register: { name: 'digits' },
  pool: 'default',
  priority: 'normal',
}

export const RECIPE = recipeOf(SPEC, {
  topology: 't'.repeat(64),
  manifest: 'm'.repeat(64),
  pipeline: 'p'.repeat(64),
  dataset: 'mnist@1',
  steps: 10,
})

/** 10 steps in rounds of 4: 4, 4 and 2. */
export const PLAN = {
  recipe: RECIPE,
  dataset: { name: 'mnist', version: 1 },
  topology: { sha256: RECIPE.topology, sizeBytes: 10 },
  pipeline: { sha256: RECIPE.pipeline, sizeBytes: 10 },
  steps: 10,
  validationExamples: 0,
  testExamples: 20,
}

export const newJob = (spec: JobSpec = SPEC, more: object = {}): Chart =>
  new Chart('job', jobMachine, { id: 'J', owner: 'ann', spec, ...more })

export const SWEEP: SweepSpec = {
  kind: 'sweep',
  name: 'digits-sweep',
  job: SPEC,
  parameters: { 'train.optimizer.learningRate': [0.1, 0.01, 0.001, 0.0001] },
  search: { kind: 'grid', seed: 1 },
  metric: 'accuracy',
  scheduler: { kind: 'none' },
  parallelism: 2,
}

export const newSweep = (spec: SweepSpec = SWEEP): Chart =>
  new Chart('sweep', sweepMachine, { id: 'S', owner: 'ann', spec })

export const TASK_INPUT: TaskInput = {
  id: 'J.0.1',
  job: 'J',
  owner: 'ann',
  pool: 'default',
  priority: 'normal',
  fingerprint: null,
  work: { kind: 'initialise', recipe: RECIPE },
  runLimitMs: 60_000,
  expectedMs: 0,
}

export const newTask = (): Chart => new Chart('task', taskMachine, TASK_INPUT)

export const newWorker = (id: string, slots = 1): Chart =>
  new Chart('worker', workerMachine, { self: `worker/${id}`, pool: 'default', slots, host: 'h', pid: 1, joinedAt: 0 })

export const newScheduler = (): Chart => new Chart('scheduler', schedulerMachine, { pool: 'default' })

export const newPage = (input: unknown): Chart => new Chart('page', pageMachine, input)

export const FAULTS = {
  user: { code: 'loss.not-finite', message: 'The loss is NaN', remedy: 'fix-request' },
  passing: { code: 'kernel.busy', message: 'Busy', remedy: 'retry' },
  here: { code: 'kernel.died', message: 'Died', remedy: 'retry-elsewhere' },
  lost: { code: 'effect.lost', message: 'Lost', remedy: 'retry-elsewhere' },
} as const satisfies Record<string, Fault>
