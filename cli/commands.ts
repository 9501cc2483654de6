/** The commands that talk to a running fleet through its API. Each prints a table, or JSON with `--json`. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { styleText } from 'node:util'
import { Option } from 'commander'
import type { Command } from 'commander'
import type { JobView, LogLine, ModelVersionView } from '../machines/views.ts'
import { findApi } from './api.ts'
import type { Api } from './api.ts'
import { CliError, EXIT } from './errors.ts'
import { ago, duration, fixed, note, percent, print, printJson, sizeOf, table } from './output.ts'
import { parseJson, readSpecFile, readText } from './spec-file.ts'
import { failureOf, watchJob } from './watch.ts'

interface CommonOptions {
  readonly data: string
  readonly server?: string
  readonly json?: boolean
}

type Run<Arguments extends readonly unknown[]> = (
  api: Api,
  options: CommonOptions & Record<string, unknown>,
  ...args: Arguments
) => Promise<void>

/** Adds the commands to the program. `signal` is aborted by Ctrl-C. */
export function addCommands(program: Command, signal: AbortSignal): void {
  const on = <Arguments extends readonly unknown[]>(command: Command, run: Run<Arguments>): void => {
    command
      .addOption(
        new Option('--data <folder>', 'data folder of the fleet').env('TENSORFLEET_DATA').default('.tensorfleet'),
      )
      .addOption(
        new Option('--server <url>', "the API's address, where it is not what runs on the data folder").env(
          'TENSORFLEET_URL',
        ),
      )
      .option('--json', 'print JSON')
      .action(async (...given: unknown[]) => {
        const args = given.slice(0, -2) as unknown as Arguments // commander gives the arguments, then options and command
        const options = given.at(-2) as CommonOptions & Record<string, unknown>
        await run(await findApi({ ...options, env: process.env }), options, ...args)
      })
  }

  on<[string]>(
    program
      .command('submit')
      .argument('<file>', 'the job: YAML or JSON, - for standard input')
      .description('submit a job and say its id')
      .option('-w, --watch', 'follow it to its end; the exit code says how it went')
      .option('--key <key>', 'submit at most once under this key'),
    async (api, options, file) => {
      const spec = await readSpecFile(file)
      const job = await api.submit(spec.text, spec.type, options['key'] as string | undefined)
      if (options['watch'] === true) await watchToEnd(api, job.id, options, signal)
      else if (options.json === true) printJson(job)
      else print(job.id)
    },
  )

  on(
    program
      .command('ps')
      .description('list jobs, newest first')
      .option('--state <state>', 'only those in this state')
      .option('-n, --limit <count>', 'at most so many', count, 20),
    async (api, options) => {
      const state = options['state'] as string | undefined
      const jobs = await api.jobs({ limit: options['limit'] as number, ...(state !== undefined && { state }) })
      if (options.json === true) printJson(jobs)
      else if (jobs.length === 0) note('No jobs. Submit one with "tensorfleet submit FILE".')
      else print(table(['ID', 'NAME', 'STATE', 'ROUND', 'LOSS', 'ACCURACY', 'MODEL', 'AGE'], jobs.map(jobRow)))
    },
  )

  on<[string]>(
    program.command('watch').argument('<job>', "the job's id").description('follow a job to its end'),
    (api, options, id) => watchToEnd(api, id, options, signal),
  )

  on<[string]>(
    program
      .command('logs')
      .argument('<job>', "the job's id")
      .option('-f, --follow', 'go on until the job ends')
      .description("print a job's log"),
    async (api, options, id) => {
      const show = (line: LogLine): void => print(options.json === true ? JSON.stringify(line) : logText(line))
      if (options['follow'] !== true) {
        for (const line of await api.logs(id)) show(line)
        return
      }
      for await (const { event, data } of api.events(id, signal)) {
        if (event === 'log') show(JSON.parse(data) as LogLine) // typed by the views that the API shares with us
      }
    },
  )

  on<[string]>(
    program.command('cancel').argument('<job>', "the job's id").description('cancel a job'),
    async (api, options, id) => {
      const job = await api.cancel(id)
      if (options.json === true) printJson(job)
      else print(`${job.id} is ${job.state}`)
    },
  )

  on(program.command('models').description('list registered models, newest first'), async (api, options) => {
    const models = await api.models()
    if (options.json === true) printJson(models)
    else if (models.length === 0) note('No models yet: a job registers one when it completes.')
    else print(table(['MODEL', 'VERSION', 'ACCURACY', 'LOSS', 'SIZE', 'JOB', 'AGE'], models.map(modelRow)))
  })

  on<[string]>(
    program
      .command('download')
      .argument('<model>', 'NAME or NAME@VERSION')
      .option('-o, --out <folder>', 'where to write the files', '.')
      .description('take a model home: its topology (Keras JSON) and weights (safetensors)'),
    async (api, options, model) => {
      const { name, version } = modelRef(model)
      const found = await api.model(name, version)
      const folder = options['out'] as string
      await mkdir(folder, { recursive: true })
      const files = []
      for (const [file, ending] of [
        ['weights', 'safetensors'],
        ['topology', 'json'],
      ] as const) {
        const path = join(folder, `${name}-v${found.version}.${ending}`)
        const response = await api.download(name, String(found.version), file)
        await writeFile(path, new Uint8Array(await response.arrayBuffer()))
        files.push(path)
      }
      if (options.json === true) printJson({ model: found, files })
      else print(files.join('\n'))
    },
  )

  on<[string, string]>(
    program
      .command('predict')
      .argument('<model>', 'NAME or NAME@VERSION')
      .argument('<file>', 'JSON: a list of examples, each of the shape that the model takes; - for standard input')
      .description('predict with a registered model'),
    async (api, options, model, file) => {
      const { name, version } = modelRef(model)
      const prediction = await api.predict(name, version, parseJson(file, await readText(file)))
      if (options.json === true) printJson(prediction)
      else if (prediction.classes !== undefined)
        print(prediction.classes.map((c, i) => predictedLine(c, prediction.outputs[i])).join('\n'))
      else print(prediction.outputs.map((row) => row.join('  ')).join('\n'))
    },
  )

  on(program.command('workers').description('list workers'), async (api, options) => {
    const workers = await api.workers()
    const rows = workers.map(({ id, state, busy, slots, backend, host, pid, joinedAt }) => {
      return [id, state, `${busy}/${slots}`, backend, host, String(pid), ago(joinedAt)]
    })
    if (options.json === true) printJson(workers)
    else if (workers.length === 0) note('No workers. Start one with "tensorfleet worker".')
    else print(table(['ID', 'STATE', 'SLOTS', 'BACK END', 'HOST', 'PID', 'JOINED'], rows))
  })
}

