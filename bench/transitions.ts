/**
 * What a transition costs by itself, without Redis: the same events through the same charts by the compiled table (what
 * the runtime uses) and by XState alone (what it falls back to), each with the state frozen afterwards as a commit does.
 * The two take turns, so that whatever else the machine does weighs on both; the figures are medians over the turns.
 */
import type { AnyEventObject, AnyStateMachine } from 'xstate'
import { POLICY_DEFAULT } from '../runtime/actor.ts'
import type { ActorDefinition } from '../runtime/actor.ts'
import { tableOf } from '../runtime/compile.ts'
import { interpretStart, interpretStep } from '../runtime/interpret.ts'
import type { ChartState } from '../runtime/record.ts'
import { freeze, start, step } from '../runtime/step.ts'
import type { Snapshot, Stepped } from '../runtime/step.ts'
import { taskMachine } from '../machines/task.ts'
import type { TaskEvent } from '../machines/task.ts'
import type { TaskInput } from '../machines/task-input.ts'
import type { Benchmark } from './bench.ts'
import { relayMachine } from './relay.ts'

const TURNS = 15
const TURN_MS = 150

/** A chart's life, over and over: it is started and takes these events. */
interface Life {
  readonly machine: AnyStateMachine
  readonly input: unknown
  readonly events: readonly AnyEventObject[]
  /** Where that leads: a life that goes another way measures something else. */
  readonly end: string
}

interface Engine {
  readonly start: (definition: ActorDefinition, input: unknown) => Stepped
  readonly step: (definition: ActorDefinition, snapshot: Snapshot, event: AnyEventObject) => Stepped
}

const relay: Life = {
  machine: relayMachine,
  input: { self: 1 },
  events: Array.from({ length: 200 }, (_, hop) => ({ type: 'ball', hop })),
  end: 'playing',
}

/** One attempt that fails, and one that succeeds. */
const task: Life = {
  machine: taskMachine,
  input: {
    id: 'J.0.1',
    job: 'J',
    owner: 'ann',
    pool: 'default',
    priority: 'normal',
    fingerprint: null,
    work: { kind: 'initialise', recipe: {} as never }, // the chart hands it on unread
    runLimitMs: 60_000,
    expectedMs: 0,
  } satisfies TaskInput,
  events: [
    { type: 'assigned', worker: 'worker/a', attempt: 1, fingerprint: 'f' },
    { type: 'accepted', worker: 'worker/a', attempt: 1, isWarm: true },
    { type: 'failed', worker: 'worker/a', attempt: 1, fault: { code: 'x', message: 'x', remedy: 'retry' } },
    { type: 'xstate.after.backoff.task.backoff' } as never, // as XState names it
    { type: 'assigned', worker: 'worker/b', attempt: 2, fingerprint: 'f' },
    { type: 'accepted', worker: 'worker/b', attempt: 2, isWarm: true },
    { type: 'done', worker: 'worker/b', attempt: 2, output: {} as never },
  ] satisfies TaskEvent[],
  end: 'succeeded',
}

export const run: Benchmark = async (say) => {
  say('relay …')
  const relayFigures = compare(relay)
  say('task …')
  const taskFigures = compare(task)
  return { ...relayFigures, task: taskFigures }
}

interface Figures {
  readonly xstate_per_s: number
  readonly compiled_per_s: number
  readonly ratio: number
  /** The share of the chart's transitions that the table takes. */
  readonly covered: number
}

function compare(life: Life): Figures {
  const xstate: number[] = []
  const compiled: number[] = []
  for (let turn = 0; turn < TURNS; turn++) {
    xstate.push(ratePerS(life, { start: interpretStart, step: interpretStep }))
    compiled.push(ratePerS(life, { start, step }))
  }
  const { transitions, compiled: covered } = tableOf(life.machine).coverage
  return {
    xstate_per_s: Math.round(median(xstate)),
    compiled_per_s: Math.round(median(compiled)),
    ratio: Math.round((median(compiled) / median(xstate)) * 100) / 100,
    covered: Math.round((covered / transitions) * 100) / 100,
  }
}

function ratePerS({ machine, input, events, end }: Life, engine: Engine): number {
  const definition: ActorDefinition = {
    kind: 'bench',
    version: 1,
    pinned: false,
    indexed: true,
    machine,
    effects: {},
    policy: POLICY_DEFAULT,
    migrate: undefined,
  }
  let steps = 0
  const startedAt = performance.now()
  while (performance.now() - startedAt < TURN_MS) {
    for (let life = 0; life < 20; life++) {
      let { snapshot } = engine.start(definition, input)
      for (const event of events) {
        snapshot = engine.step(definition, snapshot, event).snapshot
        seen = freeze(snapshot)
      }
      if (seen?.value !== end) throw new Error(`The chart came to ${JSON.stringify(seen?.value)}, not to "${end}"`)
      steps += events.length + 1
    }
  }
  return (steps / (performance.now() - startedAt)) * 1_000
}

/** Keeps what is measured from being optimised away. */
let seen: ChartState | undefined

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}
