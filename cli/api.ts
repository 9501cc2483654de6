/**
 * The HTTP API as the commands use it. Answers that are problem details (RFC 9457) become errors with the problem's own
 * sentence and one line for each field that is wrong.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { createParser } from 'eventsource-parser'
import type { EventSourceMessage } from 'eventsource-parser'
import type {
  DatasetDetailView,
  DatasetView,
  JobView,
  LogLine,
  ModelAliasView,
  ModelVersionView,
  PoolView,
  WorkerView,
} from '../machines/views.ts'
import type { BatchView } from '../machines/batch-spec.ts'
import type { SweepView } from '../machines/sweep-spec.ts'
import type { BlobSweepReport } from '../actors/mod.ts'
import { DataDir } from './data-dir.ts'
import type { ApiAccess } from './data-dir.ts'
import { CliError, EXIT } from './errors.ts'

interface Problem {
  readonly title?: string
  readonly detail?: string
  readonly errors?: readonly { readonly message: string }[]
}

export interface Page<T> {
  readonly items: readonly T[]
  readonly next?: string
}

export interface Prediction {
  readonly outputs: readonly (readonly number[])[]
  readonly classes?: readonly (number | string)[]
}

export interface ModelComparison {
  readonly left: ModelVersionView
  readonly right: ModelVersionView
  readonly differences: readonly { readonly path: string; readonly left?: unknown; readonly right?: unknown }[]
  readonly gains: Readonly<Record<string, number>>
}

export type SweepSummary = Omit<SweepView, 'spec' | 'leaderboard'>

/** An actor as `/v1/actors` lists it. */
export interface ActorView {
  readonly actor: string
  readonly state: string
  readonly since: number
}

export interface ActorCountView {
  readonly kind: string
  readonly state: string
  readonly actors: number
}

/** A dead letter as `/v1/system/dead-letters` shows it. */
export interface DeadLetterView {
  readonly id: string
  readonly shard: string
  readonly to: string
  readonly from: string | null
  readonly at: number
  readonly fault: { readonly code: string; readonly message: string }
  readonly kind: string
  readonly content: unknown
}

export interface ApiOptions {
  readonly data: string
  readonly server?: string
  readonly env: NodeJS.ProcessEnv
}

/** Where the API is and how we are let in: options, then the environment, then what `tensorfleet up` wrote. */
export async function findApi(options: ApiOptions): Promise<Api> {
  const written = await DataDir.at(options.data).readAccess()
  const url = options.server ?? options.env['TENSORFLEET_URL'] ?? written?.url
  const token = options.env['TENSORFLEET_TOKEN'] ?? (url === written?.url ? written?.token : undefined)
  if (url === undefined) {
    throw new CliError('No fleet is running here', {
      exitCode: EXIT.unreachable,
      details: ['Start one with "tensorfleet up", or name one with --server or TENSORFLEET_URL.'],
    })
  }
  return new Api({ url, token: token ?? '' })
}

export class Api {
  readonly url: string
  readonly #token: string

  constructor({ url, token }: ApiAccess) {
    this.url = url.replace(/\/$/, '')
    this.#token = token
  }

