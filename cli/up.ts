/**
 * `tensorfleet up`: a whole fleet on one machine. It gets a Redis, starts the control process and the workers, each a
 * process of its own, keeps them alive, and stops all of it at Ctrl-C. Without any Redis it runs everything in this one
 * process, on the memory transport, and says so.
 */
import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import type { WriteStream } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { styleText } from 'node:util'
import type { BackendChoice } from '../kernels/mod.ts'
import { MemoryServer } from '../runtime/mod.ts'
import type { Api } from './api.ts'
import { findApi } from './api.ts'
import { Child, describeExit } from './child.ts'
import type { ChildExit } from './child.ts'
import { summary } from './watch-command.ts'
import { pageLink, startControl } from './control.ts'
import type { DataDir } from './data-dir.ts'
import { CliError, EXIT } from './errors.ts'
import { directory, POOL } from './fleet.ts'
import { note, print } from './output.ts'
import { getRedisServer } from './redis-server.ts'
import { readSpecFile } from './spec-file.ts'
import { failureOf, watchJob } from './watch.ts'
import { removeLeftovers, startWorker } from './worker.ts'
import { aborted } from './until.ts'

export interface PoolSize {
  readonly name: string
  readonly workers: number
}

export interface UpOptions {
  readonly data: DataDir
  readonly port: number
  readonly hostname: string
  readonly pools: readonly PoolSize[]
  readonly slots: number
  readonly backend: BackendChoice
  readonly backendsDir: string
  readonly transport: 'auto' | 'memory'
  /** A job to submit, once for this data folder, and to watch. */
  readonly submit?: string
  readonly signal: AbortSignal
}

/** The program itself, as the processes of the fleet start it. */
const PROGRAM = fileURLToPath(new URL('./tensorfleet.ts', import.meta.url))
const READY_MS = 60_000
const RESTART = { when: 'always', intensity: 20, periodMs: 60_000, delayMs: 200 } as const

export async function up(options: UpOptions): Promise<void> {
  const { data, signal } = options
  if (options.submit !== undefined) await readSpecFile(options.submit) // say that it cannot be read before anything starts
  await using fleet = new AsyncDisposableStack()
  const url = await startFleet(options, fleet)
  const api = await findApi({ data: data.path, env: {} })
  print(`\n  API   ${url}`)
  print(`  Page  ${await pageLink(data, url)}\n`)
  await tellWhatIsThere(api)
  const failed = options.submit === undefined ? null : await runJob(api, options.submit, signal)
  if (!signal.aborted) {
    note(styleText('dim', '\nThe fleet is up. Stop it with Ctrl-C.'))
    await aborted(signal)
  }
  note('Stopping…')
  if (failed !== null) throw failed
}

async function startFleet(options: UpOptions, fleet: AsyncDisposableStack): Promise<string> {
  const { data, signal } = options
  if (options.transport === 'memory') return startInProcess(options, fleet)
  const redis = await getRedisServer({ dataDir: data.path, env: process.env, note, signal })
  if (redis.kind === 'none') {
    note(styleText('yellow', `No Redis can be had here: ${redis.reason}`))
    note(
      styleText(
        'yellow',
        'Everything runs in this process, and nothing outlives it: jobs and models are gone when it stops.',
      ),
    )
    return startInProcess(options, fleet)
  }
  fleet.defer(() => redis.stop())
  // Not before Redis has started: until then the folder may be another fleet's.
  fleet.defer(() => data.removeAccess())
  note(`${styleText('green', '●')} ${redis.description}`)
  void redis.lost.then((reason) => note(styleText('red', `Redis is lost: ${reason}`)))

  await mkdir(data.file('logs'), { recursive: true })
  await removeLeftovers(data)
  const common = ['--data', data.path]
  const place: Place = { data, redisUrl: redis.url, fleet }
  const url = await startControlProcess(options, common, place)
  const wanted = workersOf(options.pools)
  const workers = wanted.map(async ({ name, pool }) => {
    const args = [
      'worker',
      ...common,
      '--name',
      name,
      '--pool',
      pool,
      '--slots',
      String(options.slots),
      '--backend',
      options.backend,
      '--backends',
      options.backendsDir,
    ]
    const child = supervise(name, [...args, '--drain', '0'], place)
    await child.start()
  })
  await Promise.all(workers)
  note(`${styleText('green', '●')} ${wanted.length} workers, a process each; logs in ${data.file('logs')}`)
  return url
}

/** Names are unique over all pools: `worker-2`, `worker-gpu-1`. */
function workersOf(pools: readonly PoolSize[]): readonly { readonly name: string; readonly pool: string }[] {
  return pools.flatMap(({ name: pool, workers }) =>
    Array.from({ length: workers }, (_, i) => {
      return { name: pool === POOL ? `worker-${i + 1}` : `worker-${pool}-${i + 1}`, pool }
    }),
  )
}

/** What every process of the fleet is started with. */
interface Place {
  readonly data: DataDir
  readonly redisUrl: string
  /** Stops what was started, last first. */
  readonly fleet: AsyncDisposableStack
}

