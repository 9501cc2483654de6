/**
 * What the scheduler costs. First, how long a slot that becomes free waits for its next task while 100 tasks are queued,
 * and while 10,000 are: from the worker's word that it is free, committed, to the task's knowing where it goes, committed.
 * Then a thousand jobs at once on sixteen slots: how far each of them comes, and how evenly. Real charts of jobs, tasks,
 * workers and the scheduler on a real Redis; only the work itself is none.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { setup } from 'xstate'
import { pageActor, schedulerActor, taskActor } from '../actors/mod.ts'
import { jobSpecSchema } from '../gateway/schemas/job-spec.ts'
import { jobMachine } from '../machines/job.ts'
import type { JobContext } from '../machines/job-parts.ts'
import type { TaskInput } from '../machines/task-input.ts'
import type { Plan } from '../machines/training.ts'
import type { RunInput } from '../machines/worker.ts'
import { workerMachine } from '../machines/worker.ts'
import type { Recipe, WorkOutput } from '../machines/work.ts'
import { address, defineActor, Node, openClient, redisTransport, SHARDS_DEFAULT, vocabulary } from '../runtime/mod.ts'
import type { ActorAddress, ActorDefinition, Client, Directory } from '../runtime/mod.ts'
import { startRedis } from './redis.ts'
import type { Benchmark } from './bench.ts'

const SAMPLES = 500
const SLOTS = 16
const OWNERS = 10
const JOBS = 1_000
const JOBS_MS = 20_000
const WORK_MS = 5
const directory: Directory = { shards: SHARDS_DEFAULT, pinned: new Set(['worker']) }

export const run: Benchmark = async (say) => {
  await using redis = await startRedis(say)
  const few = await assignments(redis.url, 100, say)
  const many = await assignments(redis.url, 10_000, say)
  const jobs = await manyJobs(redis.url, say)
  return {
    assign_p50_ms: round(many.p50),
    assign_p99_ms: round(many.p99),
    assign_p50_ms_of_100: round(few.p50),
    assign_p99_ms_of_100: round(few.p99),
    book_kb: round(many.bookBytes / 1_000),
    book_kb_of_100: round(few.bookBytes / 1_000),
    ...jobs,
  }
}

interface Fleet extends AsyncDisposable {
  readonly client: Client
  readonly node: Node
}

/** A node with these actors, and a client. */
async function fleet(url: string, namespace: string, actors: readonly ActorDefinition[]): Promise<Fleet> {
  const transport = redisTransport({ url, namespace })
  await transport.start({ shards: directory.shards })
  const node = new Node({ transport, directory, hosts: 'sharded', actors })
  node.events.on('trouble', ({ where, error }) => process.stderr.write(`${where}: ${String(error)}\n`))
  node.events.on('dead-letter', ({ to, fault }) => process.stderr.write(`dead letter to ${to}: ${fault.message}\n`))
  await node.start()
  const client = await openClient({ transport, directory })
  return {
    client,
    node,
    async [Symbol.asyncDispose]() {
      await client.stop()
      await node.stop()
      await transport.stop()
    },
  }
}

/** Hears everything, and says nothing. */
const silentJob = defineActor({
  kind: 'job',
  version: 1,
  effects: {},
  machine: setup({ types: { input: {} as object }, actions: vocabulary }).createMachine({
    id: 'silent',
    initial: 'hearing',
    states: { hearing: { on: { '*': {} } } },
  }),
})

