/**
 * Care after crashes: how a message that kills its owner's process (an exit, an endless loop, all of its memory) is found
 * and put aside, instead of killing one owner after the other.
 *
 * A claim counts the owners before it that ended soon after their own claim without handing over. From the second one on
 * the owner is careful: before it takes a small portion of its messages it writes down which (a *trial*), and who dies
 * meanwhile leaves that behind. The next owner takes the messages of that trial one by one, each under a trial of its
 * own. One that has outlived too many owners alone is poisonous: it goes to the dead letters, with the names of the dead.
 * Effects that a new owner starts again are tried in the same way, each for a short while; the chart of a poisonous one
 * gets `onError`.
 *
 * Invariants:
 * X1. At any time a process has at most one trial under way, over all its shards: whoever dies, the trial says of what.
 * X2. A trial is durable before its messages are planned; once their commit is, they come no more and it says nothing.
 * X3. Nothing is poisonous that has not been tried alone, by as many owners as `poisonAttemptsMax` says.
 * X4. Care ends: mail is taken whole again once what the dead may have read is passed, all else after `crashWindowMs`.
 */
import type { EffectStart } from './consequences.ts'
import { RuntimeError, faultOf } from './errors.ts'
import type { Fault } from './errors.ts'
import type { Limits } from './limits.ts'
import type { Message, Taken } from './message.ts'
import type { Claim } from './transport.ts'

/** What is being tried, and the owners that have tried it alone. */
interface Trial {
  readonly keys: readonly string[]
  readonly owners: readonly string[]
}

/** So many crashes in a row are no accident. */
const CRASHES_MIN = 2
/**
 * Who has made so many commits has passed all mail that was there when it began, also in small portions: what killed it
 * stands not at the head of the mailbox. Another that dies of the same will not get so far.
 */
const COMMITS_PASSED = 80
/** Messages of a trial while nothing speaks against any of them in particular. */
const PORTION = 16

export class Care {
  readonly #owner: string
  readonly #attemptsMax: number
  readonly #until: number
  /** Who died over it alone, by key. */
  readonly #suspects = new Map<string, readonly string[]>()
  /** Mail that the dead may have read. */
  #mailLeft: number

  /** Null where nothing calls for care. */
  static after({ crashes, trial, made }: Claim, owner: string, limits: Limits, now: number): Care | null {
    const passed = made >= COMMITS_PASSED
    return crashes >= CRASHES_MIN || trial !== '' ? new Care(trial, passed, owner, limits, now) : null
  }

  private constructor(trial: string, passed: boolean, owner: string, limits: Limits, now: number) {
    this.#owner = owner
    this.#attemptsMax = limits.poisonAttemptsMax
    this.#until = now + limits.crashWindowMs
    // A batch of each lane, and once more: the dead may have read one batch ahead.
    this.#mailLeft = passed ? 0 : 4 * limits.batchMax
    if (trial === '') return
    const { keys, owners } = JSON.parse(trial) as Trial // written below
    for (const key of keys) this.#suspects.set(key, keys.length === 1 ? owners : [])
  }

  /** X4. */
  isOver(now: number): boolean {
    return now >= this.#until
  }

  /** The first messages of the batch, as many as may be taken at once, and the trial under which; null for none. */
  next(batch: readonly Taken[]): { readonly portion: readonly Taken[]; readonly trial: string | null } {
    if (!batch.some((taken) => this.#isSuspicious(taken))) return { portion: batch, trial: null }
    let end = 0
    while (end < batch.length && end < PORTION && !this.#suspects.has(keyOf(batch[end] as Taken))) end++
    const portion = batch.slice(0, Math.max(1, end))
    this.#mailLeft -= portion.filter(({ message }) => message.kind === 'mail').length
    return { portion, trial: this.#trialOf(portion.map(keyOf)) }
  }

  /** X3. The message as what it is, where it is poisonous. */
  judged(taken: Taken): Taken {
    const fault = this.#verdict(keyOf(taken), 'message.poisonous', 'This message')
    return fault === null ? taken : { ...taken, fault }
  }

  trialOfEffect(effect: EffectStart): string {
    return this.#trialOf([keyOfEffect(effect)])
  }

  verdictOnEffect(effect: EffectStart): Fault | null {
    return this.#verdict(keyOfEffect(effect), 'effect.poisonous', `The effect "${effect.row.src}"`)
  }

  #isSuspicious(taken: Taken): boolean {
    return taken.message.kind !== 'mail' || this.#mailLeft > 0 || this.#suspects.has(keyOf(taken))
  }

  #trialOf(keys: readonly string[]): string {
    const [key = ''] = keys
    const owners = keys.length === 1 ? [...(this.#suspects.get(key) ?? []), this.#owner] : []
    return JSON.stringify({ keys, owners } satisfies Trial)
  }

  #verdict(key: string, code: 'message.poisonous' | 'effect.poisonous', what: string): Fault | null {
    const owners = this.#suspects.get(key) ?? []
    if (owners.length < this.#attemptsMax) return null
    const text = `${what} has ended the process of each owner that took it: ${owners.length} times`
    const data = { attempts: owners.length, owners }
    return faultOf(new RuntimeError(code, text, { remedy: 'give-up', data }), code)
  }
}

/** X1. One after the other, over all shards of a process; messages before effects, which may take a while. */
export class Trials {
  readonly #waiting: { readonly urgent: boolean; readonly go: () => void }[] = []
  #busy = false

  async run<T>(urgent: boolean, work: () => Promise<T>): Promise<T> {
    if (this.#busy) await new Promise<void>((go) => this.#waiting.push({ urgent, go }))
    this.#busy = true
    try {
      return await work()
    } finally {
      this.#pass()
    }
  }

  /** To whom it passes, it is busy already: nobody slips in between. */
  #pass(): void {
    const first = this.#waiting.findIndex(({ urgent }) => urgent)
    const [next] = this.#waiting.splice(Math.max(0, first), 1)
    if (next === undefined) this.#busy = false
    else next.go()
  }
}

/** The same for every owner that meets the message. */
function keyOf({ message, heldId }: Taken): string {
  return heldId === undefined ? keyOfMessage(message) : `held|${heldId}`
}

function keyOfMessage(message: Message): string {
  switch (message.kind) {
    case 'mail':
      return `${message.entry.lane}|${message.entry.id}`
    case 'timer':
      return `timer|${message.timer.actor}|${message.timer.gen}|${message.timer.name}`
    case 'effect':
      return `result|${message.actor}|${message.gen}|${message.id}`
    case 'ended':
    case 'rewatch':
      return `${message.kind}|${message.actor}|${message.gen}|${message.of}`
    case 'orphaned':
      return `orphaned|${message.actor}`
  }
}

function keyOfEffect({ actor, id, row }: EffectStart): string {
  return `effect|${actor}|${row.gen}|${id}`
}
