/**
 * From a step to a record: what a chart's operations mean for the actor's rows (effects, timers, watches) and what they
 * send. All that can throw comes first; then the cell moves, and the consequences are final (plan, P1).
 */
import type { ActorDefinition } from './actor.ts'
import { idFrom } from './cause.ts'
import type { Cell } from './cell.ts'
import type { Consequences, EffectStart } from './consequences.ts'
import { SCHEDULE, SPAWN, UNSCHEDULE, UNWATCH, WATCH } from './envelope.ts'
import type { Envelope } from './envelope.ts'
import { farewell } from './ending.ts'
import { hasKeys } from './json.ts'
import type { Json } from './json.ts'
import { RETIRE } from './message.ts'
import { encodeRecord } from './record.ts'
import type { ActorRecord, EffectRow, TimerRow, Writing } from './record.ts'
import { scheduleData } from './scheduling.ts'
import { freeze } from './step.ts'
import type { Op, Stepped } from './step.ts'

/** One transition. What follows from it is named after its cause. */
export interface Applied extends Writing {
  readonly cell: Cell
  readonly before: ActorRecord
  readonly definition: ActorDefinition
  readonly stepped: Stepped
  readonly event: string
  readonly cause: string
  readonly envelope: Envelope | null
}

/** Moves the cell to what the step says, and collects what follows. */
export function apply(applied: Applied, collected: Consequences): void {
  const { cell, before, definition, stepped, event, cause, envelope, now } = applied
  const { actor } = cell
  const trace = envelope?.trace
  const n = before.n + 1
  const state = freeze(stepped.snapshot)
  const fx: Record<string, EffectRow> = { ...before.fx }
  const tm: Record<string, TimerRow> = { ...before.tm }
  let watches = before.watches
  const starts: EffectStart[] = []
  const stops: string[] = []
  const cleared: string[] = []
  for (const op of stepped.ops) {
    switch (op.op) {
      case 'tell': {
        const { type, ...data } = op.event
        const message = { to: op.to, type, control: op.control, ...(hasKeys(data) && { data }) }
        collected.send(actor, cause, message, trace)
        break
      }
      case 'spawn':
        collected.send(actor, cause, { to: op.to, type: SPAWN, data: { input: op.input } }, trace)
        break
      case 'watch':
        watches = { ...watches, [op.to]: n }
        collected.send(actor, cause, { to: op.to, type: WATCH, data: { gen: n } }, trace)
        break
      case 'unwatch': {
        const { [op.to]: gen, ...others } = watches ?? {}
        if (gen === undefined) break
        watches = others
        collected.send(actor, cause, { to: op.to, type: UNWATCH, data: { gen } }, trace)
        break
      }
      case 'schedule': {
        const data = { ...scheduleData(op, now) }
        collected.send(actor, cause, { to: op.to ?? actor, type: SCHEDULE, data }, trace)
        break
      }
      case 'unschedule':
        collected.send(
          actor,
          cause,
          { to: op.to ?? actor, type: UNSCHEDULE, data: { id: op.id, ...(op.keep && { keep: true }) } },
          trace,
        )
        break
      case 'reply':
        break
      case 'start':
        if (fx[op.id] !== undefined) stops.push(op.id)
        fx[op.id] = {
          id: idFrom(cause, 'effect', op.id, 0),
          src: op.src,
          gen: n,
          ...(op.input !== undefined && { input: op.input as Json }), // JSON is the chart's duty
        }
        starts.push({ actor, id: op.id, row: fx[op.id] as EffectRow, trace })
        break
      case 'stop':
        if (fx[op.id] !== undefined) stops.push(op.id)
        dropStart(starts, op.id)
        delete fx[op.id]
        break
      case 'wait':
        if (tm[op.name] !== undefined) cleared.push(op.name)
        tm[op.name] = {
          id: idFrom(cause, 'timer', op.name, 0),
          gen: n,
          due: now + op.delayMs,
          ...(op.event !== undefined && { event: op.event as Json }),
        }
        break
      case 'cancel':
        if (tm[op.name] !== undefined) cleared.push(op.name)
        delete tm[op.name]
        break
    }
  }
  const isEnded = state.status !== 'active'
  if (isEnded) {
    stops.push(...Object.keys(fx))
    cleared.push(...Object.keys(tm))
    for (const id of Object.keys(fx)) delete fx[id]
    for (const name of Object.keys(tm)) delete tm[name]
    starts.length = 0
    tm[RETIRE] = { id: RETIRE, gen: n, due: now + definition.policy.retentionMs }
    farewell(collected, { actor, watchers: before.watchers, watches, state, cause, trace })
  }
  const record: ActorRecord = {
    v: definition.version,
    n,
    born: before.born,
    at: now,
    s: state,
    ...(hasKeys(fx) && { fx }),
    ...(hasKeys(tm) && { tm }),
    ...(before.unindexed === true && { unindexed: true as const }),
    ...(before.by !== undefined && { by: before.by }),
    ...(!isEnded && before.watchers !== undefined && { watchers: before.watchers }),
    ...(!isEnded && watches !== undefined && hasKeys(watches) && { watches }),
    ...(!isEnded && before.failures !== undefined && { failures: before.failures }),
  }
  if (applied.careful) encodeRecord(record)
  if (envelope !== null) collected.answer(envelope, state, stepped.handled, replyOf(stepped.ops))
  // From here on nothing throws: P1.
  for (const id of stops) {
    const row = before.fx?.[id]
    if (row !== undefined) collected.stop(actor, id, row.gen)
  }
  for (const name of cleared) {
    const row = before.tm?.[name]
    if (row !== undefined) collected.clearTimer({ actor, name, gen: row.gen })
  }
  for (const [name, row] of Object.entries(tm)) {
    if (row.gen === n) collected.setTimer({ actor, name, gen: n, due: row.due })
  }
  collected.start(starts)
  collected.touch(cell)
  cell.record = record
  cell.snapshot = stepped.snapshot
  collected.note({
    actor,
    seq: n,
    event,
    from: before.s.value,
    to: state.value,
    at: now,
    ...(trace !== undefined && { trace }),
  })
}

export function replyOf(ops: readonly Op[]): { data: unknown } | undefined {
  return ops.findLast((op) => op.op === 'reply')
}

function dropStart(starts: EffectStart[], id: string): void {
  const index = starts.findIndex((start) => start.id === id)
  if (index !== -1) starts.splice(index, 1)
}