async function assignments(
  url: string,
  queued: number,
  say: (line: string) => void,
): Promise<{ p50: number; p99: number; bookBytes: number }> {
  say(`assigning with ${queued} tasks in the queue …`)
  const endings = new Map<string, (output: WorkOutput) => void>()
  const worker = workerActor(
    (input, signal) =>
      new Promise((resolve) => {
        endings.set(input.task, resolve)
        signal.addEventListener('abort', () => resolve(OUTPUT), { once: true })
      }),
  )
  const actors = [silentJob, taskActor(), schedulerActor(), pageActor()]
  await using here = await fleet(url, `scheduling${queued}`, actors)
  const { client, node } = here
  await using workers = await hostWorkers(url, `scheduling${queued}`, worker, SLOTS, 1)
  await client.spawn(address('scheduler', 'default'), { pool: 'default' })
  await workers.join(client)
  for (let owner = 0; owner < OWNERS; owner++) await client.spawn(address('job', `o${owner}`), {})

  let count = 0
  const submit = async (): Promise<void> => {
    const n = count++
    await client.spawn(address('task', `o${n % OWNERS}.${n}`), taskOf(n), { timeoutMs: 60_000 })
  }
  const first = queued + SLOTS
  for (let i = 0; i < first; i += 64) {
    await Promise.all(Array.from({ length: Math.min(64, first - i) }, submit))
  }
  await until(() => endings.size === SLOTS)
  await settled(node)

  const times: number[] = []
  for (let i = 0; i < SAMPLES; i++) {
    const [task] = endings.keys()
    const end = endings.get(task ?? '')
    if (task === undefined || end === undefined) throw new Error('no task runs')
    endings.delete(task)
    const startedAt = committed(workers.node, (event) => event === `xstate.done.actor.${task}`)
    const assignedAt = committed(node, (event, kind) => kind === 'task' && event === 'assigned')
    end(OUTPUT)
    times.push((await assignedAt) - (await startedAt))
    await submit()
    await until(() => endings.size === SLOTS)
  }
  const book = await client.read(address('scheduler', 'default'))
  times.sort((a, b) => a - b)
  const p50 = times[Math.floor(SAMPLES / 2)] ?? 0
  const p99 = times[Math.floor(SAMPLES * 0.99)] ?? 0
  say(`  p50 ${round(p50)} ms, p99 ${round(p99)} ms`)
  return { p50, p99, bookBytes: JSON.stringify(book?.context).length }
}

/** When the next transition of this kind has been committed. */
async function committed(node: Node, isIt: (event: string, kind: string) => boolean): Promise<number> {
  await node.events.once('commit', ({ lines }) =>
    lines.some(({ actor, event }) => isIt(event, actor.slice(0, actor.indexOf('/')))),
  )
  return performance.now()
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(1)
}

/** Nothing has been committed for a while: the pages and what they were told are at rest. */
async function settled(node: Node): Promise<void> {
  let last = performance.now()
  const off = node.events.on('commit', ({ messages }) => {
    if (messages > 0) last = performance.now()
  })
  while (performance.now() - last < 300) await sleep(50)
  off()
}

const OUTPUT: WorkOutput = { kind: 'initialise', weights: { sha256: 'w', sizeBytes: 1 }, elapsedMs: 1 }

function taskOf(n: number): TaskInput {
  return {
    id: `o${n % OWNERS}.${n}`,
    job: `o${n % OWNERS}`,
    owner: `owner-${n % OWNERS}`,
    pool: 'default',
    priority: n % 3 === 0 ? 'low' : 'normal',
    fingerprint: null,
    work: { kind: 'initialise', recipe: {} as Recipe }, // handed on unread
    runLimitMs: 3_600_000,
    expectedMs: 0,
  }
}

type RunTask = (input: RunInput, signal: AbortSignal) => Promise<WorkOutput>

function workerActor(runTask: RunTask): ActorDefinition {
  return defineActor({
    kind: 'worker',
    version: 1,
    pinned: true,
    machine: workerMachine,
    effects: {
      open: () => Promise.resolve({ backend: 'none', fingerprint: 'f', gpus: [] }),
      runTask: (input: RunInput, { signal }) => runTask(input, signal),
    },
  })
}

interface Workers extends AsyncDisposable {
  readonly node: Node
  join(client: Client): Promise<void>
}

