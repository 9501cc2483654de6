#!/usr/bin/env node
/**
 * The `tensorfleet` command: its program, its options, and the one place where errors become exit codes.
 * What runs a fleet is loaded only by the commands that do: kernels and gateway take half a second, which `ps` need not.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import type { BackendChoice } from '../kernels/mod.ts'
import { addBatchCommands } from './batch-commands.ts'
import { addActorCommands } from './actor-commands.ts'
import { addDatasetCommands } from './dataset-commands.ts'
import { addTrainCommands } from './train-commands.ts'
import { addSweepCommands } from './sweep-commands.ts'
import { addDeadLetterCommands } from './dead-letter-commands.ts'
import { addGcCommand } from './gc-command.ts'
import { addModelCommands } from './model-commands.ts'
import { addBackendsCommand, backendsDirOf, backendsOption } from './backends.ts'
import { addCommands } from './commands.ts'
import { findApi } from './api.ts'
import { DataDir } from './data-dir.ts'
import { CliError, EXIT } from './errors.ts'
import type { Trouble } from './fleet.ts'
import type { PoolSize } from './up.ts'
import { note, print } from './output.ts'
import { versionOf } from './version.ts'
import { aborted } from './until.ts'

const PORT_DEFAULT = 8_420
const WORKERS_DEFAULT = 2
const POOL_DEFAULT = 'default'
/** As a record, so that none can be missing. */
const BACKENDS: Record<BackendChoice, true> = {
  auto: true,
  'tensorflow-gpu': true,
  tensorflow: true,
  webgpu: true,
  wasm: true,
  cpu: true,
  'webgpu-software': true,
}

const stopping = new AbortController()

async function program(): Promise<Command> {
  const tensorfleet = new Command('tensorfleet')
    .description('Train machine-learning models on a fleet of machines.')
    .version(await versionOf())
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'tensorfleet: ')) })
    .showHelpAfterError('  See what there is with --help.')
    .enablePositionalOptions() // what stands behind a command's name is that command's
    .exitOverride()

  const data = (): Option =>
    new Option('--data <folder>', 'data folder').env('TENSORFLEET_DATA').default('.tensorfleet')
  const backend = (): Option =>
    new Option('--backend <name>', 'back end of the kernels').choices(Object.keys(BACKENDS)).default('auto')
  const redis = (): Option => new Option('--redis <url>', 'Redis of the fleet').env('REDIS_URL').makeOptionMandatory()

  tensorfleet
    .command('up')
    .description('start a fleet on this machine: Redis, the control process with the API, and workers')
    .addOption(data())
    .addOption(
      new Option('-p, --port <port>', 'port of the API; 0 for any').env('PORT').default(PORT_DEFAULT).argParser(port),
    )
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('-w, --workers <count>', 'worker processes', whole, WORKERS_DEFAULT)
    .option('--pool <name=count>', 'so many more workers, in a pool of this name; may be given again', poolSize, [])
    .option('--slots <count>', 'kernels that each worker runs at once', whole, 1)
    .addOption(backend())
    .addOption(backendsOption())
    .addOption(
      new Option('--transport <name>', 'memory: everything in this process, nothing lasts')
        .choices(['auto', 'memory'])
        .default('auto'),
    )
    .option('--submit <file>', 'a job to submit and watch; once for this data folder')
    .action(async (options) => {
      const { up } = await import('./up.ts')
      await up({
        ...options,
        pools: [{ name: POOL_DEFAULT, workers: options.workers }, ...options.pool],
        backendsDir: backendsDirOf(options),
        hostname: options.host,
        data: await DataDir.open(options.data),
        signal: stopping.signal,
      })
    })

  tensorfleet
    .command('control')
    .description('run the control process alone: runtime node, API and page')
    .addOption(data())
    .addOption(redis())
    .addOption(
      new Option('-p, --port <port>', 'port of the API; 0 for any').env('PORT').default(PORT_DEFAULT).argParser(port),
    )
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .action(async (options) => {
      const [{ connectRedis }, { startControl }] = await Promise.all([import('./fleet.ts'), import('./control.ts')])
      await using transport = await connectRedis(options.redis)
      const data = await DataDir.open(options.data)
      await data.belongTo(transport.fleetId)
      await using control = await startControl({
        data,
        transport,
        port: options.port,
        hostname: options.host,
        trouble,
      })
      print(`ready ${control.url}`)
      await aborted(stopping.signal)
    })

  tensorfleet
    .command('worker')
    .description('run one worker, which joins the fleet by itself')
    .addOption(data())
    .addOption(redis())
    .option('--name <name>', 'its name; a random word is put behind it', 'worker')
    .option('--pool <name>', 'the pool that it joins; jobs name one by `pool`', poolName, POOL_DEFAULT)
    .option('--slots <count>', 'kernels that it runs at once; auto: by cores, memory and devices', wholeOrAuto, 'auto')
    .addOption(backend())
    .addOption(backendsOption())
    .option('--drain <seconds>', 'how long tasks under way may take when it is stopped', seconds, 30)
    .action(async (options) => {
      const [{ connectRedis }, { runWorker }] = await Promise.all([import('./fleet.ts'), import('./worker.ts')])
      await using transport = await connectRedis(options.redis)
      await runWorker({
        data: await DataDir.open(options.data),
        transport,
        name: options.name,
        pool: options.pool,
        slots: options.slots,
        backend: options.backend as BackendChoice, // commander lets no other choice through
        backendsDir: backendsDirOf(options),
        drainMs: options.drain * 1_000,
        signal: stopping.signal,
        note,
        trouble,
      })
    })

  tensorfleet
    .command('page')
    .description("print the page's address, with a login that works once")
    .addOption(data())
    .action(async (options) => {
      const api = await findApi({ data: options.data, env: process.env })
      const { pageLink } = await import('./control.ts')
      print(await pageLink(await DataDir.open(options.data), api.url))
    })

  addBackendsCommand(tensorfleet, data, stopping.signal)
  addCommands(tensorfleet, stopping.signal)
  addDatasetCommands(tensorfleet)
  addTrainCommands(tensorfleet, stopping.signal)
  addSweepCommands(tensorfleet, stopping.signal)
  addBatchCommands(tensorfleet, stopping.signal)
  addModelCommands(tensorfleet)
  addActorCommands(tensorfleet)
  addGcCommand(tensorfleet)
  addDeadLetterCommands(tensorfleet)
  return tensorfleet
}

