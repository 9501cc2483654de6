/**
 * How the transport fares, as one process sees it. A watch asks the server once a moment and keeps what comes of it:
 *
 * - `healthy`: it answers, in time, and finds nothing amiss.
 * - `degraded`: it answers, but late, or it says that something is wrong (full, no signals, a part of a Cluster is down).
 * - `unreachable`: it does not answer.
 *
 * A change is told as an event; nothing acts on it but people and probes. What owners do in trouble follows from their
 * leases and from answers that fail, never from this.
 */
import type { Clock } from './clock.ts'
import type { RuntimeEvents } from './events.ts'
import type { Limits } from './limits.ts'
import { service } from './service.ts'
import type { Service } from './service.ts'
import type { Transport } from './transport.ts'

export interface Health {
  readonly state: 'healthy' | 'degraded' | 'unreachable'
  /** When it came to this state, in milliseconds since 1970. */
  readonly since: number
  /** What is amiss, for a person; absent while healthy. */
  readonly reason?: string
}

type Answer = { readonly amiss: string | null } | { readonly error: unknown }

export class HealthWatch {
  readonly #transport: Transport
  readonly #clock: Clock
  readonly #events: RuntimeEvents
  readonly #limits: Limits
  #service: Service | null = null
  #now: Health
  #told = false

  /** The transport has been started: it answered a moment ago. */
  constructor(options: { transport: Transport; clock: Clock; events: RuntimeEvents; limits: Limits }) {
    this.#transport = options.transport
    this.#clock = options.clock
    this.#events = options.events
    this.#limits = options.limits
    this.#now = { state: 'healthy', since: options.clock.now() }
  }

  get now(): Health {
    return this.#now
  }

  start(): void {
    const at = { clock: this.#clock, events: this.#events }
    this.#service = service('health', at, (signal) => this.#look(signal))
  }

  async stop(): Promise<void> {
    await this.#service?.stop()
  }

  async #look(signal: AbortSignal): Promise<number> {
    const { healthSlowMs, healthSilentMs, healthEveryMs } = this.#limits
    const asked = this.#clock.now()
    const answer: Promise<Answer> = this.#transport.probe().then(
      (amiss) => ({ amiss }),
      (error: unknown) => ({ error }),
    )
    const name = this.#transport.name
    let got = await this.#within(answer, healthSlowMs, signal)
    if (got === null && !signal.aborted) {
      // Who is unreachable already does not get better by being asked again.
      if (this.#now.state !== 'unreachable') this.#is('degraded', `${name} is slow to answer`)
      got = await this.#within(answer, healthSilentMs - healthSlowMs, signal)
    }
    if (got === null && !signal.aborted) {
      this.#is('unreachable', `${name} has not answered for ${healthSilentMs} ms`)
      got = await this.#within(answer, Infinity, signal)
    }
    if (got === null) return 0 // stopped
    const tookMs = this.#clock.now() - asked
    if ('error' in got) this.#is('unreachable', got.error instanceof Error ? got.error.message : String(got.error))
    else if (got.amiss !== null) this.#is('degraded', got.amiss)
    else if (tookMs > healthSlowMs) this.#is('degraded', `${name} took ${Math.round(tookMs)} ms to answer`)
    else this.#is('healthy')
    return healthEveryMs
  }

  /** Null when there is no answer in time, or the watch is stopped. */
  async #within(answer: Promise<Answer>, ms: number, signal: AbortSignal): Promise<Answer | null> {
    const answered = new AbortController()
    const either = AbortSignal.any([signal, answered.signal])
    const late = ms === Infinity ? aborted(either) : this.#clock.sleep(ms, either)
    const got = await Promise.race([answer, late.then(() => null)])
    answered.abort()
    return got
  }

  #is(state: Health['state'], reason?: string): void {
    const changed = !this.#told || this.#now.state !== state
    const since = this.#now.state === state ? this.#now.since : this.#clock.now()
    this.#now = { state, since, ...(reason !== undefined && { reason }) }
    if (!changed) return
    this.#told = true
    this.#events.emit({ type: 'health', transport: this.#transport.name, ...this.#now })
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
