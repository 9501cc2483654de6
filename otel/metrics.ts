/**
 * Metrics for Prometheus. They listen to what the runtime tells of itself and to what the gateway tells of its
 * requests; nothing that is measured knows of them. Names and labels are API: dashboards and alerts are built on them.
 *
 * Invariants:
 * 1. A label's values are few and known: kinds of actors, names from charts, patterns of routes. Never an id.
 * 2. Every name begins with `tensorfleet_`, and units stand at its end, in Prometheus's base units.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { RuntimeEvent, RuntimeEvents } from '../runtime/events.ts'

type Listeners = { readonly [Type in RuntimeEvent['type']]?: (event: Extract<RuntimeEvent, { type: Type }>) => void }

const HEALTH_STATES = ['healthy', 'degraded', 'unreachable'] as const
/** From a tenth of a millisecond, a commit in memory, to ten seconds. */
const COMMIT_SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 10]
const REQUEST_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
const AGE_SECONDS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300]
/** Effects are anything from a read to a round of training. */
const EFFECT_SECONDS = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800]
const BATCH_MESSAGES = [1, 2, 4, 8, 16, 32, 64, 128, 256]

export class Metrics {
  readonly registry = new Registry()
  readonly #requests: Counter<'route' | 'method' | 'status'>
  readonly #requestSeconds: Histogram<'route' | 'method'>
  readonly #predictSeconds: Histogram
  readonly #predictRequests: Histogram
  readonly #listeners: Listeners

  constructor() {
    collectDefaultMetrics({ register: this.registry, prefix: 'tensorfleet_' })
    const registers = [this.registry]
    this.#requests = new Counter({
      name: 'tensorfleet_http_requests_total',
      help: 'Requests that the gateway answered.',
      labelNames: ['route', 'method', 'status'],
      registers,
    })
    this.#predictSeconds = new Histogram({
      name: 'tensorfleet_predict_run_seconds',
      help: 'Time of one run of the prediction kernel.',
      buckets: REQUEST_SECONDS,
      registers,
    })
    this.#predictRequests = new Histogram({
      name: 'tensorfleet_predict_run_requests',
      help: 'Requests that one run of the prediction kernel served.',
      buckets: BATCH_MESSAGES,
      registers,
    })
    this.#requestSeconds = new Histogram({
      name: 'tensorfleet_http_request_seconds',
      help: 'Time to the head of the answer.',
      labelNames: ['route', 'method'],
      buckets: REQUEST_SECONDS,
      registers,
    })
    this.#listeners = runtimeListeners(this.registry)
  }

  /** Counts what this node of the runtime tells. Returns the function that ends it. */
  listen(events: RuntimeEvents): () => void {
    return events.on('*', (event) => {
      const listener = this.#listeners[event.type] as ((event: RuntimeEvent) => void) | undefined // paired by its key
      listener?.(event)
    })
  }

  /** `route` is the pattern that matched, as the gateway's `observeRequest` gives it. */
  observeRequest(route: string, method: string, status: number, seconds: number): void {
    const known = METHODS.has(method) ? method : 'other' // a client may send any word as its method
    this.#requests.inc({ route, method: known, status: String(status) })
    this.#requestSeconds.observe({ route, method: known }, seconds)
  }

  /** One run of the prediction kernel: how many requests it served. */
  observePrediction(requests: number, seconds: number): void {
    this.#predictRequests.observe(requests)
    this.#predictSeconds.observe(seconds)
  }

  /** What Prometheus reads. */
  async render(): Promise<{ readonly contentType: string; readonly body: string }> {
    return { contentType: this.registry.contentType, body: await this.registry.metrics() }
  }
}

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

