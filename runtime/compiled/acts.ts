/**
 * Actions, compiled: the vocabulary, and XState's own `assign`, `raise`, `cancel`, `spawnChild`, `stopChild`, `emit`,
 * `log` and `enqueueActions`. Null for any other: a transition with such an action is left to XState, which knows what
 * it means or says that it cannot be durable. What an action asks for beyond this when it runs, it asks XState for.
 */
import { assign, cancel, emit, raise, spawnChild, stopChild } from 'xstate'
import type { AnyEventObject, AnyStateMachine } from 'xstate'
import { delayNameOf } from '../chart.ts'
import { addWord } from '../op.ts'
import { vocabulary } from '../vocabulary.ts'
import { compileGuard } from './guards.ts'
import { bail } from './run.ts'
import type { Act, ActionArgs, Context, Run } from './run.ts'

type Params = (run: Run) => unknown

/** XState's own actions are functions that carry what they were made of: values, or functions that give them. */
interface BuiltIn {
  readonly type: string
  readonly assignment: Readonly<Record<string, unknown>> | ((args: ActionArgs, params: unknown) => Context)
  readonly event: unknown
  readonly value: unknown
  readonly id: unknown
  readonly delay: unknown
  readonly sendId: unknown
  readonly actorRef: unknown
  readonly src: unknown
  readonly systemId: unknown
  readonly input: unknown
  readonly collect: (args: object, params: unknown) => void
}

type StartOf = Partial<Pick<BuiltIn, 'src' | 'id' | 'input' | 'systemId'>>

export function compileAction(machine: AnyStateMachine, action: unknown): Act | null {
  if (typeof action === 'function') return compileBuiltIn(machine, action, noParams)
  const name = nameOf(action)
  if (name === null) return null
  const params = paramsOf(action)
  const found = (machine.implementations.actions as Record<string, unknown>)[name]
  if (typeof found === 'function' && 'resolve' in found) return compileBuiltIn(machine, found, params)
  return compileWord(name, params)
}

/** Null when any of them cannot be compiled. */
export function compileActions(machine: AnyStateMachine, actions: readonly unknown[]): readonly Act[] | null {
  const acts = actions.map((action) => compileAction(machine, action))
  return acts.every((act) => act !== null) ? acts : null
}

/** Starts an effect. XState gives its function of the input no params, but computes them all the same. */
export function startAct(machine: AnyStateMachine, effect: StartOf, params: Params = noParams): Act | null {
  const { src, id, input, systemId } = effect
  if (typeof src !== 'string' || systemId !== undefined) return null
  const known = (machine.implementations.actors as Record<string, unknown>)[src]
  if (known === undefined || known === null) return null
  return (run) => {
    params(run)
    const key = typeof id === 'function' ? (id(run.actionArgs) as unknown) : id
    if (typeof key !== 'string') return bail()
    const { context, event, self } = run.actionArgs
    const given = typeof input === 'function' ? (input({ context, event, self }) as unknown) : input
    run.startEffect(key)
    run.add({ op: 'start', id: key, src, input: given })
  }
}

export function stopAct(id: unknown, params: Params = noParams): Act {
  return (run) => {
    const key = lazily(id, run, params(run))
    if (typeof key !== 'string') return bail()
    if (run.stopEffect(key)) run.add({ op: 'stop', id: key })
  }
}

function compileWord(name: string, params: Params): Act | null {
  if (!(name in vocabulary)) return null
  return (run) => void addWord(name, params(run), run)
}

function compileBuiltIn(machine: AnyStateMachine, action: object, params: Params): Act | null {
  if (!('resolve' in action)) return null
  const made = action as unknown as BuiltIn // XState types its actions by what they may be given, not by what they carry
  switch (made.type) {
    case 'xstate.assign':
      return assignAct(made.assignment, params)
    case 'xstate.raise':
      return raiseAct(machine, made, params)
    case 'xstate.cancel':
      return (run) => {
        const id = lazily(made.sendId, run, params(run))
        if (typeof id !== 'string') return bail()
        run.add({ op: 'cancel', name: delayNameOf(id) ?? id })
      }
    case 'xstate.spawnChild':
      return startAct(machine, made, params)
    case 'xstate.stopChild':
      return stopAct(made.actorRef, params)
    case 'xstate.emit':
      return (run) => void lazily(made.event, run, params(run)) // told to nobody, but its function may throw
    case 'xstate.log':
      return (run) => void lazily(made.value, run, params(run))
    case 'xstate.enqueueActions':
      return enqueueAct(machine, made.collect, params)
    default:
      return null
  }
}

function assignAct(assignment: BuiltIn['assignment'], params: Params): Act {
  if (typeof assignment === 'function') {
    return (run) => {
      const given = params(run)
      run.context = { ...run.context, ...assignment(run.assignArgs, given) }
    }
  }
  const entries = Object.entries(assignment)
  return (run) => {
    const given = params(run)
    const args = run.assignArgs
    const context: Record<string, unknown> = { ...run.context }
    for (const [key, value] of entries) context[key] = typeof value === 'function' ? value(args, given) : value
    run.context = context
  }
}

function raiseAct(machine: AnyStateMachine, { event, id, delay }: BuiltIn, params: Params): Act | null {
  if (typeof event === 'string' || (id !== undefined && typeof id !== 'string')) return null
  const named = typeof delay === 'string' ? (machine.implementations.delays as Record<string, unknown>)[delay] : delay
  const after = id === undefined ? null : delayNameOf(id)
  return (run) => {
    const given = params(run)
    const raised = lazily(event, run, given) as AnyEventObject // as `raise` is typed
    const delayMs = lazily(named, run, given)
    if (delayMs === undefined) return run.raise(raised)
    if (typeof delayMs !== 'number' || id === undefined) return bail()
    run.add(after === null ? { op: 'wait', name: id, delayMs, event: raised } : { op: 'wait', name: after, delayMs })
  }
}

/** What is enqueued is compiled when it is enqueued: its parts are new each time. */
function enqueueAct(machine: AnyStateMachine, collect: BuiltIn['collect'], params: Params): Act {
  return (run) => {
    const given = params(run)
    const actions: unknown[] = []
    const make =
      (maker: (...args: never[]) => unknown) =>
      (...args: never[]) =>
        void actions.push(maker(...args))
    const enqueue = Object.assign((action: unknown) => void actions.push(action), {
      assign: make(assign),
      cancel: make(cancel),
      raise: make(raise),
      spawnChild: make(spawnChild),
      stopChild: make(stopChild),
      emit: make(emit),
      sendTo: make(() => null), // not durable: XState says so
      sendParent: make(() => null),
    })
    const check = (guard: unknown) => compileGuard(machine, guard)(run)
    collect({ ...run.actionArgs, enqueue, check }, given)
    for (const action of actions) {
      const act = compileAction(machine, action) ?? bail()
      act(run)
    }
  }
}

function lazily(value: unknown, run: Run, params: unknown): unknown {
  return typeof value === 'function' ? value(run.actionArgs, params) : value
}

const noParams: Params = () => undefined

function paramsOf(action: unknown): Params {
  if (typeof action !== 'object' || action === null || !('params' in action)) return noParams
  const { params } = action
  return typeof params === 'function' ? (run) => params(run.args) as unknown : () => params
}

function nameOf(action: unknown): string | null {
  if (typeof action === 'string') return action
  if (typeof action !== 'object' || action === null || !('type' in action)) return null
  return typeof action.type === 'string' ? action.type : null
}