  submit(spec: string, type: 'application/yaml' | 'application/json', idempotencyKey?: string): Promise<JobView> {
    return this.#json('POST', '/v1/jobs', {
      body: spec,
      headers: {
        'content-type': type,
        ...(idempotencyKey !== undefined && { 'idempotency-key': idempotencyKey }),
      },
    })
  }

  submitBatch(
    spec: string,
    type: 'application/yaml' | 'application/json',
    idempotencyKey?: string,
  ): Promise<BatchView> {
    const key = idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }
    return this.#json('POST', '/v1/batches', { body: spec, headers: { 'content-type': type, ...key } })
  }

  batch(id: string): Promise<BatchView> {
    return this.#json('GET', `/v1/batches/${encodeURIComponent(id)}`)
  }

  batches(query: { limit?: number } = {}): Promise<readonly BatchView[]> {
    return this.#all('/v1/batches', query)
  }

  steerBatch(id: string, verb: 'pause' | 'resume' | 'cancel'): Promise<BatchView> {
    return this.#json('POST', `/v1/batches/${encodeURIComponent(id)}/${verb}`)
  }

  batchOutput(id: string): Promise<Response> {
    return this.#fetch('GET', `/v1/batches/${encodeURIComponent(id)}/output`)
  }

  submitSweep(
    spec: string,
    type: 'application/yaml' | 'application/json',
    idempotencyKey?: string,
  ): Promise<SweepView> {
    const key = idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }
    return this.#json('POST', '/v1/sweeps', { body: spec, headers: { 'content-type': type, ...key } })
  }

  sweeps(query: { limit?: number } = {}): Promise<readonly SweepSummary[]> {
    return this.#all('/v1/sweeps', query)
  }

  sweep(id: string): Promise<SweepView> {
    return this.#json('GET', `/v1/sweeps/${encodeURIComponent(id)}`)
  }

  steerSweep(id: string, verb: 'pause' | 'resume' | 'cancel'): Promise<SweepView> {
    return this.#json('POST', `/v1/sweeps/${encodeURIComponent(id)}/${verb}`)
  }

  job(id: string): Promise<JobView> {
    return this.#json('GET', `/v1/jobs/${encodeURIComponent(id)}`)
  }

  jobs(query: { state?: string; sweep?: string; limit?: number } = {}): Promise<readonly JobView[]> {
    return this.#all('/v1/jobs', query)
  }

  cancel(id: string): Promise<JobView> {
    return this.#json('POST', `/v1/jobs/${encodeURIComponent(id)}/cancel`)
  }

  /** Uploads files as a new version; `onEvent` is told of its progress. The files are read as they are sent. */
  async addDataset(form: FormData, onEvent: (message: EventSourceMessage) => void): Promise<void> {
    const response = await this.#fetch('POST', '/v1/datasets', { body: form, headers: { accept: 'text/event-stream' } })
    for await (const message of messagesOf(response)) onEvent(message)
  }

  datasets(query: { limit?: number } = {}): Promise<readonly DatasetView[]> {
    return this.#all('/v1/datasets', query)
  }

  datasetVersions(name: string): Promise<readonly DatasetView[]> {
    return this.#all(datasetPath(name), {})
  }

  dataset(name: string, version: string): Promise<DatasetDetailView> {
    return this.#json('GET', `${datasetPath(name)}/versions/${encodeURIComponent(version)}`)
  }

  datasetRows(name: string, version: string, limit: number): Promise<{ rows: readonly Record<string, unknown>[] }> {
    return this.#json('GET', `${datasetPath(name)}/versions/${encodeURIComponent(version)}/rows?limit=${limit}`)
  }

  async removeDataset(name: string, version: string): Promise<void> {
    await this.#fetch('DELETE', `${datasetPath(name)}/versions/${encodeURIComponent(version)}`)
  }

  restore(id: string, round: string): Promise<JobView> {
    return this.#json('POST', `/v1/jobs/${encodeURIComponent(id)}/checkpoints/${encodeURIComponent(round)}/restore`)
  }

  checkpoint(id: string, round: string, file: 'weights' | 'topology'): Promise<Response> {
    const at = `/v1/jobs/${encodeURIComponent(id)}/checkpoints/${encodeURIComponent(round)}/download?file=${file}`
    return this.#fetch('GET', at)
  }

  /** Without `now`, at the end of the round if that comes soon. */
  pause(id: string, { now = false }: { now?: boolean } = {}): Promise<JobView> {
    return this.#json('POST', `/v1/jobs/${encodeURIComponent(id)}/pause?now=${now}`)
  }

  resume(id: string): Promise<JobView> {
    return this.#json('POST', `/v1/jobs/${encodeURIComponent(id)}/resume`)
  }

  /** A new job that goes on from where this one failed. */
  retry(id: string): Promise<JobView> {
    return this.#json('POST', `/v1/jobs/${encodeURIComponent(id)}/retry`)
  }

  /** `changes` is a JSON merge patch of the specification. */
  clone(id: string, changes: object): Promise<JobView> {
    const body = JSON.stringify(changes)
    const headers = { 'content-type': 'application/json' }
    return this.#json('POST', `/v1/jobs/${encodeURIComponent(id)}/clone`, { body, headers })
  }

  gc(body: { dryRun: boolean; olderThanHours: number; jobsOlderThanHours?: number }): Promise<BlobSweepReport> {
    const headers = { 'content-type': 'application/json' }
    return this.#json('POST', '/v1/system/gc', { body: JSON.stringify(body), headers })
  }

  pools(): Promise<readonly PoolView[]> {
    return this.#all('/v1/pools', {})
  }

  pool(name: string): Promise<PoolView> {
    return this.#json('GET', `/v1/pools/${encodeURIComponent(name)}`)
  }

  configurePool(name: string, settings: object): Promise<PoolView> {
    const headers = { 'content-type': 'application/json' }
    const body = JSON.stringify(settings)
    return this.#json('PUT', `/v1/pools/${encodeURIComponent(name)}/settings`, { body, headers })
  }

  drain(worker: string): Promise<void> {
    return this.#json('POST', `/v1/workers/${encodeURIComponent(worker)}/drain`)
  }

  models(query: { limit?: number } = {}): Promise<readonly ModelVersionView[]> {
    return this.#all('/v1/models', query)
  }

  model(name: string, version: string): Promise<ModelVersionView> {
    return this.#json('GET', `${modelPath(name)}/versions/${encodeURIComponent(version)}`)
  }

  async modelCard(name: string, version: string): Promise<string> {
    return (await this.#fetch('GET', `${modelPath(name)}/versions/${encodeURIComponent(version)}/card`)).text()
  }

  setStage(name: string, version: string, stage: string, note: string | undefined): Promise<ModelVersionView> {
    const path = `${modelPath(name)}/versions/${encodeURIComponent(version)}/stage`
    return this.#json('PUT', path, jsonBody({ stage, note }))
  }

  async aliases(name: string): Promise<readonly ModelAliasView[]> {
    return (await this.#json<Page<ModelAliasView>>('GET', `${modelPath(name)}/aliases`)).items
  }

  setAlias(name: string, alias: string, version: number): Promise<ModelAliasView> {
    return this.#json('PUT', `${modelPath(name)}/aliases/${encodeURIComponent(alias)}`, jsonBody({ version }))
  }

  removeAlias(name: string, alias: string): Promise<ModelAliasView> {
    return this.#json('DELETE', `${modelPath(name)}/aliases/${encodeURIComponent(alias)}`)
  }

  compareModels(name: string, left: string, right: string): Promise<ModelComparison> {
    return this.#json('GET', `${modelPath(name)}/compare?${new URLSearchParams({ left, right }).toString()}`)
  }

  /** `file`: what stands behind the version in the address of one of its files. */
  download(name: string, version: string, file: string): Promise<Response> {
    return this.#fetch('GET', `${modelPath(name)}/versions/${encodeURIComponent(version)}/${file}`)
  }

  predict(name: string, version: string, inputs: unknown): Promise<Prediction> {
    const at = `${modelPath(name)}/versions/${encodeURIComponent(version)}/predict`
    return this.#json('POST', at, jsonBody({ inputs }))
  }

  async workers(): Promise<readonly WorkerView[]> {
    return (await this.#json<Page<WorkerView>>('GET', '/v1/workers')).items
  }

  actors(query: { kind: string; state?: string; limit?: number }): Promise<readonly ActorView[]> {
    return this.#all('/v1/actors', query)
  }

  async actorCounts(): Promise<readonly ActorCountView[]> {
    return (await this.#json<Page<ActorCountView>>('GET', '/v1/actors/counts')).items
  }

  deadLetters(query: { limit?: number } = {}): Promise<readonly DeadLetterView[]> {
    return this.#all('/v1/system/dead-letters', query)
  }

  deadLetter(id: string): Promise<DeadLetterView> {
    return this.#json('GET', `/v1/system/dead-letters/${encodeURIComponent(id)}`)
  }

  async resendDeadLetter(id: string, event?: unknown): Promise<void> {
    const body = { body: JSON.stringify({ event }), headers: { 'content-type': 'application/json' } }
    await this.#json(
      'POST',
      `/v1/system/dead-letters/${encodeURIComponent(id)}/resend`,
      event === undefined ? {} : body,
    )
  }

  async dropDeadLetter(id: string): Promise<void> {
    await this.#fetch('DELETE', `/v1/system/dead-letters/${encodeURIComponent(id)}`)
  }

  /** What a job has logged so far. */
  async logs(id: string): Promise<readonly LogLine[]> {
    return (await this.#json<Page<LogLine>>('GET', `/v1/jobs/${encodeURIComponent(id)}/logs`)).items
  }

  async batchLogs(id: string): Promise<readonly LogLine[]> {
    return (await this.#json<Page<LogLine>>('GET', `/v1/batches/${encodeURIComponent(id)}/logs`)).items
  }

  /** A job's events as they come; after a broken connection it goes on where it was. Ends with the stream's `end`. */
  events(id: string, signal: AbortSignal): AsyncGenerator<EventSourceMessage> {
    return this.#events(`/v1/jobs/${encodeURIComponent(id)}/events`, signal)
  }

  /** A batch job's, likewise. */
  batchEvents(id: string, signal: AbortSignal): AsyncGenerator<EventSourceMessage> {
    return this.#events(`/v1/batches/${encodeURIComponent(id)}/events`, signal)
  }

  /** A sweep's, likewise. */
  sweepEvents(id: string, signal: AbortSignal): AsyncGenerator<EventSourceMessage> {
    return this.#events(`/v1/sweeps/${encodeURIComponent(id)}/events`, signal)
  }

  async *#events(path: string, signal: AbortSignal): AsyncGenerator<EventSourceMessage> {
    let last: string | undefined
    let failures = 0
    while (!signal.aborted) {
      try {
        const headers = { accept: 'text/event-stream', ...(last !== undefined && { 'last-event-id': last }) }
        const response = await this.#fetch('GET', path, { headers, signal })
        for await (const message of messagesOf(response)) {
          failures = 0
          last = message.id ?? last
          yield message
          if (message.event === 'end') return
        }
      } catch (error) {
        if (signal.aborted) return
        if (error instanceof CliError && error.exitCode !== EXIT.unreachable) throw error
        if (++failures > RECONNECTS_MAX) throw error
      }
      await sleep(Math.min(RECONNECT_MAX_MS, 100 * 2 ** failures), undefined, { signal }).catch(() => {}) // aborted: the loop ends
    }
  }

  async #all<T>(path: string, query: Readonly<Record<string, string | number | undefined>>): Promise<readonly T[]> {
    const limit = typeof query['limit'] === 'number' ? query['limit'] : Infinity
    const items: T[] = []
    let next: string | undefined
    do {
      const search = new URLSearchParams()
      for (const [key, value] of Object.entries({ ...query, limit: Math.min(limit, PAGE), cursor: next })) {
        if (value !== undefined) search.set(key, String(value))
      }
      const page = await this.#json<Page<T>>('GET', `${path}?${search.toString()}`)
      items.push(...page.items)
      next = page.next
    } while (next !== undefined && items.length < limit)
    return items.slice(0, limit)
  }

  async #json<T>(method: string, path: string, init: RequestInit = {}): Promise<T> {
    const response = await this.#fetch(method, path, init)
    return (await response.json()) as T // the API's answers are typed by the views it shares with us
  }

  async #fetch(method: string, path: string, init: RequestInit = {}): Promise<Response> {
    let response: Response
    const headers = new Headers(init.headers)
    headers.set('authorization', `Bearer ${this.#token}`)
    try {
      response = await fetch(`${this.url}${path}`, { ...init, method, headers })
    } catch (cause) {
      if (init.signal?.aborted === true) throw cause
      throw new CliError(`No fleet answers at ${this.url}`, {
        exitCode: EXIT.unreachable,
        details: ['Is it running? Start one with "tensorfleet up".'],
        cause,
      })
    }
    if (!response.ok) throw await problemOf(response)
    return response
  }
}