function runtimeListeners(registry: Registry): Listeners {
  const registers = [registry]
  const counter = <Label extends string = never>(
    name: string,
    help: string,
    labelNames: Label[] = [],
  ): Counter<Label> => new Counter({ name: `tensorfleet_runtime_${name}`, help, labelNames, registers })
  const histogram = <Label extends string = never>(
    name: string,
    help: string,
    buckets: number[],
    labelNames: Label[] = [],
  ): Histogram<Label> => new Histogram({ name: `tensorfleet_runtime_${name}`, help, buckets, labelNames, registers })

  const leases = counter('lease_changes_total', 'Leases of shards, by what became of them.', ['change'])
  const shards = new Gauge({
    name: 'tensorfleet_runtime_shards_owned',
    help: 'Shards that this node owns.',
    registers,
  })
  const commits = counter('commits_total', 'Commits: batches of messages taken to their consequences.')
  const commitSeconds = histogram('commit_seconds', 'Time of a commit, acknowledged.', COMMIT_SECONDS)
  const commitMessages = histogram('commit_messages', 'Messages in a commit.', BATCH_MESSAGES)
  const messages = counter('messages_total', 'Messages taken from mailboxes.')
  const sends = counter('sends_total', 'Messages sent by commits.')
  const age = histogram('message_age_seconds', 'Age of the oldest message of a commit.', AGE_SECONDS)
  const transitions = counter('transitions_total', 'Transitions committed.', ['kind', 'event'])
  const entered = counter('states_entered_total', 'Top-level states that actors entered.', ['kind', 'state'])
  const activations = counter('activations_total', 'Actors loaded into memory.', ['kind'])
  const passivations = counter('passivations_total', 'Idle actors dropped from memory.')
  const timerLate = histogram('timer_late_seconds', 'How late timers fired.', AGE_SECONDS, ['kind'])
  const effectsStarted = counter('effects_started_total', 'Attempts of effects started.', ['kind', 'src'])
  const effects = counter('effects_ended_total', 'Attempts of effects ended, by outcome.', ['kind', 'src', 'outcome'])
  const effectSeconds = histogram('effect_seconds', 'Time of an attempt of an effect.', EFFECT_SECONDS, ['kind', 'src'])
  const deadLetters = counter('dead_letters_total', 'Messages that no transition could take.', ['kind', 'code'])
  const held = counter('held_total', 'Messages for code of another version, kept for it.', ['kind', 'code'])
  const delivered = counter('delivered_total', 'Messages delivered to other shards.')
  const full = counter('mailbox_full_total', 'Sends refused by a mailbox at its cap.')
  const health = new Gauge({
    name: 'tensorfleet_runtime_transport_health',
    help: 'How the transport fares: 1 for the state that it is in.',
    labelNames: ['transport', 'state'],
    registers,
  })
  const lostCommits = counter('lost_commits_total', 'Acknowledged commits that a failover of the transport has lost.')
  const troubles = counter('troubles_total', 'Errors that the runtime went on from.')

  const released = (change: string) => (): void => {
    leases.inc({ change })
    shards.dec()
  }
  return {
    'lease.claimed': ({ adopted }) => {
      leases.inc({ change: adopted ? 'adopted' : 'claimed' })
      shards.inc()
    },
    'lease.suspended': () => leases.inc({ change: 'suspended' }),
    'lease.resumed': () => leases.inc({ change: 'resumed' }),
    'lease.lost': released('lost'),
    'lease.released': released('released'),
    commit: (commit) => {
      commits.inc()
      commitSeconds.observe(commit.ms / 1000)
      commitMessages.observe(commit.messages)
      messages.inc(commit.messages)
      sends.inc(commit.sends)
      if (commit.messages > 0) age.observe(commit.ageMs / 1000)
      for (const line of commit.lines) {
        const kind = kindOf(line.actor)
        transitions.inc({ kind, event: eventName(line.event) })
        const state = stateName(line.to)
        if (state !== stateName(line.from)) entered.inc({ kind, state })
      }
    },
    activation: ({ kind, actors }) => activations.inc({ kind }, actors),
    passivation: ({ actors }) => passivations.inc(actors),
    'timer.fired': ({ actor, lateMs }) => timerLate.observe({ kind: kindOf(actor) }, Math.max(0, lateMs) / 1000),
    'effect.started': ({ actor, src }) => effectsStarted.inc({ kind: kindOf(actor), src }),
    'effect.ended': ({ actor, src, outcome, ms }) => {
      effects.inc({ kind: kindOf(actor), src, outcome })
      effectSeconds.observe({ kind: kindOf(actor), src }, ms / 1000)
    },
    'message.held': ({ to, fault }) => held.inc({ kind: kindOf(to), code: fault.code }),
    'dead-letter': ({ to, fault }) => deadLetters.inc({ kind: kindOf(to), code: fault.code }),
    delivered: (event) => delivered.inc(event.messages),
    'mailbox.full': () => full.inc(),
    health: ({ transport, state }) => {
      for (const each of HEALTH_STATES) health.set({ transport, state: each }, each === state ? 1 : 0)
    },
    'shard.rolled-back': ({ from, to }) => lostCommits.inc(from - to),
    trouble: () => troubles.inc(),
  }
}

/** `job/01J…` → `job`. An address that is none, as a dead letter may have, is one kind of its own. */
function kindOf(address: string): string {
  return /^([a-z][a-z0-9-]{0,39})\//.exec(address)?.[1] ?? 'malformed'
}

/** XState's own events carry the id of the effect or the delay, which may name an actor (invariant 1). */
function eventName(event: string): string {
  return /^xstate\.(?:done|error)\.(?:actor|state)|^xstate\.after/.exec(event)?.[0] ?? event
}

/** The top-level state; of parallel ones all, which are as few as the chart has. */
function stateName(value: unknown): string {
  if (typeof value === 'string') return value
  return typeof value === 'object' && value !== null ? Object.keys(value).join('+') : 'none'
}