async function watchToEnd(api: Api, id: string, options: CommonOptions, signal: AbortSignal): Promise<void> {
  const job = await watchJob(api, id, { signal, json: options.json === true })
  if (signal.aborted) {
    throw new CliError(`Interrupted. The job goes on: see it again with "tensorfleet watch ${id}"`, {
      exitCode: EXIT.interrupted,
    })
  }
  const failure = failureOf(job)
  if (failure !== null) throw failure
  if (options.json !== true) print(summary(job))
}

/** What a completed job has to show. */
export function summary(job: JobView): string {
  const { evaluation, model, endedAt } = job
  const took = duration((endedAt ?? job.changedAt) - job.createdAt)
  const tested = evaluation === undefined ? '' : `, tested on ${evaluation.examples} examples`
  const lines = [`${styleText('green', '✔')} ${job.name} completed in ${took}${tested}`]
  if (evaluation !== undefined)
    lines.push(`  accuracy  ${percent(evaluation.accuracy)}   loss ${fixed(evaluation.loss)}`)
  if (model !== undefined) lines.push(`  model     ${model.name}@${model.version}`)
  const workers = Object.entries(job.workers).map(([id, rounds]) => `${id} (${rounds} rounds)`)
  if (workers.length > 0) lines.push(`  trained by ${workers.join(', ')}`)
  return lines.join('\n')
}

function logText({ at, level, source, message }: LogLine): string {
  return `${new Date(at).toISOString()} ${level.padEnd(5)} ${source}: ${message}`
}

function predictedLine(predicted: number | string, outputs: readonly number[] | undefined): string {
  return `${predicted}  ${percent(Math.max(...(outputs ?? [0])))}`
}

function jobRow(job: JobView): readonly string[] {
  const accuracy = job.evaluation?.accuracy ?? job.metrics?.accuracy
  const { round, rounds } = job.progress
  const model = job.model === undefined ? '–' : `${job.model.name}@${job.model.version}`
  return [
    job.id,
    job.name,
    job.state,
    `${round}/${rounds}`,
    fixed(job.metrics?.loss),
    percent(accuracy),
    model,
    ago(job.createdAt),
  ]
}

function modelRow(model: ModelVersionView): readonly string[] {
  const { name, version, evaluation, weights, job, createdAt } = model
  const size = sizeOf(weights.sizeBytes)
  return [name, String(version), percent(evaluation?.accuracy), fixed(evaluation?.loss), size, job, ago(createdAt)]
}

function modelRef(text: string): { readonly name: string; readonly version: string } {
  const [name = '', version = 'latest', more] = text.split('@')
  if (name !== '' && version !== '' && more === undefined) return { name, version }
  throw new CliError(`Cannot read "${text}" as a model: expected NAME or NAME@VERSION`, { exitCode: EXIT.usage })
}

export function count(text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value > 0) return value
  throw new CliError(`Cannot use "${text}": expected a whole number above 0`, { exitCode: EXIT.usage })
}