function datasetPath(name: string): string {
  return `/v1/datasets/${encodeURIComponent(name)}`
}

const PAGE = 100
const RECONNECTS_MAX = 40
const RECONNECT_MAX_MS = 1_000

async function problemOf(response: Response): Promise<CliError> {
  const problem = (await response.json().catch(() => ({}))) as Problem // anything may answer; absent fields are handled
  const whole = problem.detail ?? problem.title ?? `The server answered ${response.status}`
  // Each message names its field. The sentence quotes the first one, which is not said twice.
  const details = (problem.errors ?? []).map(({ message }) => message)
  if (details[0] === whole) details.shift()
  const sentence = whole.split(`: ${details[0]}`)[0] ?? whole
  if (response.status === 401) details.push('Name a token in TENSORFLEET_TOKEN, or run where "tensorfleet up" runs.')
  const unreachable = response.status === 401 || response.status === 403 || response.status >= 502
  const exitCode = unreachable ? EXIT.unreachable : response.status < 500 ? EXIT.usage : EXIT.failed
  return new CliError(sentence, { exitCode, details })
}

async function* messagesOf(response: Response): AsyncGenerator<EventSourceMessage> {
  const pending: EventSourceMessage[] = []
  const parser = createParser({ onEvent: (message) => pending.push(message) })
  for await (const text of (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream())) {
    parser.feed(text)
    yield* pending.splice(0)
  }
}

function modelPath(name: string): string {
  return `/v1/models/${encodeURIComponent(name)}`
}

function jsonBody(value: unknown): { readonly body: string; readonly headers: Readonly<Record<string, string>> } {
  return { body: JSON.stringify(value), headers: { 'content-type': 'application/json' } }
}