/** Starts the control process and resolves with its address once it answers. */
async function startControlProcess(options: UpOptions, common: readonly string[], place: Place): Promise<string> {
  const { port, hostname } = options
  const ready = Promise.withResolvers<string>()
  const said: string[] = []
  let isReady = false
  let portNow = port
  // Port 0 takes any port, once: those who watch a job wait for the API where it was.
  const args = (): string[] => ['control', ...common, '--port', String(portNow), '--host', hostname]
  const child = supervise('control', args, place, {
    onLine: (line) => {
      if (line.startsWith('ready ')) {
        const url = line.slice('ready '.length)
        if (port === 0) portNow = Number(new URL(url).port)
        isReady = true
        ready.resolve(url)
      } else if (!isReady) said.push(line.replace(/^tensorfleet: /, ''))
    },
    onExit: (exit) => {
      if (isReady) tellExit(exit)
      else ready.reject(new CliError('The control process did not start', { details: said.slice(-SAID_LINES) }))
    },
  })
  await child.start()
  const late = AbortSignal.timeout(READY_MS)
  late.addEventListener('abort', () =>
    ready.reject(new CliError(`The control process was not ready within ${READY_MS / 1000} s`)),
  )
  options.signal.addEventListener('abort', () =>
    ready.reject(new CliError('Interrupted', { exitCode: EXIT.interrupted })),
  )
  const url = await ready.promise
  note(`${styleText('green', '●')} control process at ${url}`)
  return url
}

const SAID_LINES = 4

interface Ears {
  readonly onLine?: (line: string) => void
  /** Each end that was not asked for; told to the user where absent. */
  readonly onExit?: (exit: ChildExit) => void
}

function tellExit(exit: ChildExit): void {
  note(styleText('yellow', describeExit(exit)))
}

function supervise(
  name: string,
  args: readonly string[] | (() => readonly string[]),
  { data, redisUrl, fleet }: Place,
  ears: Ears = {},
): Child {
  const log: WriteStream = createWriteStream(data.file('logs', `${name}.log`), { flags: 'a' })
  let stopping = false
  const child = new Child({
    name,
    command: process.execPath,
    args: () => ['--disable-warning=ExperimentalWarning', PROGRAM, ...(typeof args === 'function' ? args() : args)],
    // Redis in the environment, since anybody may read a command line: the address may hold a password.
    env: { ...process.env, REDIS_URL: redisUrl, TENSORFLEET_SUPERVISED: '1' },
    restart: RESTART,
    onLine: (line) => {
      log.write(`${new Date().toISOString()} ${line}\n`)
      ears.onLine?.(line)
    },
    onExit: (exit) => {
      if (!stopping) (ears.onExit ?? tellExit)(exit)
    },
  })
  fleet.defer(async () => {
    stopping = true
    await child.stop()
    log.end()
  })
  return child
}

async function startInProcess(options: UpOptions, fleet: AsyncDisposableStack): Promise<string> {
  const { data } = options
  const server = new MemoryServer()
  const connect = async () => {
    const transport = server.connect()
    await transport.start({ shards: directory.shards })
    return transport
  }
  const trouble = (where: string, error: unknown): void => note(styleText('dim', `${where}: ${String(error)}`))
  const control = fleet.use(
    await startControl({ data, transport: await connect(), port: options.port, hostname: options.hostname, trouble }),
  )
  for (const { name: id, pool } of workersOf(options.pools)) {
    const { slots, backend, backendsDir } = options
    fleet.use(
      await startWorker({
        data,
        transport: await connect(),
        id,
        pool,
        slots,
        backend,
        backendsDir,
        drainMs: 0,
        trouble,
      }),
    )
  }
  fleet.defer(() => data.removeAccess())
  return control.url
}

/** A second start finds what the first one made. */
async function tellWhatIsThere(api: Api): Promise<void> {
  const [jobs, models] = await Promise.all([api.jobs({ limit: 1_000 }), api.models()])
  if (jobs.length === 0 && models.length === 0) return
  const open = jobs.filter((job) => job.endedAt === undefined).length
  const goOn = open === 0 ? '' : ` (${open} going on)`
  const found = `${counted(jobs.length, 'job')}${goOn} and ${counted(models.length, 'model')}`
  note(`Found ${found} of earlier starts: "npx tensorfleet ps" and "npx tensorfleet models" list them.`)
}

function counted(count: number, thing: string): string {
  return `${count} ${thing}${count === 1 ? '' : 's'}`
}

/** Submits the job once for this data folder: a later start finds it as it is. Returns how it failed, if it did. */
async function runJob(api: Api, file: string, signal: AbortSignal): Promise<CliError | null> {
  const spec = await readSpecFile(file)
  const key = createHash('sha256').update(spec.text).digest('hex').slice(0, 32)
  const job = await api.submit(spec.text, spec.type, key)
  const before = job.endedAt !== undefined
  note(before ? `${file} has run before, as job ${job.id}:` : `Training ${file} as job ${job.id}\n`)
  const ended = before ? job : await watchJob(api, job.id, { signal })
  if (signal.aborted) return null
  const failure = failureOf(ended)
  if (failure !== null) {
    note(styleText('red', failure.message))
    return failure
  }
  print(`\n${summary(ended)}`)
  if (ended.model !== undefined) {
    const { name, version } = ended.model
    print(`  at        ${api.url}/v1/models/${name}/versions/${version}`)
    print(`  take it home with  npx tensorfleet download ${name}@${version}`)
  }
  if (before) print(`  train it again with  npx tensorfleet submit ${file} --watch`)
  return null
}
