/** The commands that talk to a running fleet through its API. Each prints a table, or JSON with `--json`. */
import type { Command } from 'commander'
import type { Gpu, JobView, LogLine } from '../machines/views.ts'
import { onApi } from './api-command.ts'
import { watchBatchToEnd } from './batch-watch.ts'
import { batchRow, isBatchId, isBatchSpec } from './batches.ts'
import { count } from './count.ts'
import { addSteering } from './job-commands.ts'
import { tellOutlook, wishesOf } from './outlook.ts'
import { ago, fixed, note, percent, print, printJson, sizeOf, table } from './output.ts'
import { kindOf, readSpecFile } from './spec-file.ts'
import { submitSweep } from './sweep-commands.ts'
import { watchToEnd } from './watch-command.ts'

/** Adds the commands to the program. `signal` is aborted by Ctrl-C. */
export function addCommands(program: Command, signal: AbortSignal): void {
  onApi<[string]>(
    program
      .command('submit')
      .argument('<file>', 'the job or sweep: YAML or JSON, - for standard input')
      .description('submit a job or a sweep and say its id')
      .option('-w, --watch', 'follow it to its end; the exit code says how it went')
      .option('--key <key>', 'submit at most once under this key'),
    async (api, options, file) => {
      const spec = await readSpecFile(file)
      const key = options['key'] as string | undefined
      const follow = options['watch'] === true
      if (kindOf(spec) === 'sweep') {
        await submitSweep(api, spec, { ...options, follow }, signal)
        return
      }
      const { text, type } = spec
      const job = await (isBatchSpec(spec) ? api.submitBatch(text, type, key) : api.submit(text, type, key))
      await tellOutlook(api, wishesOf(job))
      if (follow) await (isBatchId(job.id) ? watchBatchToEnd : watchToEnd)(api, job.id, options, signal)
      else if (options.json === true) printJson(job)
      else print(job.id)
    },
  )

  onApi(
    program
      .command('ps')
      .description('list jobs, newest first')
      .option('--state <state>', 'only those in this state')
      .option('--sweep <sweep>', 'only the trials of this sweep')
      .option('-n, --limit <count>', 'at most so many', count, 20),
    async (api, options) => {
      const { state, sweep } = options as { readonly state?: string; readonly sweep?: string }
      const limit = options['limit'] as number
      const jobs = await api.jobs({
        limit,
        ...(state !== undefined && { state }),
        ...(sweep !== undefined && { sweep }),
      })
      const others = sweep === undefined ? await api.batches({ limit }) : [] // a trial trains
      const batches = others.filter((job) => state === undefined || job.state === state)
      const all = [...jobs, ...batches].toSorted((a, b) => b.createdAt - a.createdAt).slice(0, limit)
      if (options.json === true) printJson(all)
      else if (all.length === 0) note('No jobs. Submit one with "tensorfleet submit FILE".')
      else
        print(
          table(
            ['ID', 'NAME', 'STATE', 'ROUND', 'LOSS', 'ACCURACY', 'MODEL', 'AGE'],
            all.map((job) => ('kind' in job ? batchRow(job) : jobRow(job))),
          ),
        )
    },
  )

  onApi<[string]>(
    program.command('watch').argument('<job>', "the job's id").description('follow a job to its end'),
    (api, options, id) => (isBatchId(id) ? watchBatchToEnd : watchToEnd)(api, id, options, signal),
  )

  onApi<[string]>(
    program
      .command('logs')
      .argument('<job>', "the job's id")
      .option('-f, --follow', 'go on until the job ends')
      .description("print a job's log"),
    async (api, options, id) => {
      const show = (line: LogLine): void => print(options.json === true ? JSON.stringify(line) : logText(line))
      if (options['follow'] !== true) {
        for (const line of await (isBatchId(id) ? api.batchLogs(id) : api.logs(id))) show(line)
        return
      }
      for await (const { event, data } of isBatchId(id) ? api.batchEvents(id, signal) : api.events(id, signal)) {
        if (event === 'log') show(JSON.parse(data) as LogLine) // typed by the views that the API shares with us
      }
    },
  )

  onApi<[string]>(
    program.command('cancel').argument('<job>', "the job's id").description('cancel a job'),
    async (api, options, id) => {
      const job = await (isBatchId(id) ? api.steerBatch(id, 'cancel') : api.cancel(id))
      if (options.json === true) printJson(job)
      else print(`${job.id} is ${job.state}`)
    },
  )

  const workersCommand = program.command('workers').description('list workers').enablePositionalOptions()
  onApi(workersCommand, async (api, options) => {
    const workers = await api.workers()
    const rows = workers.map(({ id, pool, state, busy, slots, backend, gpus, host, pid, joinedAt }) => {
      return [
        id,
        pool,
        state,
        `${busy}/${slots}`,
        backend,
        gpus.map(gpuText).join('; ') || '–',
        host,
        String(pid),
        ago(joinedAt),
      ]
    })
    if (options.json === true) printJson(workers)
    else if (workers.length === 0) note('No workers. Start one with "tensorfleet worker".')
    else print(table(['ID', 'POOL', 'STATE', 'SLOTS', 'BACK END', 'GPU', 'HOST', 'PID', 'JOINED'], rows))
  })
  addSteering(program, workersCommand)
}

/** `NVIDIA L4, 12 % of 24.2 GB, 37 % busy`. */
function gpuText({ name, memoryBytes, usedBytes, utilisation }: Gpu): string {
  const memory =
    memoryBytes === undefined
      ? ''
      : `, ${Math.round(((usedBytes ?? 0) / memoryBytes) * 100)} % of ${sizeOf(memoryBytes)}`
  return `${name}${memory}${utilisation === undefined ? '' : `, ${Math.round(utilisation * 100)} % busy`}`
}

function logText({ at, level, source, message }: LogLine): string {
  return `${new Date(at).toISOString()} ${level.padEnd(5)} ${source}: ${message}`
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
