/**
 * Runs the effects that committed transitions have started, and reports how each ended as a message to its actor's shard.
 * An effect belongs to the shard's owner: whoever loses the shard aborts its effects, and whoever gains it starts them
 * again under the same key. Nothing here is durable: the record says what ought to run.
 */
import type { ActorDefinition, Effect } from './actor.ts'
import type { ActorAddress } from './address.ts'
import type { Clock, Random } from './clock.ts'
import { faultOf } from './errors.ts'
import type { RuntimeEvents } from './events.ts'
import type { EffectStart } from './consequences.ts'
import type { Limits } from './limits.ts'
import type { EffectResult, Message } from './message.ts'

interface Running {
  readonly gen: number
  readonly abort: AbortController
  readonly ended: Promise<void>
}

export class Effects {
  readonly #clock: Clock
  readonly #random: Random
  readonly #events: RuntimeEvents
  readonly #report: (message: Message) => void
  readonly #stopMs: number
  readonly #running = new Map<string, Running>()
  /** Generations of those that are to start and wait for their turn. */
  readonly #waiting = new Map<string, number>()

  constructor(options: {
    clock: Clock
    random: Random
    events: RuntimeEvents
    limits: Limits
    report: (message: Message) => void
  }) {
    this.#clock = options.clock
    this.#stopMs = options.limits.effectStopMs
    this.#random = options.random
    this.#events = options.events
    this.#report = options.report
  }

  /** These will be started one after the other: until then their state may be left, or another run of them begin. */
  announce(starts: readonly EffectStart[]): void {
    for (const { actor, id, row } of starts) this.#waiting.set(keyOf(actor, id), row.gen)
  }

  /** Whether what was announced is still to be started. */
  isWaiting({ actor, id, row }: EffectStart): boolean {
    return this.#waiting.get(keyOf(actor, id)) === row.gen
  }

  /** Starts an effect, unless this very run of it is under way. Resolves when it has ended. */
  start(definition: ActorDefinition, effect: EffectStart): Promise<void> {
    const key = keyOf(effect.actor, effect.id)
    this.#waiting.delete(key)
    const running = this.#running.get(key)
    if (running !== undefined) {
      if (running.gen === effect.row.gen) return running.ended
      running.abort.abort()
    }
    const abort = new AbortController()
    const gen = effect.row.gen
    const ended = this.#run(definition, effect, abort.signal).finally(() => {
      if (this.#running.get(key)?.gen === gen) this.#running.delete(key)
    })
    this.#running.set(key, { gen, abort, ended })
    return ended
  }

  stop(actor: ActorAddress, id: string, gen: number): void {
    const key = keyOf(actor, id)
    if (this.#waiting.get(key) === gen) this.#waiting.delete(key)
    const running = this.#running.get(key)
    if (running?.gen === gen) running.abort.abort()
  }

  /** Aborts every effect that is not among these: what a shard found in its records when it began anew. */
  keepOnly(wanted: readonly EffectStart[]): void {
    this.#waiting.clear()
    const gens = new Map(wanted.map(({ actor, id, row }) => [keyOf(actor, id), row.gen]))
    for (const [key, running] of this.#running) {
      if (gens.get(key) !== running.gen) running.abort.abort()
    }
  }

  /** Aborts all and waits until they have ended, though not for ever: one that heeds no signal is left behind, and named. */
  async stopAll(): Promise<void> {
    this.#waiting.clear()
    const all = [...this.#running]
    for (const [, { abort }] of all) abort.abort()
    const over = new AbortController()
    const late = this.#clock.sleep(this.#stopMs, over.signal).then(() => 'late' as const)
    const outcome = await Promise.race([Promise.all(all.map(([, { ended }]) => ended)), late])
    over.abort()
    if (outcome !== 'late') return
    for (const [key, running] of all) {
      if (this.#running.get(key) !== running) continue
      const error = new Error(`it has not ended ${this.#stopMs} ms after its signal was aborted`)
      this.#events.emit({ type: 'trouble', where: `effect ${key}`, error })
    }
  }

  async #run(definition: ActorDefinition, start: EffectStart, signal: AbortSignal): Promise<void> {
    const { actor, id, row, trace } = start
    const { attempts, baseMs, maxMs } = definition.policy.effectRetry
    for (let attempt = 1; ; attempt++) {
      this.#events.emit({ type: 'effect.started', actor, src: row.src, attempt })
      const startedAt = this.#clock.now()
      const result = await this.#attempt(definition, start, {
        signal,
        key: `${actor}:${id}:${row.id}`,
        actor,
        attempt,
        trace,
      })
      const ms = this.#clock.now() - startedAt
      if (signal.aborted) {
        this.#events.emit({ type: 'effect.ended', actor, src: row.src, outcome: 'aborted', ms })
        return
      }
      const final =
        result.ok || attempt >= attempts || result.fault.remedy === 'fix-request' || result.fault.remedy === 'give-up'
      const outcome = result.ok ? 'done' : final ? 'failed' : 'retried'
      this.#events.emit({
        type: 'effect.ended',
        actor,
        src: row.src,
        outcome,
        ms,
        ...(!result.ok && { fault: result.fault }),
      })
      if (final) {
        this.#report({ kind: 'effect', actor, id, gen: row.gen, result })
        return
      }
      // Full jitter (Brooker, "Exponential Backoff And Jitter", 2015), kept above half so that a retry is never at once.
      const ceiling = Math.min(maxMs, baseMs * 2 ** (attempt - 1))
      await this.#clock.sleep(ceiling * (0.5 + this.#random.next() / 2), signal)
      if (signal.aborted) return
    }
  }

  async #attempt(
    definition: ActorDefinition,
    { row }: EffectStart,
    context: Parameters<Effect<never, unknown>>[1],
  ): Promise<EffectResult> {
    try {
      const effect = definition.effects[row.src] as Effect<unknown, unknown> | undefined // typed at defineActor
      if (effect === undefined) throw new TypeError(`no effect "${row.src}" in the definition of "${definition.kind}"`)
      const output = await effect(row.input, context)
      // The chart sees what a snapshot would hold: JSON, and nothing shared with the effect.
      return { ok: true, output: output === undefined ? null : (JSON.parse(JSON.stringify(output)) as unknown) }
    } catch (error) {
      return { ok: false, fault: faultOf(error, 'effect.failed') }
    }
  }
}

function keyOf(actor: ActorAddress, id: string): string {
  return `${actor}|${id}`
}