const trouble: Trouble = (where, error) => {
  const what = error instanceof Error ? error.message : String(error)
  note(`${where}: ${what}`)
}

function poolName(text: string): string {
  if (/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$/.test(text)) return text
  throw new InvalidArgumentError('expected a name of 1 to 100 letters, digits, "_", "." or "-"')
}

function poolSize(text: string, before: readonly PoolSize[]): readonly PoolSize[] {
  const [name = '', count = ''] = text.split('=')
  return [...before, { name: poolName(name), workers: whole(count) }]
}

function whole(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('expected a whole number above 0')
  return value
}

function wholeOrAuto(text: string): number | 'auto' {
  return text === 'auto' ? text : whole(text)
}

function port(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 0 || value > 65_535)
    throw new InvalidArgumentError('expected a port, 0 to 65535')
  return value
}

function seconds(text: string): number {
  const value = Number(text)
  if (!(value >= 0)) throw new InvalidArgumentError('expected seconds, 0 or more')
  return value
}

/** The first signal asks everything to stop; a second one does not wait for it. */
function listenForSignals(): void {
  let asked = false
  const stop = (): void => {
    if (asked) process.exit(EXIT.interrupted)
    asked = true
    stopping.abort()
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop)
  // Our supervisor holds the other end of stdin: when it is gone, however it went, so are we.
  // Listening to it must not be what keeps a process alive that has stopped everything else.
  if (process.env['TENSORFLEET_SUPERVISED'] === '1') process.stdin.resume().on('end', stop).on('error', stop).unref()
}

function fail(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
  if (error instanceof CliError) {
    note(`tensorfleet: ${error.message}`)
    for (const line of error.details) note(`  ${line}`)
    return error.exitCode
  }
  // Errors of the layers below say what happened in a sentence; the stack is for those who ask for it.
  note(`tensorfleet: ${error instanceof Error ? error.message : String(error)}`)
  if (process.env['TENSORFLEET_DEBUG'] !== undefined && error instanceof Error) note(error.stack ?? '')
  return EXIT.failed
}

listenForSignals()
try {
  await (await program()).parseAsync()
  process.exitCode = process.exitCode ?? EXIT.ok
} catch (error) {
  process.exitCode = fail(error)
}