async function hostWorkers(
  url: string,
  namespace: string,
  definition: ActorDefinition,
  count: number,
  slots: number,
): Promise<Workers> {
  const transport = redisTransport({ url, namespace })
  await transport.start({ shards: directory.shards })
  const node = new Node({ transport, directory, hosts: 'pinned', actors: [definition] })
  await node.start()
  const selves = Array.from({ length: count }, (_, i): ActorAddress => address('worker', `w${i}`))
  return {
    node,
    async join(client) {
      for (const self of selves) {
        await node.host(self)
        await client.spawn(self, { self, pool: 'default', slots, host: 'bench', pid: 1, joinedAt: 0 })
      }
    },
    async [Symbol.asyncDispose]() {
      await node.stop()
      await transport.stop()
    },
  }
}

const SPEC = jobSpecSchema.parse({
  name: 'bench',
  dataset: { name: 'none' },
  model: { class_name: 'Sequential', config: {} },
  train: { loss: 'meanSquaredError', replicas: 2, strategy: { kind: 'diloco', localSteps: 1 } },
})

/** As the chart reads it; what only kernels would read is left out. */
const PLAN = {
  recipe: { batchSizes: [1, 1], manifest: 'm' },
  dataset: { name: 'none', version: 1 },
  steps: 1_000_000,
  validationExamples: 0,
  testExamples: 0,
} as unknown as Plan

const BLOB = { sha256: 'w', sizeBytes: 1 }
const ROUND = {
  kind: 'round',
  weights: BLOB,
  optimizerState: BLOB,
  kernelMs: WORK_MS,
  moved: { exchangeBytes: 0, stateBytes: 0 },
  loss: 1,
  firstLoss: 1,
  examples: 1,
  elapsedMs: WORK_MS,
} as const

async function manyJobs(url: string, say: (line: string) => void): Promise<Record<string, number>> {
  say(`${JOBS} jobs at once on ${SLOTS} slots …`)
  const job = defineActor({
    kind: 'job',
    version: 1,
    machine: jobMachine,
    effects: {
      validate: () => Promise.resolve(null),
      prepare: () => Promise.resolve(PLAN),
      reduce: () => Promise.resolve({ weights: BLOB, update: null, outerState: null }),
      score: () => Promise.reject(new Error('there is nothing to score')),
      register: () => Promise.resolve({ name: 'bench', version: 1 }),
    },
  })
  const worker = workerActor(async ({ work }) => {
    await sleep(WORK_MS)
    if (work.kind !== 'round') return OUTPUT
    const { round: number, replica } = work
    return { ...ROUND, round: number, replica }
  })
  await using here = await fleet(url, 'jobs', [job, taskActor(), schedulerActor(), pageActor()])
  const { client } = here
  await using workers = await hostWorkers(url, 'jobs', worker, SLOTS / 4, 4)
  await client.spawn(address('scheduler', 'default'), { pool: 'default' })
  await workers.join(client)
  const ids = Array.from({ length: JOBS }, (_, i) => `j${i}`)
  await Promise.all(
    ids.map((id, i) =>
      client.spawn(address('job', id), { id, owner: `owner-${i % OWNERS}`, spec: SPEC }, { timeoutMs: 60_000 }),
    ),
  )
  const startedAt = performance.now()
  await sleep(JOBS_MS)
  const rounds = await Promise.all(ids.map(async (id) => roundsOf(await client.read(address('job', id)))))
  const tookS = (performance.now() - startedAt) / 1_000
  const sum = rounds.reduce((total, each) => total + each, 0)
  const squares = rounds.reduce((total, each) => total + each * each, 0)
  const jain = (sum * sum) / (JOBS * squares)
  say(`  ${Math.round(sum / tookS)} rounds/s, ${Math.min(...rounds)} to ${Math.max(...rounds)} a job`)
  return {
    jobs: JOBS,
    jobs_rounds_per_s: round(sum / tookS),
    jobs_rounds_min: Math.min(...rounds),
    jobs_rounds_max: Math.max(...rounds),
    jobs_jain: Math.round(jain * 1_000) / 1_000,
  }
}

function roundsOf(snapshot: { readonly context: unknown } | null): number {
  const context = snapshot?.context as JobContext | undefined // of a job
  return context?.checkpoints.at(-1)?.round ?? 0
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}
