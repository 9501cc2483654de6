/**
 * What a new owner finds in a shard's records that is not in the mailbox: effects that ought to run, and watches whose
 * answer may have been in the memory of the owner before. Effects start again under their old keys; where the shard's
 * owners have been dying, each is started under a trial (`care.ts`).
 */
import type { ActorAddress, Directory, ShardName } from './address.ts'
import type { Care, Trials } from './care.ts'
import { definitionOf } from './cell.ts'
import type { Definitions } from './cell.ts'
import type { Cells } from './cells.ts'
import type { Clock } from './clock.ts'
import type { EffectStart } from './consequences.ts'
import type { Effects } from './effects.ts'
import { watchesAnew } from './ending.ts'
import type { RuntimeEvents } from './events.ts'
import type { Held } from './held.ts'
import type { Limits } from './limits.ts'
import type { Message } from './message.ts'
import type { Transport } from './transport.ts'

export interface RecoveryOptions {
  readonly name: ShardName
  readonly transport: Transport
  readonly definitions: Definitions
  readonly directory: Directory
  readonly clock: Clock
  readonly events: RuntimeEvents
  readonly limits: Limits
  readonly trials: Trials
}

/** Reads the records of actors that a new owner must look at. */
export async function lookInto(
  actors: readonly ActorAddress[],
  cells: Cells,
  held: Held,
  { name, transport, directory }: RecoveryOptions,
): Promise<{ readonly starts: readonly EffectStart[]; readonly watches: readonly Message[] }> {
  const starts: EffectStart[] = []
  const watches: Message[] = []
  for (const cell of await cells.fetch(name, transport, actors)) {
    if (cell.record === null || !held.canRead(cell)) continue // they run where their actor can be read
    for (const [id, row] of Object.entries(cell.record.fx ?? {})) {
      if (row.ended !== true) starts.push({ actor: cell.actor, id, row, trace: undefined })
    }
    watches.push(...watchesAnew(cell, directory))
  }
  return { starts, watches }
}

interface Trying {
  readonly care: Care
  readonly epoch: string
  readonly signal: AbortSignal
  /** False once the shard is no longer ours, or was claimed anew: that begins with its effects again. */
  readonly isOurs: () => boolean
  readonly effects: Effects
  readonly report: (message: Message) => void
}

/** Starts effects one by one, each under a trial until it has lived for a while. Never throws. */
export async function startUnderTrial(
  starts: readonly EffectStart[],
  at: Trying,
  options: RecoveryOptions,
): Promise<void> {
  const { trials, definitions, clock, limits } = options
  const { care, signal, effects, report } = at
  effects.announce(starts)
  for (const start of starts) {
    const { actor, id, row } = start
    const fault = care.verdictOnEffect(start)
    if (fault !== null) {
      report({ kind: 'effect', actor, id, gen: row.gen, result: { ok: false, fault } })
      continue
    }
    await trials.run(false, async () => {
      if (!effects.isWaiting(start) || !(await writeTrial(care.trialOfEffect(start), at, options))) return
      // Meanwhile a transition may have left its state, or begun another run of it.
      if (effects.isWaiting(start)) {
        const ended = effects.start(definitionOf(definitions, actor), start)
        await Promise.race([ended, clock.sleep(limits.effectTrialMs, signal)])
      }
      await writeTrial('', at, options)
    })
  }
}

/** Nothing is tried that could not be written down, and nothing is left out for that. False when it is no longer ours to try. */
async function writeTrial(
  trial: string,
  { epoch, signal, isOurs }: Trying,
  { name, transport, events, clock }: RecoveryOptions,
): Promise<boolean> {
  while (isOurs()) {
    try {
      await transport.attempt(name, epoch, trial)
      return true
    } catch (error) {
      events.emit({ type: 'trouble', where: `trial of an effect of shard ${name}`, error })
      await clock.sleep(100, signal)
    }
  }
  return false
}
